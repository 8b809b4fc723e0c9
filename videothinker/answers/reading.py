"""Which of the lettered options a text chooses: the reading that every form with letters shares.

A text is an answer as a whole, or it is none. Four kinds are read, tried in this order: a phrase ("none of the above", "all of
them"); a list of letters ("A, C", "(A)(C)", "Both A and C"); options written out behind their letters; a judgement of every
option (`written` and `verdicts`). All else is unreadable.

Patterns expect collapsed white space, and take time proportional to the text's length.
"""

import re

from videothinker.answers.form import LETTERS, Answer
from videothinker.answers.style import IS, LEAD, AnswerPart, statement, without_markup
from videothinker.answers.verdicts import chosen, may_repeat_options
from videothinker.answers.written import Item, items

_LONGEST = 20_000
"""Characters that a choice has at most: 26 options written out, of more than 700 characters each."""


def read_letters(part: AnswerPart, n_options: int) -> Answer | None:
    """The set of letters that a reply's answer part states; None if it states none, or one beyond the options."""
    return _read(part.text, n_options) if part.marked else _read_unmarked(part.text, n_options)


def _read_unmarked(text: str, n_options: int) -> Answer | None:
    """The letters of a reply without tag or box: strict, since a letter in prose is no answer."""
    *before, last = text.split("\n")
    if (stated := statement(last)) is not None:
        return _read(" ".join(stated), n_options)
    if (before or re.search(r"[a-z)][.!?;] \S", last)) and _listed(_plain(text)) is None:
        return None
    return _read(text, n_options, announced=False)


_IS_CORRECT = r"(?: (?:is|are) (?:the )?(?:correct|right|true)(?: (?:answer|option|choice)s?)?)"
_NONE = re.compile(
    r"(?:none|neither)(?: of (?:the|these|them|those))?(?: above)?(?: (?:answer|option|choice|statement|event)s?)?"
    rf"{_IS_CORRECT}?|no(?: (?:correct|right))? (?:option|choice)s?{_IS_CORRECT}?|no correct answers?",
    re.IGNORECASE,
)
_EVERY = re.compile(
    rf"all(?: of)?(?: (?:the|these|them|those))?(?: above)?(?: (?:answer|option|choice)s?)?{_IS_CORRECT}?", re.IGNORECASE
)
_LABEL = re.compile(rf"{LEAD}(?P<verb> {IS}\b)? ?(?P<colon>[:=])?\s?", re.IGNORECASE)
_CHINESE_AND = re.compile(r"(?<=[A-Za-z).]) ?(?:\u4ee5\u53ca|[\u548c\u4e0e\u53ca]) ?(?=[(A-Za-z])")


def _read(text: str, n_options: int, announced: bool = True) -> Answer | None:
    """The answer that a whole text is.

    announced: a tag, a box or "the answer is" says that the text is an answer; otherwise it may repeat the options.
    """
    text, capitals_only = _without_label(_plain(text))
    if len(text) > _LONGEST:
        return None
    bare = text.replace("\n", " ").strip(" .!;:,()")
    if _NONE.fullmatch(bare):
        return ()
    if _EVERY.fullmatch(bare):
        return tuple(LETTERS[:n_options])
    written: list[Item] = []
    letters = _listed(text)
    if letters is None:
        written = items(text, n_options)
        letters = [item.letter for item in written]
    if not letters or not {letter.upper() for letter in letters} <= set(LETTERS[:n_options]):
        return None
    if capitals_only and not "".join(letters).isupper():
        return None
    if not written:
        return tuple(sorted({letter.upper() for letter in letters}))
    return None if not announced and may_repeat_options(written, n_options) else chosen(written, n_options)


def _plain(text: str) -> str:
    return _CHINESE_AND.sub(",", without_markup(text))


def _without_label(text: str) -> tuple[str, bool]:
    """The text behind "The answer is" or "Answer: option"; and whether it goes on as a sentence, where "a" is an article."""
    is_sentence = False
    for _ in range(2):
        label = _LABEL.match(text)
        if label and label.end() < len(text) and (label["colon"] or text[label.end() - 1].isspace()):
            is_sentence = is_sentence or bool(label["verb"] and not label["colon"])
            text = text[label.end() :]
    return text, is_sentence


_LIST_TOKEN = re.compile(
    r"(?P<separator>[,;/&+|\n]|and\b)|(?:both|only|options?)\b| "
    r"|(?P<open>\(*+)(?P<letters>[A-Za-z]|(?-i:[A-Z]{2,26}))(?P<close>[.):!]*+)(?:(?<=\))|(?![A-Za-z0-9]))",
    re.IGNORECASE,
)


def _listed(text: str) -> list[str] | None:
    """The letters of a text that is nothing but a list of them ("A, (c) and D.", "AC"), as they are written; else None.

    Blanks alone part letters that are closed in the same way ("A C", "(A) (C)"). A full stop or colon parts none: "A. C" and
    "A: C" may name A alone, by an option whose text is "C".
    """
    text = re.sub(rf"{_IS_CORRECT}$", "", text.rstrip(" .!\n"), flags=re.IGNORECASE)
    if enclosed := re.fullmatch(r"\(([^()]*+)\)", text):
        text = enclosed[1]
    letters: list[re.Match[str]] = []
    separator, position = "", 0
    while position < len(text):
        token = _LIST_TOKEN.match(text, position)
        if token is None:
            return None
        position = token.end()
        if token["separator"]:
            separator = token["separator"]
        elif token["letters"]:
            if letters and not separator and not _parted_by_blanks(letters[-1], token):
                return None
            letters.append(token)
            separator = ""
    if separator and separator not in ",;|":  # "A and": more was to come
        return None
    names = [token["letters"] for token in letters]
    if len(names) == 1 and names[0].isupper() and sorted(set(names[0])) == list(names[0]):
        return list(names[0])  # "ACD": run together, but in order, as no other word is likely to be
    return names if names and all(len(name) == 1 for name in names) else None


def _parted_by_blanks(left: re.Match[str], right: re.Match[str]) -> bool:
    """Are both letters bare, or both in the same brackets?"""
    is_closed = ")" in left["close"]
    same = bool(left["open"]) == bool(right["open"]) and is_closed == (")" in right["close"])
    return same and (":" not in left["close"] if is_closed else not left["open"] and not left["close"])
