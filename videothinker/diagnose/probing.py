"""Ask a checkpoint every question under several views and several times; each reply is appended to a file at once.

The questions go through the answerers of `vt diagnose`, so clips are decoded, cached and batched as there. Views that show the
same clip and begin replies alike are asked together. Each asking has an id of its own, from which its noise is drawn, so that
a reply depends on question, view and sample alone, and more samples or views can be added to a finished probe.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from videothinker import answers, store
from videothinker.answers.rotation import rotated, turned_back
from videothinker.diagnose import protocols
from videothinker.diagnose.answerer import Answerer, RawReply
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.views import View, shows_the_same
from videothinker.progress import Progress, no_progress
from videothinker.records import ProbeReply, Question, Status

REPLIES = "replies.jsonl"
Key = tuple[str, str, int]
"""question_id, view and sample."""


class Asking(NamedTuple):
    """One question as it is asked once."""

    question: Question
    """As the set has it."""
    view: View
    sample: int
    text: str
    """What is asked: the question's text, or its twin's."""

    @property
    def key(self) -> Key:
        return self.question.question_id, self.view.name, self.sample

    @property
    def put(self) -> Question:
        """The question as an answerer gets it, with its options moved by `sample` places and an id of its own."""
        name = f"{self.question.question_id} {self.view.name} {self.sample}"
        asked = msgspec.structs.replace(self.question, text=self.text, question_id=name)
        return rotated(asked, self.sample)


def askings(
    questions: Iterable[Question], views: Sequence[View], samples: int, twins: Mapping[str, str | None]
) -> Iterator[Asking]:
    """All that is to be asked, but for what a view would leave as it is.

    twins: the twin's text by question_id; a question without one is not asked under such views.
    """
    for question in questions:
        for view in views:
            text = twins[question.question_id] if view.asks_twin else question.text
            if text is not None and not shows_the_same(view, question):
                yield from (Asking(question, view, sample, text) for sample in range(samples))


def read_replies(folder: Path) -> dict[Key, ProbeReply]:
    """The replies that are there, the last of each asking; a lost one counts until its clip could be read."""
    path = folder / REPLIES
    rows = store.read_jsonl(path, ProbeReply) if path.is_file() else []
    return {(row.question_id, row.view, row.sample): row for row in rows}


def owed(wanted: Iterable[Asking], done: Mapping[Key, ProbeReply]) -> list[Asking]:
    """What is still to be asked: what has no reply, or whose clip could not be read."""
    return [one for one in wanted if (row := done.get(one.key)) is None or row.status is Status.DECODE_ERROR]


def ask(
    wanted: Sequence[Asking],
    open_answerer: Callable[[DiagnosisSettings], Answerer],
    settings: DiagnosisSettings,
    folder: Path,
    progress: Progress = no_progress,
) -> None:
    """Ask, and append each reply to replies.jsonl. settings: those of a question that is asked as it is; `prefill` is of the
    views that begin replies."""
    groups: dict[DiagnosisSettings, dict[str, Asking]] = {}
    for one in wanted:
        groups.setdefault(settings_of(one.view, settings), {})[one.put.question_id] = one
    with store.JsonlAppender(folder / REPLIES) as file:
        for each, group in groups.items():
            for raw in open_answerer(each).answer([one.put for one in group.values()]):
                file.append(_read(group[raw.question_id], raw, each))
                progress(1)


def settings_of(view: View, settings: DiagnosisSettings) -> DiagnosisSettings:
    """How a question is asked under a view. settings: those of one that is asked as it is."""
    return msgspec.structs.replace(
        settings,
        damage=view.damage,
        protocol=protocols.OURS if view.style else settings.protocol,
        prompt=view.style or settings.prompt,
        template=None if view.style else settings.template,
        prefill=settings.prefill if view.is_begun else "",
    )


def _chosen(put: Question, text: str, settings: DiagnosisSettings) -> answers.Answer | None:
    """The answer that a reply gives, as its protocol reads it.

    What a protocol makes of a reply from which it read no answer, such as a guess, is none here: it would become a label.
    """
    if settings.protocol == protocols.OURS:
        return answers.parse(put, text, settings.prompt or answers.Style.COT)
    reading = protocols.find(settings.protocol).read(put, text, settings.seed)
    return reading.chosen if reading.why is None else None


def _read(asked: Asking, raw: RawReply, settings: DiagnosisSettings) -> ProbeReply:
    text = "" if raw.reply is None else raw.reply.encode(errors="replace").decode()  # half of a surrogate pair is no UTF-8
    chosen = None if raw.reply is None else _chosen(asked.put, text, settings)
    status = (
        Status.DECODE_ERROR
        if raw.reply is None
        else Status.TRUNCATED
        if raw.truncated
        else Status.NO_ANSWER
        if chosen is None
        else Status.OK
    )
    return ProbeReply(
        question_id=asked.question.question_id,
        view=asked.view.name,
        sample=asked.sample,
        reply=text,
        chosen=turned_back(asked.question, chosen, asked.sample),
        status=status,
        error=raw.error,
        tokens=raw.n_tokens,
        logprob=None if raw.logprob is None else round(raw.logprob, 6),
    )
