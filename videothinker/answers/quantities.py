"""Numbers in a text: decimal, with thousands separators, as a fraction, a percentage, a power of ten or a word.

Numbers are exact (`fractions.Fraction`), and an answer holds one as decimal digits, "0.5", or where those never end as "1/3". A
text with several numbers, or with words that make it no number ("at least 3"), gives none: nothing is guessed.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from videothinker.answers.style import AnswerPart, collapsed, statement, without_markup

_LONGEST, _MOST_DIGITS, _MOST_ZEROS = 2_000, 30, 18
"""Characters of a text, digits of a number and the highest power of ten, beyond which nothing is read."""

_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b"
_SUPERSCRIPTS = {ord(raised): plain for raised, plain in zip(_RAISED, "0123456789-", strict=True)}
_POWER = re.compile(f"[{_RAISED}]+")
_VULGAR = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e])")

_LATEX = (
    (re.compile(r"\\[dt]?frac ?\{ ?(-?[\d.,]{1,30}) ?\} ?\{ ?([\d.,]{1,30}) ?\}"), r" \1/\2 "),
    (re.compile(r"\\[dt]?frac ?(\d) ?(\d)"), r" \1/\2 "),
    (re.compile(r"\\(?:times|cdot)\b"), "\u00d7"),
    (re.compile(r"\\(?:approx|sim)\b"), " "),
    (re.compile(r"\^ ?\{ ?(-?\d{1,3}) ?\}"), r"^\1"),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?|\\degree\b"), "\u00b0"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,!;]"), ""),
    (re.compile(r"\\(?=[%$])"), ""),
    (re.compile(r"\u2212 ?(?=[\d.])"), "-"),
    (re.compile("[\u2212\u2010\u2011]"), "-"),
    (re.compile(r"(?<![\w.)%])(?<!\d\s)\u2013(?=\.?\d)"), "-"),  # an en dash that stands between no two numbers
    (re.compile("\u2044"), "/"),
)
"""How LaTeX and signs are written as plain text; each repetition is bounded, so that the time stays linear."""
_BULLET = re.compile(r"-\s")
"""Before a number a list's bullet or a sign, which only who wrote it knows; the sign U+2212 is no bullet."""


def spelled(reply: str) -> str:
    """A reply whose raised digits are written "^2", and whose "1\u00bd" is "1 \u00bd", before its characters are made plain.

    Otherwise 10\u00b2 would become 102 where a reply's letters are made comparable.
    """
    reply = _VULGAR.sub(" ", reply)
    return _POWER.sub(lambda power: "^" + power[0].translate(_SUPERSCRIPTS), reply)


def plain(text: str) -> str:
    """A text without LaTeX and Markdown, on one line."""
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return collapsed(without_markup(text)).replace("\n", " ")


def stated(part: AnswerPart) -> tuple[str, bool] | None:
    """The words in which a reply's answer part gives its answer, and whether they have to be nothing but that.

    A last line that states an answer ("The answer is 7.") is it, else all of the text; where that is neither tagged nor boxed
    it has to be an answer as a whole. None if it is too long to be one.
    """
    if len(part.text) > _LONGEST and not part.marked:
        said = statement(part.text[-_LONGEST:].rsplit("\n", 1)[-1])
        return None if said is None else (said[1], False)
    if len(part.text) > _LONGEST:
        return None
    said = statement(part.text[part.text.rfind("\n") + 1 :])
    return (part.text, not part.marked) if said is None else (said[1], False)


class Quantity(NamedTuple):
    """A number as a text writes it."""

    value: Fraction
    is_percent: bool
    """"50%": its value is 50."""


_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?<![\w.,^/:])(?P<sign>[-+])?(?:(?P<power>10\^[-+]?\d{{1,2}})"
    rf"|(?:(?P<whole>\d+) )?(?P<top>{_DIGITS})/(?P<bottom>{_DIGITS})"
    rf"|(?P<plain>{_DIGITS})(?:[eE](?P<e>[-+]?\d{{1,2}})(?!\w)| ?[x\u00d7*] ?10\^(?P<ten>[-+]?\d{{1,2}}))?)(?![\d/^]|[.,:]\d)"
)
_PERCENT = re.compile(r" ?(?:%|per ?cent\b)", re.IGNORECASE)
_SCALE = re.compile(r" ?(thousand|million|billion)\b", re.IGNORECASE)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_SHORT_SCALE = re.compile(r"(?:[kKMB]|bn)(?!\w)")
_UNIT_POWERS = re.compile("[A-Za-z\u00b5\u00b0]\\^?-?\\d")
"""The digit of m^2, m2 and CO2."""
_WORDS = {
    word: n
    for n, word in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
            *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
}
_HEDGES = (
    r"(?:(?:it|that|this|there|the) )?(?:(?:is|are|was|were|would be|value is|number is) )?"
    "(?:(?:exactly|about|approximately|approx\\.?|around|roughly|nearly|almost|circa) |[~\u2248=] ?)*"
)
_WORD = re.compile(rf"{_HEDGES}(?P<word>{'|'.join(_WORDS)})(?![\w-])", re.IGNORECASE)
_NO_NUMBER = re.compile(
    r"\b(?:not|no|nor|n't|or|at (?:least|most)|(?:more|less|fewer|greater|larger|smaller|higher|lower) than|over|under|up to"
    r"|between|never|minimum|maximum|unknown|unclear|impossible|cannot|can't|either|neither|wrong|incorrect|plus|minus|times"
    "|hundred|dozen|half)\\b|n['\u2019]t\\b|[<>\u2264\u2265\u00b1?]|\\+/-",
    re.IGNORECASE,
)
"""Words and signs beside which a number is no answer: it is denied, a bound, a sum, or one of several."""
_ABOUT = re.compile(r"\\(?:approx|sim)\b")
_ALONE = re.compile(rf"{_HEDGES}[$\u20ac\u00a3\u00a5]? ?$", re.IGNORECASE)
_UNIT = re.compile("(?: ?[A-Za-z\u00b5\u00b0%$\u20ac][A-Za-z\u00b5\u00b0/^.\\d-]{0,19}){0,4} ?[.!]? ?$")


def quantity(text: str, alone: bool) -> Quantity | None:
    """The one number that a text gives; None if it has none or several, or says that it is not the answer.

    alone: the text has to be the number with its unit and nothing else ("about 7.5 m").
    """
    text = plain(text)
    text = text[text.rfind("=") + 1 :].strip() if not alone else text.strip()
    if _NO_NUMBER.search(re.sub(r"\btimes(?= ?[.!]?$)", "", text)):
        return None
    found = _NUMBER.search(text)
    if found is None:
        return _of_words(text)
    before, behind = text[: found.start()], text[found.end() :]
    if any(map(str.isdigit, before + _UNIT_POWERS.sub("", behind))) or _SHORT_SCALE.match(behind):
        return None
    if alone and not (_ALONE.fullmatch(before) and _UNIT.fullmatch(behind)):
        return None
    value = _value(found)
    if value is not None and (scale := _SCALE.match(behind)) is not None:
        value *= _SCALES[scale[1].lower()]
    return None if value is None else Quantity(value, _PERCENT.match(behind) is not None)


def number_alone(text: str) -> Quantity | None:
    """The number that a text is, with nothing beside it but a percent sign or "million", "thousand", "billion"; else None."""
    if _ABOUT.search(text) or _BULLET.match(text):  # which `plain` takes for nothing
        return None
    text = plain(text).removesuffix(".").strip()
    if (number := _WORDS.get(text.lower())) is not None:
        return Quantity(Fraction(number), False)
    found = _NUMBER.match(text)
    value = None if found is None else _value(found)
    if found is None or value is None:
        return None
    rest = text[found.end() :]
    if (scale := _SCALE.fullmatch(rest)) is not None:
        return Quantity(value * _SCALES[scale[1].lower()], False)
    is_percent = _PERCENT.fullmatch(rest) is not None
    return Quantity(value, is_percent) if is_percent or not rest else None


def _of_words(text: str) -> Quantity | None:
    """The number that a text without digits begins with, "seven cubes"; several such words give none."""
    found = _WORD.match(text)
    words = re.findall(rf"\b(?:{'|'.join(_WORDS)})\b", text.lower())
    return None if found is None or len(words) > 1 else Quantity(Fraction(_WORDS[found["word"].lower()]), False)


def _value(found: re.Match[str]) -> Fraction | None:
    """The value of a match of `_NUMBER`; None where it has too many digits, or divides by 0."""
    if len(found[0]) > _MOST_DIGITS:
        return None
    sign = -1 if found["sign"] == "-" else 1
    if found["power"] is not None:
        return _times_ten(Fraction(sign), found["power"][3:])
    if found["bottom"] is not None:
        bottom = _decimal(found["bottom"])
        return sign * (Fraction(found["whole"] or 0) + _decimal(found["top"]) / bottom) if bottom else None
    return _times_ten(sign * _decimal(found["plain"]), found["e"] or found["ten"] or "0")


def _decimal(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _times_ten(value: Fraction, power: str) -> Fraction | None:
    return value * Fraction(10) ** int(power) if abs(int(power)) <= _MOST_ZEROS else None


def written(value: Fraction) -> str:
    """A number as an answer holds it: "1200", "-0.5", or "1/3" where its decimals never end."""
    rest, n_decimals = value.denominator, 0
    for prime in (2, 5):
        n = 0
        while rest % prime == 0:
            rest, n = rest // prime, n + 1
        n_decimals = max(n_decimals, n)
    if rest != 1:
        return str(value)
    digits = str(abs(value.numerator) * 10**n_decimals // value.denominator).rjust(n_decimals + 1, "0")
    whole, decimals = digits[: len(digits) - n_decimals], digits[len(digits) - n_decimals :]
    return f"{'-' if value < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"


_HELD = re.compile(r"-?\d{1,60}(?:\.\d{1,60}|/\d{1,60})?")


def held(text: str) -> Fraction | None:
    """The value of a number as an answer holds it; None if it is not written so."""
    if _HELD.fullmatch(text) is None or text.endswith("/0"):
        return None
    value = Fraction(text)
    return value if written(value) == text else None
