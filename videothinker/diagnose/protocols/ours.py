"""Ours: one prompt for training and evaluation, and a reading that guesses nothing."""

from videothinker import answers
from videothinker.diagnose.protocols.base import ANY, Prompt, Protocol, Reading, Rules, read_as
from videothinker.records import Form, Question


def prompt(question: Question) -> Prompt:
    """The question in the style "cot"; other styles are a setting of the run."""
    return Prompt(answers.render(question, answers.Style.COT))


def read(question: Question, reply: str, seed: int) -> Reading:
    """The answer that the reply states; one that cannot be read is wrong, and counted as unread."""
    return read_as(question, answers.parse(question, reply))


PROTOCOL = Protocol("ours", "VideoThinker (this package)", (), {ANY: Rules(prompt, read, forms=tuple(Form))})
