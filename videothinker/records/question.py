"""A question about a clip: a row of questions.parquet. It knows nothing of rules, observers or splits."""

from enum import StrEnum

import msgspec

FILE = "questions.parquet"
"""Every question of a curated folder, whatever its split: the one source that diagnosis, training and reports share."""


class Form(StrEnum):
    """What kind of answer a question needs; `answers` has an object for each."""

    LETTERS = "letters"
    """Any set of the options' letters, also the empty one."""
    CHOICE = "choice"
    """Exactly one of the options' letters."""
    YES_NO = "yes-no"
    """Yes (held as "A") or no (held as "B"); the options are always ("yes", "no")."""
    NUMBER = "number"
    """A number, held as its decimal digits, ("0.5",); without options. Right or wrong."""
    ESTIMATE = "estimate"
    """A number that is graded by how near it comes, as lengths and distances are; held as that of `NUMBER`."""
    INTERVAL = "interval"
    """When something begins and ends, in seconds of the clip, ("12.5", "20"); without options, graded by overlap."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """What a question is about: a video file, a part of one, or a folder of frames."""

    path: str
    """POSIX path of the file or folder, relative to the manifest's `videos_root`."""
    start: float | None = None
    """Where the part begins, in seconds; None for the beginning of the file."""
    end: float | None = None
    """Where the part ends, in seconds; None for the end of the file."""
    fps: float | None = None
    """Frames per second of a folder of frames, which has no clock of its own; None for a file."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question with its correct answer."""

    question_id: str
    """Unique in its set, and the same in every file: CLEVRER's is "SCENE:QID", unpadded, such as "10000:12"."""
    text: str
    """The question alone; options and instructions are added where a prompt is rendered (`answers.render`)."""
    options: tuple[str, ...] = ()
    """Texts without letters, in file order. "A. " and the like are added only where options are shown."""
    clip: Clip
    gold: tuple[str, ...]
    """The correct answer: the letters of the correct options, sorted; () if no option is correct. A number or an interval is
    held as its form says."""
    form: Form = Form.LETTERS
    group: str
    """What intervals cluster by: questions of one group share a clip, so their errors are correlated. CLEVRER's is the index
    of the scene."""
    facets: dict[str, str] = {}
    """Named values that results are broken down by, such as {"polarity": "will not"} or {"discipline": "Science"}."""
    source: str
    """The data set, such as "CLEVRER"."""


COLUMNS = {
    "question_id": "string",
    "group": "string",
    "form": "string",
    "text": "string",
    "options": "list<string>",
    "n_options": "int64",
    "gold": "string",
    "split": "string",
    "in_train_set": "bool",
    "video": "string",
    "start": "double",
    "end": "double",
    "fps": "double",
    "source": "string",
}
"""Columns of questions.parquet by Arrow type. Every further column is a facet, a string or null. `gold` is joined by ",";
`in_train_set` is False for questions of the split "train" that a smaller training set left out."""
