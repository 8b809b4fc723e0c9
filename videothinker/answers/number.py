"""The forms "number" and "estimate": the answer is a number, which is right or wrong, or graded by how near it comes.

An answer holds the number as decimal digits, ("1200",), and a percentage with its sign, ("50%",). Units are not compared: a
question has to say in which unit it wants its answer.
"""

import math
from fractions import Fraction

from videothinker.answers.form import Answer, WithoutOptions
from videothinker.answers.quantities import Quantity, held, number_alone, quantity, spelled, stated, written
from videothinker.answers.style import Style, answer_part, tagged
from videothinker.answers.twice import instruction

TOLERANCE = Fraction(1, 100)
"""How far a number may be from a gold one with decimals, as a share of that; ours. Whole numbers have to be met."""

_INSTRUCTIONS = {
    Style.COT: "Think step by step inside <think></think>. Then give the answer as one number inside <answer></answer>.",
    Style.DIRECT: "Give only the answer, as one number, inside <answer></answer>.",
    Style.TWICE: instruction("the answer as one number"),
}


class Number(WithoutOptions):
    """The form of a question that asks for a number, such as how many there are: right or wrong."""

    by_score = False
    right_from = 1.0

    def instruction(self, style: Style) -> str:
        """Asks for one number."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The one number of the answer part, ("1200",) or ("50%",); None if there is none, or several.

        Read are thousands separators, fractions, powers of ten, LaTeX, percent, words up to twenty, and any unit behind the
        number. "5 or 6", "at least 5", "5k", "1,2" (a decimal comma or two numbers) and "12:30" are no number. A reply without
        tag or box has to be the number with its unit as a whole, or state it in its last line ("The answer is 7.").
        """
        part = answer_part(spelled(reply))
        said = None if part is None else stated(part)
        found = None if said is None else quantity(*said)
        return None if found is None else _answer(found)

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """It has to be one number, and the question has no options."""
        return _fault(answer, n_options)

    def solution(self, answer: Answer) -> str:
        """ "<answer>1200</answer>"."""
        (number,) = answer
        return tagged(number)

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """1 where the number is gold: a whole number exactly, another within `TOLERANCE` of it; otherwise 0."""
        return 0.0 if chosen is None else float(any(_is_met(*pair) for pair in _values(chosen, gold)))

    def random(self, n_options: int, bits: int) -> Answer:
        """A whole number from 0 to 10, since there is no uniform one among all."""
        return (str(bits % 11),)


class Estimate(Number):
    """The form of a question that asks how much something measures. Its only change is the grade.

    Source: mean relative accuracy of VSI-Bench (arXiv 2412.14171, section 3.4), which Video-R1's code gives as the score of
    rows of the type "regression".
    """

    by_score = True

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """Mean relative accuracy, in [0, 1]: the share of the tolerances 5 %, 10 %, ... 50 % of gold that the error is within.

        An error of exactly a tolerance is within it, as in the benchmark's code. A gold 0 has to be met.
        """
        return 0.0 if chosen is None else max(relative_accuracy(*pair) for pair in _values(chosen, gold))


def gold_number(said: str) -> Answer | None:
    """The gold number that a file says, in any notation that `Number.parse` reads; None if it is not a number and nothing else.

    A reply may say "about five" or "1,200 m"; a gold answer that hedges, or has a unit, is one to look at.
    """
    part = answer_part(spelled(tagged(said)))
    found = None if part is None else number_alone(part.text)
    return None if found is None else _answer(found)


def relative_accuracy(number: Fraction, gold: Fraction) -> float:
    """The share of ten tolerances, from 5 % to 50 % of gold, that a number keeps."""
    if gold == 0:
        return float(number == 0)
    steps = math.ceil(20 * abs(number - gold) / abs(gold))  # of 5 %, rounded up: the first tolerance that is kept
    return max(0, 11 - max(1, steps)) / 10


def _answer(found: Quantity) -> Answer:
    return (f"{written(found.value)}{'%' if found.is_percent else ''}",)


def _is_met(number: Fraction, gold: Fraction) -> bool:
    return number == gold if gold.denominator == 1 else abs(number - gold) <= TOLERANCE * abs(gold)


def _values(chosen: Answer, gold: Answer) -> list[tuple[Fraction, Fraction]]:
    """Both numbers; where only one is a percentage, as "50" and as "0.5", because either may stand for 50 %."""
    (one, one_percent), (other, other_percent) = _held(*chosen), _held(*gold)
    if one_percent == other_percent:
        return [(one, other)]
    return [(one, other), (one / 100, other) if one_percent else (one, other / 100)]


def _held(number: str) -> tuple[Fraction, bool]:
    value = held(number.removesuffix("%"))
    if value is None:
        raise ValueError(f"{number!r} is no number as an answer holds it")
    return value, number.endswith("%")


def _fault(answer: Answer, n_options: int) -> str | None:
    if n_options:
        return "expected no options for a number"
    return None if len(answer) == 1 and held(answer[0].removesuffix("%")) is not None else "expected one number"
