"""The form "letters": the answer is any set of the options, also the empty one. CLEVRER's counterfactual questions have it."""

from collections.abc import Sequence

from videothinker.answers.form import LETTERS, Answer, fault_of_letters, lettered
from videothinker.answers.reading import read_letters
from videothinker.answers.style import Style, answer_part, tagged
from videothinker.answers.twice import instruction

_INSTRUCTIONS = {
    Style.COT: (
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    ),
    Style.DIRECT: (
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, "
        "or none if no option is correct."
    ),
    Style.TWICE: instruction("the letters of all correct options, separated by commas, or none if no option is correct"),
}


class Letters:
    """The form of a question in which none, some or all options are correct."""

    by_score = False
    right_from = 1.0

    def listing(self, options: Sequence[str]) -> list[str]:
        """The options behind their letters."""
        return lettered(options)

    def instruction(self, style: Style) -> str:
        """Asks for the letters of all correct options, or "none"."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The letters that a reply gives, sorted; () for an explicit "none"; None if no answer can be read.

        A reply is unreadable if its <answer> is empty, is not an answer, names a letter beyond the options, or names one that
        may be chosen or not. A reply without tag and box has to be an answer as a whole ("B", "A and C", "B. the cube falls"),
        or its last line has to state one ("The answer is B."). Letters anywhere else count as prose.
        """
        part = answer_part(reply)
        return None if part is None else read_letters(part, n_options)

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """Any set of the options will do."""
        return fault_of_letters(answer, n_options)

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
