"""The form "yes-no": the answer to a statement or question is yes or no.

The answer is held as a letter, like that of every form with options: "A" stands for yes and "B" for no.
"""

import re
from collections.abc import Sequence

from videothinker.answers.form import Answer, fault_of_letter, is_exact
from videothinker.answers.style import Style, answer_part, statement, tagged, without_markup
from videothinker.answers.twice import instruction

OPTIONS = ("yes", "no")
"""The options of every question of this form."""

WORDS: dict[str, Answer] = {"yes": ("A",), "no": ("B",)}
"""The answer that each word is held as."""

_INSTRUCTIONS = {
    Style.COT: "Think step by step inside <think></think>. Then answer yes or no inside <answer></answer>.",
    Style.DIRECT: "Answer only yes or no inside <answer></answer>.",
    Style.TWICE: instruction("yes or no"),
}
_FIRST_WORD = re.compile(r"(?P<word>yes|no)\b(?:$| ?[.,;:!] ?|\n(?!(?-i:[a-z])))", re.IGNORECASE)
_TAKES_BACK = re.compile(r"\b(?:yes|no)\b|^(?:or|wrong|incorrect|false)\b", re.IGNORECASE)


class YesNo:
    """The form of a question that is answered by yes or no."""

    by_score = False
    right_from = 1.0

    def listing(self, options: Sequence[str]) -> list[str]:
        """No lines, because the instruction names the two words."""
        return []

    def instruction(self, style: Style) -> str:
        """Asks for one of the two words."""
        return _INSTRUCTIONS[style]

    def parse(self, reply: str, n_options: int) -> Answer | None:
        """("A",) for yes, ("B",) for no, None if neither can be read.

        The answer part has to be the word, or begin with it and go on behind a punctuation mark, or in a new line that begins a
        sentence, without saying either word again ("Yes, the cube moves."). In a reply without tag or box a last line may state
        it ("The answer is no.").
        """
        part = answer_part(reply)
        if part is None:
            return None
        text = without_markup(part.text)
        stated = statement(text[text.rfind("\n") + 1 :])
        text = (text if stated is None else stated[1]).strip(" ().\n")
        found = _FIRST_WORD.match(text)
        return None if found is None or _TAKES_BACK.search(text[found.end() :]) else WORDS[found["word"].lower()]

    def fault(self, answer: Answer, n_options: int) -> str | None:
        """It has to be one letter."""
        return fault_of_letter(answer, n_options, "yes-no")

    def solution(self, answer: Answer) -> str:
        """ "<answer>yes</answer>" for ("A",)."""
        return tagged({letters: word for word, letters in WORDS.items()}[answer])

    def soft(self, chosen: Answer | None, gold: Answer) -> float:
        """1 for the right word, otherwise 0."""
        return float(is_exact(chosen, gold))

    def chance(self, n_options: int) -> float:
        """1/2."""
        return 0.5

    def chance_of_option(self, n_options: int) -> float:
        """1/2, because one of the two words is said."""
        return 0.5

    def soft_chance(self, n_options: int, n_gold: int) -> float:
        """1/2, because there is no partial credit."""
        return 0.5

    def random(self, n_options: int, bits: int) -> Answer:
        """Yes or no by the lowest bit."""
        return ("A", "B")[bits & 1 : (bits & 1) + 1]  # a slice of length 1, since an answer is a tuple
