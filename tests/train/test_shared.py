"""Replies scored behind one copy of their prompt give the numbers and the gradient of one row a reply."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.test_cdpo import MIXED_SIZES, recording, sgd, weights
from train.trainers import make_trainer, stage
from train.two_processes import injected

from videothinker.train import scored
from videothinker.train.shared import share_prompts


def one_step(assets: Path, out: Path, name: str, *overrides: str) -> Any:
    """Micro-batches of a step over 3 questions of different lengths, 4 replies each, and how the weights moved."""
    config = stage(name, "rollouts.questions_per_step=3", "optimizer.steps=1", *overrides)
    trainer = sgd(make_trainer(assets, out, config, max_grad_norm=1e9, save_strategy="no", logging_steps=1))
    trainer._generate_single_turn = injected  # replies of 3, 5, 7 and 9 tokens, the last as if it were cut
    start = weights(trainer.model)
    batches = recording(trainer)
    trainer.train()
    end = weights(trainer.model)
    moved = torch.cat([(end[name] - start[name]).flatten() for name in end]).double()
    return batches, moved, trainer.state.log_history[0]


@pytest.mark.parametrize(
    ("name", "overrides"), [("grpo", ()), ("cdpo", ()), ("cdpo", ("objective.kl=exact", "rollouts.temperature=0.7"))]
)
def test_shared_prompts_change_no_number(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, overrides: tuple[str, ...]
) -> None:
    shared: list[bool] = []

    def watched(*args: Any) -> Any:
        found = share_prompts(*args)
        shared.append(found is not None)
        return found

    monkeypatch.setattr(scored, "share_prompts", watched)
    whole = (*overrides, "rollouts.rows_per_forward=12")
    ours, step, log = one_step(assets, tmp_path / "a", name, *whole)
    assert shared == [True] * (2 if name == "cdpo" else 1)
    plain, plain_step, plain_log = one_step(assets, tmp_path / "b", name, *whole, "rollouts.shared_prompts=false")
    assert len(shared) == (2 if name == "cdpo" else 1), "switched off, nobody asks"
    assert (
        len({tuple(ids[mask.bool()].tolist()) for ids, mask in zip(ours[0]["prompt_ids"], ours[0]["prompt_mask"], strict=True)})
        == 3
    )
    for key in ("policy_logps", "reference_logps"):
        if key in ours[0]:
            mask = ours[0]["completion_mask"].bool()
            assert torch.allclose(ours[0][key][mask], plain[0][key][mask], atol=1e-5), key
            assert not ours[0][key][~mask].any()
    assert torch.allclose(ours[0]["loss"], plain[0]["loss"], atol=1e-5)
    assert log["entropy"] == pytest.approx(plain_log["entropy"], abs=1e-5)
    assert plain_step.norm() > 0.1
    assert ((step - plain_step).norm() / plain_step.norm()).item() < 1e-5


def test_with_adapters_too(assets: Path, tmp_path: Path, adapter: Path) -> None:
    steps = []
    for shared in ("true", "false"):
        config = stage(
            "cdpo", "rollouts.rows_per_forward=8", "optimizer.steps=1", "lora.rank=4", f"rollouts.shared_prompts={shared}"
        )
        torch.manual_seed(0)
        trainer = make_trainer(assets, tmp_path / shared, config, reference=adapter, save_strategy="no")
        trainer._generate_single_turn = injected
        batches = recording(trainer)
        trainer.train()
        steps.append((batches[0]["policy_logps"], batches[0]["reference_logps"]))
    for ours, plain in zip(*steps, strict=True):
        assert torch.allclose(ours, plain, atol=1e-5)


def rows(*prompts: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of tokens 1-9, spaces as padding."""
    ids = torch.tensor([[int(c) if c != " " else 0 for c in row] for row in prompts])
    mask = (ids > 0).long()
    return ids, mask, torch.stack([mask.cumsum(1) - 1] * 3).clamp(min=0)


def test_the_rows_that_are_packed() -> None:
    """Two questions; replies "67", "8" and "9": each behind its prompt's last token, and seen by none of the others."""
    prompt = "123123123"
    shared = share_prompts(*rows(prompt + "67 ", "   " + "123454" + "9  ", prompt + "8  "), 3, (5, 2, 5))
    assert shared is not None
    assert shared.first == [0, 1]
    assert shared.inputs["input_ids"][0].tolist() == [1, 2, 3, 1, 2, 3, 1, 2, 3, 6, 3, 0, 0, 0, 0, 0]
    assert shared.inputs["shift_labels"][0].tolist() == [-100] * 8 + [6, 7, 8] + [-100] * 5
    assert shared.inputs["position_ids"][0, 0, :11].tolist() == [*range(8), 8, 9, 8]
    sees = shared.inputs["attention_mask"]["full_attention"][0, 0]
    assert sees[9].nonzero().flatten().tolist() == [*range(9), 9]
    assert sees[10].nonzero().flatten().tolist() == [*range(8), 10]
    assert sees[4].nonzero().flatten().tolist() == [*range(5)]
    other = shared.inputs["attention_mask"]["full_attention"][1, 0]
    assert other[8].nonzero().flatten().tolist() == [3, 4, 5, 6, 7, 8], "padding is seen by no token"
    assert other.diagonal().all(), "a token that sees nothing would be NaN"
    values = torch.arange(32.0).view(2, 16)
    assert shared.unpacked(values).tolist() == [[8, 9, 0], [24, 0, 0], [10, 0, 0]]


def test_rows_of_questions_that_came_apart_stay_rows(assets: Path, tmp_path: Path) -> None:
    assert share_prompts(*rows("12345678167", "12345678281"), 2, (0, 1)) is None
    _, step, _ = one_step(assets, tmp_path / "a", "grpo", "rollouts.rows_per_forward=12")
    _, apart, _ = one_step(assets, tmp_path / "b", "grpo", *MIXED_SIZES[1:2])
    assert ((step - apart).norm() / apart.norm()).item() < 1e-5
