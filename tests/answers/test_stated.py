"""What replies state, written down together with the replies: the parser gives that, or nothing.

A reply is built from its parts, so what it states is known without a parser. `Stated.plain` marks the forms that have to be
read; of the others, where a letter may be a part of an option's text, an answer may be read or not, but no other one. The
seeds are fixed, so a failure comes back.
"""

import random
import re
from typing import NamedTuple

import pytest

from videothinker.answers import FORMS, LETTERS, Answer
from videothinker.records import Form

N_REPLIES = 1500
"""Per test and seed."""
SEEDS = range(4)

TEXTS = (
    "the cube falls",
    "The ball turns",
    "a cube falls",
    "A ball turns",
    "A-frame houses fall",
    "B-shaped blocks stop",
    "the red and the blue cube",
    "one or two cubes",
    "neither of them",
    "5 cubes",
    "it's the cube's",
    'the "big" one',
    "x-rays (all of them)",
    "e.g. the sphere",
    "25 °C",
    "i.e. nothing",
    "nobody knows, of course",
)
"""Options' texts in which no letter stands that could be an option's name."""
LIKE_VERDICTS = ("right turn", "not red", "No collision", "Wrong-way driving", "true north", "possible worlds", "Never mind")
"""Options' texts that begin like a judgement, which "A: " may introduce."""
TRICKY = (
    "C",
    "b",
    "(C)",
    "C.",
    "C major",
    "the letter C",
    "Vitamin B",
    "B and C",
    "A or B",
    "or C",
    "not C",
    "option B",
    "A",
    "A. Lincoln",
    "meet A. Lincoln",
    "meet Mr. B. Franklin",
    "Washington D.C. area",
    "point (B)",
    "from A to B",
    "I think",
    "all of A",
)
"""Options' texts with letters: what a reply states with one is not known without the options."""
PARTED = (
    ", ",
    ",",
    "; ",
    " and ",
    ", and ",
    " & ",
    " + ",
    "/",
    " / ",
    " | ",
    "\n",
    "\n\n",
    ",\n",
    "\u3001",
    "\uff0c",
    "\uff1b",
)
UNDECIDED = (
    " or ",
    ", or ",
    "/or ",
    " or maybe ",
    " / or ",
    ". Or ",
    "\u6216",
    " vs. ",
    " rather than ",
    " but not ",
    ", not ",
)


class Stated(NamedTuple):
    """A text with what it states."""

    text: str
    answer: Answer | None
    plain: bool


def letters_of(rng: random.Random, n_options: int) -> list[str]:
    """Some letters of a question's options, in any order."""
    return rng.sample(LETTERS[:n_options], rng.randint(1, n_options))


def joined(rng: random.Random, parts: list[str], separators: tuple[str, ...]) -> str:
    """The parts with any of the separators between each two."""
    text = parts[0]
    for part in parts[1:]:
        text += rng.choice(separators) + part
    return text


def answer_of(letters: list[str]) -> Answer:
    return tuple(sorted(letters))


def a_list(rng: random.Random, n_options: int) -> Stated:
    """Letters and what parts them."""
    letters = letters_of(rng, n_options)
    answer, several = answer_of(letters), len(letters) > 1
    if rng.random() < 0.2:
        letters = [letter.lower() for letter in letters]
    kind = rng.choice(("parted", "brackets", "undecided", "unclear"))
    if kind == "parted":
        dress = rng.choice(("{}", "({})", "{})", "{}.", "option {}", "**{}**", "'{}'"))
        separators = PARTED if "o" not in dress else PARTED[:4]
        return Stated(joined(rng, [dress.format(letter) for letter in letters], separators), answer, True)
    if kind == "brackets":
        dress = rng.choice(("({})", "{})"))
        return Stated(joined(rng, [dress.format(letter) for letter in letters], ("", " ")), answer, True)
    dress = rng.choice(("{}", "({})", "{}."))
    separators = (
        UNDECIDED if kind == "undecided" else (" - ", "-", "\u2013", " to ", ": ", ":", ". ", "? ", " > ", " = ", "...")
    )
    if dress == "({})" and kind == "unclear":
        dress = "{}"
    return Stated(
        joined(rng, [dress.format(letter) for letter in letters], separators), None if several else answer, not several
    )


def written_out(rng: random.Random, n_options: int) -> Stated:
    """Options behind their letters."""
    letters = letters_of(rng, n_options)
    answer = answer_of(letters)
    tricky = rng.random() < 0.3
    texts = rng.sample(TEXTS, len(letters))
    if tricky:
        texts[rng.randrange(len(texts))] = rng.choice(TRICKY)
    mark = rng.choice(("{}. {}", "{}) {}", "({}) {}", "{}: {}", "{} - {}", "({}): {}", "Option {}: {}"))
    if rng.random() < 0.2:
        texts[0] = rng.choice(LIKE_VERDICTS)
        tricky = tricky or mark not in ("{}. {}", "{}) {}", "({}) {}")
    if "(C)" in texts and mark == "({}) {}":  # "(A) (C)" is a list
        mark = "{}. {}"
    parts = [mark.format(letter, text) for letter, text in zip(letters, texts, strict=True)]
    kind = rng.choice(("parted", "sentences", "blanks", "undecided"))
    if kind == "undecided" and len(parts) > 1:
        return Stated(joined(rng, parts, UNDECIDED[:-1]), None, True)
    if kind == "blanks" and len(parts) > 1:
        return Stated(" ".join(parts), answer, not tricky and mark in ("{}) {}", "({}) {}"))
    if kind == "sentences":
        return Stated(joined(rng, parts, (". ", "! ", ".\n")) + ".", answer, not tricky)
    return Stated(joined(rng, parts, PARTED[:7] + PARTED[8:]), answer, not tricky)


def judged(rng: random.Random, n_options: int) -> Stated:
    """Options that are called correct or wrong."""
    letters = letters_of(rng, n_options)
    verdict = {letter: rng.random() < 0.5 for letter in letters}
    words = rng.choice(
        (("correct", "wrong"), ("right", "incorrect"), ("Correct", "not correct"), ("yes", "no"), ("true", "false"))
    )
    mark = rng.choice(("{}: {}", "{} - {}", "{} is {}", "({}): {}", "{}: it is {}", "{} ({})"))
    mark = "{}: {}" if "is" in mark and words[0] == "yes" else mark
    parts = [mark.format(letter, words[0] if verdict[letter] else words[1]) for letter in letters]
    text = joined(rng, parts, (". ", ", ", "; ", "\n", ",\n", " and "))
    correct = answer_of([letter for letter in letters if verdict[letter]])
    if words[0] in ("yes", "true"):  # of what happens, perhaps: alone it is a choice
        return Stated(text, correct if len(letters) == 1 and correct else None, False)
    if correct or len(letters) == n_options:
        return Stated(text, correct, True)
    return Stated(text, None, True)


def a_phrase(rng: random.Random, n_options: int) -> Stated:
    """None or all of them, in words."""
    none = rng.choice(("none", "None of the above", "none of these options", "No option is correct", "neither of them"))
    every = rng.choice(("all", "All of the above", "all of them are correct", "all options"))
    return Stated(none, (), True) if rng.random() < 0.5 else Stated(every, tuple(LETTERS[:n_options]), True)


def spaced(rng: random.Random, text: str) -> str:
    """The same words with other white space between them."""
    return re.sub(" ", lambda _: rng.choice((" ", " ", "  ", "\t", " " * 50)), text)


def in_reply(rng: random.Random, stated: Stated, form_is_list: bool) -> Stated:
    """The text as a reply gives it."""
    wrapper = rng.choice(("tag", "tag", "thought", "box", "is", "label", "bare", "bold", "quoted"))
    text, answer, plain = stated
    text = spaced(rng, text)
    one_line = "\n" not in text
    if wrapper == "is" or wrapper == "label":
        words = "So the answer is {}" if wrapper == "is" else "Answer: {}"
        return Stated(words.format(text), answer, plain and one_line and not (wrapper == "is" and text.islower()))
    if wrapper == "bare":
        return Stated(text, answer, plain and form_is_list)
    patterns = {
        "tag": "<answer>{}</answer>",
        "thought": "<think>A or B?\nIt may be <answer>D</answer>.</think>\n\n<answer> {} </answer>",
        "box": "So it is \\boxed{{{}}}.",
        "bold": "<answer>**{}**</answer>",
        "quoted": '<answer>"{}"</answer>',
    }
    return Stated(patterns[wrapper].format(text), answer, plain)


KINDS = {"list": a_list, "written": written_out, "judged": judged, "phrase": a_phrase}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_reply_gives_what_it_states_or_nothing(kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    for _ in range(N_REPLIES):
        n_options = rng.randint(1, 6)
        text, answer, plain = in_reply(rng, KINDS[kind](rng, n_options), kind in ("list", "phrase"))
        chosen = FORMS[Form.LETTERS].parse(text, n_options)
        assert chosen == answer or (chosen is None and not plain), (text, n_options)
        one = FORMS[Form.CHOICE].parse(text, n_options)
        assert one == (chosen if chosen is not None and len(chosen) == 1 else None)


SOUP = (
    *"BCDE",
    ". ",
    ".",
    ") ",
    "(",
    ")",
    ": ",
    ", ",
    " and ",
    " or ",
    "/",
    " - ",
    "-",
    "\n",
    "; ",
    " ",
    "cubes fall",
    "a ball",
    "so",
)
"""Letters and what may stand around them; no option's text among it has a letter that could name an option."""
_LETTER = re.compile(r"(?<![A-Za-z])(?<![A-Za-z]{2}-)[B-E](?![A-Za-z]|-[A-Za-z]{2})")
_LAST_WORD = re.compile(r"(?<!and)(?<!or) ([B-E])\W*$")


@pytest.mark.parametrize("seed", SEEDS)
def test_of_letters_in_any_order_all_are_read_or_none(seed: int) -> None:
    """A last letter may be a word of an option's text, as in "B. Vitamin C". "BD" and "B.D" are no letters alone."""
    rng = random.Random(f"soup {seed}")
    for _ in range(4 * N_REPLIES):
        text = "".join(rng.choices(SOUP, k=rng.randint(2, 9)))
        chosen = FORMS[Form.LETTERS].parse(f"<answer>{text}</answer>", 5)
        if chosen is not None:
            letters = set(_LETTER.findall(text))
            assert set(chosen) in (letters, letters - set(_LAST_WORD.findall(text))) or re.search(r"[B-E]\.?[B-E]", text), text
            assert not re.search(r" or \W*[B-E](?![A-Za-z])", text), text


VERDICTS = (
    *"ABCD",
    ": ",
    ". ",
    ") ",
    " is ",
    ", ",
    " - ",
    "\n",
    "wrong",
    "correct",
    "incorrect",
    "not correct",
    "cubes fall",
    " and ",
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_letter_that_is_called_wrong_is_never_chosen(seed: int) -> None:
    rng = random.Random(f"verdicts {seed}")
    denied = re.compile(r"(?<![A-Za-z])([A-D])(?:[.:)]| is| -)* (?:wrong|incorrect|not correct)(?![A-Za-z])")
    for _ in range(4 * N_REPLIES):
        text = "".join(rng.choices(VERDICTS, k=rng.randint(2, 9)))
        chosen = FORMS[Form.LETTERS].parse(f"<answer>{text}</answer>", 4) or ()
        assert not set(denied.findall(text)) & set(chosen), text


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_and_tags_side_by_side_are_one_statement(seed: int) -> None:
    rng = random.Random(f"boxes {seed}")
    for _ in range(N_REPLIES):
        n_options = rng.randint(2, 6)
        letters = letters_of(rng, n_options)
        box = rng.choice(("\\boxed{{{}}}", "$\\boxed{{\\text{{{}}}}}$", "<answer>{}</answer>", "\\boxed{{{}. The cube falls}}"))
        if "falls" in box:  # one text cannot be that of several options
            letters = letters[:1]
        boxes = [box.format(letter) for letter in letters]
        kind = rng.choice(("list", "undecided", "prose"))
        if kind == "list":
            reply, answer = joined(rng, boxes, (" ", ", ", " and ", "\n", "", "/", ", and ", "\u3001")), answer_of(letters)
        elif kind == "undecided":
            reply, answer = joined(rng, boxes, (" or ", ", or ", "\u6216")), answer_of(letters) if len(letters) == 1 else None
        else:
            reply, answer = joined(rng, boxes, (" no, ", ". It stops, so: ", "\nor rather\n", " was a guess. ")), (letters[-1],)
        assert FORMS[Form.LETTERS].parse(f"The cube falls. {reply}", n_options) == answer, reply


WORDS = {"yes": ("A",), "no": ("B",)}
REASONS = (
    "the cube moves",
    "The ball stops.",
    "it falls,\nand stops",
    "because of the cube",
    "A or B",
    "nothing else moves",
    "I know",
)


def yes_or_no(rng: random.Random) -> Stated:
    """One of the two words, and what stands behind it."""
    word, other = rng.sample(list(WORDS), 2)
    text, answer = rng.choice((word, word.upper(), word.capitalize())), WORDS[word]
    reason = rng.choice(REASONS)
    kind = rng.choice(("alone", "reason", "new line", "broken line", "goes on", "both", "not at first", "taken back", "denied"))
    if kind == "alone":
        return Stated(text + rng.choice(("", ".", "!", "\u3002", ",")), answer, True)
    if kind == "reason":
        return Stated(text + rng.choice((". ", ", ", ": ", "; ", "! ", ",\n")) + reason, answer, True)
    if kind == "new line":
        return Stated(f"{text}\n{reason.capitalize()}", answer, True)
    behind = {
        "broken line": f"\n{reason.lower()}",
        "goes on": f" {reason}",
        "both": rng.choice((" or ", "/", " and ", ", ", "\n", ". ", " - ")) + other,
        "taken back": f". {reason} {other}, I mean",
        "denied": rng.choice((": ", ", ")) + rng.choice(("wrong", "incorrect", "or not", "false")),
    }
    if kind in behind:
        return Stated(text + behind[kind], None, True)
    return Stated(f"{rng.choice(('not', 'maybe', 'I would say', 'nearly'))} {text}", None, True)


@pytest.mark.parametrize("seed", SEEDS)
def test_yes_or_no_is_read_as_it_is_stated(seed: int) -> None:
    rng = random.Random(f"yes-no {seed}")
    for _ in range(N_REPLIES):
        text, answer, _ = yes_or_no(rng)
        patterns = (
            "{}",
            "<answer>{}</answer>",
            "<answer>**{}**</answer>",
            "\\boxed{{{}}}",
            "<think>Yes? No.</think>{}",
            '"{}"',
        )
        reply = rng.choice(patterns).format(spaced(rng, text))
        assert FORMS[Form.YES_NO].parse(reply, 2) == answer, reply


YES_NO_SOUP = (
    "yes",
    "no",
    "Yes",
    "No",
    ", ",
    ". ",
    " ",
    "\n",
    ": ",
    " or ",
    " and ",
    "not",
    "the cube falls",
    "It stops",
    "(",
    ")",
    "wrong",
)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_two_words_neither_is_read(seed: int) -> None:
    rng = random.Random(f"yes-no soup {seed}")
    for _ in range(2 * N_REPLIES):
        text = "".join(rng.choices(YES_NO_SOUP, k=rng.randint(1, 8)))
        said = [word.lower() for word in re.findall(r"\b(?:yes|no)\b", text, re.IGNORECASE)]
        chosen = FORMS[Form.YES_NO].parse(f"<answer>{text}</answer>", 2)
        assert chosen is None or [WORDS[word] for word in said] == [chosen], text
