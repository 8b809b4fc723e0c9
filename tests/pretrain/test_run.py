"""Pretraining from end to end on a CPU: it learns, it resumes where it was killed, and leaves a checkpoint that answers."""

import math
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from pretrain.school import School
from pretrain.small import SMALL
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from videothinker import store
from videothinker.cli import app
from videothinker.decode import SeenClip
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.pretrain import examine
from videothinker.pretrain.ranks import Ranks
from videothinker.pretrain.run import METRICS, RUN, STATE, Row, _Trainer, pretrain
from videothinker.pretrain.settings import Optimizer, SftConfig, load_sft

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    file = tmp_path_factory.mktemp("config") / "small.toml"
    file.write_text(SMALL)
    return load_sft(file)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, config: SftConfig) -> Path:
    out = tmp_path_factory.mktemp("sft") / "run"
    summary = pretrain(config, out=out)
    assert (summary.steps, summary.finished) == (6, True)
    return out


@pytest.mark.parametrize("file", ["tiny-sft.toml", "tiny-sft-settle.toml", "tiny-sft-cpu.toml"])
def test_the_shipped_configs_load(file: str) -> None:
    config = load_sft(CONFIGS / file)
    assert config.lessons.counterfactual_share == 0.7
    assert config.evaluation.times >= 1


def test_the_second_piece_differs_from_the_first_only_where_its_file_says_so() -> None:
    first, second = (tomllib.loads((CONFIGS / name).read_text()) for name in ("tiny-sft.toml", "tiny-sft-settle.toml"))
    lines = (CONFIGS / "tiny-sft-settle.toml").read_text().splitlines()
    said = {line.partition(" ")[0] for line in lines if " = " in line and "#" in line}
    values = {(section, key): value for section in second if section != "seed" for key, value in second[section].items()}
    changed = {key for (section, key), value in values.items() if first[section].get(key) != value}
    assert first.keys() == second.keys()
    assert first["seed"] == second["seed"]
    assert changed <= said


def test_a_run_learns_and_says_what_it_saw(run: Path, config: SftConfig) -> None:
    rows = store.read_jsonl(run / METRICS, Row)
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


def test_a_stopped_run_goes_on_with_new_scenes(run: Path, tmp_path: Path, config: SftConfig) -> None:
    out = tmp_path / "run"
    reports: list[Row] = []
    first = pretrain(config, out=out, max_minutes=1e-9, report=reports.append)
    assert (first.steps, first.finished) == (0, False)
    assert not store.read_json(out / RUN, dict)["finished"]
    trainer = _Trainer(config, out, None, Ranks(0, 1, "cpu"))
    for row in trainer.rows(0.0, None):
        if row.step == 4:
            break
    # It was killed after step 4 was reported and before it was saved.
    resumed = _Trainer(config, out, None, Ranks(0, 1, "cpu"))
    assert (resumed.step, resumed.next_scene) == (2, trainer.next_scene)
    saved = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).state_dict()
    assert saved.keys() == resumed.model.state_dict().keys()  # no heads in the checkpoint
    for name, weight in resumed.model.state_dict().items():
        assert torch.equal(saved[name], weight.bfloat16().float()), name
    store.write_jsonl(out / METRICS, [row])  # of the killed run
    second = pretrain(config, out=out, report=reports.append)
    assert [row.step for row in store.read_jsonl(out / METRICS, Row)] == [4, 6]
    assert (second.steps, second.finished) == (6, True)
    assert [row.step for row in reports] == [4, 6]
    assert reports[-1].scenes == 32  # 16 before it was stopped, and 16 others
    assert not (out / STATE).exists()
    with pytest.raises(VtError, match="finished"):
        pretrain(config, out=out)
    other = msgspec.structs.replace(config, seed=1)
    with pytest.raises(VtError, match="other settings"):
        pretrain(other, out=out)


def test_a_run_can_begin_with_a_checkpoint_where_its_scenes_ended(run: Path, tmp_path: Path, config: SftConfig) -> None:
    still = msgspec.structs.replace(
        config,
        optimizer=Optimizer(steps=1, rows=4, learning_rate=1e-12, warmup_steps=0),
        world=msgspec.structs.replace(config.world, first_scene=48),
    )
    reports: list[Row] = []
    pretrain(still, out=tmp_path / "run", start=str(run), report=reports.append)
    start, end = (AutoModelForImageTextToText.from_pretrained(folder).state_dict() for folder in (run, tmp_path / "run"))
    assert all(torch.equal(weight, end[name]) for name, weight in start.items())
    before = store.read_jsonl(run / METRICS, Row)[-1]
    assert reports[-1].unseen == before.unseen  # the same weights on the same scenes
    assert reports[-1].scenes == 16


def test_a_checkpoint_without_the_words_cannot_be_gone_on_from(tmp_path: Path, config: SftConfig) -> None:
    start = tiny.build(tmp_path / "start")
    with pytest.raises(VtError, match=r"start: ' 00' is 3 tokens.*leave out --model"):
        pretrain(config, out=tmp_path / "run", start=str(start))


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path, config: SftConfig) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(VtError, match="is not empty"):
        pretrain(config, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_command_trains_and_tells(tmp_path: Path, config: SftConfig) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    arguments = ["train", "sft", "--config", str(file), "--out", str(tmp_path / "run"), "--set", "optimizer.steps=2"]
    stopped = CliRunner().invoke(app, [*arguments, "--max-minutes", "0"])
    assert "stopped at step 0 of 2; the same command goes on" in stopped.output
    finished = CliRunner().invoke(app, arguments)
    assert finished.exit_code == 0, finished.output
    assert "sft: 2 steps" in finished.output
    assert "unseen cf 0.0%" in finished.output


def test_the_rate_rises_stays_and_falls_to_nothing() -> None:
    plan = Optimizer(learning_rate=1.0, warmup_steps=4, decay_share=0.2)
    rates = [plan.rate(step, step / 100) for step in range(100)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[80] == pytest.approx(1.0)
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)
    assert plan.rate(1000, 1.5) == 0


def test_a_rate_that_settles_falls_earlier_and_stays() -> None:
    plan = Optimizer(learning_rate=2.0, warmup_steps=0, decay_share=0.5, settle_share=0.25, settle_rate=0.1)
    assert plan.rate(0, 0.25) == pytest.approx(2.0)
    assert plan.rate(0, 0.5) == pytest.approx(1.0)
    assert [plan.rate(0, gone) for gone in (0.75, 0.9, 1.0)] == pytest.approx([0.2, 0.2, 0.2])
    at_once = Optimizer(learning_rate=2.0, warmup_steps=0, decay_share=0, settle_share=0.25, settle_rate=0.1)
    assert [at_once.rate(0, gone) for gone in (0.74, 0.76)] == pytest.approx([2.0, 0.2])


def test_a_run_by_minutes_ends_decayed_and_finished(tmp_path: Path, config: SftConfig) -> None:
    plan = Optimizer(steps=100_000, rows=4, learning_rate=1e-3, warmup_steps=0, decay_share=0.5, schedule="minutes")
    timed = msgspec.structs.replace(config, optimizer=plan, compute=msgspec.structs.replace(config.compute, log_every=1))
    with pytest.raises(VtError, match="--max-minutes"):
        pretrain(timed, out=tmp_path / "run")
    summary = pretrain(timed, out=tmp_path / "run", max_minutes=0.4)
    rows = store.read_jsonl(tmp_path / "run" / METRICS, Row)
    assert summary.finished
    assert summary.steps == rows[-1].step < 100_000
    assert [row.gone for row in rows] == sorted(row.gone for row in rows)
    assert rows[-1].gone == 1.0
    assert rows[-1].unseen is not None
    for row in rows[1:]:
        assert row.learning_rate <= 1e-3
    assert rows[-1].learning_rate < 3e-4
    record = store.read_json(tmp_path / "run" / RUN, dict)
    assert record["max_minutes"] == 0.4
    assert record["result"]["minutes"] >= 0.4


def test_every_violation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[optimizer]\nsteps = 0\n[lesson]\n[world]\npreset = 3")
    with pytest.raises(VtError, match=r"lesson: unknown.*optimizer\.steps.*world\.preset"):
        load_sft(file)
    for override, why in (
        ("world.preset=none", "choose one of clevrer74"),
        ("lessons.backlog=100", "is not a multiple of 64"),
        ("lessons.backlog=64", "more than lessons.backlog holds"),
        ("optimizer.rows=48", "is not a multiple of optimizer.rows"),
    ):
        with pytest.raises(VtError, match=why):
            load_sft(CONFIGS / "tiny-sft.toml", [override])


def test_scores_count_what_was_answered(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies put in the model's mouth: with `cf` all true, with `obs` all "none", left to itself the observer's answers."""
    scenes, words = school.scenes, school.words
    scene, question = (scenes.lengths[:, :2] > 0).nonzero()
    gold, observer = scenes.gold[scene, question], scenes.observer[scene, question]

    def letters(answers: np.ndarray) -> list[str]:
        return [",".join(np.array(list("ABCD"))[a]) or "none" for a in answers]

    said = {words.modes[1]: letters(gold), words.modes[0]: ["none"] * len(gold), 0: letters(observer)}

    def reply(_: object, __: object, prompts: object, begun: list[list[int]], *___: object) -> list[str]:
        found = []
        for i, start in enumerate(begun):
            answer = said[start[1] if start else 0][i % len(gold)]
            found.append(f"<think>obs x</think><answer>{answer}</answer>")
        return found

    monkeypatch.setattr(examine, "_replies", reply)
    parts = [scenes.take([0, 1, 2]), scenes.take([3, 4, 5, 6, 7])]
    found = examine.examine(school.model, school.processor, parts, school.layout, words, n_questions=2, max_new_tokens=4)
    assert [len(marks.inferential) for marks in found] == [6, 10]
    scores = examine.Scores.of(found)
    is_inferential = (gold != observer).any(-1)
    assert scores.n_questions == len(gold)
    assert (scores.counterfactual, scores.counterfactual_inferential) == (1.0, 1.0)
    assert scores.observed == pytest.approx((~observer.any(-1)).mean())
    assert scores.greedy == pytest.approx((~is_inferential).mean())
    assert (scores.greedy_inferential, scores.shortcut) == (0.0, 1.0)
    assert (scores.chooses_counterfactual, scores.readable) == (0.0, 1.0)


def test_replies_are_those_that_diagnose_gets(school: School) -> None:
    """Generation from features that were seen before gives what the processor's tensors give."""
    from videothinker.pretrain import lessons, packed
    from videothinker.world import draw

    shown = lessons.as_they_are(school.scenes.take([0, 1])).clips()
    frames = draw.frames(shown.rollouts(), width=168, height=112, device="cpu")
    patches = packed.patches(frames, school.processor)
    with torch.inference_mode():
        seen = packed.see(school.model, patches, school.layout)
        prompts = [school.scenes.prompts[i, 0, : school.scenes.lengths[i, 0]].tolist() for i in (0, 1)]
        clips = [SeenClip(features, school.layout.grid, school.layout.seconds_per_grid) for features in seen]
        beginning = school.layout.beginning.tolist()
        asked = [beginning + prompt for prompt in prompts]
        ours = examine._replies(school.model, school.processor, asked, [[], []], clips, 6)
        for i in (0, 1):
            ids = torch.tensor([[*school.layout.beginning.tolist(), *prompts[i]]])
            new = school.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=2 * (ids == school.model.config.video_token_id).int(),
                pixel_values_videos=patches.chunk(2)[i],
                video_grid_thw=torch.tensor([school.layout.grid]),
                second_per_grid_ts=[0.64],
                do_sample=False,
                max_new_tokens=6,
            )
            assert school.processor.decode(new[0, ids.shape[1] :], skip_special_tokens=True) == ours[i]
