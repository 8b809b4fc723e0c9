"""Ways of finding a letter in a reply that several evaluators share, each with its faults.

These are other programs' rules, written down as they behave. Ours is `videothinker.answers`.
"""

import re
from collections.abc import Sequence

_PREFIXES = ("The best answer is", "The correct answer is", "The answer is", "The answer")
LOST_COMMAS = (*_PREFIXES, "The best option isThe correct option is", "Best answer:Best option:")
"""Words that Video-MME's evaluator removes. Two commas are missing in its list, so four of them are never found."""
ALL_PREFIXES = (*_PREFIXES, "The best option is", "The correct option is", "Best answer:", "Best option:")
"""The same list with its commas, as LongVideoBench's task in lmms-eval has it."""


def first_capital(reply: str, letters: str, prefixes: Sequence[str]) -> str | None:
    """The first capital that is one of `letters`, in a word or not, once some phrases are removed; None if there is none.

    "Because ..." is B, "Answer: C" is A, and "Best option: C" is B where that phrase is not removed.
    """
    for prefix in prefixes:
        reply = reply.replace(prefix, "")
    found = re.search(f"[{letters}]", reply)
    return found[0] if found else None


def first_word_fits(reply: str, letter: str) -> bool:
    """MVBench's rule: the first word is part of "(b)", or has "(b)" in it; only blanks part words, and case does not count.

    "", "(", ")" and "." are part of every answer. "Option B" and "The answer is B" fit none.
    """
    word, gold = reply.lower().split(" ")[0], f"({letter.lower()})"
    return word.replace(".", "") in gold or gold in word


def earliest_of_alphabet(text: str, letters: str = "ABCDEF") -> str | None:
    """Video-Holmes' rule: the first letter of the alphabet that stands before a blank or colon, or behind "["; else that stands
    anywhere, in a word or not. It leans to A: "B: An owl" is B, but "B. An owl" is A, since "A" comes before "B"."""
    for letter in letters:
        if any(mark in text for mark in (f"{letter} ", f"{letter}:", f"[{letter}")):
            return letter
    return next((letter for letter in letters if letter in text), None)


_STARTS = re.compile(r"([A-E])\.\s*(.+)", re.IGNORECASE)
_STANDS_ALONE = re.compile(r"\b([a-e])\b")
_PUNCTUATION = ';/[]"{}()=+\\_->' + "<@`,?!"
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MOST_STOPS = 32  # re.UNICODE is given as the number of replacements


def any_lone_letter(reply: str) -> str | None:
    """lmms-eval's rule for MVBench: a leading "A." with words behind it, else the first letter A to E that stands alone.

    Case does not count, so the article "a" is A. Punctuation is removed first: a sign that has a blank beside it anywhere
    in the reply is left out, so that "(b)c d(" is "bc d"; any other becomes a blank.
    """
    if starts := _STARTS.fullmatch(reply.strip()):
        return starts[1].upper()
    text = " ".join(re.split("[\n\t]", reply)).strip()
    bare = text
    for sign in _PUNCTUATION:
        run_together = f"{sign} " in text or f" {sign}" in text or _COMMA_IN_NUMBER.search(text)
        bare = bare.replace(sign, "" if run_together else " ")
    bare = _FULL_STOP.sub("", bare, count=_MOST_STOPS)
    found = _STANDS_ALONE.search(bare.lower())
    return found[1].upper() if found else None
