"""A question about a clip: a row of questions.parquet. It knows nothing of rules, observers or splits."""

from enum import StrEnum

import msgspec

FILE = "questions.parquet"
"""Every question of a curated folder, whatever its split: the one source that diagnosis, training and reports share."""


class Form(StrEnum):
    """What kind of answer a question wants; `answers` has an object for each."""

    LETTERS = "letters"
    """Any set of the options' letters, the empty one included."""
    CHOICE = "choice"
    """Exactly one of the options' letters."""
    YES_NO = "yes-no"
    """Yes (held as "A") or no ("B"); its options are always ("yes", "no")."""


class Clip(msgspec.Struct, frozen=True, kw_only=True):
    """What a question is about: a video file, a part of one, or a folder of frames."""

    path: str
    """POSIX path of the file or folder, relative to the manifest's `videos_root`."""
    start: float | None = None
    """Seconds into the file at which the part begins; None: at its beginning."""
    end: float | None = None
    """Seconds into the file at which the part ends; None: at its end."""
    fps: float | None = None
    """Frames per second of a folder of frames, which has no clock of its own; None for a file."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question with its correct answer."""

    question_id: str
    """Unique in its set, and the same in every file: CLEVRER's is "SCENE:QID", unpadded, such as "10000:12"."""
    text: str
    """The question alone; options and instructions are added where a prompt is rendered (`answers.render`)."""
    options: tuple[str, ...] = ()
    """Bare texts in file order. "A. " and its like are added where they are shown, once."""
    clip: Clip
    gold: tuple[str, ...]
    """The correct answer. For forms with options: the letters of the correct ones, sorted; () when no option is correct."""
    form: Form = Form.LETTERS
    group: str
    """What intervals cluster by: questions of one group share a clip, so that their errors come together. CLEVRER's is the
    scene's index."""
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
