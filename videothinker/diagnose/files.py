"""The files of a run of `vt diagnose`, read back and checked: who only reads them needs nothing that asks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from videothinker import mcq, store
from videothinker.errors import VtError
from videothinker.records import CuratedQuestion, Prediction, Status

RUN = "run.json"
PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """All predictions in a run's folder by question id, whichever process wrote them; {} when there are none yet.

    A decode_error gives way to a later answer of the same question.

    Raises:
        VtError: a line is not a prediction, or a question is answered twice.
    """
    found: dict[str, Prediction] = {}
    for path in prediction_files(folder):
        here: set[str] = set()
        for number, row in enumerate(store.read_jsonl(path, Prediction), start=1):
            earlier = found.get(row.question_id)
            if earlier is None or earlier.status is Status.DECODE_ERROR:
                found[row.question_id] = row
            elif row.status is not Status.DECODE_ERROR and (row.question_id in here or row != earlier):
                # The same line in two files is left by a kill between putting the processes' files together and removing them.
                raise VtError(
                    f"{path}: line {number} answers question {row.question_id} a second time; "
                    f"remove one of the lines, or ask all again with --no-resume"
                )
            here.add(row.question_id)
    return found


def match(
    questions: Sequence[CuratedQuestion], predictions: Mapping[str, Prediction], where: Path | str
) -> dict[str, Prediction]:
    """The predictions in the order of the questions, checked to be theirs.

    Raises:
        VtError: a prediction of a question that is not among them, graded against another gold answer, or with other letters
            than the question's options.
    """
    by_id = {question.question_id: question for question in questions}
    for key, row in predictions.items():
        question = by_id.get(key)
        if question is None:
            raise VtError(
                f"{where}: answers question {key}, which the curated data does not have; give the data it was asked from"
            )
        if set(row.gold) != set(question.gold) or set(row.observer) != set(question.observer):
            raise VtError(
                f"{where}: question {key} has another gold or observer's answer than the curated data; they do not match"
            )
        if not set(row.chosen or ()) <= set(mcq.LETTERS[: len(question.options)]):
            raise VtError(
                f"{where}: question {key} has {len(question.options)} options, but its `chosen` is {list(row.chosen or ())}"
            )
    return {key: predictions[key] for key in by_id if key in predictions}


def data_hash(questions: Sequence[CuratedQuestion]) -> str:
    """SHA-256 of what a reply and its grade depend on: words, options, clip, gold and observer's answer, but not the label.

    So a run can be scored under another rule, and resumed on a folder that was curated again under one.
    """
    return store.sha256_json([[q.question_id, q.problem, q.options, q.video, q.gold, q.observer] for q in questions])


def prediction_files(folder: Path) -> list[Path]:
    """The files of predictions in a run's folder: the finished one first, then those of single processes."""
    return [path for path in (folder / PREDICTIONS, *sorted(folder.glob("predictions.rank*.jsonl"))) if path.is_file()]
