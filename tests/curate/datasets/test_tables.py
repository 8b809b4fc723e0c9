"""`records` on a table whose columns are named: what each column may hold, and which mistakes are told."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks_factory import read_set, write_json, write_parquet
from vt_command import one_error, vt

from videothinker.curate.datasets import ReadQuestions
from videothinker.errors import VtError
from videothinker.records import Clip, Form

QUIZ = ("question=asked", "options=a,b,c", "answer=gold", "video=file")


def write_csv(path: Path, header: str, *lines: str) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def quiz(folder: Path, *lines: str, columns: tuple[str, ...] = QUIZ, more: str = "") -> ReadQuestions:
    return read_set("records", write_csv(folder / "quiz.csv", "asked,a,b,c,gold,file" + more, *lines), columns=columns)


def reasons(found: ReadQuestions) -> list[str]:
    return [one.reason for one in found.unresolved]


def test_columns_become_a_question(tmp_path: Path) -> None:
    columns = (*QUIZ, "id=nr", "start=from", "end=to", "group=film", "facet:topic=about")
    line = '"What falls, and when?",cup,ball,"a ""hat""",B,clips/7.mp4,007,1.5,3,film 1,kitchen'
    found = quiz(tmp_path, line, columns=columns, more=",nr,from,to,film,about")
    [one] = found.questions
    assert (one.question_id, one.text, one.options) == ("007", "What falls, and when?", ("cup", "ball", 'a "hat"'))
    assert one.clip == Clip(path="clips/7.mp4", start=1.5, end=3.0)
    assert (one.gold, one.form, one.group) == (("B",), Form.CHOICE, "film 1")
    assert (one.facets, one.source) == ({"topic": "kitchen"}, "quiz")


@pytest.mark.parametrize(
    ("gold", "letters"),
    [("B", ("B",)), ("ball", ("B",)), (" hat", ("C",)), ('"A,C"', ("A", "C")), ("none", ()), ("<answer>b</answer>", ("B",))],
)
def test_an_answer_is_letters_or_the_text_of_an_option(gold: str, letters: tuple[str, ...], tmp_path: Path) -> None:
    [one] = quiz(tmp_path, f"What?,cup,ball,hat,{gold},1.mp4").questions
    assert one.gold == letters


def test_an_answer_of_two_readings_is_not_guessed(tmp_path: Path) -> None:
    """Letters that were written on a sheet of paper are options, too."""
    line = "Which letter came first?,b,c,A,A,1.mp4"
    found = quiz(tmp_path, line)
    assert reasons(found) == [
        "its answer 'A' is a letter and the text of option C; say which with answer_letter= or answer_text="
    ]
    said = {}
    for meaning in ("answer_letter", "answer_text"):
        columns = tuple(each.replace("answer=", f"{meaning}=") for each in QUIZ)
        said[meaning] = quiz(tmp_path, line, columns=columns).questions[0].gold
    assert said == {"answer_letter": ("A",), "answer_text": ("C",)}


@pytest.mark.parametrize(("first", "said"), [("0", ("C",)), ("1", ("B",))])
def test_an_index_says_where_it_begins(first: str, said: tuple[str, ...], tmp_path: Path) -> None:
    columns = ("question=q", "options=o", f"answer_index=label:{first}", "video=v")
    rows = [{"q": "What?", "o": ["x", "y", "z"], "label": label, "v": "1.mp4"} for label in (2, 3, 0)]
    found = read_set("records", write_parquet(tmp_path / "quiz.parquet", rows), columns=columns)
    assert found.questions[0].gold == said
    assert len(found.questions) == 2
    assert reasons(found) == [f"its answer is {3 if first == '0' else 0}, expected a number from {first} to {2 + int(first)}"]


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (["A. x", "B. y"], ("x", "y")),
        ('["x", "y"]', ("x", "y")),
        ("['x', 'y']", ("x", "y")),  # as pandas writes a list
        ({"A": "x", "B": "y"}, ("x", "y")),
        ([1, 2.5], ("1", "2.5")),
    ],
)
def test_options_are_a_list_in_any_writing(cell: Any, options: tuple[str, ...], tmp_path: Path) -> None:
    rows = [{"q": "What?", "o": cell, "a": "B", "v": "1.mp4"}]
    columns = ("question=q", "options=o", "answer=a", "video=v")
    found = read_set("records", write_json(tmp_path / "quiz.json", rows), columns=columns)
    assert [one.options for one in found.questions] == [options]


def test_questions_may_have_fewer_options_than_there_are_columns(tmp_path: Path) -> None:
    found = quiz(tmp_path, "What?,cup,ball,,B,1.mp4", "What?,cup,,hat,A,2.mp4")
    assert [one.options for one in found.questions] == [("cup", "ball")]
    assert reasons(found) == ["its `b` is empty, but an option behind it is not"]


def test_answers_and_facets_may_be_lists_and_numbers(tmp_path: Path) -> None:
    rows = [{"q": "What?", "o": ["x", "y", "z"], "a": ["A", "C"], "v": "1.mp4", "level": level} for level in (1, 2.5, None)]
    columns = ("question=q", "options=o", "answer=a", "video=v", "facet:level=level")
    found = read_set("records", write_json(tmp_path / "quiz.json", rows), columns=columns)
    assert {one.gold for one in found.questions} == {("A", "C")}
    assert [one.facets for one in found.questions] == [{"level": "1"}, {"level": "2.5"}, {}]


def test_yes_or_no_needs_no_options(tmp_path: Path) -> None:
    columns = ("question=q", "answer=a", "video=v")
    source = write_csv(tmp_path / "quiz.tsv", "q\ta\tv", "Does it fall?\tYes\t1.mp4", "What falls?\tcup\t2.mp4")
    found = read_set("records", source, columns=columns)
    assert [(one.form, one.options, one.gold) for one in found.questions] == [(Form.YES_NO, ("yes", "no"), ("A",))]
    assert reasons(found) == ["its answer is 'cup' and it has no options, expected yes or no"]


def test_some_answers_of_several_letters_make_all_questions_sets(tmp_path: Path) -> None:
    found = quiz(tmp_path, "What?,cup,ball,hat,A,1.mp4", 'What?,cup,ball,hat,"A,B",2.mp4')
    assert {one.form for one in found.questions} == {Form.LETTERS}


def test_folders_of_frames_have_a_rate(tmp_path: Path) -> None:
    found = quiz(
        tmp_path,
        "What?,cup,ball,hat,A,frames/7,3",
        "What?,cup,ball,hat,A,7.webm,3",
        columns=(*QUIZ, "fps=rate"),
        more=",rate",
    )
    assert [one.clip for one in found.questions] == [Clip(path="frames/7", fps=3.0), Clip(path="7.webm")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("What?,cup,ball,hat,D,1.mp4", "its answer is 'D', expected letters of its 3 options, or the text of one"),
        ("What?,cup,ball,hat,,1.mp4", "its answer is '', expected letters of its 3 options, or the text of one"),
        ("What?,cup,ball,hat,A,../1.mp4", "its clip is '../1.mp4', expected a path below the clips' folder"),
        (",cup,ball,hat,A,1.mp4", "its `asked` is missing, expected text"),
        ("What?,cup,ball,hat,A,", "its `file` is empty, expected a clip, an image, or none where nothing is shown"),
        ("What?,cup,ball,hat,A", "row 1: it has 5 cells, the header has 6"),
        ("What?,,,,A,1.mp4", "has no options"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(line: str, reason: str, tmp_path: Path) -> None:
    assert reasons(quiz(tmp_path, line)) == [reason]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("question=asked", "answer=gold"), "--column: lacks video=; expected question=, video=, one of answer="),
        (("question=asked", "video=file"), "--column: names no answer; expected"),
        ((*QUIZ, "answer_text=gold"), "--column: names answer and answer_text; expected"),
        ((*QUIZ, "id"), "--column id: is not understood; expected"),
        ((*QUIZ, "colour=gold"), "--column colour=gold: is not understood; expected"),
        ((*QUIZ, "video=a"), "--column video=a: video is given twice"),
        ((*QUIZ, "facet:split=a"), "--column facet:split=a: 'split' is a column of every question set"),
        ((*QUIZ, "id=number"), "--column: quiz.csv has no column 'number'; it has asked, a, b, c, gold, file"),
        (
            ("question=asked", "video=file", "options=a,b", "answer_index=gold"),
            "--column answer_index=gold: say what the first option's number is, as in answer_index=label:0 or",
        ),
        ((), "--from quiz.csv: has the columns asked, a, b, c, gold, file; say which is which, as in --column question=asked"),
    ],
)
def test_columns_that_make_no_sense_are_one_line(columns: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(VtError) as told:
        quiz(tmp_path, "What?,cup,ball,hat,A,1.mp4", columns=columns)
    assert str(told.value).startswith(message)


def test_a_table_with_two_columns_of_a_name_or_open_quotes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"quiz\.csv: has two columns 'a'; rename one of them"):
        read_set("records", write_csv(tmp_path / "quiz.csv", "a,a", "1,2"), columns=QUIZ)
    with pytest.raises(VtError, match=r"quiz\.csv: unexpected end of data; expected a table with a header"):
        read_set("records", write_csv(tmp_path / "quiz.csv", "a,b", '1,"2'), columns=QUIZ)


def test_the_command_keeps_the_columns_in_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_csv(tmp_path / "quiz.csv", "asked,a,b,c,gold,file", "What?,cup,ball,hat,A,1.mp4")
    out = tmp_path / "out"
    columns = [part for each in QUIZ for part in ("--column", each)]
    assert vt("curate", "records", "--from", source, "--out", out, *columns) == 0
    assert json.loads((out / "manifest.json").read_text())["settings"]["columns"] == list(QUIZ)
    assert vt("curate", "check", out) == 0
    capsys.readouterr()
    other = [part.replace("a,b,c", "c,b,a") for part in columns]
    assert vt("curate", "records", "--from", source, "--out", out, *other) == 2
    assert "settings.columns was" in one_error(capsys)


# ---- Video-R1 rows: what was added to them ---------------------------------------------------------------------------------

ROW = {"problem": "What falls?", "options": ["A. cup", "B. ball"], "solution": "B", "path": "1.mp4"}


def test_a_list_of_the_options_in_the_problem_is_not_shown_twice(tmp_path: Path) -> None:
    rows = [
        ROW | {"problem": "What falls?\nA. cup\nB. ball\n"},
        ROW | {"problem": "What falls? \ncup\nball", "options": ["cup", "ball"]},
        ROW | {"problem": "What falls?\nA. cup\nB. hat"},
    ]
    found = read_set("records", write_json(tmp_path / "set.json", rows))
    assert [one.text for one in found.questions] == ["What falls?", "What falls?", "What falls?\nA. cup\nB. hat"]
    assert found.notes == ["2 questions with a list of the options in the text, too; a prompt has one"]


def test_parts_of_clips_and_folders_of_frames_are_read(tmp_path: Path) -> None:
    rows = [
        ROW | {"start": 1, "end": 2.5},
        ROW | {"path": "frames/1", "data_type": "frame", "fps": 3},
        ROW | {"path": "frames/1", "data_type": "frame"},
    ]
    found = read_set("records", write_json(tmp_path / "set.json", rows))
    assert [one.clip for one in found.questions] == [Clip(path="1.mp4", start=1.0, end=2.5), Clip(path="frames/1", fps=3.0)]
    assert reasons(found) == ["is about a folder of frames without `fps`, so nobody knows its times"]


def test_a_path_from_the_top_is_one_below_the_clips_folder(tmp_path: Path) -> None:
    """VideoThinker's files write "/yale-nlp/MMVU/videos/x.mp4", and its scripts put their folder before it."""
    rows = [ROW | {"path": "/set/videos/1.mp4"}, ROW | {"path": "./2.mp4"}, ROW | {"video": "3.webm", "path": "./part/3.mp4"}]
    found = read_set("records", write_json(tmp_path / "set.json", rows))
    assert [one.clip.path for one in found.questions] == ["set/videos/1.mp4", "2.mp4", "part/3.mp4"]
    assert found.notes == ['1 clip with a "/" at the beginning, read as the folder of --videos']


def test_open_questions_need_a_judge(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"problem_type": "open-ended", "options": [], "solution": "<answer>the cup</answer>"}]
    assert reasons(read_set("records", write_json(tmp_path / "set.json", rows))) == ["needs a judge"]


def test_a_field_of_many_values_is_no_facet(tmp_path: Path) -> None:
    rows = [ROW | {"data_source": f"https://example.org/{n}", "domain": f"domain {n % 50}"} for n in range(51)]
    found = read_set("records", write_json(tmp_path / "set.json", rows))
    assert {tuple(one.facets) for one in found.questions} == {("domain",)}


def test_columns_of_numbers_and_intervals(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "quiz.csv", "asked,file,n,from,to,both", '"How many?",1.mp4,"1,200",3.5,1,"[1:00, 5]"')
    asked = ("question=asked", "video=file")
    said = {"number=n": ("1200",), "estimate=n": ("1200",), "interval=to,from": ("1", "3.5"), "interval=both": ("5", "60")}
    for column, gold in said.items():
        [one] = read_set("records", source, columns=(*asked, f"answer_{column}")).questions
        assert (one.gold, one.options, one.form) == (gold, (), Form(column.partition("=")[0]))
    found = read_set("records", source, columns=(*asked, "answer_interval=from"))
    assert reasons(found) == ["its from is '3.5', expected two times in seconds and nothing else, such as 12.5 to 20"]
    swapped = read_set("records", source, columns=(*asked, "answer_interval=from,to"))
    assert reasons(swapped) == ["its from,to is '3.5 to 1', where the end comes before the start"]
    with pytest.raises(VtError, match=r"answer_number=: is for answers that are no options; leave options= out"):
        read_set("records", source, columns=(*asked, "answer_number=n", "options=file"))
    with pytest.raises(VtError, match=r"has no column 'till'"):
        read_set("records", source, columns=(*asked, "answer_interval=from,till"))
