"""What visual tokens are told to see is what is drawn there, in any colours and mirrored or not."""

import numpy as np
import torch
from pretrain.school import School

from videothinker.pretrain import perception
from videothinker.pretrain.scenes import MOST_OBJECTS
from videothinker.pretrain.variants import DrawnClips, at_random
from videothinker.world import draw, light
from videothinker.world.table import COLORS, MATERIALS, SHAPES

GRID = (8, 8, 12)


def test_the_named_look_is_drawn_at_the_named_place(school: School) -> None:
    """The colour of the pixel at each target's centre, in both frames of its pair, against the colour it names."""
    clips = at_random(school.scenes, np.random.default_rng(3)).clips()
    found = perception.targets(clips, GRID)
    pictures = draw.frames(clips.rollouts(), width=168, height=112, device="cpu").numpy().astype(float)
    palette = np.array([light.PALETTE[color] for color in COLORS], float)
    palette /= np.linalg.norm(palette, axis=1, keepdims=True)
    right, n = 0, 0
    for clip, token in zip(*(found.look != perception.NONE).nonzero(), strict=True):
        pair, cell = divmod(token, 24)
        for second in (0, 1):
            x, y = found.offset[clip, token, 2 * second : 2 * second + 2] + (cell % 6, cell // 6)
            if not (0 < x < 6 and 0 < y < 4):
                continue  # its first frame was out of sight
            pixel = pictures[clip, 2 * pair + second, :, int(y * 28), int(x * 28)]
            right += (palette @ pixel).argmax() == found.look[clip, token] // (len(MATERIALS) * len(SHAPES))
            n += 1
        assert (found.offset[clip, token, 2:] >= 0).all()
        assert (found.offset[clip, token, 2:] < 1).all()
    assert n > 300
    assert right / n > 0.93  # some are hidden by others, some shine


def test_every_object_in_view_is_in_its_cell_and_the_nearer_one_wins() -> None:
    location = np.full((1, 16, MOST_OBJECTS, 2), 100.0, np.float32)
    location[0, :, 0] = (0.3, 0.05)  # just below the middle of the picture: column 3 of 6, row 2 of 4
    location[0, :, 1] = (0.4, 0.1)  # nearer to the camera, in the same cell
    location[0, ::2, 2], location[0, 1::2, 2] = (0.0, -1.0), (0.0, -1.1)  # it moves to the left
    looks = np.array([[[0, 0, 0], [1, 1, 2], [7, 0, 1]] + [[0, 0, 0]] * 3], np.int8)
    clips = DrawnClips(looks, np.array([3], np.int8), location, np.zeros((1, 16, MOST_OBJECTS), np.float32))
    found = perception.targets(clips, GRID)
    look = found.look.reshape(8, 4, 6)
    assert (look != perception.NONE).sum() == 16  # two a pair: the places without objects are not asked about
    assert (look[:, 2, 3] == (1 * 2 + 1) * 3 + 2).all()
    (column,) = set((look[0] == (7 * 2 + 0) * 3 + 1).nonzero()[1].tolist())
    at = found.offset.reshape(8, 4, 6, 4)[0, (look[0] == 43).nonzero()[0][0], column]
    assert at[0] > at[2]
    assert abs(at[0] - at[2] - 0.1 * 760 / 7.5 / 480 * 6) < 0.02  # 0.1 units at the origin's depth, about
    one = clips._replace(n_objects=np.array([1], np.int8))
    assert (perception.targets(one, GRID).look != perception.NONE).sum() == 8


def test_losses_are_sums_over_cells_and_only_named_cells_are_placed() -> None:
    heads = perception.Heads(4)
    torch.nn.init.zeros_(heads.weight)
    torch.nn.init.zeros_(heads.bias)
    look = torch.tensor([[perception.NONE, 5, 0]])
    offset = torch.zeros(1, 3, 4)
    offset[0, 0] = 9.0
    offset[0, 1, 0] = 1.0
    loss, right = heads.loss(torch.ones(1, 3, 4), perception.Targets(look, offset))
    assert abs(float(loss) - (3 * np.log(49) + 0.95)) < 1e-5  # |1| - 0.1 / 2
    assert int(right) == 1  # all the same: the first look, 0, is named
