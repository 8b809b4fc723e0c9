"""The contract with a model: put a question into words, read a reply, grade it.

This is the one definition of "correct": evaluation, rewards and reports all call it. Two things make a prompt. The question's
*form* says what kind of answer it needs (any set of letters, one letter, yes or no, a number, an interval of time) and owns
instruction, parsing, grading and chance. The prompt's *style* says how a reply is laid out: whether reasoning comes first, and
where the answer stands.

An answer is a sorted tuple of letters, ("A", "C"), or holds one number or two; () is an explicit "none of them", and None says
that nothing could be read. The two never count as equal, and nothing is guessed from an unreadable reply.
tests/data/replies.json has every form of reply that is read, or refused, with its reason.

    >>> FORMS[Form.LETTERS].parse("<think>It needs the cube.</think><answer>A and C</answer>", n_options=4)
    ('A', 'C')

Source: the reward and the reply format follow section 4 of the paper and its public code. The prompts are ours, the same in
training and in evaluation (the published ones differ between the two).
"""

from collections.abc import Callable, Mapping, Sequence

from videothinker.answers.choice import Choice
from videothinker.answers.form import LETTERS, Answer, AnswerForm, is_exact, option_line, without_letters
from videothinker.answers.interval import Interval, gold_interval
from videothinker.answers.letters import Letters
from videothinker.answers.number import Estimate, Number, gold_number
from videothinker.answers.style import Style, tags_in_place
from videothinker.answers.twice import read_twice, well_laid_out
from videothinker.answers.yes_no import YesNo
from videothinker.records import Form, Question

FORMS: dict[Form, AnswerForm] = {
    Form.LETTERS: Letters(),
    Form.CHOICE: Choice(),
    Form.YES_NO: YesNo(),
    Form.NUMBER: Number(),
    Form.ESTIMATE: Estimate(),
    Form.INTERVAL: Interval(),
}
"""The object that owns each form."""

GOLD: Mapping[Form, Callable[[str], Answer | None]] = {
    Form.NUMBER: gold_number,
    Form.ESTIMATE: gold_number,
    Form.INTERVAL: gold_interval,
}
"""How the gold answer of forms without options is read from a file: stricter than a reply, with nothing beside it."""

__all__ = [
    "FORMS",
    "GOLD",
    "LETTERS",
    "Answer",
    "AnswerForm",
    "Style",
    "form_of",
    "format_score",
    "is_exact",
    "is_right",
    "option_line",
    "parse",
    "read",
    "read_twice",
    "render",
    "render_prompt",
    "score",
    "solution",
    "without_letters",
]


def form_of(question: Question) -> AnswerForm:
    """The object that owns the question's form."""
    return FORMS[question.form]


def render(question: Question, style: Style) -> str:
    """The text that a model is given beside the question's clip."""
    return render_prompt(question.text, question.options, style, question.form)


def render_prompt(text: str, options: Sequence[str], style: Style, form: Form = Form.LETTERS) -> str:
    """`render` for the parts of a question. options: without letters, in file order."""
    owner = FORMS[form]
    return "\n".join([text, *owner.listing(options), owner.instruction(style)])


def parse(question: Question, reply: str, style: Style = Style.COT) -> Answer | None:
    """The answer that a reply gives to the question; None when none can be read. style: what it was asked to be laid out as."""
    return read(question.form, reply, len(question.options), style)


def read(form: Form, reply: str, n_options: int, style: Style = Style.COT) -> Answer | None:
    """`parse` for the parts of a question. A reply that answers twice gives its second answer; other styles are read alike."""
    owner = FORMS[form]
    return read_twice(owner, reply, n_options).second if style is Style.TWICE else owner.parse(reply, n_options)


def is_right(form: Form, chosen: Answer | None, gold: Answer) -> bool:
    """Whether an answer is right where there is only right or wrong: letters exactly, an interval from half an overlap on."""
    owner = FORMS[form]
    return chosen is not None and owner.soft(chosen, gold) >= owner.right_from


def score(form: Form, chosen: Answer | None, gold: Answer) -> float:
    """What an answer counts in accuracy, in [0, 1]: 1 or 0 for right or wrong, `soft` where the form is graded by score."""
    return FORMS[form].soft(chosen, gold) if FORMS[form].by_score else float(is_right(form, chosen, gold))


def format_score(reply: str, style: Style = Style.COT) -> float:
    """1.0 if a reply is laid out as its style asks for, else 0.0 (`style.tags_in_place`, `twice.well_laid_out`)."""
    return float(well_laid_out(reply) if style is Style.TWICE else tags_in_place(reply, style))


def solution(question: Question) -> str:
    """The reply that gives exactly the question's gold answer."""
    return form_of(question).solution(question.gold)
