"""Labels and predictions as data frames: what is in the files, in both libraries, with "none" and "unreadable" kept apart."""

from pathlib import Path

import msgspec
import pandas as pd
import polars as pl
import pytest
from curated_factory import a_choice, write_unlabelled
from release_factory import entry, question, write_release

import videothinker
from videothinker import load_labels, load_predictions, store
from videothinker.curate.build import write
from videothinker.curate.datasets.clevrer.annotations import find_annotations
from videothinker.curate.datasets.clevrer.build import curate, layout
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.curated import label_table, open_curated
from videothinker.diagnose import run
from videothinker.diagnose import settings as diagnosis
from videothinker.errors import VtError
from videothinker.records import Category, Label, LabelSet, Prediction, Status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 scenes, two questions each: the observer has the first right (A), and says A,B to the second (gold A)."""
    questions = question(1, 2, [(0, 1), (0, 3)], "A"), question(2, 2, [(1, 3), (3, 4)], "A", negated=True)
    release = write_release(tmp_path / "release", [entry(index, *questions) for index in range(20)])
    out = tmp_path / "curated"
    settings, found = Settings(split="validation"), find_annotations(release / "annotation_train")
    write(curate(found, release / "train.json", None, out, settings).curation, out, layout(settings), {})
    return out


def test_labels_are_the_parquet_file(folder: Path) -> None:
    labels = load_labels(folder)
    assert labels.equals(pl.read_parquet(folder / "labels.parquet"))
    frame = load_labels(str(folder), backend="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert frame["question_id"].tolist() == labels["question_id"].to_list()
    assert frame["in_train_set"].dtype == bool
    assert frame.loc[1, "observer"] == "A,B"


def test_only_a_finished_folder_is_read(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    with pytest.raises(VtError, match=r"has no manifest\.json, so it is not a finished curated folder"):
        load_labels(folder)
    (tmp_path / "manifest.json").rename(folder / "manifest.json")
    with pytest.raises(VtError, match="backend 'dask': expected 'polars' or 'pandas'"):
        load_labels(folder, backend="dask")  # type: ignore[call-overload]


@pytest.fixture
def runs(folder: Path, tmp_path: Path) -> Path:
    """The observer and "none" on all questions, the observer's first replies damaged."""
    curated = open_curated(folder)
    out = tmp_path / "runs"
    models = {"watcher": "solver:observer", "silent": "solver:none"}
    run.diagnose(run.plan(models, curated, diagnosis.DiagnosisSettings(split="validation"), out), run.open_answerer)
    path = out / "watcher" / run.PREDICTIONS
    lines = {line.question_id: line for line in store.read_jsonl(path, Prediction)}
    for question_id, status in (("0:1", Status.DECODE_ERROR), ("0:2", Status.NO_ANSWER)):
        lines[question_id] = msgspec.structs.replace(lines[question_id], chosen=None, status=status, reply="")
    store.write_jsonl(path, lines.values())
    return out


def test_predictions_are_one_row_a_model_and_question(runs: Path, folder: Path) -> None:
    replies = load_predictions(runs)
    assert replies.height == 80
    assert replies["model"].unique(maintain_order=True).to_list() == ["silent", "watcher"]

    def row(model: str, question_id: str) -> dict[str, object]:
        return replies.row(by_predicate=(pl.col("model") == model) & (pl.col("question_id") == question_id), named=True)

    first = row("watcher", "3:1")
    assert (first["chosen"], first["gold"], first["exact"], first["soft"], first["n_options"]) == ("A", "A", True, 1.0, 2)
    assert (first["scene_index"], first["oracle"], first["status"]) == (3, "observational", "ok")
    assert (first["group"], first["category"], first["any_option"]) == ("3", "observational", "observational")
    second = row("watcher", "3:2")
    assert (second["chosen"], second["observer"], second["exact"], second["soft"]) == ("A,B", "A,B", False, 0.0)
    assert (row("silent", "3:1")["chosen"], row("silent", "3:1")["exact"]) == ("", False)
    unreadable, undecoded = row("watcher", "0:2"), row("watcher", "0:1")
    assert (unreadable["chosen"], unreadable["exact"], unreadable["soft"]) == (None, False, 0.0)
    assert (undecoded["chosen"], undecoded["exact"], undecoded["soft"]) == (None, None, None)

    by_category = replies.filter(pl.col("model") == "watcher").group_by("oracle").agg(pl.col("exact").mean())
    assert dict(by_category.iter_rows()) == {"observational": 1.0, "inferential": 0.0}
    only = load_predictions(runs / "watcher", backend="pandas", data=folder)
    assert isinstance(only, pd.DataFrame)
    assert len(only) == 40


def test_columns_of_the_rules_are_the_collision_logs_whoever_else_has_labels(runs: Path, folder: Path) -> None:
    other = Label(question_id="3:1", observer="still", rule="oracle", category=Category.INFERENTIAL, answer=None)
    store.write_bytes(folder / "labels" / "still.parquet", label_table([LabelSet("still", "oracle", {"3:1": other})]))
    replies = load_predictions(runs).filter(pl.col("question_id") == "3:1")
    assert replies["oracle"].to_list() == ["observational"] * 2


def test_predictions_of_a_set_without_labels(tmp_path: Path) -> None:
    curated = write_unlabelled(tmp_path / "data", {"test": [a_choice("x1", gold="B", group="film")]})
    jobs = run.plan({"top": "solver:gold"}, curated, diagnosis.DiagnosisSettings(split="test"), tmp_path / "runs")
    run.diagnose(jobs, run.open_answerer)
    (row,) = load_predictions(tmp_path / "runs").iter_rows(named=True)
    assert (row["group"], row["chosen"], row["gold"], row["exact"], row["soft"]) == ("film", "B", "B", True, 1.0)
    assert [row[name] for name in ("scene_index", "category", "oracle", "observer")] == [None] * 4


def test_the_package_offers_both_and_nothing_else() -> None:
    assert videothinker.load_labels is load_labels
    with pytest.raises(AttributeError, match="no attribute 'load_scenes'"):
        _ = videothinker.load_scenes
