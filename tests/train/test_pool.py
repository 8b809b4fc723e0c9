"""Which questions a run is trained on when labels come from a file or a condition chooses, and what its record says of it."""

from pathlib import Path
from typing import Any

import pytest
from curated_factory import a_question, write_curated, write_labels
from train.trainers import TINY, stage, write_clip
from vt_command import one_error, vt

from videothinker import store
from videothinker.curated import Curated, open_curated
from videothinker.errors import VtError
from videothinker.recipes import training
from videothinker.records import Rule
from videothinker.records.training import Matched
from videothinker.train.data import (
    training_questions,
    undecided,
    warn_about_number,
    warn_about_observer,
    warn_about_undecided,
)

PROBED = {"0:0": "observational", "1:0": "inferential", "2:0": "unsure", "3:0": "observational", "4:0": "unsure"}
"""By the probe; scene 5 has no label. By the log the even scenes are observational."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    asked = [a_question(f"{i}:0", gold="A", observer="B" if i % 2 else "A", n_options=3) for i in range(6)]
    for one in asked:
        write_clip(tmp_path / "curated" / "videos" / one.question.clip.path, 56, 84, 30 * one.scene_index)
    write_curated(tmp_path / "curated", {"train": asked}, videos_root="videos")
    return tmp_path / "curated"


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "probe.parquet", "probe:x", PROBED, blind={"0:0": 0.0, "1:0": 0.25, "2:0": 1.0, "3:0": 0.75})


def ids(data: Curated, *arguments: Any) -> list[str]:
    return [question.question_id for question in training_questions(data, *arguments)]


def test_stage_one_draws_from_the_label_file_and_says_what_is_in_no_pool(folder: Path, probe: Path) -> None:
    data, config, told = open_curated(folder, label_files=[probe]), stage("bias"), []
    assert ids(data, config, None) == ["0:0", "3:0"]
    assert ids(data, config, Rule.ORACLE) == ["0:0", "2:0", "4:0"], "a rule that is named counts before the file"
    warn_about_undecided(undecided(data, config, None, None), data, told.append)
    assert told == [f"{folder}: in no pool: 1 questions without a label, 2 questions unsure"]
    warn_about_undecided(undecided(data, config, Rule.ORACLE, None), data, told.append)
    warn_about_undecided(undecided(data, stage("grpo"), None, None), data, told.append)
    warn_about_observer(training_questions(data, config, None), data.labels_by(None), told.append)
    assert len(told) == 1, "the log decides everything, other stages ask for no category, and the probe gave no answers"


def test_a_condition_comes_before_the_stages_pool_and_the_draw(folder: Path, probe: Path) -> None:
    data = open_curated(folder, label_files=[probe])
    config = stage("bias", "data.where=blind < 0.5")
    matched = Matched(frozenset({"0:0", "1:0"}), n_questions=6, n_unknown=2)
    assert ids(data, config, None, matched) == ["0:0"]
    assert undecided(data, config, None, matched) == (0, 0)
    told: list[str] = []
    warn_about_number(training_questions(data, config, None, matched), data, config, told.append)
    assert "has 1 observational questions for which --where is true" in told[0]
    with pytest.raises(VtError, match="lets no question of split 'train' through"):
        training_questions(data, config, None, Matched(frozenset(), n_questions=6, n_unknown=6))
    with pytest.raises(ValueError, match="its matches have to be given with it"):
        training_questions(data, config, None)


def test_the_record_says_how_the_pool_came_about_and_another_pool_is_another_run(
    folder: Path, probe: Path, assets: Path, tmp_path: Path
) -> None:
    out, start, found = tmp_path / "out", str(assets / "start"), []
    config = stage("bias", "data.where=blind < 0.9", "optimizer.steps=1", "rollouts.questions_per_step=2")
    data = open_curated(folder, label_files=[probe])
    training.train(config, data, start=start, out=out, matched=found.append)
    assert found == [Matched(frozenset({"0:0", "1:0", "3:0"}), n_questions=6, n_unknown=2)]
    record = store.read_json(out / "run.json", dict[str, Any])
    assert record["settings"]["data"]["where"] == "blind < 0.9"
    assert (record["data"]["rule"], record["data"]["n_questions"]) == (None, 2)
    assert record["data"]["pool"] == {
        "labels": {str(probe): store.sha256_file(probe)},
        "label_set": "probe:x/twin",
        "n_split": 6,
        "n_matched": 3,
        "n_unknown": 2,
        "n_unlabelled": 0,
        "n_unsure": 0,
        "sha256": store.sha256_json(["0:0", "3:0"]),
    }
    card = (out / "README.md").read_text()
    assert "labels probe:x/twin" in card
    assert "| Where | `blind < 0.9`: 3 of 6 questions; unknown of 2 |" in card
    elsewhere = tmp_path / "elsewhere.parquet"
    elsewhere.write_bytes(probe.read_bytes())
    again = training.train(config, open_curated(folder, label_files=[elsewhere]), start=start, out=out)
    assert again.already, "a file is known by its contents"
    changed = write_labels(tmp_path / "other.parquet", "probe:x", PROBED | {"1:0": "observational"}, blind={"0:0": 0, "1:0": 0})
    with pytest.raises(VtError, match="holds a training"):
        training.train(config, open_curated(folder, label_files=[changed]), start=start, out=out)


def test_labels_that_nothing_would_read_are_refused(folder: Path, probe: Path, assets: Path, tmp_path: Path) -> None:
    data = open_curated(folder, label_files=[probe])
    with pytest.raises(VtError, match=r"probe\.parquet: stage grpo is trained on all questions, so nothing would read it"):
        training.train(stage("grpo"), data, start=str(assets / "start"), out=tmp_path / "out")
    with pytest.raises(VtError, match=r"probe\.parquet and --rule oracle: each says which questions are observational"):
        training.train(stage("bias"), data, start=str(assets / "start"), out=tmp_path / "out", rule=Rule.ORACLE)
    other = write_labels(tmp_path / "other.parquet", "probe:y", PROBED)
    both = open_curated(folder, label_files=[probe, other])
    with pytest.raises(VtError, match=r"other\.parquet: without --where only the first file, .*probe\.parquet, is read"):
        training.train(stage("bias"), both, start=str(assets / "start"), out=tmp_path / "out")


def test_the_options_of_the_command(
    folder: Path, probe: Path, assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['stage = "grpo"']
    for section, values in TINY.items():
        lines += [f"[{section}]", *(f"{key} = {str(value).lower()}" for key, value in values.items() if key != "precision")]
    (tmp_path / "grpo.toml").write_text("\n".join(lines).replace("[model]", '[model]\nprecision = "fp32"'))
    command = ["train", "grpo", "--config", tmp_path / "grpo.toml", "--data", folder, "--model", assets / "start"]
    command += ["--out", tmp_path / "out", "--dry-run", "--labels", probe]
    assert vt(*command, "--where", "blind < 0.5 or category = 'unsure'") == 0
    said = capsys.readouterr().out
    kept = "where blind < 0.5 or category = 'unsure': 4 of 6 questions of split train are kept, 2 left out (1 of them"
    assert kept in said
    assert "grpo: 1 step" in said
    assert vt(*command, "--where", "blnd < 0.5") == 2
    assert "there is no column 'blnd'; there are question_id" in one_error(capsys)


@pytest.mark.parametrize("where", [None, "category = 'inferential'"])
def test_a_set_without_the_split_to_train_on_is_told_how_to_get_it(tmp_path: Path, where: str | None) -> None:
    data = write_curated(tmp_path, {"test": [a_question("0:0")]})
    config = stage("grpo") if where is None else stage("grpo", f"data.where={where}")
    with pytest.raises(
        VtError, match=r"has no split 'train' to train on; its splits are test\. Curate it with --split train, or"
    ):
        training.train(config, data, start="nowhere", out=tmp_path / "out")
