"""Video-R1 rows: what a question is made of, which form it gets, and what becomes of rows that cannot be used."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks_factory import read_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records_factory import FOUR, ROWS, choice, write_records
from vt_command import one_error, vt

from videothinker.curate.datasets import ReadQuestions
from videothinker.records import Clip, Form, Question


def read_rows(folder: Path, *rows: Any, name: str = "set.json") -> ReadQuestions:
    return read_set("records", write_records(folder / name, rows))


def only(folder: Path, row: Any) -> Question:
    """The question of a file with this one row."""
    found = read_rows(folder, row)
    assert found.unresolved == []
    [question] = found.questions
    return question


def reason(folder: Path, row: Any) -> str:
    """Why this one row cannot be used."""
    found = read_rows(folder, row)
    assert found.questions == []
    [bad] = found.unresolved
    return bad.reason


def test_a_row_becomes_a_question(tmp_path: Path) -> None:
    assert only(tmp_path, choice(7, "a", "B", process="<think>It rolls.</think>")) == Question(
        question_id="7",
        text="What falls first in clip a?",
        options=("the cup", "the ball"),
        clip=Clip(path="clips/a.mp4"),
        gold=("B",),
        form=Form.CHOICE,
        group="clips/a.mp4",
        facets={},
        source="set",
    )


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_a_list_and_lines_read_the_same(tmp_path: Path, name: str) -> None:
    found = read_rows(tmp_path, *ROWS, name=name)
    assert [one.question_id for one in found.questions] == [str(number) for number in range(1, 10)]


def test_a_mark_of_byte_order_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    lines = "\n\n".join(map(json.dumps, ROWS[:2]))
    (tmp_path / "set.jsonl").write_bytes(codecs.BOM_UTF8 + lines.encode() + b"\n\n")
    assert len(read_set("records", tmp_path / "set.jsonl").questions) == 2


def test_a_line_ends_where_json_lines_says_so(tmp_path: Path) -> None:
    """A line separator in a text is a character of it."""
    rows = [choice(1, "a", problem="What falls\u2028first?"), choice(2, "a")]
    (tmp_path / "set.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    found = read_set("records", tmp_path / "set.jsonl")
    assert [one.text for one in found.questions] == ["What falls\u2028first?", "What falls first in clip a?"]


@pytest.mark.parametrize(
    ("options", "bare"),
    [
        (["A. the cup", "B. the ball"], ("the cup", "the ball")),
        (["A) the cup", "(B) the ball"], ("the cup", "the ball")),
        (["A: the cup", " B.the ball "], ("the cup", "the ball")),
        (["the cup", " the ball"], ("the cup", "the ball")),
        (["A. the cup", "the ball"], ("A. the cup", "the ball")),  # not all carry a letter, so none of them is one
        (["B. Franklin", "A. Lincoln"], ("B. Franklin", "A. Lincoln")),  # not their own letters
        (["A. A. Milne", "B. B. King"], ("A. Milne", "B. King")),  # one letter goes, and one only
    ],
)
def test_options_may_carry_their_letters_or_not(tmp_path: Path, options: list[str], bare: tuple[str, ...]) -> None:
    assert only(tmp_path, choice(1, "a", options=options)).options == bare


@pytest.mark.parametrize(
    ("solution", "gold"),
    [
        ("<answer>A</answer>", ("A",)),
        ("<ANSWER> b </ANSWER>\n", ("B",)),
        ("D", ("D",)),
        ("(C)", ("C",)),
        ("B.", ("B",)),
        ("A, C", ("A", "C")),
        ("<answer>D,B</answer>", ("B", "D")),
        ("none", ()),
        ("<answer>None</answer>", ()),
    ],
)
def test_solutions_are_read_with_and_without_tags(tmp_path: Path, solution: str, gold: tuple[str, ...]) -> None:
    assert only(tmp_path, choice(1, "a", options=FOUR, solution=solution)).gold == gold


@pytest.mark.parametrize(("solution", "gold"), [("Yes", "A"), ("<answer>no</answer>", "B"), ("No.", "B")])
def test_yes_and_no_without_options_is_a_form_of_its_own(tmp_path: Path, solution: str, gold: str) -> None:
    asked = only(tmp_path, choice(1, "a", options=None, solution=solution))
    assert (asked.form, asked.options, asked.gold) == (Form.YES_NO, ("yes", "no"), (gold,))


def test_yes_and_no_as_options_are_a_choice(tmp_path: Path) -> None:
    asked = only(tmp_path, choice(1, "a", "B", options=["A. yes", "B. no"]))
    assert (asked.form, asked.options, asked.gold) == (Form.CHOICE, ("yes", "no"), ("B",))


def forms(found: ReadQuestions) -> list[Form]:
    return [question.form for question in found.questions]


def test_one_letter_everywhere_makes_single_choices(tmp_path: Path) -> None:
    rows = [choice(1, "a"), choice(2, "a", "B"), choice(3, "b", options=None, solution="yes")]
    assert forms(read_rows(tmp_path, *rows)) == [Form.CHOICE, Form.CHOICE, Form.YES_NO]


@pytest.mark.parametrize("other", ["A,B", "none"])
def test_one_answer_of_several_letters_or_none_makes_all_of_the_file_sets(tmp_path: Path, other: str) -> None:
    """Else the prompt would tell how many options are correct."""
    rows = [choice(1, "a"), choice(2, "a", other), choice(3, "b", options=None, solution="yes")]
    assert forms(read_rows(tmp_path, *rows)) == [Form.LETTERS, Form.LETTERS, Form.YES_NO]


def test_a_row_that_cannot_be_used_decides_no_form(tmp_path: Path) -> None:
    assert forms(read_rows(tmp_path, choice(1, "a"), choice(2, "a", "A,B", path=None))) == [Form.CHOICE]


def test_ids_are_those_of_the_file_or_the_number_of_the_row(tmp_path: Path) -> None:
    rows = [choice(7, "a", question_id="q-1"), choice(7, "a"), choice(7, "b", problem_id=None)]
    assert [one.question_id for one in read_rows(tmp_path, *rows).questions] == ["q-1", "7", "row 3"]


def test_of_rows_with_one_id_none_is_taken(tmp_path: Path) -> None:
    found = read_rows(tmp_path, choice(1, "a"), choice(2, "a"), choice(1, "b"), choice(3, "b", problem_id="2", path=None))
    assert [one.question_id for one in found.questions] == ["2"]
    assert [(bad.question_id, bad.reason) for bad in found.unresolved] == [
        ("2", "has neither `video` nor `path`, so nobody knows its clip"),
        ("1", "its id is there 2 times"),
        ("1", "its id is there 2 times"),
    ]


def test_a_clip_is_one_group_however_it_is_written(tmp_path: Path) -> None:
    found = read_rows(tmp_path, choice(1, "a"), choice(2, "a", video="clips/a.mp4"), choice(3, "a", path="clips/a.mp4"))
    assert {(one.clip.path, one.group) for one in found.questions} == {("clips/a.mp4", "clips/a.mp4")}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (choice(1, "a", problem=None), "row 1: Object missing required field `problem`"),
        (choice(1, "a", solution=None), "row 1: Object missing required field `solution`"),
        (choice(1, "a", options="A. the cup"), "row 1: Expected `array`, got `str` - at `$.options`"),
        (choice(1, "a", problem_id=[1]), "row 1: Expected `int | str | null`, got `array` - at `$.problem_id`"),
        ("What falls first?", "row 1: is 'What falls first?', expected an object"),
        (choice(1, "a", path=None), "has neither `video` nor `path`, so nobody knows its clip"),
        (
            choice(1, "a", data_type="image"),
            "data_type is 'image', but its file is 'clips/a.mp4'; images are .jpg, .jpeg and .png",
        ),
        (choice(1, "a", data_type="text"), "data_type is 'text', but its file is './clips/a.mp4'; expected no file"),
        (choice(1, "a", data_type="audio"), "data_type is 'audio', expected video or frame or image or text"),
        (choice(1, "a", problem_type="free-form"), "problem_type 'free-form' with 2 options needs a form of answer not asked"),
        (choice(1, "a", options=None), "problem_type 'multiple choice' with 0 options needs a form of answer not asked here"),
        (choice(1, "a", options=["x"] * 27), "has 27 options, more than there are letters"),
        (choice(1, "a", "C"), "solution is '<answer>C</answer>', expected letters of its 2 options, or none"),
        (choice(1, "a", "A. the cup"), "solution is '<answer>A. the cup</answer>', expected letters of its 2 options, or none"),
        (choice(1, "a", "AB"), "expected letters of its 2 options, or none"),
        (choice(1, "a", ""), "expected letters of its 2 options, or none"),
        (choice(1, "a", solution="<think>The cup.</think><answer>A</answer>"), "expected letters of its 2 options, or none"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(tmp_path: Path, row: Any, said: str) -> None:
    assert said in reason(tmp_path, row)


def test_rows_that_cannot_be_used_cost_nobody_else_and_are_counted(tmp_path: Path) -> None:
    found = read_rows(tmp_path, *ROWS[:3], 17, choice(4, "b", data_type="image"), ROWS[4])
    assert [one.question_id for one in found.questions] == ["1", "2", "3", "5"]
    assert [(bad.question_id, bad.file) for bad in found.unresolved] == [("row 4", "set.json"), ("4", "set.json")]


def test_a_field_is_a_facet_where_the_rows_differ_in_it(tmp_path: Path) -> None:
    same = {"data_source": "Kitchen", "original_question_type": "order"}
    rows = [
        choice(1, "a", **same, domain="Science", duration="short"),
        choice(2, "a", **same, domain="Arts", duration=3),  # a number is no name of a group
        choice(3, "b", **same, duration="short"),
    ]
    assert [one.facets for one in read_rows(tmp_path, *rows).questions] == [
        {"domain": "Science", "duration": "short"},
        {"domain": "Arts"},
        {"duration": "short"},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no questions; expected a JSON list of objects, or one object per line"),
        (b"[]", "holds no questions; expected a JSON list of objects, or one object per line"),
        (json.dumps(ROWS).encode()[:-30], "Input data was truncated; expected a JSON list of objects"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (json.dumps([choice(1, "caf\u00e9")], ensure_ascii=False).encode("latin-1"), "is not UTF-8: invalid continuation byte"),
        (json.dumps(ROWS).encode("utf-16"), "is not UTF-8"),
        (
            b"What falls first?",
            "has no question that can be used; the first is question row 1: set.json: row 1: JSON is malformed",
        ),
        (b'{"data": []}', "has no question that can be used; the first is question row 1: set.json: row 1: Object missing"),
    ],
)
def test_a_file_of_no_use_is_one_line_and_exit_2(
    tmp_path: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set.json").write_bytes(content)
    assert vt("curate", "records", "--from", tmp_path / "set.json", "--out", tmp_path / "out") == 2
    error = one_error(capsys)
    assert said in error
    assert "set.json" in error
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in (tmp_path / "nowhere.json", tmp_path):
        assert vt("curate", "records", "--from", source, "--out", tmp_path / "out") == 2
        assert f"--from {source}: cannot be read" in one_error(capsys)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_damaged_no_row_is_lost(tmp_path: Path, data: st.DataObject) -> None:
    """Change or drop one value anywhere in one of three rows: three come out, and the other two as they were."""
    rows = [choice(number, "a") for number in (1, 2, 3)]
    place: Any = rows[1]
    while True:
        key = data.draw(st.sampled_from(list(range(len(place))) if isinstance(place, list) else list(place)))
        if not isinstance(place[key], list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(st.none() | st.integers(-2, 4) | st.text(max_size=3) | st.just([]) | st.just({}))
    found = read_rows(tmp_path, *rows)
    assert len(found.questions) + len(found.unresolved) == 3
    if rows[1]["problem_id"] not in (1, 3, "1", "3"):
        assert {"1", "3"} <= {one.question_id for one in found.questions}
    assert all(bad.reason for bad in found.unresolved)


def measured(kind: str, said: str, **changes: Any) -> dict[str, Any]:
    return choice(1, "a", said, options=None, problem_type=kind, **changes)


@pytest.mark.parametrize(
    ("kind", "said", "form", "gold"),
    [
        ("numerical", "1,200", Form.NUMBER, ("1200",)),
        ("numerical", "five", Form.NUMBER, ("5",)),
        ("numerical", "50 %", Form.NUMBER, ("50%",)),
        ("number", "3/4", Form.NUMBER, ("0.75",)),
        ("regression", "2.50", Form.ESTIMATE, ("2.5",)),
        ("temporal grounding", "1:00 to 1:05", Form.INTERVAL, ("60", "65")),
        ("interval", "[20, 12.5]", Form.INTERVAL, ("12.5", "20")),
    ],
)
def test_numbers_and_intervals(tmp_path: Path, kind: str, said: str, form: Form, gold: tuple[str, ...]) -> None:
    found = only(tmp_path, measured(kind, said))
    assert (found.form, found.gold, found.options) == (form, gold, ())


@pytest.mark.parametrize(
    ("row", "why"),
    [
        *(
            (measured(kind, said), f"its solution is {said!r}, expected a number and nothing else, such as 1200 or 50%")
            for kind in ("numerical", "regression")
            for said in ("5 or 6", "about five", "~5", "1,200 m", "five cubes", "5 approx.", r"\\approx 5", "The answer is 7.")
        ),
        (
            measured("temporal grounding", "about 5 to 10"),
            "its solution is 'about 5 to 10', expected two times in seconds and nothing else, such as 12.5 to 20",
        ),
        (
            measured("temporal grounding", "5 to 5"),
            "its solution is '5 to 5', expected two times in seconds and nothing else, such as 12.5 to 20",
        ),
        (
            measured("temporal grounding", "soon"),
            "its solution is 'soon', expected two times in seconds and nothing else, such as 12.5 to 20",
        ),
        (
            choice(1, "a", "5", problem_type="numerical"),
            "problem_type 'numerical' with 2 options needs a form of answer not asked here",
        ),
    ],
)
def test_numbers_and_intervals_that_are_none(tmp_path: Path, row: Any, why: str) -> None:
    assert reason(tmp_path, row) == why


def test_numbers_do_not_decide_the_form_of_letters(tmp_path: Path) -> None:
    found = read_rows(tmp_path, choice(2, "a", "A"), measured("numerical", "7"), choice(3, "a", "no", options=None))
    assert [one.form for one in found.questions] == [Form.CHOICE, Form.NUMBER, Form.YES_NO]


def test_a_set_of_every_form_is_curated_checked_and_read_again(tmp_path: Path) -> None:
    rows = [
        choice(1, "a"),
        choice(2, "b", "no", options=None),
        measured("numerical", "1,200", problem_id=3),
        measured("regression", "50%", problem_id=4),
        measured("temporal grounding", "1:00 to 1:05", problem_id=5),
    ]
    source = write_records(tmp_path / "set.json", rows)
    out = tmp_path / "out"
    assert vt("curate", "records", "--from", source, "--out", out) == 0
    assert vt("curate", "check", out) == 0
    exported = json.loads((out / "test.json").read_text())
    assert [row["problem_type"] for row in exported[2:]] == ["numerical", "regression", "temporal grounding"]
    assert exported[4]["solution"] == "<answer>60 to 65</answer>"
    again = read_set("records", out / "test.json")
    assert again.unresolved == []
    assert [one.gold for one in again.questions[2:]] == [("1200",), ("50%",), ("60", "65")]
