"""The contract with a model: put a question into words, read a reply, grade it.

The one definition of "correct": evaluation, rewards and reports all call it. An answer is a set of letters, held as a sorted
tuple: ("A", "C"). () is an explicit "none of them", None says that nothing could be read; the two never count as equal, and an
unreadable reply is never guessed at. Every form that is read, or refused, stands with its reason in tests/data/replies.json.

    >>> parse_reply("<think>It needs the cube.</think><answer>A and C</answer>", n_options=4)
    ('A', 'C')

Source: the reward and the reply format follow section 4 of the paper and its public code. The prompts are ours, the same in
training and in evaluation (the published ones differ between the two).
"""

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from string import ascii_uppercase

LETTERS = ascii_uppercase
"""Names of the options, in file order; so a question has at most 26."""


class Prompt(StrEnum):
    """What a model is asked to write."""

    COT = "cot"
    """Reasoning inside <think></think>, then the letters inside <answer></answer>."""
    DIRECT = "direct"
    """Only the letters inside <answer></answer>."""


_INSTRUCTIONS = {
    Prompt.COT: (
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    ),
    Prompt.DIRECT: (
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, "
        "or none if no option is correct."
    ),
}


def option_line(index: int, text: str) -> str:
    """The line that shows option number `index` (0-based): "B. the text"."""
    return f"{LETTERS[index]}. {text}"


def render_prompt(problem: str, options: Sequence[str], prompt: Prompt) -> str:
    """The text that a model is given beside the clip.

    options: in file order, with or without their letter ("A. text", "A) text", "(A) text" and "text" all become "A. text").
    """
    lines = [option_line(index, _without_letter(index, text)) for index, text in enumerate(options)]
    return "\n".join([problem, "Options:", *lines, _INSTRUCTIONS[prompt]])


def _without_letter(index: int, text: str) -> str:
    return re.sub(rf"^\s*\(?{LETTERS[index]}[.):]\s*", "", text)


def solution(gold: Sequence[str]) -> str:
    """The reply that gives exactly `gold`: "<answer>A,C</answer>", "<answer>none</answer>" for ()."""
    return f"<answer>{','.join(sorted(gold)) or 'none'}</answer>"


def is_exact(chosen: Sequence[str] | None, gold: Sequence[str]) -> bool:
    """Is the whole answer set right? None is never right, not even where no option is correct."""
    return chosen is not None and set(chosen) == set(gold)


def n_options_right(chosen: Sequence[str] | None, gold: Sequence[str], n_options: int) -> int:
    """Number of options judged right, that is chosen exactly if correct: 0 to `n_options`; 0 for an unreadable reply."""
    if chosen is None:
        return 0
    return n_options - len(set(chosen) ^ set(gold))


def soft_score(chosen: Sequence[str] | None, gold: Sequence[str]) -> float:
    """The paper's soft accuracy, in [0, 1]: 1 for the exact set, |chosen| / |gold| for a non-empty proper subset, else 0."""
    if chosen is None:
        return 0.0
    answer, correct = set(chosen), set(gold)
    if answer == correct:
        return 1.0
    return len(answer) / len(correct) if answer and answer < correct else 0.0


_FORMAT = re.compile(r"[\s!]*<think>.*</think>[\s!]*<answer>.*</answer>[\s!]*", re.DOTALL)


def format_score(reply: str) -> float:
    """1.0 if the reply is exactly one <think>...</think>, then exactly one <answer>...</answer>, and else only space or "!"."""
    once = all(reply.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    return float(once and _FORMAT.fullmatch(reply) is not None)


def parse_reply(reply: str, n_options: int) -> tuple[str, ...] | None:
    """The letters that a reply gives: sorted; () for an explicit "none"; None when no answer can be read.

    Thinking is not an answer: what <think> encloses, or a cut reply left open, does not count. Then the last <answer> counts,
    and only it: if it is empty, cut, not an answer or names a letter beyond the options, the reply is unreadable. Without the
    tag, the last \\boxed{} counts; without that, the whole text has to be an answer ("B", "A and C", "B. the cube falls"), or
    its last line has to state one ("The answer is B."). Letters found anywhere else are prose.

    n_options: number of options that the question has, 1 to 26.
    """
    text = _outside_thinking(unicodedata.normalize("NFKC", reply))
    _, tag, inside = _rpartition(_ANSWER_OPENS, text)
    if tag:
        inside, closed, _ = _partition(_ANSWER_CLOSES, inside)
        chosen = _read(inside) if closed else None
    elif boxes := re.findall(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}", text):
        chosen = _read(boxes[-1])
    else:
        chosen = _read_untagged(text)
    options = LETTERS[:n_options]
    if chosen == _ALL:
        return tuple(options)
    return chosen if chosen is not None and set(chosen) <= set(options) else None


_ANSWER_OPENS = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_CLOSES = re.compile(r"</answer>", re.IGNORECASE)
_THINK_OPENS = re.compile(r"<think>", re.IGNORECASE)
_THINK_CLOSES = re.compile(r"</think>", re.IGNORECASE)
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
_IS = r"(?:is|are|(?:would|should|must|will)\s+be)"
_LEAD = (
    r"(?:(?:so|therefore|thus|hence|finally|i\s+think|i\s+believe)\b\s*,?\s+(?:that\s+)?)?(?:the\s+|my\s+)?"
    r"(?:(?:final|correct|right)\s+)?(?:answer|option|choice|letter)(?:s|\(s\))?"
)
_LABEL = re.compile(rf"{_LEAD}(?P<verb>\s+{_IS}\b)?\s*(?P<colon>[:=])?\s*", re.IGNORECASE)
_STATEMENT = re.compile(rf"(?:^|(?<=[.!?;:,]\s)){_LEAD}(?:\s+{_IS}\b\s*:?|\s*[:=])", re.IGNORECASE)
_ITEM = re.compile(
    r"(?P<start>^|\n\s*|[,;]\s*|\s+and\s+)\(?(?P<letter>[A-Za-z])"
    r"(?:[.):]+\s+|[):]|\.(?=[A-Z][a-z])|\s+[-\u2013\u2014]\s+)(?=\S)"
)
_VERDICT = re.compile(r"(?:is\s+|are\s+)?(?:yes|no|not|true|false|correct|incorrect|right|wrong)\b", re.IGNORECASE)


def _partition(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    """`str.partition` at the first match."""
    found = pattern.search(text)
    return (text[: found.start()], found[0], text[found.end() :]) if found else (text, "", "")


def _rpartition(pattern: re.Pattern[str], text: str) -> tuple[str, str, str]:
    """`str.rpartition` at the last match."""
    found = list(pattern.finditer(text))
    return (text[: found[-1].start()], found[-1][0], text[found[-1].end() :]) if found else ("", "", text)


def _outside_thinking(text: str) -> str:
    """What is left of a reply without its thinking.

    Chat templates may open <think> themselves, so what stands before a lone </think> is thinking too. A <think> that is never
    closed hides everything after it, unless the reply ends on a whole answer: then only the closing tag was forgotten.
    """
    text = re.sub(r"<think>(?:(?!<think>).)*?</think>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    _, _, text = _rpartition(_THINK_CLOSES, text)
    before, opened, thoughts = _partition(_THINK_OPENS, text)
    if opened and re.search(r"</answer>[\s!.]*$", thoughts, re.IGNORECASE):
        return thoughts
    return before


def _read(text: str) -> tuple[str, ...] | None:
    """The answer that a whole text is: letters, (), `_ALL` or None. Says nothing about which letters the question has."""
    text = re.sub(r"\\(?:boxed|text|textbf|mathrm|mathbf|[()\[\]])", " ", text)
    text = re.sub(r"[*_`$\"'\u201c\u201d\u2018\u2019{}\[\]]", " ", text)
    text = re.sub(r"^\s*[-\u2022]\s+", "", text, flags=re.MULTILINE).strip()
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
    """The letters of a text that is nothing but a list of them ("A, (c) and D.", "AC"), as they are written; else None."""
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


def _read_untagged(text: str) -> tuple[str, ...] | None:
    """The answer of a reply without tag or box: strict, since a letter in prose is no answer."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    last = re.sub(r"[*_`]", "", lines[-1])
    _, stated, answer = _rpartition(_STATEMENT, last)
    if stated:
        return _read(f"{stated} {answer}")
    one_sentence = len(lines) == 1 and not re.search(r"[a-z)][.!?;]\s+\S", lines[0])
    whole = "\n".join(lines)
    return _read(whole) if one_sentence or _letters(whole) is not None else None
