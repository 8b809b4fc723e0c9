"""What stands between a question and its reply: a built-in solver, a checkpoint or a server, all behind one protocol."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from videothinker.curated import Curated
from videothinker.damage import damaged, mask, masked
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.stopping import FirstAnswer
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Clip, ClipError, Frames, read_clip
from videothinker.records import Question


class RawReply(msgspec.Struct, frozen=True, kw_only=True):
    """One raw reply, before anything is read from it."""

    question_id: str
    reply: str | None
    """The generated text; None when the clip could not be read (the question becomes a decode_error)."""
    truncated: bool = False
    """True when generation stopped at the token limit."""
    n_tokens: int | None = None
    """Tokens that were written, the one that ended the reply included; None where the source does not say."""
    logprob: float | None = None
    """Mean log-probability per written token in nats, as `reply.Reply` defines it; None where the source gives none."""
    error: str | None = None
    """Why there is no reply; only with `reply` None."""
    first: FirstAnswer | None = None
    """In the style "twice" how sure the model was of its first answer, and where that ends; None without one, or where the
    source gives no log-probabilities."""
    stopped: bool = False
    """Whether the reply was ended right behind its first answer, because that was sure enough."""


class RawScores(NamedTuple):
    """How likely certain replies to one question are."""

    question_id: str
    logprobs: list[float] | None
    """By reply, the natural logarithm of its probability, given what all replies to the question begin with; None when the clip
    could not be read."""
    error: str | None
    """Why there are none; only with `logprobs` None."""


def check_clips(curated: Curated, ref: str) -> None:
    """Check that the questions come with clips for `ref` to see.

    Raises:
        VtError: the folder was curated without clips.
    """
    if curated.videos_root is None and any(one.question.clip is not None for one in curated.members):
        raise VtError(f"{curated.folder}: was curated without clips, which {ref} has to see; give their folder with --videos")


def by_clip(curated: Curated, questions: Sequence[Question]) -> dict[Footage, list[Question]]:
    """The questions about each clip or part of one, or each image, in the order in which they first appear.

    questions: all of which show something. curated: `check_clips` has found that it has clips.
    """
    found: dict[Footage, list[Question]] = {}
    for question in questions:
        footage = curated.clip(question)
        assert footage is not None
        found.setdefault(footage, []).append(question)
    return found


def read_image(footage: Footage, settings: DiagnosisSettings) -> Frames:
    """(height, width, 3) uint8: an image at its own size, damaged as clips are; what depends on times changes nothing.

    Raises:
        ClipError: it cannot be read.
    """
    frames, damage = read_clip(footage).frames, settings.damage
    if damage is not None and not damage.is_mask:
        frames = damaged(frames, damage, str(settings.seed))
    image: Frames = frames[0]
    return image


def unread(questions: Sequence[Question], why: ClipError) -> Iterator[RawReply]:
    """The replies to questions about what cannot be read."""
    return (RawReply(question_id=one.question_id, reply=None, error=str(why)) for one in questions)


class Showing(NamedTuple):
    """A clip as it is shown to some of the questions about it."""

    clip: Clip
    questions: list[Question]


def showings(clip: Clip, questions: Sequence[Question], settings: DiagnosisSettings, curated: Curated) -> list[Showing]:
    """How a clip is shown to the questions about it: as it is or damaged, to all alike, or masked by where each one's evidence
    is; questions with the same mask share it.

    A question without evidence sees the clip as it is. Which frames are hidden elsewhere is drawn from seed and question.
    """
    damage = settings.damage
    if damage is None:
        return [Showing(clip, list(questions))]
    if not damage.is_mask:
        return [Showing(clip._replace(frames=damaged(clip.frames, damage, str(settings.seed))), list(questions))]
    times = [index / clip.fps for index in clip.indices]
    by_mask: dict[tuple[int, ...], list[Question]] = {}
    for question in questions:
        spans = curated.evidence.get(question.question_id, ())
        hidden = mask(damage, times, spans, f"{settings.seed} {question.question_id}")
        by_mask.setdefault(hidden, []).append(question)
    return [Showing(clip._replace(frames=masked(clip.frames, hidden)), asked) for hidden, asked in by_mask.items()]


class Answerer(Protocol):
    """Answers questions; `diagnose` reads, grades and stores what it yields."""

    def answer(self, questions: Sequence[Question]) -> Iterator[RawReply]:
        """Yield exactly one `RawReply` per question, in any order, each as soon as it is known."""

    def describe(self) -> dict[str, Any]:
        """What was fed and by what means, for run.json: frames and their size, video tokens, dtype, attention, and so on."""


@runtime_checkable
class Scorer(Protocol):
    """An answerer that also says how likely replies are which it is given."""

    def score(self, questions: Sequence[Question], replies: Mapping[str, Sequence[str]]) -> Iterator[RawScores]:
        """Yield exactly one `RawScores` per question, in any order.

        replies: by question_id, how a reply may begin: two texts or more, none of which another begins with.
        """
