"""The form "choice": exactly one option is the answer."""

from collections.abc import Sequence

from videothinker.answers.form import LETTERS, Answer, fault_of_letter, is_exact, lettered
from videothinker.answers.reading import read_letters
from videothinker.answers.style import Style, answer_part, tagged
from videothinker.answers.twice import instruction

_INSTRUCTIONS = {
    Style.COT: (
        "Think step by step inside <think></think>. Then give the letter of the correct option inside <answer></answer>."
    ),
    Style.DIRECT: "Give only the letter of the correct option inside <answer></answer>.",
    Style.TWICE: instruction("the letter of the correct option"),
}


class Choice:
    """The form of a question with exactly one correct option."""

    by_score = False
    right_from = 1.0

    def listing(self, options: Sequence[str]) -> list[str]:
        """The options behind their letters."""
        return lettered(options)

    def instruction(self, style: Style) -> str:
        """Asks for one letter; it offers neither "all" nor "none"."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The one letter that a reply gives, read as `Letters` reads a set; None if it gives none or several."""
        part = answer_part(reply)
        chosen = None if part is None else read_letters(part, n_options)
        return chosen if chosen is not None and len(chosen) == 1 else None

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """It has to be one letter."""
        return fault_of_letter(answer, n_options, "choice")

    def solution(self, answer: Answer) -> str:
        """ "<answer>B</answer>"."""
        (letter,) = answer
        return tagged(letter)

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """1 for the gold letter, otherwise 0."""
        return float(is_exact(chosen, gold))

    def chance(self, n_options: int) -> float:
        """1/n."""
        return 1 / n_options

    def chance_of_option(self, n_options: int) -> float:
        """1/n, because one of the options is taken."""
        return 1 / n_options

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """1/n, because there is no partial credit."""
        return 1 / n_options

    def random(self, n_options: int, bits: int) -> Answer:
        """One of the options. The remainder of 64 bits is close enough to uniform over at most 26 options."""
        return (LETTERS[bits % n_options],)
