"""The form "interval", temporal grounding: when something begins and ends, in seconds of the clip.

An answer holds both as decimal digits, the smaller first: ("12.5", "20").
"""

import re
from fractions import Fraction

from videothinker.answers.form import Answer, WithoutOptions
from videothinker.answers.quantities import held, plain, stated, written
from videothinker.answers.style import Style, answer_part, tagged
from videothinker.answers.twice import instruction

RIGHT_FROM = 0.5
"""Overlap from which an interval counts as right where there is only right or wrong: R@0.5, the field's usual one."""

_WHAT = "when it begins and when it ends, in seconds, as START to END"
_INSTRUCTIONS = {
    Style.COT: f"Think step by step inside <think></think>. Then give {_WHAT}, inside <answer></answer>.",
    Style.DIRECT: f"Give only {_WHAT}, inside <answer></answer>.",
    Style.TWICE: instruction(_WHAT),
}

_TIME = re.compile(
    r"(?<![\w.:])(?:(?:(?P<hours>\d{1,3}):)?(?P<minutes>\d{1,3}):(?P<clock>\d{2}(?:\.\d{1,9})?)(?![\d:])"
    r"|(?P<m>\d{1,6}(?:\.\d{1,9})?) ?m(?:in(?:ute)?s?)?\.?(?![a-z])"
    r"(?: ?(?:and )?(?P<s>\d{1,2}(?:\.\d{1,9})?) ?s(?:ec(?:ond)?s?)?(?![a-z]))?"
    r"|(?P<plain>\d{1,9}(?:\.\d{1,9})?) ?(?:s(?:ec(?:ond)?s?)?(?![a-z]))?)(?!\d|[.:]\d|[A-Za-z%])",
    re.IGNORECASE,
)
_NO_INTERVAL = re.compile(
    r"\b(?:not|no|nor|or|at (?:least|most)|never|unknown|unclear|impossible|cannot|either|neither|wrong|incorrect|frames?"
    r"|hours?|ms|milliseconds?)\b"
    "|n['\u2019]t\\b|[<>\u2264\u2265\u00b1?]",
    re.IGNORECASE,
)
_ALONE = re.compile(
    r"(?:(?:from|to|and|between|until|till|through|start(?:s|ing)?|end(?:s|ing)?|begin(?:s|ning)?|at|about|it|is|lasts|time"
    r"|seconds?|secs?|s)\b|[\s,;:.()~\u2013\u2014-]){0,40}",
    re.IGNORECASE,
)
"""What may stand around the two times of an answer that is neither tagged nor boxed."""
_JOINED = re.compile(
    r"(?:(?:from|to|and|between|until|till|through|start|end)\b|[\s,;:.()~\u2013\u2014-]){0,40}", re.IGNORECASE
)
"""What may stand around the two times of a gold interval."""


class Interval(WithoutOptions):
    """The form of a question that asks when something happens; graded by temporal IoU, as Charades-STA and ActivityNet are."""

    by_score = True
    right_from = RIGHT_FROM

    def instruction(self, style: Style) -> str:
        """Asks for two times in seconds."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The two times of the answer part, in seconds, the smaller first; None if it has another number of times.

        Read are "12.5 to 20", "[12.5, 20]", "from 1:00 to 1:05.5" (60 to 65.5), "1 min 5 s - 2 min" and an object of start and
        end. Times have no thousands separators, so "1,200" is two of them. Frames, hours in words and times before 0 are not
        read.
        """
        part = answer_part(reply)
        said = None if part is None else stated(part)
        return None if said is None else _read(said[0], _ALONE if said[1] else None)

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """It has to be two times, the smaller first, without options. A point can be said, but earns nothing."""
        if n_options:
            return "expected no options for an interval"
        times = [held(time) for time in answer]
        if len(times) != 2 or times[0] is None or times[1] is None or not 0 <= times[0] <= times[1]:
            return "expected two times in seconds, the smaller first"
        return None

    def solution(self, answer: Answer) -> str:
        """ "<answer>12.5 to 20</answer>"."""
        start, end = answer
        return tagged(f"{start} to {end}")

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """Temporal intersection over union, in [0, 1]: 0 for a point and for an unreadable reply."""
        return 0.0 if chosen is None else iou(chosen, gold)

    def random(self, n_options: int, bits: int) -> Answer:
        """Whole seconds, from 0 to 29 and 1 to 30 later, since the clip's length is not known here."""
        start = bits % 30
        return (str(start), str(start + 1 + bits // 30 % 30))


def gold_interval(said: str) -> Answer | None:
    """The gold interval that a file says, in any notation that `Interval.parse` reads; None if it is not two different times
    and nothing else. Nothing could overlap one without length."""
    part = answer_part(tagged(said))
    found = None if part is None else _read(part.text, _JOINED)
    return None if found is None or found[0] == found[1] else found


def iou(one: Answer, other: Answer) -> float:
    """What two intervals share as a part of what either covers, in [0, 1]; 0 where both are points."""
    (start, end), (begin, finish) = _times(one), _times(other)
    shared = max(Fraction(0), min(end, finish) - max(start, begin))
    whole = (end - start) + (finish - begin) - shared
    return float(shared / whole) if whole else 0.0


def _times(answer: Answer) -> tuple[Fraction, Fraction]:
    start, end = (held(time) for time in answer)
    if start is None or end is None:
        raise ValueError(f"{answer} is no interval as an answer holds it")
    return start, end


def _read(text: str, around: re.Pattern[str] | None) -> Answer | None:
    """The two times of a text, sorted; None if it is no interval. around: what else may be in it; None: any words."""
    text = plain(text.replace("-->", "-"))  # as subtitles write it
    found = list(_TIME.finditer(text))
    rest = _TIME.sub(" ", text)
    if len(found) != 2 or any(map(str.isdigit, rest)) or "%" in rest or _NO_INTERVAL.search(rest):
        return None
    if text[: found[0].start()].endswith("-") or (around is not None and not around.fullmatch(rest)):
        return None  # a time before the clip's beginning
    start, end = (_seconds(one) for one in found)
    return None if start is None or end is None else (written(min(start, end)), written(max(start, end)))


def _seconds(found: re.Match[str]) -> Fraction | None:
    """A match of `_TIME` in seconds; None where a clock has 60 seconds or more, or 60 minutes behind hours."""
    if found["clock"] is not None:
        minutes, seconds = int(found["minutes"]), Fraction(found["clock"])
        if seconds >= 60 or (found["hours"] is not None and minutes >= 60):
            return None
        return 3600 * int(found["hours"] or 0) + 60 * minutes + seconds
    if found["m"] is not None:
        return 60 * Fraction(found["m"]) + Fraction(found["s"] or 0)
    return Fraction(found["plain"])
