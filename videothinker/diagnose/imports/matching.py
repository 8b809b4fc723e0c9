"""Which question a row answers: by its id, else by its words and options, and its clip where the row tells it.

An id counts unless the row tells other words, options or another clip than the question has. Without one, question and options
have to be told, the options in the question's order, because a letter in a reply means nothing without them. A clip is known by
the name of its file without the ending, and by as many folders above it as the set needs to tell its clips apart. What fits
several questions is refused.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from videothinker.diagnose.imports.told import Told
from videothinker.diagnose.imports.wording import (
    is_question,
    level,
    level_lines,
    reordered_options,
    same_options,
    stands_in,
    words_of,
)
from videothinker.footage import parts_of
from videothinker.records import Form, Question


class Why(StrEnum):
    """Why a row answers no question. Where several hold, the last of them is told."""

    UNKNOWN = "not found"
    REORDERED = "options in another order"
    AMBIGUOUS = "ambiguous"
    TWICE = "answered twice"
    OTHER_SPLIT = "of another split"
    NO_REPLY = "without a reply"


class Found(NamedTuple):
    """The question that a row answers."""

    question: Question
    by_id: bool
    is_sure: bool
    """Whether the words agree; False where an id is all that there is."""


class Refused(NamedTuple):
    """Why a row answers no question of a set."""

    why: Why
    told: str
    """The end of a sentence that begins with the row."""


class Matcher:
    """The questions of one set, found by what rows tell."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._by_id = {question.question_id: question for question in questions}
        self._by_words: dict[tuple[str, ...], list[Question]] = defaultdict(list)
        self._lengths: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for question in questions:
            words = words_of(level(question.text))
            self._by_words[words].append(question)
            self._lengths[words[:_ANCHOR]].add(len(words))
        self._clips = clip_names(question.path for question in questions if question.clip)

    def match(self, told: Told) -> Found | Refused:
        """The question that a row answers, or why there is none."""
        named = [self._by_id[key] for key in told.ids if key in self._by_id]
        agreeing = [question for question in named if not self._contradicts(told, question)]
        if agreeing:
            return Found(agreeing[0], by_id=True, is_sure=_shows(told, agreeing[0]))
        candidates = [question for question in self._worded(told) if self._has_clip(told, question)]
        fitting = [question for question in candidates if _shows(told, question)]
        if len(fitting) > 1:
            fitting = [question for question in fitting if question.question_id in told.hints] or fitting
        if len(fitting) == 1:
            return Found(fitting[0], by_id=False, is_sure=True)
        return _several(fitting) if fitting else self._none(told, named, candidates)

    def _worded(self, told: Told) -> list[Question]:
        """The questions whose words stand in what the row tells, those of the most words."""
        text = told.text if told.text is not None else told.prompt
        if text is None:
            return []
        words = words_of(level_lines(text))
        begins = range(len(words)) if told.text is None else range(min(1, len(words)))
        found: set[tuple[str, ...]] = set()
        for begin in begins:
            for size in range(1, _ANCHOR + 1):
                for length in self._lengths.get(words[begin : begin + size], ()):
                    if (run := words[begin : begin + length]) in self._by_words:
                        found.add(run)
        texts = {one.text: one for run in found for one in self._by_words[run]}
        asked = {text for text, one in texts.items() if _asks(told, one)}
        fitting = {run: [one for one in self._by_words[run] if one.text in asked] for run in found}
        longest = max((run for run in found if fitting[run]), key=len, default=None)
        return [] if longest is None else fitting[longest]

    def _has_clip(self, told: Told, question: Question) -> bool:
        """Whether the question may be about the clip that the row tells; True where it tells none."""
        if told.clip is None:
            return True
        if question.clip is None:
            return False
        name = self._clips[question.path]
        return any(_ends_alike(parts, name) for parts in _spellings(told.clip))

    def _contradicts(self, told: Told, question: Question) -> bool:
        """Whether the row tells other words, options or another clip than the question has. A prompt may be in any words."""
        return (
            (told.text is not None and not is_question(told.text, question))
            or (told.options is not None and question.form is not Form.YES_NO and not same_options(told.options, question))
            or not self._has_clip(told, question)
        )

    def _none(self, told: Told, named: Sequence[Question], worded: Sequence[Question]) -> Refused:
        options = told.options
        if options is not None and (other := [one for one in [*named, *worded] if reordered_options(options, one)]):
            why = f"shows the options of question {other[0].question_id} in another order, so its letters mean others"
            return Refused(Why.REORDERED, why)
        if named:
            return Refused(Why.UNKNOWN, f"has the id of question {named[0].question_id}, but other words, options or clip")
        if worded:
            return Refused(Why.UNKNOWN, f"asks as question {worded[0].question_id} does, but does not tell its options")
        if not told.ids and told.text is None and told.prompt is None:
            return Refused(Why.UNKNOWN, "has no question_id, and neither question nor prompt by which it could be known")
        return Refused(Why.UNKNOWN, f"answers {_called(told)}, which the data does not have")


_ANCHOR = 4
"""Words at the beginning of a question by which it is looked for in a longer text."""


def _asks(told: Told, question: Question) -> bool:
    """Whether what the row tells has the question's words, whatever its options."""
    if told.text is not None:
        return is_question(told.text, question)
    return told.prompt is not None and stands_in(told.prompt, question, with_options=False)


def _shows(told: Told, question: Question) -> bool:
    """Whether the row tells the question's words and its options, in its order; of yes or no there is nothing to tell."""
    if question.form is Form.YES_NO:
        return _asks(told, question)
    if told.options is not None:
        return same_options(told.options, question) and _asks(told, question)
    shown = told.text if told.text is not None else told.prompt
    return shown is not None and stands_in(shown, question, with_options=True) and _asks(told, question)


def _several(fitting: Sequence[Question]) -> Refused:
    shown = ", ".join(question.question_id for question in fitting[:3]) + (", ..." if len(fitting) > 3 else "")
    return Refused(Why.AMBIGUOUS, f"fits {len(fitting):,} questions ({shown}); it needs a question_id, or the clip")


def _called(told: Told) -> str:
    if told.ids:
        return f"question {told.ids[0]}"
    said = told.text if told.text is not None else told.prompt
    return f'"{_short(said or "")}"'


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:57]}..."


# ---- clips -----------------------------------------------------------------------------------------------------------------

Name = tuple[str, ...]
"""The last parts of a clip's path, the ending of its file left out."""


def clip_names(paths: Iterable[str]) -> dict[str, Name]:
    """For each path the fewest last parts that no other path shares; all of them where even those are shared."""
    whole = {path: _without_ending(parts_of(path)) for path in paths}
    found: dict[str, Name] = {}
    length = 1
    while len(found) < len(whole):
        open_ones = {path: parts for path, parts in whole.items() if path not in found}
        times = Counter(parts[-length:] for parts in open_ones.values())
        for path, parts in open_ones.items():
            if times[parts[-length:]] == 1 or len(parts) <= length:
                found[path] = parts[-length:]
        length += 1
    return found


def _spellings(path: str) -> list[Name]:
    """A told path as names: a name without an ending may hold a dot."""
    parts = parts_of(path)
    return [tuple(parts), _without_ending(parts)] if parts else []


def _without_ending(parts: Sequence[str]) -> Name:
    if not parts:
        return ()
    stem, dot, ending = parts[-1].rpartition(".")
    return (*parts[:-1], stem if dot and stem and 2 <= len(ending) <= 4 else parts[-1])


def _ends_alike(one: Name, other: Name) -> bool:
    """Whether the last parts are the same, as far as both have them."""
    n = min(len(one), len(other))
    return n > 0 and one[-n:] == other[-n:]
