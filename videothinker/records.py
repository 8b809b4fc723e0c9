"""Every record that crosses a border between two rooms of the package, frozen and typed. No logic lives here.

The words: a *scene* is one simulated clip with its collision log; a *question* asks about it; a *label* says whether the
question can be answered from what was seen (*observational*) or needs the counterfactual (*inferential*); a *prediction* is
one checkpoint's reply to one question. Letters "A", "B", ... name a question's options in file order.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

Progress = Callable[[int], None]
"""Called with the number of items finished since the last call. Pure code takes one; only the command line draws a bar."""


def no_progress(_: int) -> None:
    """The silent `Progress`."""


class Category(StrEnum):
    """Can the question be answered from the video as shown? (paper, section 3)"""

    OBSERVATIONAL = "observational"
    INFERENTIAL = "inferential"


class Rule(StrEnum):
    """One reading of the paper's sentence that defines the categories; see `curate/label.py`."""

    ANY_OPTION = "any-option"
    CORRECT_OPTION = "correct-option"
    ORACLE = "oracle"

    @property
    def column(self) -> str:
        """Name of this rule's column in labels.parquet and of its field in a `CuratedQuestion`."""
        return self.value.replace("-", "_")


class Status(StrEnum):
    """How a question's reply came to be; `chosen` of the prediction is what was read from it."""

    OK = "ok"
    """The checkpoint ended its reply by itself and an answer could be read."""
    NO_ANSWER = "no_answer"
    """The reply ended by itself, but no answer could be read: wrong, and counted as unparsed."""
    TRUNCATED = "truncated"
    """The reply was cut at the token limit. Graded if readable all the same."""
    DECODE_ERROR = "decode_error"
    """The clip could not be read, so nothing was asked. Leaves every denominator; asked again on resume."""


class SceneObject(msgspec.Struct, frozen=True):
    """One object of a scene. A (color, material, shape) triple is unique within its scene."""

    object_id: int
    """0-based, unique in the scene; the ids that collisions and labels name."""
    color: str
    """One of gray brown green red blue purple yellow cyan."""
    material: str
    """metal (shiny) or rubber (matte)."""
    shape: str
    """cube, cylinder or sphere."""


class Collision(msgspec.Struct, frozen=True):
    """One contact of the factual video's collision log."""

    frame: int
    """Frame of contact, 0-based, in the 128-frame clip."""
    object_ids: tuple[int, int]
    """The two objects, smaller id first."""


class Scene(msgspec.Struct, frozen=True):
    """What the factual video shows, as far as labels and reports need it: objects and collision log, no trajectories.

    One line of a curated folder's scenes.jsonl.
    """

    scene_index: int
    video: str
    """Clip's file name as the annotation gives it, e.g. "video_00000.mp4"."""
    objects: tuple[SceneObject, ...]
    collisions: tuple[Collision, ...]
    """In file order, that is by frame."""


class CuratedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled counterfactual question: a Video-R1 record (train.json, dev.json, ...) with our fields added.

    The first block is what Video-R1, VideoThinker, VideoRFT and ms-swift read; the second is ours.
    """

    problem_id: int
    """1-based row of its file."""
    problem: str
    """The question text alone; options and instructions are added by `mcq.render_prompt`."""
    data_type: str = "video"
    problem_type: str = "multiple choice"
    options: tuple[str, ...]
    """"A. the text", in file order."""
    solution: str
    """"<answer>A,C</answer>"; "<answer>none</answer>" when no option is correct."""
    video: str
    """Clip, as a POSIX path relative to the manifest's `videos_root`."""
    path: str
    """The same as `video`: some of the format's readers look for this key."""
    process: str = ""
    data_source: str = "CLEVRER"
    original_question_type: str = "counterfactual"

    question_id: str
    """"SCENE:QID", unpadded: identity of the question everywhere, e.g. "10000:12"."""
    scene_index: int
    category: Category
    """Under the rule that the folder was curated with."""
    observer: tuple[str, ...]
    """Letters that one would answer who only saw the factual video; () for none."""
    gold: tuple[str, ...]
    """Letters of the correct options, sorted; () when no option is correct."""
    removed_object: int
    """object_id of the object that the question takes away."""
    negated: bool
    """True for "what will not happen"."""
    any_option: Category
    correct_option: Category
    oracle: Category


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint's reply to one question: a line of predictions.jsonl."""

    question_id: str
    reply: str
    """The full text; "" for a decode_error."""
    chosen: tuple[str, ...] | None
    """Letters read from the reply, sorted; () for an explicit "none"; None when no answer could be read (never right)."""
    gold: tuple[str, ...]
    observer: tuple[str, ...]
    status: Status
    error: str | None = None
    """Why the clip could not be read; None unless status is decode_error."""
    tokens: int | None = None
    """Tokens that were written, the one that ended the reply included; None where the source does not say."""
    logprob: float | None = None
    """Mean log-probability per written token in nats, at temperature 1; None where the source gives none."""


class Estimate(msgspec.Struct, frozen=True):
    """A mean with its uncertainty, all as fractions in [0, 1] (differences: [-1, 1])."""

    value: float | None
    """None over nothing; shown as a dash, never as 0."""
    stderr: float | None
    """Standard error clustered by scene with the factor G/(G-1); None with fewer than two scenes."""
    ci95: tuple[float, float] | None
    """value -+ 1.96 stderr; None where stderr is."""
