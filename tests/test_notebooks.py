"""Labels and predictions as data frames: what is in the files, in both libraries, with "none" and "unreadable" kept apart."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pandas as pd
import polars as pl
import pytest
from curated_factory import a_choice, write_unlabelled
from release_factory import entry, question, write_release

import videothinker
from videothinker import (
    compare,
    estimate,
    load_labels,
    load_predictions,
    load_questions,
    load_runs,
    notebook_statistics,
    notebooks,
    store,
)
from videothinker.curate.build import write
from videothinker.curate.datasets.clevrer.annotations import find_annotations
from videothinker.curate.datasets.clevrer.build import curate, layout
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.curated import label_table, open_curated
from videothinker.diagnose import run
from videothinker.diagnose import settings as diagnosis
from videothinker.diagnose.runs import Run, comparisons, find_curated
from videothinker.diagnose.runs import load_runs as read_runs
from videothinker.errors import VtError
from videothinker.records import Category, Label, LabelSet, Metrics, Pool, Prediction, Status, metrics


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


def test_questions_carry_their_text_labels_facets_and_clip(folder: Path) -> None:
    other = Label(question_id="3:1", observer="still", rule="oracle", category=Category.INFERENTIAL, answer=None)
    store.write_bytes(folder / "labels" / "still.parquet", label_table([LabelSet("still", "oracle", {"3:1": other})]))
    questions = load_questions(folder)
    assert questions.height == 40
    assert questions["question_id"].to_list() == [one.question.question_id for one in open_curated(folder).members]
    (row,) = questions.filter(question_id="3:2").iter_rows(named=True)
    asked = next(one.question for one in open_curated(folder).members if one.question.question_id == "3:2")
    assert (row["text"], row["options"], row["form"]) == (asked.text, list(asked.options), "letters")
    assert (row["clip"], row["start"], row["fps"], row["split"]) == (asked.clip.path, None, None, "validation")
    assert (row["category"], row["oracle"], row["observer"], row["gold"]) == ("inferential", "inferential", "A,B", "A")
    assert (row["polarity"], row["still/oracle"]) == ("will not", None)
    assert questions.filter(question_id="3:1")["still/oracle"].to_list() == ["inferential"]
    frame = load_questions(folder, backend="pandas")
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.loc[0, "options"]) == questions["options"][0].to_list()


def test_labels_from_elsewhere_are_the_category_where_they_are_given(folder: Path, tmp_path: Path) -> None:
    other = Label(question_id="3:1", observer="still", rule="oracle", category=Category.UNSURE, answer=("B",))
    store.write_bytes(tmp_path / "still.parquet", label_table([LabelSet("still", "oracle", {"3:1": other})]))
    (row,) = load_questions(folder, labels=[tmp_path / "still.parquet"]).filter(question_id="3:1").iter_rows(named=True)
    assert (row["category"], row["observer"], row["still/oracle"], row["oracle"]) == ("unsure", "B", "unsure", "observational")


def test_a_facet_with_the_name_of_a_column_stands_beside_it(tmp_path: Path) -> None:
    asked = msgspec.structs.replace(a_choice("x1", gold="B", group="film"), facets={"category": "sport", "length": "long"})
    curated = write_unlabelled(tmp_path / "data", {"test": [asked]})
    (row,) = load_questions(curated.folder).iter_rows(named=True)
    assert (row["category"], row["facet:category"], row["length"]) == (None, "sport", "long")


def test_runs_are_their_questions_and_their_replies(runs: Path, folder: Path) -> None:
    frame = load_runs(runs)
    questions = load_questions(folder)
    assert frame.columns == ["run", *questions.columns, *REPLY]
    for _, rows in frame.group_by("run"):
        assert rows.select(questions.columns).equals(questions)
    old = load_predictions(runs)
    assert frame.select(pl.col("run").alias("model"), "question_id", *REPLY[:4]).equals(
        old.select("model", "question_id", *REPLY[:4])
    )
    assert load_runs(runs / "silent", runs / "watcher", data=folder).equals(frame)
    with pytest.raises(VtError, match="load_runs: got no folder"):
        load_runs()


REPLY = ["chosen", "status", "exact", "soft", "tokens", "logprob", "reply"]


def in_report(pool: Pool) -> tuple[object, ...]:
    """A pool of metrics.json as `estimate` has it."""
    value, ci95 = pool.per_question, pool.per_question.ci95 or (None, None)
    return (pool.n_questions, pool.n_decode_error, pool.n_scenes, value.value, value.stderr, *ci95)


def test_estimates_are_those_of_the_reports(runs: Path) -> None:
    frame = load_runs(runs)
    for name in ("silent", "watcher"):
        told = store.read_json(runs / name / metrics.FILE, Metrics) if name == "silent" else found(runs, name).metrics
        mine = frame.filter(run=name)
        assert estimate(mine).row(0) == in_report(told.all)
        for column in ("oracle", "any-option", "polarity"):
            expected = {value: in_report(pool) for value, pool in told.by_facet[column].items() if pool.n_questions}
            assert {key: tuple(rest) for key, *rest in estimate(mine, by=column).iter_rows()} == expected
        by_run = {(run, kind): tuple(rest) for run, kind, *rest in estimate(frame, by=["run", "oracle"]).iter_rows()}
        assert by_run[name, "inferential"] == in_report(told.inferential)
        soft = told.all.soft
        assert estimate(mine, of="soft").row(0)[3:] == pytest.approx((soft.value, soft.stderr, *(soft.ci95 or ())))


def found(folder: Path, name: str) -> Run:
    return next(each for each in read_runs([folder], find_curated([folder])) if each.name == name)


def test_an_estimate_by_hand() -> None:
    """Scene s has 1, 1, 0 and scene t has 0: the residuals at 2/4 sum to 1/2 and -1/2, so stderr^2 = 2 * (1/4 + 1/4) / 16."""
    frame = pl.DataFrame(
        {"group": ["s", "s", "s", "t", "t"], "exact": [True, True, False, False, None], "kind": [*"xxy", None, "x"]}
    )
    (row,) = estimate(frame).iter_rows(named=True)
    assert (row["n"], row["n_left_out"], row["n_scenes"], row["accuracy"]) == (4, 1, 2, 0.5)
    assert row["stderr"] == pytest.approx(0.25)
    assert estimate(frame, by="kind").select("kind", "n", "n_left_out", "accuracy", "stderr").rows() == [
        ("x", 2, 1, 1.0, None),
        ("y", 1, 0, 0.0, None),
        (None, 1, 0, 0.0, None),
    ]
    assert estimate(frame.clear()).row(0) == (0, 0, 0, None, None, None, None)
    assert estimate(frame.clear(), by="kind").columns[:2] == ["kind", "n"]


def test_changes_are_those_of_the_reports(runs: Path) -> None:
    frame = load_runs(runs)
    rows = {row.measure: row for row in comparisons([found(runs, "silent"), found(runs, "watcher")])}
    a, b = frame.filter(run="silent"), frame.filter(run="watcher").reverse()  # the order of rows is nobody's business
    by = {"all": compare(a, b).row(0, named=True)}
    by |= {row["oracle"]: row for row in compare(a, b, by="oracle").iter_rows(named=True)}
    for measure, mine in by.items():
        told = rows[measure]
        assert (mine["n"], mine["n_scenes"], mine["n_gained"], mine["n_lost"]) == (
            *(told.n_questions, told.n_scenes, told.n_gained, told.n_lost),
        )
        difference = told.difference
        assert [mine[key] for key in ("difference", "stderr", "low", "high", "p_value")] == pytest.approx(
            [difference.value, difference.stderr, *(difference.ci95 or ()), told.p_value]
        )
    assert by["all"]["n_left_out"] == 1
    # Holm over the two rows of one frame: the smaller p-value counts twice, the other at least as much.
    small, large = sorted((by["observational"]["p_value"], by["inferential"]["p_value"]))
    assert sorted((by["observational"]["p_holm"], by["inferential"]["p_holm"])) == [
        min(2 * small, 1),
        max(min(2 * small, 1), large),
    ]


def test_a_change_by_hand() -> None:
    """Two scenes, each of which gained a question: 2 of the 4 ways to swap the runs by scene lead as far, so p = 0.5."""
    a = pl.DataFrame({"question_id": ["p", "q", "r"], "group": ["s", "t", "t"], "exact": [False, False, True]})
    b = a.with_columns(exact=pl.Series([True, True, True]))
    (row,) = compare(a, b).iter_rows(named=True)
    assert (row["n"], row["n_scenes"], row["n_gained"], row["n_lost"]) == (3, 2, 2, 0)
    assert (row["difference"], row["p_value"], row["p_holm"]) == (pytest.approx(2 / 3), 0.5, 0.5)


def test_both_libraries_get_the_same_numbers_in_their_own_frames(runs: Path) -> None:
    ours, theirs = load_runs(runs), load_runs(runs, backend="pandas")
    found = estimate(theirs, by=["run", "oracle"])
    assert isinstance(found, pd.DataFrame)
    assert pl.from_pandas(found).equals(estimate(ours, by=["run", "oracle"]))
    changed = compare(theirs[theirs["run"] == "silent"], theirs[theirs["run"] == "watcher"], by="oracle")
    assert isinstance(changed, pd.DataFrame)
    assert pl.from_pandas(changed).equals(compare(ours.filter(run="silent"), ours.filter(run="watcher"), by="oracle"))


def test_what_cannot_be_estimated_or_paired_is_refused_in_one_line(runs: Path) -> None:
    frame = load_runs(runs)
    a, b = frame.filter(run="silent"), frame.filter(run="watcher")
    refused = {
        "frame: has no column 'orcale'; its columns are run, ": lambda: estimate(frame, by="orcale"),
        "frame: column 'text' is String, expected true and false or numbers from 0 to 1": lambda: estimate(frame, of="text"),
        "frame: column 'n_options' goes from 2 to 2, expected numbers from 0 to 1": lambda: estimate(frame, of="n_options"),
        "frame: column 'options' holds lists": lambda: estimate(frame, by="options"),
        "frame: is a LazyFrame, expected a DataFrame of polars or pandas": lambda: estimate(frame.lazy()),  # type: ignore[type-var]
        "frame: column 'n' has the name of one of the results": lambda: estimate(frame.with_columns(n=1), by="n"),
        "a: column 'soft' is Float64, expected true and false": lambda: compare(a, b, of="soft"),
        "a: holds question 0:1 more than once; give the rows of one run": lambda: compare(frame, b),
        "a and b do not hold the same questions: 1 only in a (such as 0:1) and 2 only in b (such as 19:1)": (
            lambda: compare(a[:-2], b[1:])
        ),
        "a and b have another gold for question 0:1": lambda: compare(a, b.with_columns(gold=pl.lit("C"))),
        "a and b have another options for question 0:1": (
            lambda: compare(a, b.with_columns(options=pl.col("options").list.reverse()))
        ),
    }
    for told, call in refused.items():
        with pytest.raises(VtError, match=re.escape(told)) as error:
            call()
        assert "\n" not in str(error.value)


def test_the_package_offers_its_names_before_they_are_imported() -> None:
    """A fresh interpreter: tab finds what no import has brought yet, and importing the package brings no frames."""
    code = """
import sys, videothinker
light = [name for name in ("polars", "pandas", "numpy", "torch") if name in sys.modules]
print(light, sorted(set(videothinker.__all__) - set(dir(videothinker))))
from videothinker import *
print(estimate.__module__, load_runs.__module__, "torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["[] []", "videothinker.notebook_statistics videothinker.notebooks False"]
    assert set(videothinker.__all__) == {"__version__", *videothinker._MODULES}
    assert videothinker.load_labels is load_labels
    with pytest.raises(AttributeError, match="no attribute 'load_scenes'"):
        _ = videothinker.load_scenes


@pytest.mark.parametrize("module", [notebooks, notebook_statistics], ids=lambda module: module.__name__)
def test_examples_of_the_docstrings_are_what_they_give(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with the repository's sample, and two solvers that were asked about it."""
    sample = Path(__file__).parents[1] / "data" / "sample"
    settings, annotations = Settings(split="sample"), find_annotations(sample / "annotation_train")
    made = curate(annotations, sample / "train.json", None, tmp_path / "curated", settings)
    write(made.curation, tmp_path / "curated", layout(settings), {})
    models = {"none": "solver:none", "observer": "solver:observer"}
    asked = diagnosis.DiagnosisSettings(split="sample")
    run.diagnose(run.plan(models, open_curated(tmp_path / "curated"), asked, tmp_path / "runs"), run.open_answerer)
    monkeypatch.chdir(tmp_path)
    known = {name: getattr(videothinker, name) for name in videothinker.__all__}
    tests = [one for one in doctest.DocTestFinder().find(module, extraglobs=known) if one.examples]
    assert len(tests) == len(module.__all__)
    for one in tests:
        told: list[str] = []
        assert doctest.DocTestRunner().run(one, out=told.append).failed == 0, "".join(told)
