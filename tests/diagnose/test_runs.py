"""Saved predictions are scored again, under any rule, without a model; what does not fit together is refused."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from curated_factory import random_questions, write_curated

from videothinker import store
from videothinker.curated import Curated, label_table, open_curated
from videothinker.diagnose import run, runs
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.observers import oracle
from videothinker.records import Category, Label, LabelSet, Metrics, Prediction, Rule, Status
from videothinker.records.run import Partial


def diagnose(curated: Curated, out: Path, *models: str, split: str = "dev", **options: Any) -> None:
    jobs = run.plan(run.model_names(models), curated, DiagnosisSettings(split=split), out, **options)
    run.diagnose(jobs, run.open_answerer)


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    return write_curated(tmp_path / "curated")


def test_a_loaded_run_is_the_one_that_was_written(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:observer", "solver:random")
    assert runs.find_curated([tmp_path / "runs"]).folder == curated.folder.resolve()
    observer, random = runs.load_runs([tmp_path / "runs"], curated)
    assert (observer.name, random.name, observer.reference) == ("observer", "random", False)
    assert observer.record.model == "solver:observer"
    assert observer.metrics == store.read_json(tmp_path / "runs" / "observer" / run.METRICS, Metrics)
    assert [question.question_id for question in random.questions] == [row.question_id for row in random.predictions]


def test_metrics_come_from_the_predictions_alone(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:gold")
    path = tmp_path / "runs" / "gold" / run.PREDICTIONS
    rows = store.read_jsonl(path, Prediction)
    store.write_jsonl(path, [msgspec.structs.replace(rows[0], chosen=None), *rows[1:]])
    (tmp_path / "runs" / "gold" / run.METRICS).write_text("{}")
    (loaded,) = runs.load_runs([tmp_path / "runs"], curated)
    assert loaded.metrics.all.per_question.value == pytest.approx(1 - 1 / len(rows))
    (again,) = runs.read_again([loaded])
    assert again.metrics.all.per_question.value == 1.0
    assert again.predictions[0].status is Status.OK


def test_another_rule_moves_questions_between_the_categories(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:observer")
    (oracle,) = runs.load_runs([tmp_path / "runs"], curated)
    (paper,) = runs.load_runs([tmp_path / "runs"], curated, Rule.ANY_OPTION)
    assert paper.metrics.rule == Rule.ANY_OPTION
    assert paper.metrics.observational == oracle.metrics.by_rule[Rule.ANY_OPTION].observational
    assert paper.metrics.all == oracle.metrics.all
    any_option = next(each for each in curated.labels.sets if each.rule == Rule.ANY_OPTION)
    kinds = {question.question_id: any_option.by_question[question.question_id].category for question in paper.questions}
    assert paper.metrics.observational.n_questions == sum(kind is Category.OBSERVATIONAL for kind in kinds.values())
    assert {key: paper.labels.category(key) for key in kinds} == kinds


def test_labels_that_are_laid_beside_a_finished_run_score_it_too(curated: Curated, tmp_path: Path) -> None:
    """Half of the questions have a label by someone who answers B whatever is asked."""
    diagnose(curated, tmp_path / "runs", "solver:observer")
    labels = {
        question.question_id: Label(
            question_id=question.question_id,
            observer="stubborn",
            rule="oracle",
            category=oracle(("B",), question.gold),
            answer=("B",),
        )
        for question in curated.questions("dev")[::2]
    }
    store.write_bytes(curated.folder / "labels" / "b.parquet", label_table([LabelSet("stubborn", "oracle", labels)]))
    beside = open_curated(curated.folder)
    (plain,) = runs.load_runs([tmp_path / "runs"], beside)
    assert plain.metrics.shortcut_reliance.value == 1.0  # the collision log's observer still is the folder's own
    (other,) = runs.load_runs([tmp_path / "runs"], beside, "stubborn/oracle")
    assert other.metrics.rule == "stubborn/oracle"
    assert other.metrics.inferential == plain.metrics.by_rule["stubborn/oracle"].inferential
    assert other.metrics.observational.n_questions + other.metrics.inferential.n_questions == len(labels)
    needed = [row for row in other.predictions if labels.get(row.question_id) and row.gold != ("B",)]
    assert other.metrics.shortcut_reliance.value == pytest.approx(sum(row.chosen == ("B",) for row in needed) / len(needed))
    (reference,) = [row for row in runs.references([other], beside) if row.name == "observer"]
    assert reference.metrics.rule == "stubborn/oracle"
    assert reference.metrics.shortcut_reliance.value == 1.0
    with pytest.raises(VtError, match="no labels 'other' for these questions; there are stubborn/oracle, any-option"):
        runs.load_runs([tmp_path / "runs"], beside, "other")


def test_a_killed_run_is_loaded_as_far_as_it_got(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:gold")
    path = tmp_path / "runs" / "gold" / run.PREDICTIONS
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]) + b'{"question_id":"1')
    (loaded,) = runs.load_runs([tmp_path / "runs"], curated)
    assert loaded.metrics.all.n_questions == len(loaded.questions) == 5
    assert loaded.record.partial == Partial(asked=5, of=len(curated.questions("dev")))


def test_runs_of_several_folders_share_a_report(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "first", "x=solver:gold", "solver:none")
    diagnose(curated, tmp_path / "second", "x=solver:random")
    loaded = runs.load_runs([tmp_path / "first", tmp_path / "second"], curated)
    assert [each.name for each in loaded] == ["none", "first/x", "second/x"]
    alone = runs.load_runs([tmp_path / "first" / "none", tmp_path / "first"], curated)
    assert [each.name for each in alone] == ["none", "x"]  # a run named twice is one run


def test_runs_of_one_name_and_folder_name_are_refused(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "a" / "runs", "solver:gold")
    diagnose(curated, tmp_path / "b" / "runs", "solver:gold")
    with pytest.raises(VtError, match="two runs are named 'runs/gold'"):
        runs.load_runs([tmp_path / "a" / "runs", tmp_path / "b" / "runs"], curated)


def test_a_folder_without_runs_is_refused(curated: Curated, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VtError, match="empty: holds no predictions"):
        runs.load_runs([tmp_path / "empty"], curated)


def test_a_folder_that_holds_checkpoints_too_is_read_for_its_runs(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    store.write_json(out / "cdpo" / run.RUN, {"stage": "cdpo"})
    diagnose(curated, out, "solver:gold")
    assert [each.name for each in runs.load_runs([out], curated)] == ["gold"]
    with pytest.raises(VtError, match=r"cdpo: its run\.json is not of a diagnosis"):
        diagnose(curated, out, str(out / "cdpo"), resume=False)


def test_other_data_is_refused_and_data_that_moved_is_asked_for(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:gold")
    other = write_curated(tmp_path / "other", {"dev": random_questions(range(100, 106), seed=9)})
    with pytest.raises(VtError, match=r"was asked from other questions than split 'dev' of .*other holds"):
        runs.load_runs([tmp_path / "runs"], other)
    with pytest.raises(VtError, match="has no split 'dev'"):
        runs.load_runs([tmp_path / "runs"], write_curated(tmp_path / "third", {"test": random_questions([1])}))
    moved = shutil.move(curated.folder, tmp_path / "moved")
    with pytest.raises(VtError, match="is not there any more; say where it is with --data"):
        runs.find_curated([tmp_path / "runs"])
    again = runs.find_curated([tmp_path / "runs"], Path(moved))
    assert len(runs.load_runs([tmp_path / "runs"], again)) == 1


def test_every_report_has_chance_prior_and_observer(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:gold")
    loaded = runs.load_runs([tmp_path / "runs"], curated)
    chance, prior, observer = runs.references(loaded, curated)
    assert [each.name for each in (chance, prior, observer)] == ["chance", "prior", "observer"]
    assert all(each.reference and each.folder is None for each in (chance, prior, observer))
    assert observer.metrics.observational.per_question.value == 1.0
    assert observer.metrics.inferential.per_question.value == 0.0
    assert chance.metrics.all.per_question.stderr is None
    assert chance.metrics.all.n_questions == prior.metrics.all.n_questions == len(curated.questions("dev"))
    relabelled = runs.load_runs([tmp_path / "runs"], curated, Rule.ANY_OPTION)
    (any_option,) = [row for row in runs.references(relabelled, curated) if row.name == "observer"]
    assert any_option.metrics.rule == Rule.ANY_OPTION
    assert any_option.metrics.observational == observer.metrics.by_rule[Rule.ANY_OPTION].observational


def test_references_cover_what_was_asked_and_need_no_train_split(tmp_path: Path) -> None:
    curated = write_curated(tmp_path / "curated", {"validation": random_questions(range(9))})
    diagnose(curated, tmp_path / "runs", "solver:gold", split="validation", limit=7)
    found = runs.references(runs.load_runs([tmp_path / "runs"], curated), curated)
    assert [each.name for each in found] == ["chance", "observer"]
    assert {each.metrics.all.n_questions for each in found} == {7}


def test_references_are_not_compared(curated: Curated, tmp_path: Path) -> None:
    diagnose(curated, tmp_path / "runs", "solver:gold", "solver:none")
    loaded = runs.load_runs([tmp_path / "runs"], curated)
    rows = runs.comparisons([*runs.references(loaded, curated), *loaded])
    assert {(row.before, row.after) for row in rows} == {("gold", "none")}


def test_a_report_takes_in_what_was_asked_into_the_same_folder_before(curated: Curated, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    diagnose(curated, out, "solver:none", "solver:gold")
    diagnose(curated, out, "train=solver:gold", split="train")  # other questions: not beside the others
    jobs = run.plan({"a": "solver:random", "gold": "solver:gold"}, curated, DiagnosisSettings(split="dev"), out)
    run.diagnose(jobs, run.open_answerer)
    assert [path.name for path in runs.folders_beside([job.folder for job in jobs], out)] == ["none", "a", "gold"]
