"""Which of the options that a text names behind their letters it chooses.

Behind a letter stands the option's own text, and then it is chosen, or a verdict: "A: correct. B: wrong. C: correct". The two
look alike ("A. No"), and not every verdict says that an option is the answer: "yes" and "no" may say what happens, where the
question is what does not. What is not clear is unreadable.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto

from videothinker.answers.form import Answer
from videothinker.answers.written import Item


def chosen(written: list[Item], n_options: int) -> Answer | None:
    """The letters that items choose, sorted; None where that is open.

    Options written out are chosen, and so are those that are called correct, but not both in one text. If some are called wrong
    and none correct, every option has to be: "A: wrong" alone says nothing about the others.
    """
    letters = [item.letter.upper() for item in written]
    verdicts = [_verdict(item, alone=len(written) == 1) for item in written]
    if set(verdicts) == {_Verdict.NONE}:  # no two options have the same text, so "A: it falls, B: it falls" judges them
        return _answer(letters) if _one_each([item.text.casefold() for item in written], letters) else None
    if set(verdicts) == {_Verdict.CORRECT}:
        return _answer(letters)
    if set(verdicts) - {_Verdict.CORRECT, _Verdict.WRONG} or not _one_each(letters, verdicts) or _may_be_options(written):
        return None
    correct = [letter for letter, verdict in zip(letters, verdicts, strict=True) if verdict is _Verdict.CORRECT]
    return _answer(correct) if correct or len(set(letters)) == n_options else None


def may_repeat_options(written: list[Item], n_options: int) -> bool:
    """Could a text that nothing announces as an answer be the list of options, or the beginning of it?"""
    every = len({item.letter for item in written}) == n_options > 1
    return every or not all(item.is_parted for item in written)


def _answer(letters: Sequence[str]) -> Answer:
    return tuple(sorted(set(letters)))


def _one_each(keys: Sequence[object], values: Sequence[object]) -> bool:
    """Does each key go with one value only?"""
    return len(set(zip(keys, values, strict=True))) == len(set(keys))


class _Verdict(Enum):
    """What is said of an option."""

    CORRECT = auto()
    WRONG = auto()
    NONE = auto()
    """Nothing: it is written out."""
    UNCLEAR = auto()


_SUBJECT = r"\(?(?:(?:it|this|that)(?:'s| (?:answer|option|choice|statement|one))? )?(?:(?:is|are) )?"
_WORD = (
    r"(?:(?:the|a) )?(?:(?P<wrong>incorrect|wrong|not (?:correct|right))|(?P<correct>correct|right))"
    r"(?: (?:answer|option|choice|statement|one)s?)?\)?"
)
_NOTHING_ELSE = re.compile(_SUBJECT + _WORD, re.IGNORECASE)
_AT_THE_END = re.compile(
    rf"(?:[.!?:,;(=>\u2013\u2014-]| is| are) ?{_SUBJECT}(?:{_WORD}|(?:not )?(?:yes|no|true|false|wrong|incorrect)\)?)$",
    re.IGNORECASE,
)
_STOP = r"(?=$|[^\w\s-]| [^\w\s]| (?:and|as|because|but|is|or|since|so)\b)"
_OPINION = (
    rf"{_SUBJECT}(?:correct|incorrect|right|wrong|true|false|yes|no|never|maybe|perhaps|possibl[ey]|probabl[ey]|(?:un)?likely"
    r"|impossible|unsure|(?:un)?certain|unknown|happens|occurs|(?:does|did|will|would|can|could)(?: not|n't)? (?:happen|occur)"
    r"|not(?: (?:correct|right|wrong|true|false|sure|certain|possible|likely|chosen|selected|applicable|happening))?)"
)
_BEGINS = re.compile(rf"{_OPINION}\b", re.IGNORECASE)
_BEGINS_WHOLE = re.compile(_OPINION + _STOP, re.IGNORECASE)
_NUMBER = re.compile(r"[01](?:\.\d+)?|\.\d+|\d+(?:\.\d+)? ?%")
"""What may be a probability."""
_DENIES = re.compile(rf"{_SUBJECT}(?:incorrect|wrong|not (?:correct|right)){_STOP}", re.IGNORECASE)
_AGREES = re.compile(
    rf"{_SUBJECT}(?:correct|right|true|yes|(?:very )?(?:likely|probable)|certain|happens|occurs){_STOP}", re.IGNORECASE
)


def _verdict(item: Item, alone: bool) -> _Verdict:
    """What an item says of its option; alone: no other item stands beside it, so the letter is chosen unless it is denied."""
    text = item.text.rstrip(" .!")
    verdict = _NOTHING_ELSE.fullmatch(text) or _AT_THE_END.search(text)
    if verdict and (verdict.start() == 0 or not _BEGINS_WHOLE.match(text)):  # not "wrong, that is correct"
        return _Verdict.CORRECT if verdict["correct"] else _Verdict.WRONG if verdict["wrong"] else _Verdict.UNCLEAR
    if item.is_label:
        unclear = bool((_DENIES if alone else _BEGINS_WHOLE).match(text))
    elif alone:
        unclear = bool(_BEGINS_WHOLE.match(text)) and not _AGREES.match(text)
    else:
        unclear = bool(_BEGINS.match(text) or _NUMBER.fullmatch(text))
    return _Verdict.UNCLEAR if verdict or unclear or re.match(r"(?:is|are) ", text) else _Verdict.NONE


def _may_be_options(written: list[Item]) -> bool:
    """Could verdicts be the texts of options, "A. Correct\\nB. Wrong"? Not if two are the same, or behind "A:"."""
    texts = {item.text.rstrip(" .!").casefold() for item in written}
    are_bare = all(_NOTHING_ELSE.fullmatch(text) for text in texts)
    return are_bare and len(texts) == len(written) and all(item.is_label for item in written)
