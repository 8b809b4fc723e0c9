"""A question with its options moved round, so that a liking for a letter averages out over samples.

Moved by 1, the options of a question with A, B and C are shown as B, C, A: the letter A then means what B meant.
"""

import msgspec

from videothinker.answers.form import LETTERS, Answer
from videothinker.records import Form, Question


def can_rotate(question: Question) -> bool:
    """Whether its options have letters; yes and no are always called so."""
    return question.form is not Form.YES_NO and len(question.options) > 1


def rotated(question: Question, by: int) -> Question:
    """The question with option `by`, counted from 0, shown first, and the gold letters moved along; else as it is."""
    if not can_rotate(question):
        return question
    n = len(question.options)
    by %= n
    return msgspec.structs.replace(
        question,
        options=question.options[by:] + question.options[:by],
        gold=_moved(question.gold, -by, n),
    )


def turned_back(question: Question, answer: Answer | None, by: int) -> Answer | None:
    """An answer to `rotated(question, by)` in the letters of `question`; None stays None."""
    if answer is None or not can_rotate(question):
        return answer
    return _moved(answer, by, len(question.options))


def _moved(answer: Answer, by: int, n: int) -> Answer:
    return tuple(sorted(LETTERS[(LETTERS.index(letter) + by) % n] for letter in answer))
