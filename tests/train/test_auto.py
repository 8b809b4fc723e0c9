"""Stage auto: what keeps the policy near its start, and what a training says about first and second answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from curated_factory import a_question, write_curated
from train.trainers import make_trainer, rows, stage, write_clip
from vt_command import vt

from videothinker import answers
from videothinker.answers.letters import Letters
from videothinker.answers.tally import Answered, tally
from videothinker.answers.twice import read_twice
from videothinker.errors import VtError
from videothinker.models.checkpoint import find_checkpoint
from videothinker.records import Form
from videothinker.steps import read_steps
from videothinker.train.arguments import grpo_arguments
from videothinker.train.build import find_reference
from videothinker.train.record import Recorder, read_completions
from videothinker.train.stage_files import make_stage
from videothinker.train.stages import Alarms, Stage


def trained(assets: Path, out: Path, config: Any, **more: Any) -> tuple[Any, torch.Tensor]:
    """The trainer after its steps, and its trained weights in one row."""
    trainer = make_trainer(assets, out, config, save_strategy="no", **more)
    trainer.train()
    moved = [value for name, value in trainer.model.named_parameters() if value.requires_grad and ".ref" not in name]
    return trainer, torch.cat([value.detach().flatten() for value in moved])


LONG = ("optimizer.steps=3", "optimizer.learning_rate=3e-3")


@pytest.mark.parametrize("kind", ["full", "fresh adapters", "an adapter"])
def test_an_anchor_is_attraction_to_the_start(assets: Path, tmp_path: Path, adapter: Path, kind: str) -> None:
    """TRL's own term, and ours with reference "start" and direction "attract": two ways to the same weights."""
    lora = [] if kind == "full" else ["lora.rank=4"]
    start = adapter if kind == "an adapter" else assets / "start"
    attract = ["objective.reference=start", "objective.direction=attract", "objective.log_gradient_ratio_every=0"]
    torch.manual_seed(0)
    ours, one = trained(assets, tmp_path / "a", stage("cdpo", *lora, *LONG, *attract), start=start, reference=start)
    torch.manual_seed(0)
    theirs, other = trained(assets, tmp_path / "b", stage("grpo", *lora, *LONG, "objective.anchor=0.5"), start=start)
    torch.manual_seed(0)
    _, without = trained(assets, tmp_path / "c", stage("grpo", *lora, *LONG), start=start)
    assert (one - without).norm() > 1e-3, "the term moved nothing, so nothing was compared"
    assert (one - other).norm() / (one - without).norm() < 1e-2
    logged = [row["anchor_kl"] for row in theirs.state.log_history if "anchor_kl" in row]
    if kind != "an adapter":  # whose dropout counts as a distance
        assert logged[0] == pytest.approx(0, abs=1e-6)
    assert logged[-1] > 1e-4
    assert not any("kl" in row for row in theirs.state.log_history), "what repels has that name"
    assert [row["kl"] for row in ours.state.log_history if "kl" in row][-1] == pytest.approx(logged[-1], rel=0.2)


def test_anchor_and_repulsion_are_two_terms_of_one_loss(assets: Path, tmp_path: Path) -> None:
    trainer, _ = trained(assets, tmp_path, stage("cdpo", *LONG, "objective.anchor=0.3"))
    first, *_, last = [row for row in trainer.state.log_history if "kl" in row]
    assert first["anchor_kl"] == pytest.approx(0, abs=1e-6), "the policy is its start"
    assert first["kl"] > 1e-3, "and not the bias model"
    assert last["anchor_kl"] > 1e-4


def test_a_bias_model_that_nothing_would_read_is_refused(assets: Path) -> None:
    start = find_checkpoint(str(assets / "start"))
    with pytest.raises(VtError, match=r"--bias-model .*bias: with objective.repulsion = 0 nothing would read it"):
        find_reference(make_stage(Stage.AUTO, {}), start, str(assets / "bias"))
    repelled = find_reference(make_stage(Stage.AUTO, {}, ["objective.repulsion=0.01"]), start, str(assets / "bias"))
    assert repelled is not None
    assert repelled.folder.name == "bias"


def test_saving_leaves_the_frozen_start_out(assets: Path, tmp_path: Path, adapter: Path) -> None:
    config = stage("grpo", "lora.rank=4", "objective.anchor=0.1", "optimizer.steps=1")
    trainer, _ = trained(assets, tmp_path / "out", config, start=adapter)
    trainer.save_policy(tmp_path / "out")
    assert not (tmp_path / "out" / "ref").exists()
    assert find_checkpoint(str(tmp_path / "out")).base == (assets / "start").resolve()


def test_a_constant_rate_rises_and_stays(tmp_path: Path) -> None:
    config = stage("grpo", "optimizer.schedule=constant", "optimizer.warmup_steps=2")
    args = grpo_arguments(config, tmp_path)
    assert (args.lr_scheduler_type, args.warmup_steps) == ("constant_with_warmup", 2)
    assert grpo_arguments(stage("grpo"), tmp_path).lr_scheduler_type == "linear"


B = r"\boxed{B}"
A = r"\boxed{A}"
REPLIES = [
    f"{B}<think>So.</think>{B}",  # right twice
    f"{A}<think>No, B.</think>{B}",  # fixed
    f"{B}<think>No, A.</think>{A}",  # broken
    f"{A}<think> </think>{A}",  # wrong twice, and a blank thought
    rf"\boxed{{Let's analyze the problem step by step.}}<think>Hm.</think>{B}",  # fallback
    f"{B}<think>It never ends",  # broken: no second answer
    "<think>Hm.</think>",  # no answer at all
    A,  # one box: first and second
]
SHARES = {
    "first_right": 3 / 8,
    "second_right": 3 / 8,
    "fix_rate": 1 / 3,  # of replies 2, 4 and 8
    "break_rate": 2 / 3,  # of replies 1, 3 and 6
    "fallback_share": 1 / 8,
    "blank_thought_share": 1 / 8,
}


def test_shares_of_first_and_second_answers_by_hand() -> None:
    found = tally(Answered(read_twice(Letters(), reply, 2), ("B",), Letters()) for reply in REPLIES)._asdict()
    assert found.pop("n") == 8
    assert found == pytest.approx(SHARES)
    assert tally([])._asdict() == {"n": 0} | dict.fromkeys(SHARES)


def test_a_steps_line_says_what_its_replies_answered(assets: Path, tmp_path: Path) -> None:
    """Replies injected: eight to a question per step, the second step's all right twice."""
    raw = {
        "data": {"n_frames": 4, "max_pixels": 12 * 784},
        "rollouts": {"n_replies": 8, "questions_per_step": 1, "max_new_tokens": 8},
        "optimizer": {"steps": 2},
        "model": {"precision": "fp32", "gradient_checkpointing": False, "train_vision": False},
    }
    config = make_stage(Stage.AUTO, raw)
    trainer = make_trainer(assets, tmp_path, config, save_strategy="no", logging_steps=1)
    asked = [{**row, "gold": ["B"], "form": Form.LETTERS, "style": answers.Style.TWICE} for row in rows(assets)]
    trainer.train_dataset = asked
    score = trainer._calculate_rewards

    def said(inputs: Any, prompts: Any, completions: list[str], ids: Any) -> Any:
        return score(inputs, prompts, REPLIES if trainer.state.global_step == 0 else REPLIES[:1] * 8, ids)

    trainer._calculate_rewards = said
    trainer.add_callback(Recorder(trainer, tmp_path, Alarms(), lambda _: None, lambda _: None))
    trainer.train()
    first, second = read_steps(tmp_path / "metrics.jsonl")
    assert {name: getattr(first, name) for name in SHARES} == pytest.approx(SHARES)
    assert (second.first_right, second.second_right, second.fix_rate, second.break_rate) == (1, 1, None, 0)
    kept = read_completions(tmp_path / "completions.parquet")
    assert len(kept) == 16
    assert all(one.n_tokens is not None and 1 <= one.n_tokens <= 8 for one in kept)


_SMALLEST = """
stage = "auto"
[data]
n_frames = 4
max_pixels = 9408
[rollouts]
n_replies = 2
questions_per_step = 2
max_new_tokens = 8
[optimizer]
steps = 2
[model]
precision = "fp32"
gradient_checkpointing = false
"""


def test_the_document_of_a_training_has_the_table_of_both_answers(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second call trains nothing, and says the same."""
    asked = [a_question(f"{scene}:0", gold="A", observer="AB"[scene], n_options=2) for scene in range(2)]
    for one in asked:
        write_clip(tmp_path / "curated" / "videos" / one.question.clip.path, 56, 84, 30 * one.scene_index)
    curated = write_curated(tmp_path / "curated", {"train": asked}, videos_root="videos")
    (tmp_path / "auto.toml").write_text(_SMALLEST)
    command = (
        "train", "auto", "--config", tmp_path / "auto.toml", "--data", curated.folder, "--model", assets / "start",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    said = []
    for _ in range(2):
        capsys.readouterr()
        assert vt(*command) == 0
        said.append(json.loads(capsys.readouterr().out))
    first, again = said
    assert (first["already"], again["already"]) == (False, True)
    assert (first["gate"], first["result"]["steps"]) == (None, 2)
    assert first["answered"] == again["answered"]
    assert (first["answered"]["first_step"], first["answered"]["last_step"]) == (1, 2)
    by_category = first["answered"]["questions"]
    assert {name: row["n"] for name, row in by_category.items()} == {"all": 8, "inferential": 4, "observational": 4}
    assert set(by_category["all"]) == {"n", *SHARES, "n_tokens"}
    assert all(1 <= row["n_tokens"] <= 8 for row in by_category.values())
