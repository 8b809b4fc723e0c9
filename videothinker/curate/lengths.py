"""Gold intervals and parts beside the length of their clips: what begins after the clip has ended is no answer, and a part that
ends long after its clip is not shown."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker import demux, frame_folder
from videothinker.curate.datasets.rows import how_many
from videothinker.footage import Footage
from videothinker.frames import END_SLACK_S
from videothinker.progress import Bars, no_bars
from videothinker.records import Form, Question, Unresolved

SPARE = 1.0
"""Seconds by which an interval may end after its clip without a word: annotators round, as `frames.probe` grants parts."""


class Measured(NamedTuple):
    """Questions whose gold intervals were held beside the length of their clips."""

    questions: list[Question]
    """Those that can be used, all others among them."""
    unresolved: list[Unresolved]
    """Those whose interval begins at the clip's end or later, so that no reply about what can be seen would overlap it."""
    warning: str | None
    """About intervals that end after their clip, more than `SPARE`; such questions are used. None if there is none."""


def held_against_clips(questions: Sequence[Question], root: Path | None, bars: Bars = no_bars) -> Measured:
    """The questions, those of form interval checked where the clip's length is known: from its part, or its file's header.

    root: the folder of clips; None where it is not known, so that no file is opened. bars: shows the reading of the
    clips' lengths.
    """
    shown = [_below(root or Path(), one) if one.form is Form.INTERVAL else None for one in questions]
    shown = [None if footage is None or footage.is_image else footage for footage in shown]
    is_there = root is not None
    known = _lengths(filter(None, shown), lambda each: length_of(each, is_there=is_there), bars if is_there else no_bars)
    usable: list[Question] = []
    unresolved: list[Unresolved] = []
    late: list[str] = []
    for one, footage in zip(questions, shown, strict=True):
        length = None if footage is None else known[footage]
        if length is None:
            usable.append(one)
            continue
        start, end = map(float, one.gold)
        if start >= length:
            said = f"its interval begins at {start:g} s, and its clip lasts {length:g} s"
            unresolved.append(Unresolved(question_id=one.question_id, file=one.path, reason=said))
            continue
        usable.append(one)
        if end > length + SPARE:
            late.append(f"{one.question_id}, {start:g} to {end:g} s of {one.path}, which lasts {length:g} s")
    warning = None
    if late:
        warning = (
            f"{how_many(len(late), 'question')} whose interval ends after the clip, so that no reply about what can be seen"
            f" earns all of it; the first is {late[0]}"
        )
    return Measured(usable, unresolved, warning)


def length_of(footage: Footage, *, is_there: bool = True) -> float | None:
    """Seconds that a clip or part lasts, rounded to hundredths; None where nobody says, or it cannot be read.

    is_there: whether the path leads to the file, so that its header may be read.
    """
    start = footage.start or 0.0
    whole = demux.length(footage.path) if is_there and footage.end is None and not footage.is_folder else None
    end = whole if footage.end is None else footage.end
    return None if end is None else round(end - start, 2)


def told_of_parts(questions: Sequence[Question], root: Path, bars: Bars = no_bars) -> str | None:
    """What to tell about parts that begin or end so long after their clip that no model can be asked about them; None if none.

    Such questions are kept: the file may be another one, or cut short, and asking them says so. root: the folder of clips.
    bars: shows the reading of the clips' lengths.
    """
    shown = [(one, footage) for one in questions if (footage := _below(root, one)) is not None]
    parts = [(one, footage) for one, footage in shown if footage.is_part and not footage.is_image]
    whole = _lengths((footage._replace(start=None, end=None) for _, footage in parts), _whole, bars)
    late: list[str] = []
    for one, footage in parts:
        length = whole[footage._replace(start=None, end=None)]
        if length is not None and ((footage.start or 0.0) >= length or (footage.end or 0.0) > length + END_SLACK_S):
            place = f"of {one.path}" if footage.end is None else f"to {footage.end:g} s of {one.path}"
            late.append(f"{one.question_id}, from {footage.start or 0:g} s {place}, which lasts {length:g} s")
    if not late:
        return None
    return (
        f"{how_many(len(late), 'question')} about a part that lies behind the end of its clip or ends more than"
        f" {END_SLACK_S:g} s after it, so that nobody can be asked; is it another clip, or cut short? The first is {late[0]}"
    )


def _below(root: Path, question: Question) -> Footage | None:
    """What a question is about, in the folder of clips; None where it is about nothing."""
    return None if question.clip is None else Footage.below(root, question.clip)


def _lengths(footages: Iterable[Footage], length: Callable[[Footage], float | None], bars: Bars) -> dict[Footage, float | None]:
    """The `length` of each, which is read once; without any nothing is shown."""
    each = list(dict.fromkeys(footages))
    found: dict[Footage, float | None] = {}
    if each:
        with bars("reading lengths", len(each), "clips") as progress:
            for footage in each:
                found[footage] = length(footage)
                progress(1)
    return found


def _whole(footage: Footage) -> float | None:
    """Seconds that a whole file or folder of frames lasts, rounded to hundredths; None where nobody says, or it is gone."""
    if footage.fps is None:
        length = demux.length(footage.path)
        return None if length is None else round(length, 2)
    try:
        return round(len(frame_folder.pictures(footage.path)) / footage.fps, 2)
    except demux.ClipError:
        return None
