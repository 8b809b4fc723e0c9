"""The form "letters": any set of the options is the answer, the empty one included. CLEVRER's counterfactual questions."""

from collections.abc import Sequence

from videothinker.answers.form import LETTERS, Answer, lettered
from videothinker.answers.reading import read_letters
from videothinker.answers.style import Style, answer_part, tagged

_INSTRUCTIONS = {
    Style.COT: (
        "Think step by step inside <think></think>. Then give the letters of all correct options inside <answer></answer>, "
        "separated by commas, or none if no option is correct."
    ),
    Style.DIRECT: (
        "Give only the letters of all correct options inside <answer></answer>, separated by commas, "
        "or none if no option is correct."
    ),
}


class Letters:
    """Which options are correct: none, some or all."""

    def listing(self, options: Sequence[str]) -> list[str]:
        """The options behind their letters."""
        return lettered(options)

    def instruction(self, style: Style) -> str:
        """Asks for the letters of all correct options, or "none"."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """The letters that a reply gives: sorted; () for an explicit "none"; None when no answer can be read.

        An <answer> that is empty, no answer or names a letter beyond the options makes the reply unreadable; so does a letter
        that may be chosen or not, beside one that is. A reply without tag and box has to be an answer as a whole ("B", "A and
        C", "B. the cube falls"), or its last line has to state one ("The answer is B."). Letters anywhere else are prose.
        """
        part = answer_part(reply)
        return None if part is None else read_letters(part, n_options)

    def solution(self, answer: Answer) -> str:
        """ "<answer>A,C</answer>"; "<answer>none</answer>" for ()."""
        return tagged(",".join(sorted(answer)) or "none")

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """The paper's soft accuracy: 1 for the exact set, |chosen| / |gold| for a non-empty proper subset, else 0."""
        if chosen is None:
            return 0.0
        answer, correct = set(chosen), set(gold)
        if answer == correct:
            return 1.0
        return len(answer) / len(correct) if answer and answer < correct else 0.0

    def chance(self, n_options: int) -> float:
        """2^-n: each option is taken or left."""
        return 2.0**-n_options

    def chance_of_option(self, n_options: int) -> float:
        """1/2, however many options there are."""
        return 0.5

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """2^(k-1-n) with k > 0 correct options of n, and 2^-n with none.

        Of the 2^n sets the C(k, j) subsets of gold with j > 0 letters earn j/k each, and the sum of j/k C(k, j) is 2^(k-1).
        """
        return 2.0 ** (max(n_gold - 1, 0) - n_options)

    def random(self, n_options: int, bits: int) -> Answer:
        """Each option by one bit, so with probability 1/2."""
        return tuple(letter for i, letter in enumerate(LETTERS[:n_options]) if bits >> i & 1)
