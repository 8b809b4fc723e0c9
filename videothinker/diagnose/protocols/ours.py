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


def read_twice(question: Question, reply: str, seed: int) -> Reading:
    """The second answer of a reply in the style "twice", and beside it the first."""
    said = answers.read_twice(answers.form_of(question), reply, len(question.options))
    return read_as(question, said.second)._replace(twice=said)


PROTOCOL = Protocol("ours", "VideoThinker (this package)", (), {ANY: Rules(prompt, read, forms=tuple(Form))})
TWICE = PROTOCOL._replace(rules={ANY: Rules(prompt, read_twice, forms=tuple(Form))})
"""How replies that were asked for in the style "twice" are read."""
