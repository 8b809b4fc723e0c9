"""A training's rule of text positions: its start's, in roll-outs and scoring alike, and said by what it saves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, stage

from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.models import tiny
from videothinker.models.checkpoint import find_checkpoint, load_full, load_processor
from videothinker.models.decoder import Decoder
from videothinker.models.text_positions import TextPositions, own_rule
from videothinker.models.vision import see
from videothinker.train.build import rule_for
from videothinker.train.clips import PromptEncoder, scoring_inputs, share_vision, showing
from videothinker.train.data import ClipPrompt
from videothinker.train.reference import check_rule

ORIGINAL, THEIRS = TextPositions.ORIGINAL, TextPositions.TRANSFORMERS


def test_a_training_goes_by_its_starts_rule_unless_it_is_set(assets: Path, tmp_path: Path) -> None:
    first, other = (find_checkpoint(str(folder)) for folder in (assets / "start", tiny.build(tmp_path, text_positions=THEIRS)))
    assert [rule_for(stage("grpo"), start) for start in (first, other)] == [ORIGINAL, THEIRS]
    assert [rule_for(stage("grpo", "model.text_positions=original"), start) for start in (first, other)] == [ORIGINAL] * 2
    with pytest.raises(VtError, match=r"model\.text_positions"):
        stage("grpo", "model.text_positions=newest")


def test_a_reference_of_the_other_rule_is_refused(assets: Path, tmp_path: Path) -> None:
    reference = find_checkpoint(str(tiny.build(tmp_path / "bias", seed=1, text_positions=THEIRS)))
    check_rule(THEIRS, reference)
    with pytest.raises(
        VtError, match=r"was trained with text positions 'transformers', and the policy is trained with 'original'"
    ):
        check_rule(ORIGINAL, reference)


@pytest.mark.parametrize("lora", [False, True])
def test_what_a_training_saves_says_its_rule(assets: Path, tmp_path: Path, lora: bool) -> None:
    overrides = ["model.text_positions=transformers", *(["lora.rank=4"] if lora else [])]
    trainer = make_trainer(assets, tmp_path / "out", stage("grpo", *overrides), save_strategy="no")
    trainer.save_policy(tmp_path / "out")
    assert own_rule(assets / "start") is ORIGINAL
    assert own_rule(tmp_path / "out") is THEIRS
    assert (tmp_path / "out" / "videothinker_config.json").is_file() is lora


@pytest.mark.parametrize(("rule", "same"), [(ORIGINAL, True), (THEIRS, False)])
def test_a_reply_about_a_clip_of_minutes_is_scored_where_it_was_written(assets: Path, rule: TextPositions, same: bool) -> None:
    """Two pairs of frames 200 s apart: 400 ticks, more than the prompt has tokens. By the other rule the places differ."""
    start = find_checkpoint(str(assets / "start"))
    model: Any = load_full(start, torch.float32, "sdpa", rule).eval()
    share_vision(model)
    config = model.config
    encode = PromptEncoder(load_processor(start), n_frames=4, max_pixels=12 * 784, video_token=config.video_token_id)
    encoded = encode(
        [
            ClipPrompt(Footage(assets / "clip0.mp4"), "what happens?"),
            ClipPrompt(Footage(assets / "clip1.mp4"), "what happens then, and why?"),
        ]
    )
    clips = [clip._replace(seconds_per_pair=200.0) for clip in encoded.clips]
    with torch.no_grad():
        seen = see(model, [clip.patches for clip in clips], [clip.grid for clip in clips], [200.0, 200.0])
    unseen = [config.image_token_id, config.video_token_id]
    written = Decoder(model, eos=[], pad=0, suppress=unseen).write(encoded.prompt_ids, seen, max_new_tokens=6)
    width = max(map(len, encoded.prompt_ids))
    rows = [
        [0] * (width - len(prompt)) + prompt + reply.tokens for prompt, reply in zip(encoded.prompt_ids, written, strict=True)
    ]
    ids = torch.tensor(rows)
    mask = (torch.arange(ids.size(1)) >= torch.tensor([[width - len(prompt)] for prompt in encoded.prompt_ids])).long()
    fed = scoring_inputs(config, clips, encoded.rows, ids, mask)
    grids = torch.tensor([clip.grid for clip in clips])
    with torch.no_grad(), showing(clips, encoded.rows):
        logits = model(input_ids=ids, attention_mask=mask, video_grid_thw=grids, **fed).logits[:, width - 1 : -1].float()
    logits[..., unseen] = -torch.inf
    scored = logits.log_softmax(-1).gather(2, ids[:, width:, None])[..., 0]
    drawn = torch.tensor([reply.logprobs for reply in written])
    assert torch.allclose(scored, drawn, rtol=0, atol=1e-4) is same
    torch.testing.assert_close(scored[:, 0], drawn[:, 0], rtol=0, atol=1e-4)  # the first token is predicted by the prompt
