"""Result files of other evaluators: their replies, matched to questions, read and graded by us."""

import json
from pathlib import Path
from typing import Any

import pytest
from curated_factory import random_questions, write_curated

from videothinker import answers, store
from videothinker.curated import Curated
from videothinker.diagnose.imports import import_results
from videothinker.diagnose.imports.matching import Why
from videothinker.diagnose.runs import Run
from videothinker.errors import VtError
from videothinker.records import Rule, Status
from videothinker.records.run import Partial


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    return write_curated(tmp_path / "curated")


def imported(path: Path, curated: Curated, **options: Any) -> Run:
    return import_results("base", [path], {"data": curated}, **options).runs["data"]


def eval_bench_rows(curated: Curated) -> list[dict[str, Any]]:
    """As the official evaluators write them: the record, with their fields added. It calls "A, C" wrong; we do not."""
    return [
        {
            **row,
            "output": f"<think>Hm.</think><answer>{', '.join(row['gold']) or 'none'}</answer>",
            "prediction": ", ".join(row["gold"]),
            "reward": 0.0,
            "correct": False,
        }
        for row in store.read_json(curated.folder / "dev.json", list[dict[str, Any]])
    ]


def test_results_of_eval_bench(curated: Curated, tmp_path: Path) -> None:
    path = tmp_path / "eval_clevrer_greedy_output.json"
    path.write_text(
        json.dumps({"results": eval_bench_rows(curated)[::-1], "final_acc": [{"mean_acc": float("nan"), "mean_mra": 0.0}]})
    )
    assert "NaN" in path.read_text()  # which is no JSON, and what they write
    run = imported(path, curated)
    assert run.metrics.all.per_question.value == 1.0
    assert [question.question_id for question in run.questions] == [q.question_id for q in curated.questions("dev")]
    assert run.record.kind == "import"
    assert run.record.partial is None
    assert imported(path, curated, rule=Rule.ANY_OPTION).metrics.rule == Rule.ANY_OPTION


@pytest.mark.parametrize("as_lines", [True, False])
def test_results_alone_and_only_some(curated: Curated, tmp_path: Path, as_lines: bool) -> None:
    path = tmp_path / "results.json"
    rows = eval_bench_rows(curated)[:4]
    path.write_text("\n".join(json.dumps(row) for row in rows) if as_lines else json.dumps(rows))
    run = imported(path, curated)
    assert len(run.predictions) == 4
    assert run.record.partial == Partial(asked=4, of=len(curated.questions("dev")))


def test_one_line_alone_is_one_result(curated: Curated, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(eval_bench_rows(curated)[0]) + "\n")
    assert len(imported(path, curated).predictions) == 1


def test_a_failed_batch_is_no_wrong_answer(curated: Curated, tmp_path: Path) -> None:
    rows = eval_bench_rows(curated)
    rows[0]["output"] = "<answer>error</answer>"
    rows[1]["output"] = "I do not know."
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    run = imported(path, curated)
    assert [row.status for row in run.predictions[:3]] == [Status.DECODE_ERROR, Status.NO_ANSWER, Status.OK]
    assert (run.metrics.all.n_decode_error, run.metrics.all.n_unparsed) == (1, 1)


@pytest.mark.parametrize(
    ("resps", "filtered", "place"),
    [
        ([["<answer>A, C</answer>"]], ["A"], "top"),  # the whole reply counts before what a filter has left of it
        (None, ["<answer>A, C</answer>"], "top"),
        (None, "<answer>A, C</answer>", "metric"),
        (None, ["<answer>A, C</answer>"], "doc"),
    ],
)
def test_samples_of_lmms_eval(curated: Curated, tmp_path: Path, resps: Any, filtered: Any, place: str) -> None:
    key = curated.questions("dev")[0].question_id
    row: dict[str, Any] = {"doc_id": 0, "target": "A,C", "filtered_resps": filtered, "input": "Q?"}
    if resps is not None:
        row["resps"] = resps
    row |= {"top": {"question_id": key}, "metric": {"accuracy": {"question_id": key}}, "doc": {"doc": {"question_id": key}}}[
        place
    ]
    path = tmp_path / "20261120_samples_clevrer.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (prediction,) = imported(path, curated).predictions
    assert (prediction.question_id, prediction.reply) == (key, "<answer>A, C</answer>")
    assert prediction.chosen == answers.parse(curated.questions("dev")[0], prediction.reply)


def test_the_split_is_that_of_the_questions(curated: Curated, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"question_id": q.question_id, "output": "A"} for q in curated.questions("train")]))
    assert imported(path, curated).record.settings == {"split": "train"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no results"),
        ("[" * 100_000, "line 1 is not JSON"),
        ("[]", "holds no results"),
        ("3", "is of type int, expected a list of results"),
        ('{"results": 3}', "expected a list of results"),
        ("[3]", "result 1 is of type int, expected an object"),
        ('{"question_id": "100:0", "output": "A"}\n{"question_id', "line 2 is not JSON"),
        ('[{"output": "A"}]', "result 1 has no question_id"),
        ('[{"question_id": 3, "filtered_resps": ["A"]}]', "result 1 answers question 3, which the data does not have"),
        ('[{"answer": "A"}]', "is of no known format: result 1 has the fields answer; expected those of inspect_ai"),
        ('[{"question_id": "100:0", "output": null}]', "result 1 has no reply"),
        ('[{"question_id": "100:0", "filtered_resps": ["A", "B"]}]', "result 1 has no reply"),
        ('[{"question_id": "9:9", "output": "A"}]', "result 1 answers question 9:9, which the data does not have"),
        (
            '[{"question_id": "100:0", "output": "A"}, {"question_id": "100:0", "output": "A"}]',
            "result 1 is one of 2 rows that answer question 100:0 (another is result 2); keep one of them; none of its 2 rows",
        ),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(curated: Curated, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(VtError) as error:
        imported(path, curated)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_given_twice_is_named(curated: Curated, tmp_path: Path) -> None:
    """By one path, by a link, and as a copy, whose name alone differs."""
    path, link, copy = (tmp_path / name for name in ("a.jsonl", "link.jsonl", "copy.jsonl"))
    rows = [{"question_id": one.question_id, "reply": "<answer>A</answer>"} for one in curated.questions("dev")]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    link.symlink_to(path)
    copy.write_text(path.read_text())
    doubled = f"{path}: line 1 is one of 2 rows that answer question {rows[0]['question_id']} (another is line 1 of {copy}, "
    for other, message in (
        (path, f"{path}: is given twice for the checkpoint 'base'; name each result file once"),
        (link, f"{link}: is given twice for the checkpoint 'base', first as {path}; name each result file once"),
        (
            copy,
            f"{doubled}a file with the same content); keep one of them; none of the 2 files' {2 * len(rows)} rows can be taken",
        ),
    ):
        with pytest.raises(VtError) as error:
            import_results("base", [path, other], {"data": curated})
        assert str(error.value) == message


def test_a_row_that_another_file_has_too_says_where(curated: Curated, tmp_path: Path) -> None:
    rows = [{"question_id": one.question_id, "reply": "<answer>A</answer>"} for one in curated.questions("dev")]
    whole, part = tmp_path / "whole.json", tmp_path / "part.json"
    whole.write_text(json.dumps(rows))
    part.write_text(json.dumps(rows[1:2]))
    found = import_results("base", [whole, part], {"data": curated})
    assert [(row.place, row.why) for row in found.unmatched] == [("result 2", Why.TWICE), ("result 1", Why.TWICE)]
    assert f"(another is result 1 of {part}); keep" in found.unmatched[0].reason
    assert len(found.runs["data"].predictions) == len(rows) - 1


def test_a_file_that_is_not_there(curated: Curated, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="cannot be read"):
        imported(tmp_path / "nothing.json", curated)


def test_questions_of_two_splits_do_not_mix(tmp_path: Path) -> None:
    curated = write_curated(tmp_path / "curated", {"train": random_questions([0]), "dev": random_questions([100])})
    path = tmp_path / "results.json"
    path.write_text('[{"question_id": "100:0", "output": "A"}, {"question_id": "0:0", "output": "A"}]')
    with pytest.raises(
        VtError, match=r"several splits of .* \(1 of dev, 1 of train\), and a run is of one; choose it with --split"
    ):
        imported(path, curated)
    found = import_results("base", [path], {"data": curated}, splits={"data": "train"})
    assert [row.question_id for row in found.runs["data"].predictions] == ["0:0"]
    assert [(row.place, row.why) for row in found.unmatched] == [("result 1", Why.OTHER_SPLIT)]
