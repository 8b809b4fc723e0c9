"""Options that a text writes out behind their letters: "A. The cube falls, C. The ball stops".

The options' own texts are not at hand, so a letter inside one ("B. Vitamin C") is told from a further choice by what stands
before and behind it. A text with a letter that could be either, as in "A. The cube falls or C" and "A. It meets B. Franklin",
has no items, and so is unreadable.
"""

import re
from enum import Enum, auto
from typing import NamedTuple

from videothinker.answers.form import LETTERS


class Item(NamedTuple):
    """A letter of an option, and what is said behind it."""

    letter: str
    """As it is written, in either case."""
    is_label: bool
    """It is marked as in a list of options, "A." or "(A)"; behind "A:", "A -" and "A is" a judgement is as likely."""
    text: str
    is_parted: bool
    """A comma, a line break or "and" parts it from the item before, not just the end of a sentence or its own brackets."""


def items(text: str, n_options: int) -> list[Item]:
    """The items that a text consists of, in order; none if it is anything else, or may be."""
    first = _LONE.match(text)
    if first is None or first["mark"] is None:
        return []
    starts, is_parted = [first], [True]
    body = looked_at = first.end()  # where the text of the latest item begins, and how far it has been looked at
    depth, n_sentences = 0, 0  # of the brackets open there, and of sentences that ended in it
    for lone in _LONE.finditer(text, body):
        between, looked_at = text[looked_at : lone.start()], lone.end()
        n_sentences += _SENTENCE_ENDS.search(between) is not None
        depth += between.count("(") - between.count(")")
        in_brackets = depth > 0 and not lone["open"]
        depth += lone[0].count("(") - lone[0].count(")")
        place = _place(text, body, lone.start())
        if _is_word(text, lone, place, n_options):
            continue
        if not in_brackets and _starts_item(text, lone, place, first):
            starts.append(lone)
            is_parted.append(place is _Place.PARTED)
            body, depth, n_sentences = lone.end(), 0, 0
        elif n_sentences or _may_be_chosen(text, lone, place, in_brackets, n_options):
            return []
    if text.count("\n") != sum(text[start.start() - 1] == "\n" for start in starts[1:]):
        return []  # a line that is not an item: prose
    ends = [start.start() for start in starts[1:]] + [len(text)]
    found = [
        Item(start["letter"], _is_label(start["mark"]), _trimmed(text[start.end() : end]), parted)
        for start, end, parted in zip(starts, ends, is_parted, strict=True)
    ]
    same_case = len({item.letter.isupper() for item in found}) == 1
    return found if same_case and all(_is_text(item.text) for item in found) else []


_LONE = re.compile(
    r"(?P<noun>\b(?i:option|choice|answer|statement|letter)s? )?(?P<open>\()?"
    r"(?P<letter>(?<![A-Za-z0-9_'\u2019\u00b0])(?<!\b[A-Za-z]\.)(?:[A-Z](?!\.[A-Z]\b)|[a-z](?!\.[a-z]\b)))"
    r"(?![A-Za-z0-9_'\u2019]|-[A-Za-z]{2})"
    r"(?P<mark>[.:]?\)[.):]*+ ?(?=\S)|[.:]++ (?=\S)|:(?=\S)|\.(?=[A-Z][a-z])| [-\u2013\u2014] (?=\S)| (?=(?:is|are) )"
    r"| (?=\((?i:not |in)?(?i:correct|right|wrong)\)(?:$|[.,;\n]| and\b)))?"
)
"""A letter that is no part of a word or an abbreviation, and the mark that makes it the name of an option."""
_MARK_LIKE = re.compile(r"[):]|\.(?=\S)")
_SENTENCE_ENDS = re.compile(r"[.!?] ")
_SAYS_SOMETHING = re.compile(r"\d|\w\w|[^\WA-Za-z_]")
"""More than letters that stand alone ("A: C-D"), or ticks, which judge in a way of their own ("A: x, B: o")."""
_BREAKS_OFF = re.compile(r"\b(?:or|nor|and|not)\W*$", re.IGNORECASE)
_GOES_ON = re.compile(r"\W*(?:or|nor|and)\b", re.IGNORECASE)


class _Place(Enum):
    """What stands before a letter, and so what it may be."""

    FIRST = auto()
    """The mark of the item: "A. C major", or the end of a sentence, "(The answer is) A. C is wrong"."""
    PARTED = auto()
    """A comma, a line break, "and", or whatever else parts a list."""
    SENTENCE = auto()
    """The end of a sentence."""
    LINK = auto()
    """A word or sign that may lead to another choice, or deny it: "or", "not", "maybe"."""
    WORD = auto()
    """Any other word: "Vitamin C"."""


_ABBREVIATIONS = frozenset(("mr", "mrs", "ms", "dr", "st", "vs", "prof", "no", "fig", "etc"))
_LINKS = re.compile(
    r"or|nor|but|not|then|than|rather|also|plus|to|through|with|as|maybe|perhaps|possibly|probably|either|neither|both|except|only"
    r"|without|is|are|was|be|say|choose|pick|think|so|hence|thus|therefore|because|since|if|like|versus|vs"
)
_LAST_WORD = re.compile(r"[A-Za-z']+$")
_IN_BRACKETS = re.compile(r"\(\w[^()]*\)$")
_LAST_SENTENCE = re.compile(r"(?:(?P<word>[A-Za-z']{2,})|[0-9)\]%]|\u00b0[A-Z])[.!?]+$")


def _place(text: str, body: int, start: int) -> _Place:
    """What stands before the letter that begins at `start`, in an item whose text begins at `body`."""
    before = text[max(body, start - 24) : start].rstrip(" (")
    if not before:
        return _Place.FIRST
    if before[-1] in ",;/|&+\n":
        return _Place.PARTED
    if word := _LAST_WORD.search(before):
        if word[0].lower() == "and":
            return _Place.PARTED
        return _Place.LINK if _LINKS.fullmatch(word[0].lower()) else _Place.WORD
    if before[-1] in ".!?":
        sentence = _LAST_SENTENCE.search(before)
        is_whole = sentence is not None and (sentence["word"] or "").lower() not in _ABBREVIATIONS
        return _Place.SENTENCE if is_whole and text[start - 1] in " (" else _Place.LINK
    if before[-1] in "-\u2013\u2014":
        return _Place.WORD if text[start - 1] != " " and before[-2:-1].isalnum() else _Place.LINK
    if before[-1] == ")":
        return _Place.WORD if text[start - 1] != ")" and _IN_BRACKETS.search(before) else _Place.LINK
    return _Place.LINK if before[-1] in ":=>\u6216" else _Place.WORD


_ARTICLE = re.compile(
    r" (?!(?:is|are|was|were|has|have|had|does|did|can|could|will|would|may|might|must|should|also|too|not|never|only|and|or"
    r"|nor|but|than|then|as|if|because|since|to|of|in|on|at|by|from|for|with|happens|occurs|follows)\b)[a-z]"
)
"""What may follow an "A" that begins an option's text: a word that could be, or describe, a noun."""
_NEXT_WORD = re.compile(r" [A-Za-z]")


def _is_word(text: str, lone: re.Match[str], place: _Place, n_options: int) -> bool:
    """Is a letter that stands alone a word ("a cube", "I"), or one that no question of this size has ("the x axis")?"""
    letter = lone["letter"]
    if lone["open"] or lone["noun"]:
        return False
    if letter in "aIi" and lone["mark"] is None and _NEXT_WORD.match(text, lone.end()):
        return True
    if letter == "A" and place is _Place.FIRST and _ARTICLE.match(text, lone.end()):
        return True
    return letter.islower() and letter.upper() not in LETTERS[:n_options]


def _starts_item(text: str, lone: re.Match[str], place: _Place, first: re.Match[str]) -> bool:
    """Does a letter begin the next item? Behind a plain word it does in brackets alone, and if the first item has the same."""
    if lone["mark"] is None:
        return False
    if place in (_Place.PARTED, _Place.SENTENCE):
        return True
    alike = bool(lone["open"]) == bool(first["open"]) and ")" in lone["mark"] and ")" in first["mark"]
    return alike and place is _Place.WORD and text[lone.start() - 1] == " "


def _may_be_chosen(text: str, lone: re.Match[str], place: _Place, in_brackets: bool, n_options: int) -> bool:
    """May a letter that begins no item name a choice all the same?"""
    if place is not _Place.WORD or lone["noun"]:
        return True
    marked = lone["open"] or (lone["mark"] or "").strip() or _MARK_LIKE.match(text, lone.end("letter"))
    return bool(marked) and not in_brackets and lone["letter"].upper() in LETTERS[:n_options]


def _is_label(mark: str) -> bool:
    return ":" not in mark and ("." in mark or ")" in mark)


def _is_text(text: str) -> bool:
    """May a text be an option's? Not one that goes on from something, or breaks off."""
    return bool(_SAYS_SOMETHING.search(text)) and not _GOES_ON.match(text) and not _BREAKS_OFF.search(text[-8:])


def _trimmed(text: str) -> str:
    """The text without the separators at its ends, "and" among them."""
    separators = " ,;/|&+\n"
    text = text.strip(separators)
    return text[:-3].rstrip(separators) if re.search(r"\b[Aa]nd$", text[-4:]) else text
