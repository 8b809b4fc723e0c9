"""Questions and options in one form of words, so that files that write them differently can be compared.

What is levelled: case, white space (line breaks too), quotation marks and apostrophes of all kinds, and characters that Unicode
holds to be the same (full-width letters, "..." for an ellipsis). Nothing else is: "5" is not "-5", and "a cube" is not
"the cube".
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from videothinker.answers import LETTERS
from videothinker.records import Form, Question

_QUOTES = dict.fromkeys(map(ord, "'\"`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2032\u2033"))
_HEADING = r"\s*(?:[\w ]{1,20}:)?"
"""What may stand between a question and its options: "Options:", "Choices:"."""


@lru_cache(2**16)
def level(text: str) -> str:
    """The text in one line, with everything levelled that does not count."""
    return " ".join(unicodedata.normalize("NFKC", text.translate(_QUOTES)).casefold().split())


@lru_cache(64)
def level_lines(text: str) -> str:
    """The text with every line levelled, those without words left out: a question in a prompt begins a line or follows ":"."""
    return "\n".join(line for line in map(level, text.splitlines()) if line)


def words_of(text: str) -> tuple[str, ...]:
    """The words and numbers of a levelled text, by which it is looked up before anything is compared."""
    return tuple(re.findall(r"\w+", text))


def same_options(told: Sequence[str], question: Question) -> bool:
    """Whether the options are those of the question, in its order: a letter in a reply is of the order that was shown."""
    return list(map(level, told)) == list(map(level, question.options))


def reordered_options(told: Sequence[str], question: Question) -> bool:
    """Whether the options are those of the question, in another order."""
    return not same_options(told, question) and sorted(map(level, told)) == sorted(map(level, question.options))


def is_question(text: str, question: Question) -> bool:
    """Whether the text is the question's, and nothing else but perhaps its options behind it."""
    return level(text) == level(question.text) or re.search(rf"\A{_asked(question)}\Z", level_lines(text)) is not None


def stands_in(text: str, question: Question, *, with_options: bool) -> bool:
    """Whether the question begins a line of the text or follows a colon there.

    with_options: its options have to follow, in its order, unless it is one of yes or no.
    """
    needs_options = with_options and question.form is not Form.YES_NO
    if needs_options and not all(level(option) in level(text) for option in question.options):
        return False  # most are told apart here, before a pattern is made
    asked = _asked(question) if with_options else _spaced(question.text)
    return re.search(rf"(?:\A|\n|:)\s*{asked}(?!\S)", level_lines(text)) is not None


def _asked(question: Question) -> str:
    """Pattern of a question with its options behind it."""
    options = "".join(rf"\s*{_label(index)}\s*{_spaced(option)}" for index, option in enumerate(question.options))
    return f"{_spaced(question.text)}(?:{_HEADING}{options})" + ("?" if question.form is Form.YES_NO else "")


def _label(index: int) -> str:
    """What stands before an option: "B.", "(B)", "B)", "B:", "Option 2:", "Caption B:"."""
    letter = LETTERS[index].casefold()
    return rf"(?:\(?{letter}[.):]|(?:option|sentence|caption) (?:{letter}|{index + 1}):)"


def _spaced(text: str) -> str:
    return r"\s+".join(map(re.escape, level(text).split()))
