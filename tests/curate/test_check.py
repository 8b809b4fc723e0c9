"""`vt curate check` sees what was changed in any file of a curated folder, of CLEVRER or without labels; one test per kind."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet
from records_factory import write_records
from vt_command import curate_release, one_error, vt

from videothinker.curate.check import check_folder
from videothinker.errors import VtError

Row = dict[str, Any]


@pytest.fixture
def clevrer(release: Path, tmp_path: Path, plain_pages: None) -> Path:
    """A sound folder of CLEVRER's questions. Of each scene's three, 4 and 5 are "will", 11 is "will not"."""
    assert curate_release(release, tmp_path / "out", "--rule", "any-option") == 0
    return tmp_path / "out"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A sound folder without labels: nine questions in the one split "test"."""
    write_records(tmp_path / "set.json")
    assert vt("curate", "records", "--from", tmp_path / "set.json", "--out", tmp_path / "plain") == 0
    return tmp_path / "plain"


def rewrite(path: Path, change: Callable[[list[Row]], object]) -> None:
    """Change the rows of a parquet file."""
    table = parquet.read_table(path)
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def replace(path: Path, old: str, new: str) -> None:
    """Change the first `old` in a text file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def complaint(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the check says of a folder that is not sound."""
    capsys.readouterr()
    assert vt("curate", "check", folder) == 2
    return one_error(capsys)


def test_sound_folders_are_graded_and_counted(clevrer: Path, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert vt("curate", "check", clevrer) == 0
    assert "gold answers   90 questions, each earns 1.0" in (printed := capsys.readouterr().out)
    assert "90 read = 90 usable + 0 unresolved" in printed
    assert vt("curate", "check", plain) == 0
    assert "gold answers   9 questions, each earns 1.0" in (printed := capsys.readouterr().out)
    assert "10 read = 9 usable + 1 unresolved" in printed


# ---- text files of CLEVRER ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("train.json", "<answer>A</answer>", "<answer>B</answer>", "is <answer>B</answer>, elsewhere <answer>A</answer>"),
        ("train.json", '"gold": []', '"gold": ["B"]', "gold is ('B',), elsewhere ()"),
        ("train.json", '"problem_id": 1,', '"problem_id": 2,', "train.json: problem_id does not count the rows from 1"),
        ("train.json", '"negated": true', '"negated": false', "negated is False, elsewhere True"),
        ("train.json", '"removed_object": 2', '"removed_object": 3', "removed_object is 3, elsewhere 2"),
        ("train.json", '"oracle": "observational"', '"oracle": "inferential"', "is inferential, elsewhere observational"),
        ("train.json", "B. Object 0 and object 3", "B. Object 3 and object 0", "train.json: question"),
        ("dev.json", '"question_id": "', '"question_id": "9', "dev.json: has"),
        ("manifest.json", '"n_unresolved": 0', '"n_unresolved": 1', "questions.n_unresolved is 1, the files have 0"),
        ("manifest.json", '"n_read": 90', '"n_read": 91', "91 questions read, but 90 usable + 0 unresolved"),
        ("manifest.json", '"rule": "any-option"', '"rule": "oracle"', "category is observational, elsewhere inferential"),
        ("manifest.json", '"observational": ', '"observational": 1', "counts of any-option are not those of labels.parquet"),
        ("manifest.json", '"dev": ', '"dev": 1', "manifest.json: splits are"),
        ("train_inferential.json", '"question_id": "', '"question_id": "9', "train_inferential.json: has"),
        ("scenes.jsonl", '"object_id":2', '"object_id":7', "removed object 2 is not in scene 0"),
    ],
)  # fmt: skip
def test_a_changed_text_file_of_clevrer_is_seen(
    clevrer: Path, name: str, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(clevrer / name, old, new)
    assert message in complaint(clevrer, capsys)


def test_a_damaged_table_is_named(clevrer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("labels.parquet", "labels/log.parquet", "questions.parquet"):
        (clevrer / name).write_bytes(b"PAR1")
        assert f"{name}: cannot be read" in complaint(clevrer, capsys)


# ---- questions.parquet -------------------------------------------------------------------------------------------------


def _drop_last(rows: list[Row]) -> None:
    rows.pop()


def _ask_twice(rows: list[Row]) -> None:
    rows.append(rows[0])


def _other_gold(rows: list[Row]) -> None:
    rows[0]["gold"] = "B"


def _unsorted_gold(rows: list[Row]) -> None:
    rows[0]["gold"] = "B,A"


def _gold_beyond_the_options(rows: list[Row]) -> None:
    rows[0]["gold"] = "C"


def _no_gold(rows: list[Row]) -> None:
    rows[0]["gold"] = None


def _fewer_options(rows: list[Row]) -> None:
    rows[0]["options"] = rows[0]["options"][:1]


def _other_words(rows: list[Row]) -> None:
    rows[0]["text"] = "What else?"


def _other_options(rows: list[Row]) -> None:
    rows[0]["options"] = rows[0]["options"][::-1]


def _other_clip(rows: list[Row]) -> None:
    rows[0]["video"] = "elsewhere.mp4"


def _other_split(rows: list[Row]) -> None:
    rows[0]["split"] = "validation"


def _other_form(rows: list[Row]) -> None:
    rows[0]["form"] = "free text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_last, "splits are {'train': 81, 'dev': 9}, questions.parquet has {'train': 81, 'dev': 8}"),
        (_ask_twice, "is there 2 times"),
        (_other_gold, "gold is A, elsewhere B"),
        (_unsorted_gold, "solution <answer>A,B</answer> reads as ('A', 'B'), expected gold ('B', 'A')"),
        (_gold_beyond_the_options, "gold is C, which its 2 options do not have"),
        (_other_words, "elsewhere What else?"),
        (_other_options, "options is ('A. Object 0 and object 1 collide', 'B. Object 0 and object 3 collide'), elsewhere"),
        (_other_clip, "elsewhere elsewhere.mp4"),
        (_other_split, "are in the splits"),
        (_other_form, "form is 'free text', expected one of letters, choice, yes-no"),
    ],
)
def test_changed_questions_of_clevrer_are_seen(
    clevrer: Path, change: Callable[[list[Row]], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(clevrer / "questions.parquet", change)
    assert message in complaint(clevrer, capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop_last, "splits are {'test': 9}, questions.parquet has {'test': 8}"),
        (_ask_twice, "is there 2 times"),
        (_other_gold, "test.json: question 1: solution is <answer>A</answer>, elsewhere <answer>B</answer>"),
        (_unsorted_gold, "question 1: gold is B,A, expected one letter for the form choice"),
        (_no_gold, "questions.parquet: question 1: has no gold"),
        (_fewer_options, "questions.parquet: question 1: has 1 options, but its n_options is 2"),
        (_other_words, "test.json: question 1: problem is"),
        (_other_options, "test.json: question 1: options is"),
        (_other_clip, "test.json: question 1: video is"),
        (_other_split, "questions about clips/a.mp4 are in the splits test, validation"),
    ],
)
def test_changed_questions_without_labels_are_seen(
    plain: Path, change: Callable[[list[Row]], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(plain / "questions.parquet", change)
    assert message in complaint(plain, capsys)


def test_changed_rows_of_a_split_without_labels_are_seen(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(plain / "test.json", "<answer>A</answer>", "<answer>B</answer>")
    assert "test.json: question 1: solution is <answer>B</answer>, elsewhere <answer>A</answer>" in complaint(plain, capsys)


# ---- label files -------------------------------------------------------------------------------------------------------


def _other_category(rows: list[Row]) -> None:
    row = next(row for row in rows if row["rule"] == "oracle")
    row["category"] = "inferential" if row["category"] == "observational" else "observational"


def _other_answer(rows: list[Row]) -> None:
    next(row for row in rows if row["rule"] == "correct-option")["answer"] = "B"


def _label_of_nothing(rows: list[Row]) -> None:
    next(row for row in rows if row["rule"] == "oracle")["question_id"] = "999:0"


def _no_label(rows: list[Row]) -> None:
    rows.remove(next(row for row in rows if row["rule"] == "correct-option"))


def _no_rule(rows: list[Row]) -> None:
    rows[:] = [row for row in rows if row["rule"] != "oracle"]


def _no_own_rule(rows: list[Row]) -> None:
    rows[:] = [row for row in rows if row["rule"] != "any-option"]


def _labelled_twice(rows: list[Row]) -> None:
    rows.append(rows[0])


def _no_category(rows: list[Row]) -> None:
    rows[0]["category"] = "both"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_category, "labels.parquet: question"),
        (_other_answer, "observer is A, elsewhere B"),
        (_label_of_nothing, "labels oracle: question 999:0 is not in questions.parquet"),
        (_no_label, "labels correct-option: lack 1 questions"),
        (_no_rule, "labels: lack those of the rule oracle"),
        (_no_own_rule, "lacks the labels of the rule any-option that manifest.json names"),
        (_labelled_twice, "twice for log, any-option"),
        (_no_category, "category is 'both', expected one of observational, inferential, unsure"),
    ],
)
def test_changed_labels_are_seen(
    clevrer: Path, change: Callable[[list[Row]], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(clevrer / "labels/log.parquet", change)
    assert message in complaint(clevrer, capsys)


def test_labels_of_another_observer_lie_beside_and_disturb_nothing(
    clevrer: Path, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One observer may have labelled a part of the questions only, and under a rule of the same name as the log's."""
    for folder, name in ((clevrer, "0:4"), (plain, "1")):
        row = {"question_id": name, "observer": "one-frame", "rule": "oracle", "category": "inferential", "answer": "B"}
        (folder / "labels").mkdir(exist_ok=True)
        written = pl.DataFrame([row | {"reason": None, "score": 0.25}])  # by polars, which has string types of its own
        written.write_parquet(folder / "labels/one-frame.parquet")
        assert vt("curate", "check", folder) == 0
        rewrite(folder / "labels/one-frame.parquet", lambda rows: rows[0].update(question_id="nobody's"))
        assert "labels one-frame/oracle: question nobody's is not in questions.parquet" in complaint(folder, capsys)


# ---- a damaged manifest --------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (None, -1, "a\0b", "\x1b[2J", "\ud800", "x" * 5000, [], {"": 0}, {"x" * 5000: ""})
NOT_COMPARED = ("readings", "provenance", "paper", "view", "inputs", "settings")
"""Parts of the manifest that people and pages read."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of every value within one, as what holds it and its key there."""
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from () if key in NOT_COMPARED else places(inner)


@pytest.mark.parametrize("of", ["clevrer", "plain"])
def test_a_damaged_manifest_is_one_line_whatever_is_wrong_with_it(of: str, request: pytest.FixtureRequest) -> None:
    """Every key gone, and every value another one. Nothing but VtError leaves the check."""
    folder: Path = request.getfixturevalue(of)
    path = folder / "manifest.json"
    whole = json.loads(path.read_text())
    refused: dict[Any, str] = {}
    for number in range(len(list(places(whole)))):
        for odd in ("gone", *(ODD if of == "plain" else ODD[number % 4 :: 4])):
            damaged = json.loads(json.dumps(whole))
            holder, key = list(places(damaged))[number]
            if odd == "gone":
                del holder[key]
            else:
                holder[key] = odd
            path.write_text(json.dumps(damaged))
            try:
                problems = check_folder(folder).problems
            except VtError as error:
                problems = [str(error)]
            if problems:
                assert all("\x1b" not in str(VtError(line)) for line in problems)
                refused[key, str(odd)] = problems[0]
    for key in ("n_read", "n_labelled", "n_unresolved"):
        assert refused[key, "gone"].endswith(
            f"manifest.json: not as expected: Object missing required field `{key}` - at `$.questions`"
        )
    if of == "clevrer":
        assert "counts of oracle are not those of labels.parquet" in refused["oracle", "gone"]


@pytest.mark.parametrize("part", ["questions", "counts", "splits", "seed"])
def test_a_manifest_without_a_part_ends_the_check_with_exit_code_2(
    clevrer: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((clevrer / "manifest.json").read_text())
    del found[part]
    (clevrer / "manifest.json").write_text(json.dumps(found))
    assert "manifest.json: " in complaint(clevrer, capsys)


@pytest.mark.parametrize("provenance", [None, 3, {"command": 3}, [], {"command": None}])
def test_an_earlier_folder_whose_provenance_is_damaged_is_one_line(
    plain: Path, provenance: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads((plain / "manifest.json").read_text())
    (plain / "manifest.json").write_text(json.dumps(found | {"provenance": provenance}))
    (plain / "questions.parquet").unlink()
    assert "manifest.json: not as expected" in complaint(plain, capsys)


# ---- folders of an earlier version -------------------------------------------------------------------------------------


def test_a_folder_of_an_earlier_version_names_the_command_that_makes_it_again(
    release: Path, clevrer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads((clevrer / "manifest.json").read_text())["provenance"]["command"]
    (clevrer / "questions.parquet").unlink()
    (clevrer / "labels/log.parquet").unlink()
    for command in (["curate", "check", clevrer], ["diagnose", "--model", "solver:gold", "--data", clevrer, "--out", "runs"]):
        capsys.readouterr()
        assert vt(*command) == 2
        error = one_error(capsys)
        assert "has no questions.parquet: an earlier version of vt curated it" in error
        assert f"make it again in the same place with `{before}`" in error
    assert before.startswith("vt curate clevrer --annotations ")
    assert curate_release(release, clevrer, "--rule", "any-option") == 0
    assert vt("curate", "check", clevrer) == 0
