"""The form "letters": the answer is any set of the options, also the empty one. CLEVRER's counterfactual questions have it."""

import re
from collections.abc import Sequence

from videothinker.answers.form import LETTERS, Answer, lettered
from videothinker.answers.style import IS, LEAD, AnswerPart, Style, answer_part, statement, tagged, without_markup

_INSTRUCTIONS = {
    Style.COT: (
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    ),
    Style.DIRECT: (
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, "
        "or none if no option is correct."
    ),
}


class Letters:
    """The form of a question in which none, some or all options are correct."""

    def listing(self, options: Sequence[str]) -> list[str]:
        """The options behind their letters."""
        return lettered(options)

    def instruction(self, style: Style) -> str:
        """Asks for the letters of all correct options, or "none"."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The letters that a reply gives, sorted; () for an explicit "none"; None if no answer can be read.

        A reply is unreadable if its <answer> is empty, is not an answer or names a letter beyond the options. A reply without
        tag and box has to be an answer as a whole ("B", "A and C", "B. the cube falls"), or its last line has to state one
        ("The answer is B."). Letters anywhere else count as prose.
        """
        part = answer_part(reply)
        return None if part is None else read_letters(part, n_options)

    def solution(self, answer: Answer) -> str:
        """ "<answer>A,C</answer>"; "<answer>none</answer>" for ()."""
        return tagged(",".join(sorted(answer)) or "none")

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """The paper's soft accuracy: 1 for the exact set, |chosen| / |gold| for a non-empty proper subset, otherwise 0."""
        if chosen is None:
            return 0.0
        answer, correct = set(chosen), set(gold)
        if answer == correct:
            return 1.0
        return len(answer) / len(correct) if answer and answer < correct else 0.0

    def chance(self, n_options: int) -> float:
        """2^-n, because each option is taken or left."""
        return 2.0**-n_options

    def chance_of_option(self, n_options: int) -> float:
        """1/2, whatever the number of options."""
        return 0.5

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """2^(k-1-n) with k > 0 correct options of n, and 2^-n with none.

        Of the 2^n sets the C(k, j) subsets of gold with j > 0 letters earn j/k each, and the sum of j/k C(k, j) is 2^(k-1).
        """
        return 2.0 ** (max(n_gold - 1, 0) - n_options)

    def random(self, n_options: int, bits: int) -> Answer:
        """Takes each option by one bit of `bits`, so with probability 1/2."""
        return tuple(letter for i, letter in enumerate(LETTERS[:n_options]) if bits >> i & 1)


def read_letters(part: AnswerPart, n_options: int) -> Answer | None:
    """The set of letters that a reply's answer part states; None if it states nothing, or a letter beyond the options."""
    chosen = _read(part.text) if part.marked else _read_unmarked(part.text)
    options = LETTERS[:n_options]
    if chosen == _ALL:
        return tuple(options)
    return chosen if chosen is not None and set(chosen) <= set(options) else None


_ALL = ("all",)

_IS_CORRECT = r"(?:\s+(?:is|are)\s+(?:the\s+)?(?:correct|right|true)(?:\s+(?:answer|option|choice)s?)?)?"
_NONE = re.compile(
    r"(?:none|neither)(?:\s+of\s+(?:the|these|them|those))?(?:\s+above)?(?:\s+(?:answer|option|choice|statement|event)s?)?"
    rf"{_IS_CORRECT}|no(?:\s+(?:correct|right))?\s+(?:option|choice)s?{_IS_CORRECT}|no\s+correct\s+answers?",
    re.IGNORECASE,
)
_EVERY = re.compile(
    rf"all(?:\s+of)?(?:\s+(?:the|these|them|those))?(?:\s+above)?(?:\s+(?:answer|option|choice)s?)?{_IS_CORRECT}", re.IGNORECASE
)
_LABEL = re.compile(rf"{LEAD}(?P<verb>\s+{IS}\b)?\s*(?P<colon>[:=])?\s*", re.IGNORECASE)
_ITEM = re.compile(
    r"(?P<start>^|\n\s*|[,;]\s*|\s+and\s+)\(?(?P<letter>[A-Za-z])"
    r"(?:[.):]+\s+|[):]|\.(?=[A-Z][a-z])|\s+[-\u2013\u2014]\s+)(?=\S)"
)
_VERDICT = re.compile(r"(?:is\s+|are\s+)?(?:yes|no|not|true|false|correct|incorrect|right|wrong)\b", re.IGNORECASE)


def _read(text: str) -> tuple[str, ...] | None:
    """The answer that a text is as a whole: letters, (), `_ALL` or None. Which letters the question has is not checked here."""
    text = without_markup(text)
    upper_only = False
    for _ in range(2):  # "Answer: option B"
        if (label := _LABEL.match(text)) and label.end() < len(text) and (label["colon"] or text[label.end() - 1].isspace()):
            upper_only = upper_only or bool(label["verb"] and not label["colon"])  # "the answer is a ..." is an article
            text = text[label.end() :]
    bare = re.sub(r"\s+", " ", text).strip(" .!;:,()")
    if _NONE.fullmatch(bare):
        return ()
    if _EVERY.fullmatch(bare):
        return _ALL
    letters = _letters(text)
    if letters is None:
        letters = _lettered_items(text)
    if letters is None or (upper_only and not "".join(letters).isupper()):
        return None
    return tuple(sorted({letter.upper() for letter in letters}))


def _letters(text: str) -> list[str] | None:
    """The letters of a text that is nothing but a list of them ("A, (c) and D.", "AC"), as written; None for others."""
    text = re.sub(rf"{_IS_CORRECT}[\s.!]*$", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\(|[.):!]+(?=[\s,;/&+|\u3001\u548c]|$)", " ", text)
    words = [word for word in re.split(r"[\s,;/&+|\u3001\u548c]+", text) if word]
    words = [word for word in words if word.lower() not in ("and", "both", "only", "option", "options")]
    if len(words) == 1 and re.fullmatch(r"[A-Z]{2,}", words[0]) and sorted(set(words[0])) == list(words[0]):
        return list(words[0])  # "ACD": run together, but in order, as no other word is likely to be
    return words if words and all(re.fullmatch(r"[A-Za-z]", word) for word in words) else None


def _lettered_items(text: str) -> list[str] | None:
    """The letters of a text that repeats each chosen option behind its letter ("A. the cube falls, C. it stops"); else None."""
    items = [item for item in _ITEM.finditer(text) if item.start() == 0 or item["letter"].isupper()]
    if not items or items[0].start() != 0:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    if sum("\n" in item["start"] for item in items) + 1 != len(lines):  # a line that is not an item: prose
        return None
    if len(items) > 1 and any(_VERDICT.match(text, item.end()) for item in items):
        return None  # "A: yes, B: no" judges the options, and chooses none
    return [item["letter"] for item in items]


def _read_unmarked(text: str) -> tuple[str, ...] | None:
    """The letters of a reply without tag or box, read strictly, because a letter in prose is not an answer."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    if (stated := statement(lines[-1])) is not None:
        return _read(" ".join(stated))
    one_sentence = len(lines) == 1 and not re.search(r"[a-z)][.!?;]\s+\S", lines[0])
    whole = "\n".join(lines)
    return _read(whole) if one_sentence or _letters(whole) is not None else None
