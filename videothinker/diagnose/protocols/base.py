"""What a protocol is: how a question is put, which frames are fed, how replies are decoded, and how a reply is read.

Protocols of others are facts about their programs. Each reads a reply as its program does, faults included, so that a published
number can be rebuilt; `Reading.why` says where a score does not rest on an answer that was read.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from videothinker import answers
from videothinker.answers.twice import Twice
from videothinker.diagnose.frame_rules import FrameRule
from videothinker.errors import VtError
from videothinker.records import Form, Question

Letters = tuple[str, ...]
"""An answer as `Question.gold` holds one."""

ANY = "*"
"""Key of the rules that hold for every question set that has none of its own."""


class Why(StrEnum):
    """Why a reply is scored as it is, where no answer was simply read from it."""

    GUESSED = "guessed"
    """No answer was found, so the protocol drew a random option."""
    EMPTY = "empty counts as right"
    """The reply is empty, or a bracket or full stop, which is part of any answer."""
    FAILED = "failure counts as right"
    """The reply is the text that stands for a failed request."""
    SEVERAL = "fits several options"
    """The reply would be right for more than one gold answer."""
    LEFT_OUT = "unread, left out"
    """No answer was found, so the protocol takes the question out of the denominator."""
    NEEDS_A_JUDGE = "needs a judge"
    """Only a judge model could say, and none is ever asked here."""
    NO_SUCH_OPTION = "no such option"
    """The letter that was read is beyond the question's options."""


class Reading(NamedTuple):
    """What a protocol makes of a reply."""

    chosen: Letters | None
    """The answer that was read; None where none was."""
    right: bool
    counted: bool = True
    """False where the question leaves the denominator."""
    why: Why | None = None
    """None where an answer was read, or none was and it counts as wrong."""
    twice: Twice | None = None
    """Both answers of a reply that was asked to answer twice, of which `chosen` is the second; None for all others."""


class Prompt(NamedTuple):
    """What a model is given with the clip."""

    user: str
    """The text behind the clip."""
    system: str | None = None
    """The system text; None leaves it to the checkpoint's chat template."""
    prefill: str = ""
    """How the model's own reply is made to begin; not part of what is kept as its reply."""


class Decoding(NamedTuple):
    """How replies are written; what is None the protocol leaves open."""

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


GREEDY = Decoding(temperature=0.0, top_p=1.0)


class Rules(NamedTuple):
    """A protocol for the questions of one set."""

    prompt: Callable[[Question], Prompt]
    read: Callable[[Question, str, int], Reading]
    """(question, reply, seed) -> reading. seed: that of guesses, which depend on it and the question alone."""
    decoding: Decoding = Decoding()
    frames: FrameRule | None = None
    """Which frames are fed; None is left to the checkpoint's processor."""
    max_pixels: int | None = None
    """Most pixels of a frame; None is left to the checkpoint's processor."""
    forms: Collection[Form] = (Form.CHOICE,)
    """Forms of question that it can be asked."""


class Protocol(NamedTuple):
    """One way to ask a benchmark and to read what comes back."""

    name: str
    source: str
    """The program, and the snapshot of it that was read."""
    faults: tuple[str, ...]
    """What it is known to do wrong."""
    rules: Mapping[str, Rules]
    """By `Question.source`, or `ANY`."""

    @property
    def benchmarks(self) -> list[str] | None:
        """The question sets that it defines; None if it takes any."""
        return None if ANY in self.rules else sorted(self.rules)

    def defines(self, question: Question) -> bool:
        """Whether it says how to ask and read the question."""
        rules = self.rules.get(question.source, self.rules.get(ANY))
        return rules is not None and question.form in rules.forms

    def of(self, question: Question) -> Rules:
        """The rules for a question.

        Raises:
            VtError: the protocol does not define its question set, or its form of answer.
        """
        rules = self.rules.get(question.source, self.rules.get(ANY))
        if rules is None:
            raise VtError(
                f"protocol {self.name}: does not say how {question.source or 'this set'} is asked; it knows "
                f"{', '.join(sorted(self.rules))}; choose another --protocol, or leave it out"
            )
        if question.form not in rules.forms:
            raise VtError(
                f"protocol {self.name}: question {question.question_id} of {question.source} has the form {question.form}, "
                f"expected {' or '.join(rules.forms)}; choose another --protocol, or leave it out"
            )
        return rules

    def prompt(self, question: Question) -> Prompt:
        """The question in the protocol's words."""
        return self.of(question).prompt(question)

    def read(self, question: Question, reply: str, seed: int) -> Reading:
        """What the protocol makes of a reply to the question; guesses depend on `seed` and the question alone."""
        return self.of(question).read(question, reply, seed)

    def settings(self, questions: Sequence[Question]) -> dict[str, Any]:
        """What it sets of `DiagnosisSettings` for these questions, by name; what it leaves open is not in it.

        Raises:
            VtError: it does not define one of the questions, or sets different values for two of them.
        """
        found: dict[str, Any] = {}
        first: dict[str, str] = {}
        for question in {(one.source, one.form): one for one in questions}.values():
            for name, value in _settings(self.of(question)).items():
                if found.setdefault(name, value) != value:
                    raise VtError(
                        f"protocol {self.name}: sets {name} to {found[name]} for {first[name]} and to {value} for "
                        f"{question.source}; ask them in two runs"
                    )
                first.setdefault(name, question.source)
        return found


def _settings(rules: Rules) -> dict[str, Any]:
    rule = rules.frames
    frames = {} if rule is None else {"frame_rule": rule.name, "n_frames": rule.n_frames, "fps": rule.fps}
    found = {**frames, "max_pixels": rules.max_pixels, **rules.decoding._asdict()}
    return {name: value for name, value in found.items() if value is not None}


def read_as(question: Question, chosen: Letters | None, why: Why | None = None) -> Reading:
    """The reading of an answer that is right as its form says (`answers.is_right`). None is no answer, and wrong."""
    if chosen is not None and answers.form_of(question).fault(chosen, len(question.options)):
        return Reading(None, right=False, why=Why.NO_SUCH_OPTION)
    return Reading(chosen, answers.is_right(question.form, chosen, question.gold), why=why)


def read_letter(question: Question, letter: str | None) -> Reading:
    """The reading of one letter, in either case; None or "" is no answer, and wrong."""
    return read_as(question, (letter.upper(),) if letter else None)


def read_by_fit(question: Question, fits: Callable[[str], bool]) -> Reading:
    """The reading of a rule that only says whether a reply fits a given gold letter, and may say so of several."""
    letters = [letter for letter in answers.LETTERS[: len(question.options)] if fits(letter)]
    if len(letters) == 1:
        return read_as(question, (letters[0],))
    return Reading(None, right=any((letter,) == question.gold for letter in letters), why=Why.SEVERAL if letters else None)


def guess(question: Question, seed: int) -> Reading:
    """A random option, by hash of seed and question: the same in whatever order replies are read."""
    digest = hashlib.sha256(f"guess:{seed}:{question.question_id}".encode()).digest()
    return read_as(question, (answers.LETTERS[int.from_bytes(digest[:8]) % len(question.options)],), Why.GUESSED)


def needs_a_judge(question: Question, reply: str = "", seed: int = 0) -> Reading:
    """The reading of a reply that only a judge model could score: it counts nowhere."""
    return Reading(None, right=False, counted=False, why=Why.NEEDS_A_JUDGE)


def listed(question: Question, mark: str = "{}. ") -> list[str]:
    """The options behind their letters, a line each; `mark` has {} in place of the letter, as in "({}) "."""
    return [mark.format(letter) + text for letter, text in zip(answers.LETTERS, question.options, strict=False)]


def in_lines(*lines: str) -> str:
    """Lines as one text."""
    return "\n".join(lines)
