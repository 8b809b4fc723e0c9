"""TempCompass as its own evaluator, lmms-eval and VLMEvalKit ask and match it: by the format of the question.

Each matches by rule what it can, and would give the rest to a judge model. Captioning has no rule at all.
"""

import re

from videothinker.answers import LETTERS
from videothinker.diagnose.protocols.base import Prompt, Reading, Why, listed, needs_a_judge, read_letter
from videothinker.records import Form, Question

FORMS = (Form.CHOICE, Form.YES_NO)
_ENDS = {
    "multi-choice": "\nPlease directly give the best option:",
    "caption-matching": "\nPlease directly give the best option:",
    "yes-no": "\nPlease answer yes or no:",
    "captioning": "",
}
_CAPTION = re.compile(r"(?:Option|Sentence|Caption) \w+: ")
_LETTER = re.compile(r"([ABCD])(?:\Z|[.)])")


def prompt(question: Question) -> Prompt:
    """The question with its options as the release writes them, and a line that says what to give."""
    format_ = _format(question)
    options = {"multi-choice": listed, "caption-matching": captions}.get(format_, lambda _: [])(question)
    return Prompt("\n".join([question.text, *options]) + _ENDS[format_])


def read(question: Question, reply: str, seed: int) -> Reading:
    """What the rules match; the rest is wrong, as without a judge, and captioning counts nowhere."""
    match _format(question):
        case "captioning":
            return needs_a_judge(question)
        case "caption-matching":
            letter = _caption(question, reply)
        case "yes-no":
            letter = _yes_no(question, reply)
        case _:
            found = _LETTER.match(reply)
            letter = found[1] if found else None
    return read_letter(question, letter) if letter else Reading(None, right=False, why=Why.NEEDS_A_JUDGE)


def captions(question: Question) -> list[str]:
    """The options of caption matching, a line each: "Option 1: ...". Labels that curation left off are put back as "Option"."""
    return [
        text if _CAPTION.match(text) else f"Option {number}: {text}" for number, text in enumerate(question.options, start=1)
    ]


def _format(question: Question) -> str:
    known = question.facets.get("format")
    return known if known in _ENDS else "yes-no" if question.form is Form.YES_NO else "multi-choice"


def _yes_no(question: Question, reply: str) -> str | None:
    """The option "yes" or "no" that the reply begins with, also as part of a word: "Not at all" and "Nobody" are no."""
    word = next((word for word in ("yes", "no") if reply.lower().startswith(word)), None)
    options = [text.lower() for text in question.options]
    return LETTERS[options.index(word)] if word in options else None


def _caption(question: Question, reply: str) -> str | None:
    """The option whose line, sentence or label the reply is. The sentence may stand behind "A) ", full stops do not count."""
    chosen: str | None = None
    lines = [(letter, line, *line.split(": ")[:2]) for letter, line in zip(LETTERS, captions(question), strict=False)]
    for letter, line, _, _ in lines:
        chosen = letter if reply == line else chosen
    for letter, _, _, sentence in lines:
        behind = reply.split(") ")[1] if ") " in reply else reply
        chosen = letter if sentence in (reply, behind) else chosen
    for letter, _, label, _ in lines:
        chosen = letter if {reply, reply.replace(".", "")} & {label, label.split()[1]} else chosen
    return chosen
