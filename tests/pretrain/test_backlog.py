"""Rounds use every sequence of their clips once, in random order, and clips that were picked make room for new ones."""

from itertools import islice

import numpy as np

from videothinker.pretrain.backlog import pick
from videothinker.pretrain.course import Material
from videothinker.pretrain.packing import PackedLessons
from videothinker.pretrain.variants import DrawnClips

PER_CLIP = 3


def numbered(first: int, n: int) -> Material:
    """Clips that carry their number as their count of objects, and sequences of one token: 10 times the clip, plus 0, 1, 2."""
    numbers = np.arange(first, first + n)
    clips = DrawnClips(np.zeros((n, 6, 3), np.int8), numbers, np.zeros((n, 16, 6, 2), np.float32), np.zeros((n, 16, 6)))
    ids = (10 * numbers[:, None] + np.arange(PER_CLIP))[..., None]
    return Material(clips, PackedLessons(ids, np.zeros_like(ids), np.zeros_like(ids), np.zeros_like(ids, np.bool_)))


def test_every_clip_comes_once_with_all_of_its_sequences() -> None:
    asked: list[int] = []

    def read(n: int) -> Material:
        asked.append(n)
        return numbered(sum(asked[:-1]), n)

    rounds = pick(read, n_clips=4, n_sequences=6, size=9, growth=3, rng=np.random.default_rng(0))
    seen: list[int] = []
    orders = []
    for picked in islice(rounds, 20):
        numbers = picked.clips.n_objects.tolist()
        assert picked.clip.shape == (2, 6)  # 4 clips of 3 sequences in steps of 6
        ids = picked.packed.ids[..., 0]
        assert sorted(ids.flatten().tolist()) == sorted(10 * number + k for number in numbers for k in range(PER_CLIP))
        assert (ids // 10 == picked.clips.n_objects[picked.clip]).all()  # each sequence with its own clip
        orders.append(ids.flatten().tolist())
        seen += numbers
    assert len(set(seen)) == len(seen) == 80  # no clip twice
    assert asked[:6] == [4, 4, 3, 4, 2, 4]  # the backlog grows from 4 by 3, and to 9 at the most
    assert set(asked[6:]) == {4}
    assert any(order != sorted(order) for order in orders)
    assert max(abs(i // 4 - number // 4) for i, number in enumerate(seen)) > 1  # clips wait in the backlog for some rounds
