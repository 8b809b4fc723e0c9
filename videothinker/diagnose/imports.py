"""Import result files of other evaluators as runs: the replies are theirs, and are read and graded as ours are.

- VideoThinker, Video-R1 and VideoRFT (`eval_bench.py`): {"results": [the record + "output", ...], "final_acc": ...}, or the
  results alone as a list or JSON Lines. The reply is `output`.
- lmms-eval (`*_samples_*.jsonl`): one row per document; the reply is `resps` or, without it, `filtered_resps`. The document is
  not in the file, so the task has to put the question's id into the row or into one of its metrics' dicts.

Rows are matched to curated questions by `question_id` ("10000:12"); their place in the file does not matter.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from videothinker.curated import Curated
from videothinker.diagnose import files, run
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.runs import Run, scored
from videothinker.errors import VtError
from videothinker.records import Prediction, Question, RunRecord
from videothinker.records.run import AskedData

FAILED_BATCH = "<answer>error</answer>"
"""What the official evaluators write as the reply of every question of a batch that they failed to run."""


def import_results(name: str, path: Path, curated: Curated, rule: str | None = None) -> Run:
    """A run from another evaluator's result file. Its questions have to be of one split of `curated`.

    A batch that the evaluator failed to run becomes decode errors, not wrong answers.

    Raises:
        VtError: the file is no result file, a row has no question id or no reply, or a question is unknown or answered twice.
    """
    rows = list(_rows(path))
    split, questions = _split_of(path, rows[0], curated)
    by_id = {question.question_id: question for question in questions}
    found: dict[str, Prediction] = {}
    for place, row in rows:
        key = _question_id(row, f"{path}: {place}")
        if key not in by_id:
            raise VtError(f"{path}: {place} answers question {key}, which split '{split}' of {curated.folder} does not have")
        if key in found:
            raise VtError(f"{path}: {place} answers question {key} a second time; keep one of the rows")
        found[key] = run.grade(by_id[key], _answer(key, row, f"{path}: {place}"), curated.labels)
    record = RunRecord(
        name=name,
        model=path.name,
        kind="import",
        settings={"split": split},
        data=AskedData(hash=files.data_hash(questions, curated.labels), split=split, n_questions=len(questions)),
        partial=run.partial(len(found), len(questions)),
    )
    predictions = [found[key] for key in by_id if key in found]
    return scored(name, record, questions, predictions, curated.labels_by(rule), curated.manifest.benchmark)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row with its place for messages. Python's json takes the NaN that the official evaluator writes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise VtError(f"{path}: cannot be read ({error})") from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        rows = [
            (f"line {number}", _line(path, number, line))
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip()
        ]
    else:
        results = whole.get("results", [whole]) if isinstance(whole, dict) else whole
        if not isinstance(results, list):
            raise VtError(f"{path}: is of type {type(whole).__name__}, expected a list of results, or an object with 'results'")
        rows = [(f"result {number}", row) for number, row in enumerate(results, start=1)]
    if not rows:
        raise VtError(f"{path}: holds no results")
    for place, row in rows:
        if not isinstance(row, dict):
            raise VtError(f"{path}: {place} is of type {type(row).__name__}, expected an object with question_id and output")
        yield place, row


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, or a number of thousands of digits
        raise VtError(f"{path}: line {number} is not JSON ({error}); expected JSON, or JSON Lines") from error


def _question_id(row: dict[str, Any], where: str) -> str:
    """The question's id: in the row, in its `doc`, or in one of the dicts that an lmms-eval task returns as metrics."""
    nested = [value for value in row.values() if isinstance(value, dict)]
    for holder in (row, *nested):
        if isinstance(key := holder.get("question_id"), str):
            return key
    raise VtError(
        f"{where} has no question_id; keep that field of the curated records in what you evaluate "
        f"(lmms-eval: return it in the dict of a metric), so that the reply can be matched to its question"
    )


def _answer(key: str, row: dict[str, Any], where: str) -> RawReply:
    for field in ("output", "resps", "filtered_resps"):
        reply = row.get(field)
        while isinstance(reply, list) and len(reply) == 1:  # lmms-eval wraps the reply once per repeat and once per request
            reply = reply[0]
        if isinstance(reply, str):
            failed = reply.strip() == FAILED_BATCH
            return RawReply(
                question_id=key, reply=None if failed else reply, error="the evaluator failed on this batch" if failed else None
            )
    raise VtError(
        f"{where} has no reply; expected one text in `output` (eval_bench) or in `resps` or `filtered_resps` (lmms-eval)"
    )


def _split_of(path: Path, first: tuple[str, dict[str, Any]], curated: Curated) -> tuple[str, list[Question]]:
    """The split that the file's first question belongs to."""
    place, row = first
    key = _question_id(row, f"{path}: {place}")
    for split in curated.manifest.splits:
        questions = curated.questions(split)
        if any(question.question_id == key for question in questions):
            return split, questions
    raise VtError(
        f"{path}: {place} answers question {key}, which no split of {curated.folder} has; give the data it was asked from"
    )
