"""Pretraining from end to end on a CPU: it learns, it resumes where it was killed, and leaves a checkpoint that answers."""

import itertools
import math
from pathlib import Path

import msgspec
import pytest
import torch
from pretrain.small import SMALL
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from videothinker import store
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.checkpoint import Checkpoint
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.record import CurvePoint
from videothinker.pretrain.run import pretrain
from videothinker.pretrain.schedule import Clock
from videothinker.pretrain.settings import OptimizerSettings, PretrainConfig, load_pretraining
from videothinker.pretrain.tower import one_window
from videothinker.pretrain.trainer import STATE, Trainer
from videothinker.records.training import METRICS, RUN

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    file = tmp_path_factory.mktemp("config") / "small.toml"
    file.write_text(SMALL)
    return load_pretraining(file)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, config: PretrainConfig) -> Path:
    out = tmp_path_factory.mktemp("sft") / "run"
    summary = pretrain(config, out=out)
    assert (summary.steps, summary.finished) == (6, True)
    return out


def test_a_run_learns_and_says_what_it_saw(run: Path, config: PretrainConfig) -> None:
    rows = store.read_jsonl(run / METRICS, CurvePoint)
    assert [row.step for row in rows] == [2, 4, 6]
    assert rows[-1].loss < rows[0].loss < math.log(600)
    last = rows[-1]
    assert last.unseen is not None
    assert last.trained is not None
    assert last.unseen.n_questions == last.trained.n_questions == 4
    assert last.scenes == 48  # 16 to begin with, 16 in their place, 16 by which the backlog grows
    assert 0 <= last.named <= 1
    assert 6 * 4 <= last.questions <= 6 * 4 * 2
    assert last.tokens > 6 * 4 * 198  # the clip's own, and more
    record = store.read_json(run / RUN, dict)
    assert record["finished"]
    assert record["result"]["steps"] == 6
    assert "| unseen |" in (run / "README.md").read_text()


def test_a_stopped_run_goes_on_with_new_scenes(run: Path, tmp_path: Path, config: PretrainConfig) -> None:
    out = tmp_path / "run"
    reports: list[CurvePoint] = []
    first = pretrain(config, out=out, max_minutes=1e-9, report=reports.append)
    assert (first.steps, first.finished) == (0, False)
    assert not store.read_json(out / RUN, dict)["finished"]
    trainer = Trainer(config, out, None, Ranks(0, 1, "cpu"))
    for row in trainer.train(0.0, None):
        if row.step == 4:
            break
    # It was killed after step 4 was reported and before it was saved.
    resumed = Trainer(config, out, None, Ranks(0, 1, "cpu"))
    assert (resumed.step, resumed.feed.next_scene) == (2, trainer.feed.next_scene)
    saved = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).state_dict()
    assert saved.keys() == resumed.model.state_dict().keys()  # no heads in the checkpoint
    for name, weight in resumed.model.state_dict().items():
        assert torch.equal(saved[name], weight.bfloat16().float()), name
    store.write_jsonl(out / METRICS, [row])  # of the killed run
    second = pretrain(config, out=out, report=reports.append)
    assert [row.step for row in store.read_jsonl(out / METRICS, CurvePoint)] == [4, 6]
    assert (second.steps, second.finished) == (6, True)
    assert [row.step for row in reports] == [4, 6]
    assert reports[-1].scenes == 32  # 16 before it was stopped, and 16 others
    assert not (out / STATE).exists()
    with pytest.raises(VtError, match="finished"):
        pretrain(config, out=out)
    other = msgspec.structs.replace(config, seed=1)
    with pytest.raises(VtError, match="other settings"):
        pretrain(other, out=out)


def test_an_evaluation_that_fails_loses_nothing_of_a_training(
    run: Path, tmp_path: Path, config: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_examined", lambda *_, **__: 1 / 0)
        pretrained = msgspec.structs.replace(config, evaluation=msgspec.structs.replace(config.evaluation, times=1))
        with pytest.raises(ZeroDivisionError):
            pretrain(pretrained, out=out)
    for name in ("model.safetensors", STATE):
        assert (out / name).is_file()
    again: list[CurvePoint] = []
    summary = pretrain(pretrained, out=out, report=again.append)  # the same command examines what was trained
    assert (summary.steps, summary.finished, [row.step for row in again]) == (6, True, [6])
    rows, whole = store.read_jsonl(out / METRICS, CurvePoint), store.read_jsonl(run / METRICS, CurvePoint)
    assert [row.step for row in rows] == [2, 4, 6]
    assert rows[-1].unseen == whole[-1].unseen is not None


def test_a_run_can_begin_with_a_checkpoint_where_its_scenes_ended(run: Path, tmp_path: Path, config: PretrainConfig) -> None:
    still = msgspec.structs.replace(
        config,
        optimizer=OptimizerSettings(steps=1, sequences_per_step=4, learning_rate=1e-12, warmup_steps=0),
        world=msgspec.structs.replace(config.world, first_scene=48),
    )
    reports: list[CurvePoint] = []
    pretrain(still, out=tmp_path / "run", start=str(run), report=reports.append)
    start, end = (AutoModelForImageTextToText.from_pretrained(folder).state_dict() for folder in (run, tmp_path / "run"))
    assert all(torch.equal(weight, end[name]) for name, weight in start.items())
    before = store.read_jsonl(run / METRICS, CurvePoint)[-1]
    assert reports[-1].unseen == before.unseen  # the same weights on the same scenes
    assert reports[-1].scenes == 16


def test_a_checkpoint_without_the_words_cannot_be_gone_on_from(tmp_path: Path, config: PretrainConfig) -> None:
    start = tiny.build(tmp_path / "start")
    with pytest.raises(VtError, match=r"start: ' 00' is 3 tokens.*leave out --model"):
        pretrain(config, out=tmp_path / "run", start=str(start))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, config: PretrainConfig) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(VtError, match="is not empty"):
        pretrain(config, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("command", [["pretrain"], ["train", "sft"]], ids=" ".join)
def test_the_command_trains_and_tells(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    arguments = [*command, "--config", str(file), "--out", str(tmp_path / "run"), "--set", "optimizer.steps=2"]
    stopped = CliRunner().invoke(app, [*arguments, "--max-minutes", "0"])
    assert "stopped at step 0 of 2; the same command goes on" in stopped.output
    finished = CliRunner().invoke(app, arguments)
    assert finished.exit_code == 0, finished.output
    assert f"{command[-1]}: 2 steps" in finished.output
    assert "unseen cf 0.0%" in finished.output


def test_both_names_of_the_command_have_the_same_options_and_one_says_so() -> None:
    first, second = (CliRunner().invoke(app, [*name, "--help"]).output for name in (["pretrain"], ["train", "sft"]))
    assert first.count("--max-minutes") == second.count("--max-minutes") > 0
    assert "The same command as vt pretrain" in second
    assert first[first.index("--config") :] == second[second.index("--config") :]


def test_steps_are_recorded_only_where_a_picture_is_one_window(run: Path, tmp_path: Path, config: PretrainConfig) -> None:
    """Where it is not, the tower asks the GPU where its windows end, which a recorded step may not do."""
    trainer = Trainer(config, tmp_path / "none", Checkpoint(run, None), Ranks(0, 1, "cpu"))
    assert not one_window(trainer.model, trainer.layout)
    trainer.model.model.visual.config.window_size = 14 * max(trainer.layout.grid[1:])
    assert one_window(trainer.model, trainer.layout)
    asked = msgspec.structs.replace(config, compute=msgspec.structs.replace(config.compute, graph=True))
    with pytest.raises(VtError, match=r"compute\.graph = true needs pictures that fit into a window"):
        Trainer(asked, tmp_path / "asked", Checkpoint(run, None), Ranks(0, 1, "cpu"))


def test_minutes_that_pass_before_the_first_step_finish_nothing(tmp_path: Path, config: PretrainConfig) -> None:
    plan = OptimizerSettings(steps=100_000, sequences_per_step=4, learning_rate=1e-3, decay_share=0.5, schedule="minutes")
    timed = msgspec.structs.replace(config, optimizer=plan)
    for _ in range(2):  # the same command tries again
        outcome = pretrain(timed, out=tmp_path / "run", max_minutes=1e-9)
        assert (outcome.steps, outcome.finished) == (0, False)
        assert not store.read_json(tmp_path / "run" / RUN, dict)["finished"]


class ASecondAStep(Clock):
    """A clock on which a second passes whenever it is looked at, however slow the machine is."""

    def start(self, begins: float, max_minutes: float | None, step: int) -> None:
        seconds = itertools.count(begins)
        self._now = lambda: next(seconds)
        super().start(begins, max_minutes, step)

    def look(self, step: int, seconds_per_step: float) -> None:
        super().look(step, 1.0)


def test_a_run_by_minutes_ends_decayed_and_finished(
    tmp_path: Path, config: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videothinker.pretrain.trainer.Clock", ASecondAStep)
    plan = OptimizerSettings(
        steps=100_000, sequences_per_step=4, learning_rate=1e-3, warmup_steps=0, decay_share=0.5, schedule="minutes"
    )
    timed = msgspec.structs.replace(config, optimizer=plan, compute=msgspec.structs.replace(config.compute, log_every=1))
    with pytest.raises(VtError, match="--max-minutes"):
        pretrain(timed, out=tmp_path / "run")
    summary = pretrain(timed, out=tmp_path / "run", max_minutes=0.2)
    rows = store.read_jsonl(tmp_path / "run" / METRICS, CurvePoint)
    assert summary.finished
    assert summary.steps == rows[-1].step < 100_000
    assert [row.gone for row in rows] == sorted(row.gone for row in rows)
    assert rows[-1].gone == 1.0
    assert rows[-1].unseen is not None
    for row in rows[1:]:
        assert row.learning_rate <= 1e-3
    assert rows[-1].learning_rate < 3e-4
    record = store.read_json(tmp_path / "run" / RUN, dict)
    assert record["max_minutes"] == 0.2
    assert record["result"]["minutes"] >= 0.2
