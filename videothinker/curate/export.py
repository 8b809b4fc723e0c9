"""Curated questions as the rows that other trainers read, with the cot prompt of evaluation (`mcq.render_prompt`).

A clip's path stays relative to the manifest's `videos_root`, as in the records: rows are the same on every machine, and TRL,
ms-swift and EasyR1 each take a root folder of their own.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from videothinker import mcq
from videothinker.errors import missing_extra
from videothinker.records import CuratedQuestion

Row = dict[str, Any]


class Export(StrEnum):
    """A trainer whose rows can be written beside the records."""

    TRL = "trl"
    MS_SWIFT = "ms-swift"
    EASYR1 = "easyr1"

    def file_name(self, split: str) -> str:
        """Where a split's rows go: train.trl.jsonl."""
        return f"{split}.{self.value}.jsonl"

    def row(self, question: CuratedQuestion) -> Row:
        """One question in this trainer's format."""
        return _ROWS[self](question)


def trl_row(question: CuratedQuestion) -> Row:
    """A conversational prompt, and beside it the columns that a reward function needs."""
    video = {"type": "video", "video": question.video}
    text = {"type": "text", "text": _prompt(question)}
    return {"prompt": [{"role": "user", "content": [video, text]}], "n_options": len(question.options), **_answer(question)}


def ms_swift_row(question: CuratedQuestion) -> Row:
    """Messages with a <video> tag, and the clips they stand for."""
    message = {"role": "user", "content": f"<video>{_prompt(question)}"}
    return {"messages": [message], "videos": [question.video], **_answer(question)}


def easyr1_row(question: CuratedQuestion) -> Row:
    """A problem with a <video> tag; its answer is bare letters, "none" for no correct option. Set no `format_prompt`."""
    return {
        "problem": f"<video>{_prompt(question)}",
        "answer": ",".join(question.gold) or "none",
        "videos": [question.video],
        "question_id": question.question_id,
        "category": question.category,
    }


_ROWS: dict[Export, Callable[[CuratedQuestion], Row]] = {
    Export.TRL: trl_row,
    Export.MS_SWIFT: ms_swift_row,
    Export.EASYR1: easyr1_row,
}


def _prompt(question: CuratedQuestion) -> str:
    return mcq.render_prompt(question.problem, question.options, mcq.Prompt.COT)


def _answer(question: CuratedQuestion) -> Row:
    return {
        "solution": question.solution,
        "gold": question.gold,
        "observer": question.observer,
        "question_id": question.question_id,
        "category": question.category,
    }


def save_dataset(splits: Mapping[str, Iterable[CuratedQuestion]], folder: Path) -> None:
    """Save the records as a `datasets.DatasetDict`, to be read with `datasets.load_from_disk`.

    Raises:
        VtError: the package `datasets` is not installed.
    """
    require_datasets()
    from datasets import Dataset, DatasetDict, Features, Sequence, Value, disable_progress_bars

    words: Any = {int: Value("int64"), bool: Value("bool"), tuple[str, ...]: Sequence(Value("string"))}
    features = Features(
        {field.name: words.get(field.type, Value("string")) for field in msgspec.structs.fields(CuratedQuestion)}
    )  # named, not guessed: a split whose questions all have no correct option would get lists of nothing
    disable_progress_bars()
    DatasetDict(
        {
            split: Dataset.from_list([msgspec.to_builtins(question) for question in questions], features=features)
            for split, questions in splits.items()
        }
    ).save_to_disk(folder)


def require_datasets() -> None:
    """Check, before work starts, that `save_dataset` can do its part.

    Raises:
        VtError: the package `datasets` is not installed.
    """
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise missing_extra("datasets", "train", "--save-dataset")
