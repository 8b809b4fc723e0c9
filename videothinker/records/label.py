"""Labels say whether a question can be answered by looking less. They lie beside a question set, in any number of files."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

FOLDER = "labels"
"""Folder of a curated folder's label files, *.parquet."""

LOG = "log"
"""The observer who reads CLEVRER's collision log: `observers.log`."""


class Category(StrEnum):
    """Whether the question can be answered from the video as shown (paper, section 3)."""

    OBSERVATIONAL = "observational"
    INFERENTIAL = "inferential"
    UNSURE = "unsure"
    """The observer's answers do not tell: a category of its own wherever questions are counted, and in no training pool."""


DECIDED = (Category.OBSERVATIONAL, Category.INFERENTIAL)
"""The categories that a question is trained on, contrasted and exported by. A collision log always decides."""


class Rule(StrEnum):
    """How a category follows from what an observer says. The first two are readings of the paper's sentence about the
    collision log (`observers.log`); the third holds for any observer (`observers.oracle`)."""

    ANY_OPTION = "any-option"
    CORRECT_OPTION = "correct-option"
    ORACLE = "oracle"

    @property
    def column(self) -> str:
        """Name of this rule's column in CLEVRER's labels.parquet and Video-R1 rows."""
        return self.value.replace("-", "_")


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What one observer and one rule say about one question: a row of a file in labels/."""

    question_id: str
    observer: str
    """Who looked less, such as "log"."""
    rule: str
    """How the category follows from the observer's answer: a `Rule`, or another name that the observer's maker gave."""
    category: Category
    reason: str | None = None
    """What decided the category, in words; None if not given."""
    answer: tuple[str, ...] | None
    """The observer's answer, as `Question.gold` holds one; None if none could be read."""


COLUMNS = {
    "question_id": "string",
    "observer": "string",
    "rule": "string",
    "category": "string",
    "answer": "string",
    "reason": "string",
}
"""Columns of a label file by Arrow type; `answer` is joined by ",". Further columns hold scores of the observer."""


class LabelSet(NamedTuple):
    """All labels of one observer under one rule."""

    observer: str
    rule: str
    by_question: Mapping[str, Label]
    """Labels by question_id. Questions without a label are in no category."""

    @property
    def name(self) -> str:
        """Name that results under these labels have: the rule alone for the collision log, otherwise "observer/rule"."""
        return self.rule if self.observer == LOG else f"{self.observer}/{self.rule}"
