"""Answer sheets: the few hundred kB from which every number of a study can be computed again."""

import re
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
from videothinker.records.study_results import ANSWERS, NO_SEED, RESULTS, SHEET_COLUMNS, Results
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


def edited(path: Path, column: str, values: list[object] | None) -> None:
    """Put other values into a column of a parquet file, or take it out."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(path)
    index = table.column_names.index(column)
    parquet.write_table(
        table.remove_column(index) if values is None else table.set_column(index, column, pa.array(values)), path
    )


def twice_sheet(path: Path) -> None:
    """A sheet of two questions, asked of one run that answers twice; the second has no first answer to stop behind."""
    label = {rule.column: "inferential" for rule in Rule}
    asked = {"auto/1": "A", "auto/1 first": "A", "auto/1 thinks": "yes", "auto/1 tokens": "9"}
    rows = [
        {"question_id": "0:1", "scene": 0, "gold": "A", "observer": "B", **label, **asked}
        | {"auto/1 sure": "0.5", "auto/1 first tokens": "4"},
        {"question_id": "0:2", "scene": 0, "gold": "A", "observer": "B", **label, **asked}
        | {"auto/1 sure": "", "auto/1 first tokens": ""},
    ]
    store.write_bytes(path, tables.to_bytes(rows, {name: SHEET_COLUMNS.get(name, "string") for name in rows[0]}))


NUMBER = 'expected a number from 0 to 1 as text, or "" where there is none'
COUNT = 'expected a whole number as text, or "" where there is none'
LETTERS = 'expected letters as text, such as "A" or "A,C" in the order of the options, or "" for none of them'


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("auto/1 sure", ["high", ""], f"question 0:1: auto/1 sure is 'high', {NUMBER}"),
        ("auto/1 sure", ["nan", ""], f"question 0:1: auto/1 sure is 'nan', {NUMBER}"),
        ("auto/1 sure", ["1.5", ""], f"question 0:1: auto/1 sure is '1.5', {NUMBER}"),
        ("auto/1 sure", [0.5, 0.25], f"question 0:1: auto/1 sure is 0.5, {NUMBER}"),
        ("auto/1 sure", ["0.5", None], f"question 0:2: auto/1 sure is empty, {NUMBER}"),
        ("auto/1 sure", ["", ""], "question 0:1: auto/1 sure is '', expected a number if auto/1 first tokens has one"),
        ("auto/1 sure", None, "has a column 'auto/1 first tokens' and none named 'auto/1 sure'"),
        ("auto/1 first tokens", ["4.5", ""], f"question 0:1: auto/1 first tokens is '4.5', {COUNT}"),
        ("auto/1 first tokens", None, "has a column 'auto/1 sure' and none named 'auto/1 first tokens'"),
        ("auto/1 tokens", ["9", "many"], f"question 0:2: auto/1 tokens is 'many', {COUNT}"),
        ("auto/1 tokens", ["9", "-1"], f"question 0:2: auto/1 tokens is '-1', {COUNT}"),
        ("auto/1 tokens", None, "has a column 'auto/1 first' and none named 'auto/1 tokens'"),
        ("auto/1 thinks", ["yes", "maybe"], "question 0:2: auto/1 thinks is 'maybe', expected yes or no"),
        ("auto/1 thinks", None, "has a column 'auto/1 first' and none named 'auto/1 thinks'"),
        ("auto/1 first", [["A"], ["B"]], f"question 0:1: auto/1 first is ['A'], {LETTERS}, or unread"),
        ("auto/1 first", ["unread", "lost"], f"question 0:2: auto/1 first is 'lost', {LETTERS}, or unread"),
        ("auto/1 first", ["A", None], f"question 0:2: auto/1 first is empty, {LETTERS}, or unread"),
        ("auto/1 first", None, "has a column 'auto/1 thinks' and none named 'auto/1 first'"),
        ("auto/1", [1, 2], f"question 0:1: auto/1 is 1, {LETTERS}, or unread, or lost"),
        ("auto/1", ["lost", "hello"], f"question 0:2: auto/1 is 'hello', {LETTERS}, or unread, or lost"),
        ("auto/1", ["A,C", "C,A"], f"question 0:2: auto/1 is 'C,A', {LETTERS}"),
        ("auto/1", ["A,A", ""], f"question 0:1: auto/1 is 'A,A', {LETTERS}"),
        ("auto/1", ["unread", "A, C"], f"question 0:2: auto/1 is 'A, C', {LETTERS}"),
        ("auto/1", ["A", "a"], f"question 0:2: auto/1 is 'a', {LETTERS}"),
        ("gold", ["", "unread"], f"question 0:2: gold is 'unread', {LETTERS}"),
        ("gold", ["A", None], f"question 0:2: gold is empty, {LETTERS}"),
        ("observer", ["A,", "A"], f"question 0:1: observer is 'A,', {LETTERS}"),
        ("oracle", ["observational", "unsure"], "question 0:2: oracle is 'unsure', expected observational or inferential"),
        ("scene", [0, None], "question 0:2: scene is empty, expected a value"),
        ("scene", [0, -3], "question 0:2: scene is -3, expected the number of its clip, from 0 on"),
        ("auto/1", [None, "A"], "question 0:1: auto/1 first is 'A', expected nothing, since auto/1 is empty there"),
        ("auto/1", None, "has a column 'auto/1 first' and none named 'auto/1'"),
        ("question_id", ["0:1", "0:1"], "question_id 0:1 stands in 2 rows, expected one row for each"),
    ],
)
def test_a_sheet_that_was_edited_is_refused_by_its_column(
    tmp_path: Path, column: str, values: list[object] | None, says: str
) -> None:
    path = tmp_path / "s.parquet"
    twice_sheet(path)
    edited(path, column, values)
    with pytest.raises(VtError, match=rf"^{re.escape(f'{path}: {says}')}[^\n]*$"):
        read_sheet(path)


@pytest.mark.parametrize("column", ["note", "auto/1 note", "auto/01", "auto/\u0661", "auto/" + "9" * 30, "/1", "auto/ 1"])
def test_a_column_that_no_study_writes_is_refused_by_its_name(tmp_path: Path, column: str) -> None:
    path = tmp_path / "s.parquet"
    twice_sheet(path)
    rows = [row | {column: "A"} for row in tables.read(path, SHEET_COLUMNS, more=True)]
    store.write_bytes(path, tables.to_bytes(rows, {name: SHEET_COLUMNS.get(name, "string") for name in rows[0]}))
    with pytest.raises(VtError, match=rf"^{re.escape(f'{path}: has a column {column!a}')}, (expected|which)"):
        read_sheet(path)


def test_an_edited_sheet_that_is_as_a_study_writes_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    twice_sheet(path)
    edited(path, "auto/1", ["B,D", "lost"])
    edited(path, "auto/1 first", ["", "unread"])
    edited(path, "observer", ["B,D", ""])
    run = read_sheet(path).arms(["auto"])["auto"][1]
    assert run.sure is not None
    assert run.sure.tolist() == [0.5, -1]
    assert (run.exact.tolist(), run.like_observer.tolist(), run.asked.tolist()) == ([0, 0], [1, 0], [True, False])


def test_a_sheet_without_rows_is_refused(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = tmp_path / "s.parquet"
    twice_sheet(path)
    parquet.write_table(parquet.read_table(path).slice(0, 0), path)
    with pytest.raises(VtError, match=rf"^{re.escape(f'{path}: has no rows, expected one for each question')}[^\n]*$"):
        read_sheet(path)


@pytest.mark.parametrize("column", ["grpo/1", "base"])
def test_a_run_that_was_taken_out_is_named(committed: Path, tmp_path: Path, column: str) -> None:
    store.write_bytes(tmp_path / RESULTS, (committed / RESULTS).read_bytes())
    for path in (committed / ANSWERS).iterdir():
        store.write_bytes(tmp_path / ANSWERS / path.name, path.read_bytes())
    edited(path := tmp_path / ANSWERS / "greedy.parquet", column, None)
    told = f"{path}: has no column {column!a}, and results.json has numbers of that run; put its columns back"
    with pytest.raises(VtError, match=rf"^{re.escape(told)}[^\n]*$"):
        recompute(tmp_path)


@pytest.mark.parametrize("column", ["gold", "auto/1"])
def test_a_column_that_stands_twice_is_refused(tmp_path: Path, column: str) -> None:
    from pyarrow import parquet

    path = tmp_path / "s.parquet"
    twice_sheet(path)
    table = parquet.read_table(path)
    parquet.write_table(table.append_column(column, table[column]), path)
    with pytest.raises(VtError, match=rf"^{re.escape(f'{path}: has 2 columns named {column!a}, expected one')}"):
        read_sheet(path)


def test_a_sheet_from_before_confidences_were_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    twice_sheet(path)
    later = ("auto/1 sure", "auto/1 first tokens")
    rows = [
        {name: value for name, value in row.items() if name not in later} for row in tables.read(path, SHEET_COLUMNS, more=True)
    ]
    store.write_bytes(path, tables.to_bytes(rows, {name: SHEET_COLUMNS.get(name, "string") for name in rows[0]}))
    run = read_sheet(path).arms(["auto"])["auto"][1]
    assert run.sure is None
    assert run.first is not None
    assert run.first.tolist() == [1, 1]
