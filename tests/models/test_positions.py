"""Positions of tokens under both rules: by hand, as transformers computes them, and as the original algorithm does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models.prompts import padded
from transformers import Qwen2VLConfig, Qwen2VLModel, Qwen3VLConfig, Qwen3VLModel

from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.decoder import Decoder
from videothinker.models.positions import follow, rule_of, token_positions
from videothinker.models.read import read_config, read_model
from videothinker.models.text_positions import TextPositions
from videothinker.models.vision import SeenClip
from videothinker.train.clips import Encoded

ORIGINAL, THEIRS = TextPositions.ORIGINAL, TextPositions.TRANSFORMERS
CONFIG = SimpleNamespace(
    video_token_id=5, image_token_id=6, vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
)


def lay_out(
    rows: list[str], blocks: list[list[tuple[int, int, int, float]]], rule: TextPositions
) -> tuple[list[list[list[int]]], list[int]]:
    """Positions of rows in which v is a clip's token, i an image's, t text and a blank padding. blocks: grid and seconds."""
    ids = torch.tensor([[{"v": 5, "i": 6, "t": 1, " ": 0}[c] for c in row] for row in rows])
    mask = torch.tensor([[int(c != " ") for c in row] for row in rows])
    grids = torch.tensor([[block[:3] for block in row] for row in blocks])
    seconds = torch.tensor([[block[3] for block in row] for row in blocks])
    positions, after = token_positions(CONFIG, ids, mask, grids, seconds, rule)
    return positions.transpose(0, 1).tolist(), after.tolist()


@pytest.mark.parametrize("rule", TextPositions)
def test_a_short_clip_is_the_same_under_both_rules(rule: TextPositions) -> None:
    # two pairs of 2 x 3 merged patches, 0.64 s apart: floor(0.64 * 2) = 1 tick; the longer side, 3, is more than both ticks
    [[time, row, column]], [after] = lay_out(["tt" + "v" * 12 + "tt"], [[(2, 4, 6, 0.64)]], rule)
    assert time == [0, 1, *[2] * 6, *[3] * 6, 5, 6]
    assert row == [0, 1, *[2, 2, 2, 3, 3, 3] * 2, 5, 6]
    assert column == [0, 1, *[2, 3, 4] * 4, 5, 6]
    assert after == 7


@pytest.mark.parametrize(("rule", "text", "after"), [(ORIGINAL, [33, 34], 35), (THEIRS, [5, 6], 33)])
def test_text_behind_a_long_clip(rule: TextPositions, text: list[int], after: int) -> None:
    # four pairs 5 s apart: ticks 0, 10, 20, 30 from position 2 on. Text goes on at 2 + 31, or at 2 + the longer side, 3
    [[time, row, column]], [following] = lay_out(["tt" + "v" * 24 + "tt"], [[(4, 4, 6, 5.0)]], rule)
    assert time == [0, 1, *[2] * 6, *[12] * 6, *[22] * 6, *[32] * 6, *text]
    assert row[-2:] == column[-2:] == text
    assert following == after


@pytest.mark.parametrize(("rule", "behind", "image", "clip"), [(ORIGINAL, [6, 9, 17], 7, 10), (THEIRS, [3, 6, 8], 4, 7)])
def test_several_clips_and_an_image_in_one_prompt(rule: TextPositions, behind: list[int], image: int, clip: int) -> None:
    # from position 1 three 1 x 2 pairs 1 s apart (ticks 0, 2, 4), an image of 2 x 2, a clip of two 1 x 1 pairs 3 s apart
    blocks = [[(3, 2, 4, 1.0), (1, 4, 4, 0.0), (2, 2, 2, 3.0)]]
    [[time, row, column]], [after] = lay_out(["tvvvvvvtiiiitvvt"], blocks, rule)
    first, second, third = behind
    assert time == [0, 1, 1, 3, 3, 5, 5, first, *[image] * 4, second, clip, clip + 6, third]
    assert row == [0, *[1] * 6, first, image, image, image + 1, image + 1, second, clip, clip, third]
    assert column == [0, *[1, 2] * 3, first, *[image, image + 1] * 2, second, clip, clip, third]
    assert after == max(time) + 1


@pytest.mark.parametrize("rule", TextPositions)
def test_a_row_has_its_own_positions_in_any_batch_with_padding_anywhere(rule: TextPositions) -> None:
    alone = [
        lay_out(["tvvvvvvt"], [[(3, 2, 4, 1.0)]], rule),
        lay_out(["tvvttit"], [[(2, 2, 2, 4.0), (1, 2, 2, 0.0)]], rule),
        lay_out(["ttt"], [[(0, 0, 0, 0.0)]], rule),
    ]
    rows = ["   tvvvvvvt", "tvv tt i t ", "ttt        "]
    none = (0, 0, 0, 0.0)
    together, after = lay_out(rows, [[(3, 2, 4, 1.0), none], [(2, 2, 2, 4.0), (1, 2, 2, 0.0)], [none, none]], rule)
    assert after == [following for _, [following] in alone]
    for row, axes, (one, _) in zip(rows, together, alone, strict=True):
        real = [i for i, character in enumerate(row) if character != " "]
        assert [[axis[i] for i in real] for axis in axes] == one[0]
        assert all(axis[i] == 0 for axis in axes for i in range(len(row)) if i not in real)


def inputs_of(model: Any, encoded: Encoded, factor: float = 1.0) -> dict[str, Any]:
    """What transformers computes positions from, with `factor` times the time between pairs of frames."""
    ids, mask = padded(encoded)
    clips = [encoded.clips[row] for row in encoded.rows]
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": 2 * (ids == model.config.video_token_id).int(),
        "video_grid_thw": torch.tensor([clip.grid for clip in clips]),
        "second_per_grid_ts": torch.tensor([factor * clip.seconds_per_pair for clip in clips]),
    }


@pytest.mark.parametrize("factor", [1.0, 20.0])
def test_the_rule_transformers_is_what_the_library_does(model: Any, encoded: Encoded, factor: float) -> None:
    inputs = inputs_of(model, encoded, factor)
    tail = torch.ones(4, 5, dtype=torch.long).tril_(3)  # padding on the right too
    for key, more in (("input_ids", 7 * tail), ("attention_mask", tail), ("mm_token_type_ids", 0 * tail)):
        inputs[key] = torch.cat([inputs[key], more], 1)
    theirs, deltas = model.model.get_rope_index(**inputs)
    grids, seconds = inputs["video_grid_thw"][:, None], inputs["second_per_grid_ts"][:, None]
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    ours, following = token_positions(model.config, ids, mask, grids, seconds, THEIRS)
    assert torch.equal(ours, theirs)
    assert torch.equal(following, mask.sum(1) + deltas[:, 0])
    originally = token_positions(model.config, ids, mask, grids, seconds, ORIGINAL)[0]
    assert torch.equal(ours, originally) == (factor == 1)


@pytest.mark.parametrize("factor", [1.0, 20.0])
@pytest.mark.parametrize("rule", TextPositions)
def test_a_model_follows_its_rule_in_forward_generate_and_decoder(
    assets: Path, encoded: Encoded, clips: list[SeenClip], rule: TextPositions, factor: float
) -> None:
    """Eight tokens by transformers' cached generate, by our decoder, and one by one from whole passes with given positions."""
    ref = str(assets / "start")
    model = read_model(ref, ref, read_config(ref, ref), torch.float32, "sdpa", text_positions=rule).eval()
    assert rule_of(model.config) is rule
    inputs = inputs_of(model, encoded, factor)
    patches = torch.cat([encoded.clips[row].patches for row in encoded.rows])
    unseen = [model.config.image_token_id, model.config.video_token_id]
    with torch.no_grad():
        written = model.generate(
            **inputs, pixel_values_videos=patches, do_sample=False, max_new_tokens=8, eos_token_id=9999, suppress_tokens=unseen
        )[:, inputs["input_ids"].size(1) :]
    longer = [clip._replace(seconds_per_pair=factor * clip.seconds_per_pair) for clip in clips]
    assert (
        Decoder(model, eos=[], pad=0, suppress=unseen).reply(encoded.prompt_ids, longer, max_new_tokens=8) == written.tolist()
    )
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    grids, seconds = inputs["video_grid_thw"][:, None], inputs["second_per_grid_ts"][:, None]
    positions, after = token_positions(model.config, ids, mask, grids, seconds, rule)
    replies = (after[:, None] + torch.arange(8)).expand(3, 4, 8)
    with torch.no_grad():
        logits = model(
            input_ids=torch.cat([ids, written], 1),
            attention_mask=torch.cat([mask, torch.ones_like(written)], 1),
            position_ids=torch.cat([positions, replies], 2),
            pixel_values_videos=patches,
            video_grid_thw=inputs["video_grid_thw"],
        ).logits[:, ids.size(1) - 1 : -1]
        alone = model(**inputs, pixel_values_videos=patches).logits[:, -1]
    logits[..., unseen] = -torch.inf
    assert torch.equal(logits.argmax(-1), written)
    torch.testing.assert_close(alone[:, :5], logits[:, 0, :5], rtol=0, atol=1e-4)


def test_the_rules_differ_in_what_a_model_says_of_a_long_clip(assets: Path, encoded: Encoded) -> None:
    ref, found = str(assets / "start"), []
    for rule in TextPositions:
        model = read_model(ref, ref, read_config(ref, ref), torch.float32, "sdpa", text_positions=rule).eval()
        patches = torch.cat([encoded.clips[row].patches for row in encoded.rows])
        with torch.no_grad():
            found.append(model(**inputs_of(model, encoded, 20.0), pixel_values_videos=patches).logits[:, -1])
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_images_and_clips_find_their_grids_in_the_order_of_the_prompt(model: Any) -> None:
    """One row with an image before its clip and one with two clips, against the library and by hand."""
    image, clip = model.config.image_token_id, model.config.video_token_id
    ids = torch.tensor([[9, image, 9, clip, clip, 9], [9, clip, clip, 9, clip, 9]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == image) + 2 * (ids == clip),
        "image_grid_thw": torch.tensor([[1, 2, 2]]),
        "video_grid_thw": torch.tensor([[2, 2, 2], [2, 2, 2], [1, 2, 2]]),
        "second_per_grid_ts": [3.0, 4.0, 1.0],
    }
    theirs = model.model.get_rope_index(**inputs)
    own = SimpleNamespace(config=SimpleNamespace(**vars(CONFIG) | {"model_type": "qwen2_5_vl"}), model=SimpleNamespace())
    own.config.image_token_id, own.config.video_token_id = image, clip
    follow(own, THEIRS)
    assert all(torch.equal(mine, other) for mine, other in zip(own.model.get_rope_index(**inputs), theirs, strict=True))
    follow(own, ORIGINAL)
    # clips of 3 s and 4 s a pair reach 6 and 8 ticks; an image and a clip of one pair take one position
    positions, deltas = own.model.get_rope_index(**inputs)
    assert positions[0].tolist() == [[0, 1, 2, 3, 9, 10], [0, 1, 9, 10, 11, 12]]
    assert deltas.tolist() == [[11 - 6], [13 - 6]]
    with pytest.raises(VtError, match="other numbers of image and video tokens"):
        own.model.get_rope_index(**inputs | {"video_grid_thw": torch.tensor([[2, 2, 2]]), "second_per_grid_ts": [1.0]})


def test_qwen2_counts_pairs_of_frames_and_not_seconds() -> None:
    """Eight pairs of 1 x 2 patches behind one token: ticks 0 to 7, then text at 1 + 8, or at 1 + 2 as the library has it."""
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
    vision = {"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=6, video_token_id=5)
    with torch.device("meta"):
        inner = Qwen2VLModel(config)
    ids = torch.tensor([[1, *[5] * 16, 1]])
    inputs = {"mm_token_type_ids": 2 * (ids == 5), "video_grid_thw": torch.tensor([[8, 2, 4]])}
    theirs = inner.get_rope_index(ids, **inputs)[0]
    model = SimpleNamespace(config=config, model=inner)
    follow(model, THEIRS)
    assert torch.equal(inner.get_rope_index(ids, **inputs)[0], theirs)
    follow(model, ORIGINAL)
    ours = inner.get_rope_index(ids, **inputs)[0]
    assert torch.equal(ours[..., :-1], theirs[..., :-1])
    assert (theirs[0, 0, -1], ours[0, 0, -1]) == (3, 9)


def test_qwen3_puts_frames_into_blocks_of_which_both_rules_make_the_same() -> None:
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 16}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, image_token_id=6, video_token_id=5)
    with torch.device("meta"):
        inner = Qwen3VLModel(config)
    ids = torch.tensor([[1, 2, *[5] * 6, 3, *[5] * 6, 3, *[5] * 6, 1, 1]])  # "t0 frame t1 frame t2 frame text"
    theirs, deltas = inner.get_rope_index(ids, mm_token_type_ids=2 * (ids == 5), video_grid_thw=torch.tensor([[3, 4, 6]]))
    grids, seconds = torch.tensor([[[1, 4, 6]] * 3]), torch.tensor([[100.0] * 3])
    for rule in TextPositions:
        ours, after = token_positions(config, ids, torch.ones_like(ids), grids, seconds, rule)
        assert torch.equal(ours, theirs)
        assert after == ids.size(1) + deltas
    model = SimpleNamespace(config=config, model=inner)
    follow(model, ORIGINAL)
    assert "get_rope_index" not in vars(inner)
    assert not hasattr(config, "text_positions")


def test_a_fresh_checkpoint_says_its_rule(tmp_path: Path) -> None:
    for rule in TextPositions:
        folder = tiny.build(tmp_path / rule, text_positions=rule)
        assert rule_of(read_config(str(folder), folder)) is rule
