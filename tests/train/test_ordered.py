"""Replies about shuffled clips: what is asked, whom they are compared with, and what is logged (the bonus of T-GRPO)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, rows, stage

from videothinker.damage import Damage
from videothinker.errors import VtError
from videothinker.records import Form
from videothinker.train.arguments import grpo_arguments
from videothinker.train.rewards import REWARDS

SETTINGS = ("rewards.ordered=0.3", "rollouts.shuffled=2", "rollouts.questions_per_step=2")


def with_forms(assets: Path, n: int) -> list[Any]:
    return [{**row, "form": Form.LETTERS} for row in rows(assets, n)]


@pytest.mark.parametrize("sampled", [False, True])
def test_each_question_is_asked_about_its_own_shuffled_clip_and_its_replies_are_held_against_that(
    assets: Path, tmp_path: Path, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By injected texts: on shuffled clips the first question earns 1 and 0, the second 0 and 0; on the clips themselves the
    first earns 1, 0, 0, 0 and the second the same. So the first reaches 0.25 of 0.8 * 0.5 = 0.4 and the second 0.25 of 0."""
    engine = "graphs" if sampled else "transformers"
    config = stage("grpo", *SETTINGS, f"rollouts.engine={engine}")
    names = {name: REWARDS[name]._replace(weight=weight) for name, weight in config.rewards.items()}
    trainer = make_trainer(assets, tmp_path, config, rewards=names, save_strategy="no")
    trainer.model.train()
    asked = [row for row in with_forms(assets, 2) for _ in range(4)]
    seen: list[tuple[Any, Any, Any]] = []
    written = trainer._written

    def noted(prompt_ids: Any, clips: Any, which: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((prompt_ids, clips, which))
        return written(prompt_ids, clips, which, *args, **kwargs)

    right, wrong = (f"<think>x</think><answer>{letter}</answer>" for letter in ("none", "B"))
    texts = [[right, wrong, wrong, wrong, "<answer>A</answer>", wrong, wrong, wrong], [right, wrong, wrong, wrong]]
    decode = iter(texts)
    trainer._written = noted
    monkeypatch.setattr(trainer.processing_class, "batch_decode", lambda *_args, **_kwargs: next(decode))
    batch = trainer._generate_and_score_completions(asked)
    (own_ids, own_clips, own_rows), (ids, clips, which) = seen
    assert ids == [own_ids[0]] * 2 + [own_ids[4]] * 2
    assert (which, own_rows) == ([0, 0, 1, 1], [0] * 4 + [1] * 4)
    shuffled, _ = trainer._encode.damaged(
        [(row["prompt"].clip, f"42 {row['question_id']}") for row in asked[::4]], Damage.SHUFFLED
    )
    for shown, expected, own in zip(clips, shuffled, own_clips, strict=True):
        assert torch.equal(shown.patches, expected.patches)
        assert not torch.equal(shown.patches, own.patches)
        assert shown[1:] == own[1:]
    earned = trainer._rewards[:, list(config.rewards).index("ordered")].tolist()
    assert earned == [0.0] * 4 + [1.0] + [0.0] * 3
    assert trainer._metrics["train"]["ordered_share"] == [0.5]
    assert trainer._metrics["train"]["shuffled_accuracy"] == [0.25]
    assert len(batch["advantages"]) == 8, "replies about shuffled clips are not trained on"


def test_what_does_not_go_together_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for one in SETTINGS[:2]:
        with pytest.raises(VtError, match="the one is earned by the other, so set both"):
            stage("grpo", one)
    monkeypatch.setenv("WORLD_SIZE", "4")
    config = stage("grpo", *SETTINGS, "rollouts.rows_per_forward=2")
    with pytest.raises(VtError, match=r"each of 4 processes needs whole questions; set rollouts\.questions_per_step"):
        grpo_arguments(config, tmp_path)
