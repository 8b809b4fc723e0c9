"""A stage from curated folder to finished run: files, resuming to the bit, refusals, and the command line around it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from curated_factory import a_question, write_curated
from stopped import stop
from train.trainers import TINY, stage, write_clip
from transformers import AutoConfig, Qwen2_5_VLConfig
from typer.testing import CliRunner
from vt_command import vt

from videothinker import store
from videothinker.cli import app
from videothinker.cli.train import train_stage
from videothinker.cli.train_display import step_line
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.models.checkpoint import find_checkpoint, load_full
from videothinker.models.decoder import Written
from videothinker.recipes import training
from videothinker.records import Category, Rule
from videothinker.records.training import GateVerdict, StepRecord
from videothinker.steps import read_steps
from videothinker.train import run
from videothinker.train.arguments import rows_at_once
from videothinker.train.build import check_packages
from videothinker.train.data import training_questions, warn_about_number, warn_about_observer
from videothinker.train.rewards import REWARDS, Reward
from videothinker.train.sampling import ReplySampler
from videothinker.train.stages import StageConfig


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    """Four scenes with clips and two questions each; half of the questions are observational under the oracle rule."""
    questions = {
        split: [
            a_question(f"{first + scene}:{qid}", gold="A", observer="A" if qid else "B", n_options=3)
            for scene in range(4)
            for qid in (0, 1)
        ]
        for split, first in {"train": 0, "dev": 10}.items()
    }
    for asked in (one for members in questions.values() for one in members):
        write_clip(tmp_path / "curated" / "videos" / asked.question.clip.path, 56, 84, 30 * (asked.scene_index % 10))
    return write_curated(tmp_path / "curated", questions, videos_root="videos")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_full(find_checkpoint(str(folder)), torch.float32, "sdpa").state_dict()
    return found


def train(config: StageConfig, curated: Curated, assets: Path, out: Path, **arguments: Any) -> Any:
    return run.train(config, data=curated, start=str(assets / "start"), out=out, **arguments)


@pytest.mark.parametrize(
    ("overrides", "off", "expected"),
    [
        ((), 0.0, 0.0),
        (("rollouts.updates_per_batch=2", "optimizer.weight_decay=50"), 0.0, 0.0),
        ((), 0.25, 0.25),
        (("rollouts.temperature=0.7",), 0.0, None),
    ],
)
def test_what_drew_the_replies_is_held_beside_what_scores_them(
    curated: Curated,
    assets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: tuple[str, ...],
    off: float,
    expected: float | None,
) -> None:
    """On a CPU the policy itself writes the replies, so the two are one but for the few tokens of the small vocabulary that may
    not be drawn, about 0.4 % of the chances; a second update changes the policy, and not what it is held beside."""
    draw = ReplySampler.sample

    def skewed(*arguments: Any) -> list[Written]:
        return [Written(reply.tokens, [each + off for each in reply.logprobs]) for reply in draw(*arguments)]

    monkeypatch.setattr(ReplySampler, "sample", skewed)
    config = stage("grpo", "rollouts.engine=graphs", "optimizer.learning_rate=0.01", *overrides)
    train(config, curated, assets, tmp_path / "out")
    found = [row["sampler_difference"] for row in store.read_jsonl(tmp_path / "out" / "metrics.jsonl", dict)]
    assert found == [None if expected is None else pytest.approx(expected, abs=0.01)] * len(found)
    assert len(found) == 2


def test_a_finished_cdpo_run_holds_what_the_contract_names(curated: Curated, assets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(stage("cdpo"), curated, assets, out, bias=str(assets / "bias"))
    rows = store.read_jsonl(out / "metrics.jsonl", dict)
    names = "step loss reward reward/accuracy reward/format kl clamped_share zero_advantage_share entropy length grad_norm"
    names += " sampler_difference"
    apart = "shuffled_accuracy ordered_share repulsion repulsion_gradient_ratio reward_grad_norm divergence_grad_norm"
    twice = "anchor_kl first_right second_right fix_rate break_rate fallback_share blank_thought_share"
    every = {
        *names.split(),
        *apart.split(),
        *twice.split(),
        "replies_about",
        "vision_kept_share",
        "seconds",
        "tokens",
        "alarms",
    }
    assert all(set(row) == every for row in rows)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["kl"] > 0 for row in rows)
    assert all(row["sampler_difference"] is None for row in rows)  # transformers writes the replies
    record = store.read_json(out / "run.json", dict[str, Any])
    assert list(record) == [
        *("stage", "settings", "model", "bias_model", "data", "text_positions", "identity", "finished", "provenance"),
        *("result", "fed", "launch"),
    ]
    assert list(record["data"]) == ["folder", "sha256", "rule", "n_questions", "shown"]
    assert list(record["result"]) == [
        *("out", "steps", "seconds_per_step", "tokens_per_step", "peak_bytes", "parameters", "trainable", "n_asked")
    ]
    assert record["launch"] == {"processes": 1, "mode": "ParallelMode.NOT_PARALLEL"}
    assert record["finished"]
    assert record["settings"]["objective"]["repulsion"] == 0.5
    assert record["bias_model"]["sha256"] != record["model"]["sha256"]
    held = {"n_frames": 4, "height": 56, "width": 84, "video_tokens": 12, "seconds_per_pair": 0.8}
    assert record["fed"] == held | {"n_prompts": 2 * 2, "n_replies": 2 * 2 * 4}
    table = pq.read_table(out / "completions.parquet")
    assert table.column_names == ["step", "question_id", "reply", "accuracy", "format", "advantage", "n_tokens"]
    replies = table.to_pylist()
    assert len(replies) == 2 * 2 * 4
    assert {reply["question_id"] for reply in replies} <= {question.question_id for question in curated.questions("train")}
    assert record["result"]["n_asked"] == 4  # 2 steps of 2 questions
    assert record["data"]["n_questions"] == 8
    assert "| Data | 4 of 8 drawn counterfactual questions" in (out / "README.md").read_text()
    assert "frozen bias model" in (out / "README.md").read_text()
    start, end = weights(assets / "start"), weights(out)
    assert any(not torch.equal(start[name], end[name]) for name in start)


def test_a_reward_is_one_line_of_the_table_and_shows_wherever_rewards_do(
    curated: Curated, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = Reward(lambda completions, **_: [float(i % 2) for i in range(len(completions))])
    monkeypatch.setitem(REWARDS, "spread", spread)
    out, told = tmp_path / "out", []
    config = stage("grpo", "rewards.spread=0.5", "rewards.format=2.0")
    train(config, curated, assets, out, report=lambda step: told.append(step_line(step)))
    for step in read_steps(out / "metrics.jsonl"):
        assert list(step.rewards) == ["accuracy", "format", "spread"]
        assert step.rewards["spread"] == 0.5
        assert step.reward == pytest.approx(step.rewards["accuracy"] + 2 * step.rewards["format"] + 0.25)
    assert all("spread 0.5" in line for line in told)
    replies = pq.read_table(out / "completions.parquet")
    assert replies.column_names == ["step", "question_id", "reply", "accuracy", "format", "spread", "advantage", "n_tokens"]
    assert replies["spread"].to_pylist() == [0.0, 1.0] * 8


@pytest.mark.parametrize("lora", [False, True])
def test_a_killed_run_goes_on_to_the_same_weights_and_records(
    curated: Curated,
    assets: Path,
    tmp_path: Path,
    adapter: Path,
    lora: bool,
) -> None:
    """Also with adapters, where a checkpoint holds the frozen one beside the policy's."""
    config = stage("cdpo", "optimizer.steps=4", "saving.save_every=2", *(["lora.rank=4"] if lora else []))
    bias = str(adapter if lora else assets / "bias")
    for name in ("whole", "killed"):
        seen: list[int] = []

        def stop(row: StepRecord, name: str = name, seen: list[int] = seen) -> None:
            seen.append(row.step)
            if name == "killed" and row.step == 3:
                raise KeyboardInterrupt

        try:
            train(config, curated, assets, tmp_path / name, bias=bias, report=stop)
        except KeyboardInterrupt:
            unfinished = store.read_json(tmp_path / name / "run.json", dict[str, Any])
            assert not unfinished["finished"]
            assert not {"result", "fed", "launch"} & set(unfinished)
    train(config, curated, assets, tmp_path / "killed", bias=bias)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert any(not torch.equal(whole[name], value) for name, value in weights(assets / "start").items())
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    rows = [read_steps(tmp_path / name / "metrics.jsonl") for name in ("whole", "killed")]
    same = [[msgspec.structs.replace(row, seconds=None) for row in each] for each in rows]
    assert same[0] == same[1]
    replies = [pq.read_table(tmp_path / name / "completions.parquet") for name in ("whole", "killed")]
    assert replies[0].equals(replies[1])
    records = [store.read_json(tmp_path / name / "run.json", dict[str, Any]) for name in ("whole", "killed")]
    for record in records:  # 4 steps of 2 questions with 4 replies each, in one session or in two
        assert (record["fed"]["n_prompts"], record["fed"]["n_replies"]) == (8, 32)
    assert records[0]["fed"] == records[1]["fed"]
    assert records[0]["result"]["n_asked"] == records[1]["result"]["n_asked"]
    assert records[0]["result"]["tokens_per_step"] == records[1]["result"]["tokens_per_step"]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was written, and what it holds."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()}


def test_the_same_folder_refuses_other_settings_and_leaves_a_finished_run_as_it_is(
    curated: Curated, assets: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    config = stage("grpo", "optimizer.steps=1")
    first = train(config, curated, assets, out)
    assert not first.already
    before = files(out)
    again = train(config, curated, assets, out)
    assert (again.result, again.already) == (first.result, True)
    assert files(out) == before
    with pytest.raises(VtError, match=r"a training with other settings or data: settings\.seed was 42, is 1;"):
        train(stage("grpo", "optimizer.steps=1", "seed=1"), curated, assets, out)
    with pytest.raises(VtError, match=r"is not empty and holds no run\.json"):
        train(config, curated, assets, curated.folder)
    store.write_json(out / "run.json", {"name": "base", "model": "base", "kind": "checkpoint"})
    with pytest.raises(VtError, match=r"its run\.json is not of a training"):
        train(config, curated, assets, out)


def test_the_other_processes_of_a_launch_leave_a_finished_run_alone_too(
    curated: Curated, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stage("grpo", "optimizer.steps=1")
    first = train(config, curated, assets, tmp_path / "out")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(run, "_run", lambda *_args, **_kwargs: pytest.fail("would wait for the main process for ever"))
    assert train(config, curated, assets, tmp_path / "out") == (first.result, True)


def without_marks(assets: Path, folder: Path) -> Path:
    """start/ and bias/ as an earlier version left them, which trained under transformers' rule and said so nowhere."""
    for name in ("start", "bias"):
        shutil.copytree(assets / name, folder / name)
        config = store.read_json(folder / name / "config.json", dict[str, Any])
        assert config.pop("text_positions") == "original"
        store.write_json(folder / name / "config.json", config)
    return folder


def as_written_before_there_were_rewards(out: Path, rule: str) -> None:
    """Make run.json what an earlier version wrote: no settings.rewards, no rule of text positions, a rule of every stage in the
    identity."""
    record = store.read_json(out / "run.json", dict[str, Any])
    del record["settings"]["rewards"], record["settings"]["model"]["text_positions"], record["text_positions"]
    record["data"]["rule"] = rule
    settings = {name: value for name, value in record["settings"].items() if name != "saving"}
    data = {name: value for name, value in record["data"].items() if name != "folder"}
    hashes = [record[name] and record[name]["sha256"] for name in ("model", "bias_model")]
    decides = {"settings": settings, "data": data, "hashes": hashes, "save_every": record["settings"]["saving"]["save_every"]}
    record["identity"] = store.sha256_json(decides)
    store.write_json(out / "run.json", record)


@pytest.mark.parametrize(
    ("name", "rule", "resumed"),
    [("bias", "oracle", True), ("bias", "any-option", False), ("cdpo", "any-option", True), ("grpo", "any-option", True)],
)
def test_a_folder_of_the_version_before_rewards_is_the_same_run(
    curated: Curated, assets: Path, tmp_path: Path, name: str, rule: str, resumed: bool
) -> None:
    """Killed in its third step of four; of the rule only stage bias depends."""
    config = stage(name, "optimizer.steps=4", "saving.save_every=2")
    marked, assets = assets, without_marks(assets, tmp_path / "earlier")
    out, given = tmp_path / "out", {"bias": str(assets / "bias")} if name == "cdpo" else {}

    def stop(step: StepRecord) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, curated, assets, out, report=stop, **given)
    as_written_before_there_were_rewards(out, rule)
    if not resumed:
        with pytest.raises(VtError, match=r"other settings or data: data\.rule was "):
            train(config, curated, assets, out, **given)
        return
    other = stage(name, "optimizer.steps=4", "saving.save_every=2", "rewards.format=0.5")
    with pytest.raises(VtError, match=r"settings\.rewards\.format was 1\.0, is 0\.5"):
        train(other, curated, assets, out, **given)
    with pytest.raises(VtError, match=r'settings\.model\.text_positions was "transformers", is "original"'):
        train(config, curated, marked, out, **{key: ref.replace(str(assets), str(marked)) for key, ref in given.items()})
    steps: list[int] = []
    train(config, curated, assets, out, report=lambda step: steps.append(step.step), **given)
    assert steps == [3, 4], "it went on from its checkpoint"
    as_written_before_there_were_rewards(out, rule)
    assert train(config, curated, assets, out, **given).already


def test_only_stage_bias_takes_a_rule(curated: Curated, assets: Path, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="only stage bias is trained on a category"):
        train(stage("grpo"), curated, assets, tmp_path / "out", rule=Rule.ORACLE)


def test_stage_one_takes_observational_questions_under_the_rule_it_is_given(curated: Curated) -> None:
    config = stage("bias")
    own = training_questions(curated, config, None)
    assert {curated.labels.category(question.question_id) for question in own} == {Category.OBSERVATIONAL}
    assert len(own) == 4
    assert len(training_questions(curated, config, Rule.ANY_OPTION)) == 8
    assert len(training_questions(curated, stage("grpo"), None)) == 8


def test_questions_are_drawn_by_content_so_that_a_larger_draw_adds_to_a_smaller(curated: Curated) -> None:
    drawn = [
        {question.question_id for question in training_questions(curated, stage("grpo", f"data.n_questions={n}"), None)}
        for n in (3, 5)
    ]
    assert len(drawn[0]) == 3
    assert drawn[0] < drawn[1]


def test_fewer_questions_than_asked_for_are_called_out(curated: Curated) -> None:
    told: list[str] = []
    for name, n in (("grpo", 8), ("grpo", 9), ("bias", 5)):
        config = stage(name, f"data.n_questions={n}")
        warn_about_number(training_questions(curated, config, None), curated, config, told.append)
    folder = curated.folder
    assert told == [
        f"{folder}: split 'train' has 8 questions, data.n_questions = 9; all 8 are drawn",
        f"{folder}: split 'train' has 4 observational questions, data.n_questions = 5; all 4 are drawn",
    ]


def test_a_missing_clip_is_refused_before_any_model_is_loaded(curated: Curated, assets: Path, tmp_path: Path) -> None:
    (curated.folder / "videos" / "video_00002.mp4").unlink()
    with pytest.raises(VtError, match=r"2 of 8 training questions lack their clip.*video_00002\.mp4"):
        train(stage("grpo"), curated, Path("no such model"), tmp_path / "out")


def test_labels_that_an_observer_answers_badly_are_called_out(curated: Curated) -> None:
    told: list[str] = []
    warn_about_observer(training_questions(curated, stage("bias"), None), curated.labels, told.append)
    assert told == []
    other = curated.labels.under(Rule.ANY_OPTION)
    warn_about_observer(training_questions(curated, stage("bias"), Rule.ANY_OPTION), other, told.append)
    assert "an observer answers only 50%" in told[0]
    assert "--rule oracle" in told[0]


def test_repulsion_needs_a_bias_model(curated: Curated, assets: Path, tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"needs a bias model.*--bias-model"):
        train(stage("cdpo"), curated, assets, tmp_path / "out")


def test_too_few_questions_for_one_step_are_refused(curated: Curated, assets: Path, tmp_path: Path) -> None:
    """TRL would drop the unfilled batch and train on nothing."""
    with pytest.raises(VtError, match="8 training questions do not fill one step"):
        train(stage("grpo", "rollouts.questions_per_step=9"), curated, assets, tmp_path / "out")


def test_a_tracker_that_is_not_installed_is_refused_before_any_model_is_loaded() -> None:
    with pytest.raises(VtError, match="the package 'trackio' is not installed"):
        check_packages(stage("grpo", 'saving.report_to=["tensorboard", "trackio"]'))


WANDB = """
import json
run = None
class Config(dict):
    def update(self, values, **_): super().update(values)
config = Config()
class Run:
    name, id, project, url = "a run", "1", "huggingface", ""
    summary, config, _label = {}, config, lambda *_, **__: None
def init(**_):
    global run
    run = Run()
def log(row, **_):
    with open(LOGGED, "a") as file:
        file.write(json.dumps(row, default=str) + "\\n")
def define_metric(*_, **__): pass
def watch(*_, **__): pass
def finish(*_, **__): pass
"""


def test_a_tracker_gets_every_step(curated: Curated, assets: Path, tmp_path: Path) -> None:
    """A stand-in for wandb, which is not installed here; in a process of its own, for libraries remember what they found."""
    library = tmp_path / "wandb" / "sdk" / "lib"
    library.mkdir(parents=True)
    (library / "config_util.py").write_text("class ConfigError(Exception): pass")
    (tmp_path / "wandb" / "__init__.py").write_text(WANDB.replace("LOGGED", repr(str(tmp_path / "logged.jsonl"))))
    settings = msgspec.json.encode(stage("grpo", "saving.report_to=wandb", "optimizer.steps=2", "data.n_questions=8")).decode()
    (tmp_path / "train.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "import msgspec\n"
        "from videothinker.curated import open_curated\n"
        "from videothinker.train import run\n"
        "from videothinker.train.stages import StageConfig\n"
        f"config = msgspec.json.decode({settings!r}, type=StageConfig)\n"
        f"data = open_curated(Path({str(curated.folder)!r}), Path({str(curated.videos_root)!r}))\n"
        f"run.train(config, data=data, start={str(assets / 'start')!r}, out=Path({str(tmp_path / 'out')!r}))\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "train.py")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    logged = [msgspec.json.decode(line) for line in (tmp_path / "logged.jsonl").read_text().splitlines()]
    rewards = [row["train/reward"] for row in logged if "train/reward" in row]
    rows = [msgspec.json.decode(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert rewards == pytest.approx([row["reward"] for row in rows])


def test_an_alarm_can_stop_the_run(curated: Curated, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from videothinker.train.record import Watch

    monkeypatch.setattr(Watch, "look", lambda self, row: ("too long",) if row.step == 2 else ())
    told: list[str] = []
    config = stage("grpo", "optimizer.steps=5", "alarms.stop=true", "saving.save_every=5", "data.n_questions=8")
    outcome = train(config, curated, assets, tmp_path / "out", warn=told.append)
    assert outcome.result.steps == 2
    assert told == ["step 2: too long"]
    assert (tmp_path / "out" / "checkpoint-2").is_dir()


def test_a_run_that_an_alarm_ended_and_that_was_killed_takes_no_further_step(
    curated: Curated, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the checkpoint of its last step and before run.json says that it is finished."""
    from videothinker.train.clip_grpo import ClipGRPOTrainer
    from videothinker.train.record import Watch

    monkeypatch.setattr(Watch, "look", lambda self, row: ("too long",) if row.step == 2 else ())
    config = stage("grpo", "optimizer.steps=4", "alarms.stop=true", "saving.save_every=1")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as saving:
        saving.setattr(ClipGRPOTrainer, "save_policy", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, curated, assets, out)
    seen: list[int] = []
    outcome = train(config, curated, assets, out, report=lambda row: seen.append(row.step))
    assert (seen, outcome.result.steps) == ([], 2)
    assert [row.step for row in read_steps(out / "metrics.jsonl")] == [1, 2]
    assert store.read_json(out / "run.json", dict[str, Any])["fed"]["n_replies"] == 2 * 2 * 4
    saved = find_checkpoint(str(out / "checkpoint-2"))
    there = load_full(saved, torch.float32, "sdpa").state_dict()
    assert all(torch.equal(value, there[name]) for name, value in weights(out).items())


def write_toml(path: Path, name: str) -> Path:
    sections = {section: dict(values) for section, values in TINY.items()}
    if name == "cdpo":
        sections["objective"] = {"repulsion": 0.5}
    lines = [f'stage = "{name}"']
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines))
    return path


def test_the_commands_from_bias_through_its_gate_to_cdpo(curated: Curated, assets: Path, tmp_path: Path) -> None:
    def vt(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    common = ("--data", curated.folder, "--model", assets / "start")
    bias = vt("bias", "--config", write_toml(tmp_path / "bias.toml", "bias"), *common, "--out", tmp_path / "bias")
    assert bias.exit_code == 0, bias.output
    gate = store.read_json(tmp_path / "bias" / "gate.json", dict[str, Any])
    assert not gate["passed"]
    assert gate["start"]["n_inferential"] == gate["bias"]["n_inferential"] == 4
    (tmp_path / "bias" / "gate.json").unlink()  # as if killed before its gate: only that is done again
    again = vt("bias", "--config", tmp_path / "bias.toml", *common, "--out", tmp_path / "bias")
    assert again.exit_code == 0, again.output
    assert store.read_json(tmp_path / "bias" / "gate.json", dict[str, Any]) == gate
    before = files(tmp_path / "bias")
    done = vt("bias", "--config", tmp_path / "bias.toml", *common, "--out", tmp_path / "bias")
    assert done.exit_code == 0, done.output
    assert "finished already, 2 steps" in done.output
    assert f"curves in {tmp_path / 'bias' / 'curves.html'}" in done.output
    assert "curves.html" in before
    assert "gate not passed" in done.output
    assert files(tmp_path / "bias") == before
    config = write_toml(tmp_path / "cdpo.toml", "cdpo")
    arguments = ("cdpo", "--config", config, *common, "--bias-model", tmp_path / "bias", "--out", tmp_path / "cdpo")
    refused = vt(*arguments)
    assert isinstance(refused.exception, VtError)
    assert "gate.json: undecided: too few questions" in str(refused.exception)
    same = vt(*arguments, "--force", "--dry-run")  # nothing earned, so nothing learnt: the bias model is its start
    assert isinstance(same.exception, VtError)
    assert "very weights that training starts from" in str(same.exception)
    forced = vt(*arguments[:-4], "--bias-model", assets / "bias", "--out", tmp_path / "cdpo", "--force", "--dry-run")
    assert forced.exit_code == 0, forced.output
    assert "peak memory" in forced.output
    assert "tokens each" in forced.output
    assert not (tmp_path / "cdpo").exists()
    no_rule = vt(*arguments, "--rule", "oracle", "--force")
    assert isinstance(no_rule.exception, VtError)
    assert "only stage bias is trained on a category" in str(no_rule.exception)


def test_the_function_for_other_commands_returns_what_the_run_came_to(curated: Curated, assets: Path, tmp_path: Path) -> None:
    config = stage("grpo", "optimizer.steps=1")
    result, already = train_stage(config, curated, start=str(assets / "start"), folder=tmp_path / "out")
    assert not already
    assert (result.steps, result.trainable) == (1, result.parameters)


def test_a_recipe_trains_and_gates_in_one_call_and_prints_nothing(
    curated: Curated, assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: dict[str, list[int]] = {}

    @contextmanager
    def bar(description: str, total: int, unit: str) -> Iterator[Any]:
        bars[f"{description}: {total} {unit}"] = advanced = []
        yield advanced.append

    config, start = stage("bias"), str(assets / "start")
    capsys.readouterr()
    made = training.train_bias(config, curated, start=start, out=tmp_path / "out", bars=bar)
    assert not capsys.readouterr().out
    assert {name: sum(advanced) for name, advanced in bars.items() if advanced} == {
        "training bias: 2 steps": 2,
        "checking the bias model start: 8 questions": 8,
        "checking the bias model bias: 8 questions": 8,
    }
    assert made.outcome.result.steps == 2
    assert made.verdict == store.read_json(tmp_path / "out" / "gate.json", GateVerdict)
    bars.clear()
    again = training.train_bias(config, curated, start=start, out=tmp_path / "out", bars=bar)
    assert again.outcome.already
    assert again.verdict == made.verdict
    assert not any(bars.values())  # nothing was done again
    monkeypatch.setenv("RANK", "1")
    assert training.train_bias(config, curated, start=start, out=tmp_path / "out").verdict is None


def test_a_small_model_is_scored_in_a_pass_or_two_and_a_large_one_question_by_question(
    assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = stage("grpo", "rollouts.questions_per_step=64", "rollouts.n_replies=8", "data.max_pixels=18816")
    small = AutoConfig.from_pretrained(assets / "start")
    large = Qwen2_5_VLConfig(text_config={"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36})
    rows = rows_at_once(config, small)
    assert rows % 8 == 0
    assert 512 % rows == 0
    assert rows >= 128
    assert rows_at_once(config, large) == 8
    long = stage("grpo", "rollouts.questions_per_step=64", "rollouts.n_replies=8", "rollouts.max_new_tokens=96")
    text = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8}
    middling = Qwen2_5_VLConfig(text_config=text)
    plain = msgspec.structs.replace(long, rollouts=msgspec.structs.replace(long.rollouts, shared_prompts=False))
    assert rows_at_once(long, middling) == 512, "a step of which every prompt is computed once fits"
    assert rows_at_once(plain, middling) < 512
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert 128 % rows_at_once(config, small) == 0


def test_ctrl_c_ends_a_training_and_the_same_command_goes_on(curated: Curated, assets: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "out", write_toml(tmp_path / "grpo.toml", "grpo")
    command = ["train", "grpo", "--config", config, "--data", curated.folder, "--model", assets / "start", "--out", out]
    command += ["--set", "optimizer.steps=4", "--set", "saving.save_every=1"]
    stop(command, signal.SIGINT, when=lambda: (out / "checkpoint-1" / "trainer_state.json").exists())
    assert vt(*command) == 0
    assert store.read_json(out / "run.json", dict[str, Any])["finished"]
    assert [step.step for step in read_steps(out / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_checkpoint_cut_short_while_it_was_saved_does_not_count(curated: Curated, assets: Path, tmp_path: Path) -> None:
    """A kill between the first file of checkpoint-4 and its mark; and one after the last step, where no step may be taken."""
    config = stage("grpo", "optimizer.steps=4", "saving.save_every=2", "saving.keep=2")
    whole = tmp_path / "whole"
    train(config, curated, assets, whole)
    assert sorted(path.name for path in whole.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    record = store.read_json(whole / "run.json", dict[str, Any])
    unfinished = {name: value for name, value in record.items() if name not in ("result", "fed", "launch")}
    for torn in (True, False):
        out = tmp_path / f"torn-{torn}"
        shutil.copytree(whole, out)
        store.write_json(out / "run.json", unfinished | {"finished": False})
        (out / "model.safetensors").unlink()
        if torn:
            (out / "checkpoint-4" / "whole.json").unlink()
            (out / "checkpoint-4" / "trainer_state.json").unlink()
        told: list[str] = []
        seen: list[int] = []
        train(config, curated, assets, out, warn=told.append, report=lambda row, seen=seen: seen.append(row.step))
        line = f"{out / 'checkpoint-4'} was not saved as a whole; going on from {out / 'checkpoint-2'}"
        assert [one for one in told if "whole" in one] == ([line] if torn else [])
        assert seen == ([3, 4] if torn else [])
        assert all(torch.equal(value, weights(out)[name]) for name, value in weights(whole).items())
        assert [row.step for row in read_steps(out / "metrics.jsonl")] == [1, 2, 3, 4]
        again = store.read_json(out / "run.json", dict[str, Any])
        assert (again["finished"], again["fed"], again["result"]["steps"]) == (True, record["fed"], 4)
        assert (out / "checkpoint-4" / "whole.json").is_file()
