"""What each evaluator writes, by its public code, is read: the same four questions, in words that differ as formats do."""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pyarrow as pa
import pytest
from curated_factory import a_choice, write_unlabelled
from typer.testing import CliRunner, Result

from videothinker import store
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.diagnose.imports import Imported, Why, import_results
from videothinker.diagnose.imports.opening import open_results
from videothinker.errors import VtError
from videothinker.records import Clip, Metrics, Question, RunRecord, Status

OPTIONS = ("The cup's lid", "The ball", "5")
ASKED = (
    ("count:1", "What falls  first?", "clips/a.mp4"),
    ("count:2", "What falls first?", "clips/b.webm"),  # the same words about another clip
    ("order:1", "What is on the table,\nin \u201cthe end\u201d?", "clips/a.mp4"),
    ("order:2", "How many fall?", "other/a.mp4"),  # a name that two folders share
)


def a_question(name: str, text: str, path: str) -> Question:
    return msgspec.structs.replace(a_choice(name, gold="B"), text=text, options=OPTIONS, clip=Clip(path=path))


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    return write_unlabelled(tmp_path / "data", {"test": [a_question(*each) for each in ASKED]})


def replies(found: Imported) -> dict[str, str]:
    return {row.question_id: row.reply for row in found.runs["data"].predictions}


def imported(path: Path, curated: Curated) -> Imported:
    return import_results("base", [path], {"data": curated})


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_sheet(path: Path, rows: list[dict[str, Any]]) -> Path:
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path)
    return path


def write_tsv(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    cells = [["" if cell is None else '"' + str(cell).replace('"', '""') + '"' for cell in line] for line in lines]
    path.write_text("\n".join("\t".join(line) for line in cells))
    return path


def test_a_sheet_with_two_columns_of_one_name_is_refused_and_nameless_ones_are_left(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", None, "reply", None], ["7", "x", "A", "y"]):
        book.active.append(row)
    book.save(tmp_path / "fine.xlsx")
    assert open_results(tmp_path / "fine.xlsx").rows[0].fields == {"id": "7", "reply": "A"}
    book.active["D1"] = "reply"
    book.save(tmp_path / "twice.xlsx")
    with pytest.raises(VtError, match=r"twice\.xlsx: cannot be read \(has two columns 'reply'"):
        open_results(tmp_path / "twice.xlsx")


@pytest.mark.parametrize(("write", "name"), [(write_sheet, "m.xlsx"), (write_tsv, "m.tsv"), (write_lines, "m.jsonl")])
def test_predictions_of_vlmevalkit(
    curated: Curated, tmp_path: Path, write: Callable[[Path, list[dict[str, Any]]], Path], name: str
) -> None:
    """Its index is no id; candidates are a list as Python writes it, here with letters and without the apostrophe."""
    candidates = str([f"{letter}. {text.replace(chr(39), '')}" for letter, text in zip("ABC", OPTIONS, strict=True)])
    rows = [
        {"index": 0, "prefix": "clips/", "video": "a", "suffix": ".mp4", "question": "what falls first?", "prediction": "B"},
        {"index": 1, "prefix": "clips/", "video": "b", "suffix": ".mp4", "question": "What falls first?", "prediction": "(A)"},
        {"index": 2, "prefix": "other/", "video": "a", "suffix": ".mp4", "question": "How many fall?", "prediction": "3"},
        {"index": 3, "prefix": "", "video": "a", "suffix": "", "question": "How many fall?", "prediction": "C"},
    ]
    rows[3] |= {
        "question": 'What is on the table, in "the end"?',
        "prefix": "clips/",
        "prediction": "Failed to obtain answer: x",
    }
    found = imported(write(tmp_path / name, [row | {"candidates": candidates} for row in rows]), curated)
    assert replies(found) == {"count:1": "B", "count:2": "(A)", "order:1": "", "order:2": "3"}
    assert found.runs["data"].predictions[2].status is Status.DECODE_ERROR
    (counts,) = found.files["data"]
    assert (counts.format, counts.n_rows, counts.n_by_id, counts.n_by_words, counts.n_refused) == ("VLMEvalKit", 4, 0, 4, 0)


def lmms_row(doc_id: int, asked: str, reply: str, options: tuple[str, ...] = OPTIONS) -> dict[str, Any]:
    shown = "".join(f"({letter}) {text}\n" for letter, text in zip("ABC", options, strict=True))
    prompt = f"Watch closely.\nQuestion:{asked}\nOption:\n{shown}Only give the best option.\n"
    return {"doc_id": doc_id, "input": prompt, "filtered_resps": [reply], "target": "B", "doc_hash": "x"}


def test_lmms_eval_tells_only_a_prompt_and_the_number_of_the_document(curated: Curated, tmp_path: Path) -> None:
    """The words fit two questions, of which the task's name and doc_id choose; without them nothing may be chosen."""
    rows = [lmms_row(1, "What falls first?", "B"), lmms_row(7, "How many fall?", "A"), lmms_row(8, "How many fall today?", "A")]
    path = write_lines(tmp_path / "20260101_samples_mvbench_count.jsonl", rows)
    found = imported(path, curated)
    assert replies(found) == {"count:2": "B", "order:2": "A"}
    assert [(row.place, row.why) for row in found.unmatched] == [("line 3", Why.UNKNOWN)]
    found = imported(write_lines(tmp_path / "20260101_samples_other.jsonl", rows), curated)
    assert [(row.place, row.why) for row in found.unmatched] == [("line 1", Why.AMBIGUOUS), ("line 3", Why.UNKNOWN)]
    assert "fits 2 questions (count:1, count:2); it needs a question_id, or the clip" in found.unmatched[0].reason


def test_options_in_another_order_are_refused_by_name(curated: Curated, tmp_path: Path) -> None:
    shown = ["The ball", "The cup's lid", "5"]
    rows = [
        {"reply": "A", "question": "How many fall?", "options": shown, "video": "a.mp4"},
        {"reply": "A", "question_id": "count:1", "options": shown},
        {"reply": "A", "question_id": "count:2", "question": "How many fall?"},
        {"reply": "A", "question": "How many fall?", "video": "other/a.mp4"},
        {"reply": "A", "question": "How many fall?", "options": list(OPTIONS[:2]), "video": "other/a.mp4"},
        {"reply": "A", "question": "How many fall?", "options": list(OPTIONS), "video": "clips/a.mp4"},
        {"reply": "B", "question_id": "order:1"},
    ]
    found = imported(write_lines(tmp_path / "replies.jsonl", rows), curated)
    assert replies(found) == {"order:1": "B"}
    assert [row.why for row in found.unmatched] == [Why.REORDERED, Why.REORDERED, *[Why.UNKNOWN] * 4]
    told = [row.reason for row in found.unmatched]
    assert told[1] == "shows the options of question count:1 in another order, so its letters mean others"
    assert told[2] == "has the id of question count:2, but other words, options or clip"
    assert told[3] == "asks as question order:2 does, but does not tell its options"
    (counts,) = found.files["data"]
    assert counts.n_rows == counts.n_by_id + counts.n_by_words + counts.n_elsewhere + counts.n_refused == 7


def inspect_sample(name: str | int, asked: str, reply: str, **more: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": reply}, "stop_reason": more.pop("stop", "stop")}
    output = {"model": "m", "choices": [choice], "completion": reply, "usage": {"output_tokens": 7}}
    return {"id": name, "epoch": 1, "input": asked, "choices": list(OPTIONS), "output": output, **more}


def inspect_samples() -> list[dict[str, Any]]:
    video = {"type": "video", "video": "attachment://1"}  # a log has the clip itself, not its path
    failed = {"model": "m", "choices": [], "completion": ""}
    return [
        inspect_sample("order:2", "How many fall?", "ANSWER: B"),
        inspect_sample(2, "What falls first?", "B", metadata={"video": "b.mp4"}, stop="max_tokens"),
        inspect_sample(3, "What falls first?", "")
        | {"output": failed, "error": {"message": "gone"}, "metadata": {"question_id": "count:1"}},
        inspect_sample(4, "", "A") | {"input": [{"role": "user", "content": [video, {"type": "text", "text": ASKED[2][1]}]}]},
    ]


def write_eval(path: Path, members: dict[str, bytes], *, zstandard: bool) -> Path:
    """The zip that inspect_ai writes; since 2026 its members are Zstandard (93), which Python 3.11 cannot write."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if zstandard else zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, pa.compress(content, "zstd", asbytes=True) if zstandard else content)
    if zstandard:
        data = bytearray(path.read_bytes())
        begins = struct.unpack_from("<I", data, len(data) - 6)[0]  # of the central directory
        for name, content in members.items():
            assert data[begins : begins + 4] == b"PK\x01\x02"
            struct.pack_into("<H", data, begins + 10, 93)
            struct.pack_into("<I", data, begins + 16, zlib.crc32(content))
            struct.pack_into("<I", data, begins + 24, len(content))
            begins += 46 + len(name)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", ["json", "deflated", "zstandard"])
def test_logs_of_inspect_ai(curated: Curated, tmp_path: Path, form: str) -> None:
    head = {"version": 2, "status": "success", "eval": {"model": "m"}}
    samples = inspect_samples()
    if form == "json":
        path = tmp_path / "log.json"
        path.write_text(json.dumps({**head, "results": {"scores": []}, "samples": samples}))
    else:
        members = {f"samples/{each['id']}_epoch_1.json": json.dumps(each).encode() for each in samples}
        members |= {"header.json": json.dumps(head).encode(), "summaries.json": b"[]"}
        path = write_eval(tmp_path / "log.eval", members, zstandard=form == "zstandard")
    found = imported(path, curated)
    assert replies(found) == {"count:1": "", "count:2": "B", "order:1": "A", "order:2": "ANSWER: B"}
    first, second, *_ = found.runs["data"].predictions
    assert (first.status, first.error) == (Status.DECODE_ERROR, "the sample ended in an error: gone")
    assert (second.status, second.tokens) == (Status.TRUNCATED, 7)
    assert [(each.n_by_id, each.n_by_words) for each in found.files["data"]] == [(2, 2)]


def test_a_damaged_log_and_a_pickle_are_refused_in_one_line(curated: Curated, tmp_path: Path) -> None:
    path = write_eval(tmp_path / "log.eval", {"header.json": b"{}", "samples/1_epoch_1.json": b"{}" * 9}, zstandard=True)
    data = bytearray(path.read_bytes())
    data[50] ^= 255
    path.write_bytes(data)
    with pytest.raises(VtError, match=r"log\.eval: cannot be read"):
        imported(path, curated)
    (tmp_path / "m.pkl").write_bytes(b"x")
    with pytest.raises(VtError, match=r"is a pickle, which may run anything when it is read"):
        imported(tmp_path / "m.pkl", curated)


# ---- as a user runs it -----------------------------------------------------------------------------------------------------


def vt(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_an_import_is_read_and_compared_again_without_its_file(curated: Curated, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", [{"question_id": name, "reply": "B"} for name, _, _ in (*ASKED, ("x", "", ""))])
    out = tmp_path / "report"
    result = vt("report", "--import", f"base={path}", "--data", curated.folder, "--out", out)
    assert result.exit_code == 0
    assert "base: r.jsonl (plain, 5 rows)" in result.stdout
    assert "4 matched: 4 by id, 0 by words" in result.stdout
    assert "1 rows answer no question (1 not found), such as r.jsonl: line 5 answers question x" in " ".join(
        result.stderr.split()
    )
    (left,) = (json.loads(line) for line in (out / "unmatched.jsonl").read_text().splitlines())
    assert (left["name"], left["place"], left["why"]) == ("base", "line 5", "not found")
    record = store.read_json(out / "base" / "run.json", RunRecord)
    assert (record.kind, record.imported[0].n_refused, record.partial) == ("import", 1, None)
    path.unlink()
    vt("diagnose", "--data", curated.folder, "--model", "solver:none", "--out", tmp_path / "runs")
    again = vt("report", out / "base", tmp_path / "runs", "--out", tmp_path / "again", "--reread")
    assert again.exit_code == 0
    assert store.read_json(tmp_path / "again" / "base" / "metrics.json", Metrics).all.per_question.value == 1.0
    (row,) = store.read_json(tmp_path / "again" / "summary.json", dict[str, Any])["comparisons"][:1]
    assert (row["before"], row["after"], row["n_lost"]) == ("base", "none", 4)


def test_strict_lets_no_row_go(curated: Curated, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", [{"question_id": name, "reply": "B"} for name in ("count:1", "x")])
    with pytest.raises(
        VtError, match=r"r\.jsonl: line 2 answers question x, .* under --strict every row answers a question, and 1 do"
    ):
        vt("report", "--import", f"base={path}", "--data", curated.folder, "--out", tmp_path / "report", "--strict")
    assert not (tmp_path / "report").exists()


def test_files_of_one_checkpoint_about_several_data_sets(curated: Curated, tmp_path: Path) -> None:
    """Both sets have a question count:1; a row that tells an id alone is of neither, one with words is of the set it fits."""
    others = [a_choice(name, gold="A") for name in ("count:1", "p2", "p3")]
    other = write_unlabelled(tmp_path / "other", {"val": others})
    words = {"question": others[0].text, "options": list(others[0].options)}
    rows = [
        {"question_id": "count:1", "reply": "A"} | words,
        {"question_id": "count:2", "reply": "B"},
        {"question_id": "p2", "reply": "A"},
    ]
    one = write_lines(tmp_path / "one.jsonl", rows)
    two = write_lines(tmp_path / "two.jsonl", [{"question_id": "p3", "reply": "B"}, {"question_id": "count:1", "reply": "B"}])
    out = tmp_path / "table"
    sets = ("--data", curated.folder, "--data", other.folder)
    result = vt("report", "--import", f"base={one}", "--import", f"base={two}", *sets, "--out", out)
    assert result.exit_code == 0
    assert "data: 1 matched: 1 by id, 0 by words; 2 of other data sets" in result.stdout
    assert "other: 2 matched: 2 by id, 0 by words; 1 of other data sets" in result.stdout
    assert "has an id that the sets data, other all have, and tells nothing else" in " ".join(result.stderr.split())
    scores = store.read_json(out / "summary.json", dict[str, Any])["checkpoints"]["base"]
    assert {name: (one["value"], one["n"]) for name, one in scores.items()} == {"data": (1.0, 1), "other": (2 / 3, 3)}
    assert (out / "other" / "base" / "predictions.jsonl").is_file()
    assert vt("report", out, "--out", tmp_path / "again").exit_code == 0
    assert store.read_json(tmp_path / "again" / "summary.json", dict[str, Any])["checkpoints"]["base"] == scores


def test_an_import_takes_no_place_of_a_run_that_was_asked(curated: Curated, tmp_path: Path) -> None:
    vt("diagnose", "--data", curated.folder, "--model", "base=solver:gold", "--out", tmp_path / "runs")
    path = write_lines(tmp_path / "r.jsonl", [{"question_id": "count:1", "reply": "B"}])
    with pytest.raises(VtError, match="holds a run that vt diagnose asked; choose another --out, or another NAME"):
        vt("report", "--import", f"base={path}", "--data", curated.folder, "--out", tmp_path / "runs")
