"""Read back and check the files of a run of `vt diagnose`. Nothing here needs what asks a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videothinker import answers, store
from videothinker.curated import Labels
from videothinker.errors import VtError
from videothinker.records import Form, Prediction, Question, Status, metrics, prediction, run

RUN, PREDICTIONS, METRICS = run.FILE, prediction.FILE, metrics.FILE


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
    questions: Sequence[Question], labels: Labels, predictions: Mapping[str, Prediction], where: Path | str
) -> dict[str, Prediction]:
    """The predictions in the order of the questions, after a check that they answer these questions.

    labels: those of the question set; predictions carry the answer of its own observer.

    Raises:
        VtError: a prediction is of a question that is not among them, was graded against another gold answer, or has other
            letters than the question's options.
    """
    by_id = {question.question_id: question for question in questions}
    for key, row in predictions.items():
        question = by_id.get(key)
        if question is None:
            raise VtError(
                f"{where}: answers question {key}, which the curated data does not have; give the data it was asked from"
            )
        if _differs(row.gold, question.gold) or _differs(row.observer, labels.observer(key)):
            raise VtError(
                f"{where}: question {key} has another gold or observer's answer than the curated data; they do not match"
            )
        if row.chosen is not None and answers.form_of(question).fault(row.chosen, len(question.options)):
            raise VtError(
                f"{where}: question {key} has {len(question.options)} options, but its `chosen` is {list(row.chosen or ())}"
            )
    return {key: predictions[key] for key in by_id if key in predictions}


def _differs(here: Sequence[str] | None, there: Sequence[str] | None) -> bool:
    """Whether two answers differ. None stands for no answer, and differs from every answer."""
    return (here is None) != (there is None) or set(here or ()) != set(there or ())


def data_hash(questions: Sequence[Question], labels: Labels) -> str:
    """SHA-256 of what a reply and its grade depend on: words, options, clip, gold and the set's observer, but not the category.

    So a run can be scored under another rule, and resumed on a folder that was curated again under one. A part of a clip, and a
    form other than letters, are hashed only where a question has them: runs from before there were such questions keep their
    hash.
    """

    def row(one: Question) -> list[Any]:
        options = [answers.option_line(index, text) for index, text in enumerate(one.options)]
        more = [one.form, *((one.clip and (one.clip.start, one.clip.end, one.clip.fps)) or (None, None, None))]
        plain = [one.question_id, one.text, options, one.path, one.gold, labels.observer(one.question_id)]
        return plain if more == [Form.LETTERS, None, None, None] else [*plain, *more]

    return store.sha256_json([row(one) for one in questions])


def prediction_files(folder: Path) -> list[Path]:
    """The files of predictions in a run's folder: the finished one first, then those of single processes."""
    return [path for path in (folder / PREDICTIONS, *sorted(folder.glob("predictions.rank*.jsonl"))) if path.is_file()]
