"""Answer sheets: the few hundred kB from which every number of a study can be computed again."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from report_factory import make
from study_factory import FILE, finish, make_study

from videothinker import store, tables
from videothinker.curated import Labels
from videothinker.errors import VtError
from videothinker.records import Category, Label, LabelSet, Prediction, Rule, Status
from videothinker.records.study_results import ANSWERS, NO_SEED, RESULTS, Results
from videothinker.study.cells import read_records, state_of
from videothinker.study.collect import collect
from videothinker.study.recompute import recompute
from videothinker.study.sheets import read_sheet, sheet_of, to_bytes


def said(question_id: str, chosen: tuple[str, ...] | None, status: Status = Status.OK) -> Prediction:
    return Prediction(question_id=question_id, reply="", chosen=chosen, gold=(), observer=None, status=status)


def test_no_answer_none_of_them_lost_and_not_asked_are_four_things(tmp_path: Path) -> None:
    questions = [msgspec.structs.replace(one.question, gold=()) for one in make(5, 1).questions["train"][:4]]
    ids = [one.question_id for one in questions]
    label = Label(question_id="", observer="log", rule="", category=Category.INFERENTIAL, answer=("A",))
    sets = [
        LabelSet("log", rule.value, {name: msgspec.structs.replace(label, question_id=name, rule=rule.value) for name in ids})
        for rule in Rule
    ]
    sheet = sheet_of(questions, Labels(sets, sets[-1]))
    sheet.add("grpo", 3, {ids[0]: said(ids[0], ()), ids[1]: said(ids[1], None, Status.NO_ANSWER)})
    sheet.add("base", NO_SEED, {ids[2]: said(ids[2], None, Status.DECODE_ERROR), ids[3]: said(ids[3], ("A",))})
    path = tmp_path / "greedy.parquet"
    path.write_bytes(to_bytes(sheet))
    again = read_sheet(path)
    assert to_bytes(again) == path.read_bytes()
    arms = again.arms(("base", "grpo"))
    assert list(arms) == ["base", "grpo"]
    assert arms["grpo"][3].ids.tolist() == ids[:2]  # the other two were not asked
    assert arms["grpo"][3].exact.tolist() == [1, 0]  # "none" is right where no option is correct, and no answer never is
    assert arms["base"][NO_SEED].asked.tolist() == [False, True]
    assert arms["base"][NO_SEED].like_observer.tolist() == [0, 1]
    assert not np.any(arms["base"][NO_SEED].observational[Rule.ORACLE])


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """results.json and answers/ of a finished study, and nothing else."""
    folder = tmp_path_factory.mktemp("study")
    study, plan = make_study(folder, FILE)
    questions = make(12, 2).questions["train"]
    for cell in plan:
        finish(cell, folder / "out", questions)
    records = read_records(plan, folder / "out")
    states = {cell.name: state_of(cell, records[cell.name], folder / "out") for cell in plan}
    results, sheets = collect(study, plan, folder / "out", states, records)
    there = tmp_path_factory.mktemp("committed")
    store.write_json(there / RESULTS, results)
    for name, sheet in sheets.items():
        store.write_bytes(there / ANSWERS / f"{name}.parquet", to_bytes(sheet))
    return there


def test_every_number_of_a_report_follows_from_its_answers(committed: Path) -> None:
    found = recompute(committed)
    assert found.differing == []
    assert found.n_numbers > 100
    assert len(found.verdicts) == len(store.read_json(committed / RESULTS, Results).verdicts) > 0


def test_one_changed_answer_is_found(committed: Path, tmp_path: Path) -> None:
    store.write_bytes(tmp_path / RESULTS, (committed / RESULTS).read_bytes())
    for path in (committed / ANSWERS).iterdir():
        sheet = read_sheet(path)
        run = sheet.answers["grpo", 1]
        run[0] = "unread" if run[0] == sheet.gold[0] else sheet.gold[0]
        store.write_bytes(tmp_path / ANSWERS / path.name, to_bytes(sheet))
    assert any(place.startswith("levels.") for place in recompute(tmp_path).differing)


def test_what_is_no_sheet_or_no_study_is_refused_in_one_line(committed: Path, tmp_path: Path) -> None:
    store.write_bytes(tmp_path / RESULTS, (committed / RESULTS).read_bytes())
    with pytest.raises(VtError, match=r"has no answers/\w+\.parquet, so its numbers cannot be computed again"):
        recompute(tmp_path)
    rows = [{"question_id": "0:1", "scene": 0, "gold": "A", "observer": "A", **{rule.column: "seen" for rule in Rule}}]
    kinds = {"question_id": "string", "scene": "int64", "gold": "string", "observer": "string"}
    (tmp_path / "s.parquet").write_bytes(tables.to_bytes(rows, kinds | {rule.column: "string" for rule in Rule}))
    with pytest.raises(VtError, match="question 0:1: any_option is 'seen'"):
        read_sheet(tmp_path / "s.parquet")


def test_questions_without_a_rule_of_the_log_are_refused_by_its_name() -> None:
    questions = [one.question for one in make(5, 1).questions["train"][:2]]
    label = Label(question_id="", observer="log", rule="oracle", category=Category.INFERENTIAL, answer=("A",))
    own = LabelSet(
        "log", "oracle", {one.question_id: msgspec.structs.replace(label, question_id=one.question_id) for one in questions}
    )
    with pytest.raises(VtError, match="have no labels by the rule any-option, correct-option: a study is judged by all rules"):
        sheet_of(questions, Labels([own], own))
