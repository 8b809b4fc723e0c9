"""Video-R1 rows, the records that users of Video-R1, VideoThinker, VideoRFT and ms-swift exchange.

Here they are an export, SPLIT.json of a curated folder; diagnosis and training read questions.parquet.
"""

import msgspec

from videothinker.records.label import Category


class VideoR1Row(msgspec.Struct, frozen=True, kw_only=True):
    """One question as the format has it, with `question_id`, `category` and `observer` added.

    A question about a part of a clip, or about a folder of frames, has more keys, which the format does not know and
    `vt curate records` reads again. Other readers show all of the clip.
    """

    problem_id: int
    """1-based row of its file."""
    problem: str
    """The question text alone."""
    data_type: str = "video"
    """"frame" for a folder of frames, "image" for one image, "text" where nothing is shown."""
    problem_type: str = "multiple choice"
    options: tuple[str, ...]
    """"A. the text", in file order."""
    solution: str
    """"<answer>A,C</answer>"; "<answer>none</answer>" when no option is correct."""
    video: str
    """The clip or image, as a POSIX path relative to the manifest's `videos_root`; "" where nothing is shown."""
    path: str
    """The same as `video`, because some readers of the format look for this key."""
    start: float | msgspec.UnsetType = msgspec.UNSET
    """Where the part begins, in seconds; not written where the clip's beginning is meant."""
    end: float | msgspec.UnsetType = msgspec.UNSET
    """Where the part ends, in seconds; not written where the clip's end is meant."""
    fps: float | msgspec.UnsetType = msgspec.UNSET
    """Frames per second of a folder of frames; not written for a file."""
    process: str = ""
    data_source: str
    original_question_type: str = ""

    question_id: str
    category: Category | None
    """Category under the folder's own labels; None if it has none."""
    observer: tuple[str, ...] | None
    """What the folder's own observer answers; None if it has none."""
    gold: tuple[str, ...]
    """The correct answer; () when no option is correct."""


class ClevrerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A `VideoR1Row` about a counterfactual question of CLEVRER, with what its labels say under every rule."""

    problem_id: int
    problem: str
    data_type: str = "video"
    problem_type: str = "multiple choice"
    options: tuple[str, ...]
    solution: str
    video: str
    path: str
    process: str = ""
    data_source: str = "CLEVRER"
    original_question_type: str = "counterfactual"

    question_id: str
    scene_index: int
    category: Category
    observer: tuple[str, ...]
    gold: tuple[str, ...]
    removed_object: int
    """object_id of the object that the question takes away."""
    negated: bool
    """True for "what will not happen"."""
    any_option: Category
    correct_option: Category
    oracle: Category
