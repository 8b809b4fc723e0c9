"""What guessing is worth, of every form: against the list of all answers that one could guess."""

import pytest

from videothinker.answers import FORMS, LETTERS, Answer
from videothinker.records import Form

LISTED = (Form.LETTERS, Form.CHOICE, Form.YES_NO)
"""Forms whose answers can be listed; of numbers and intervals there is no end."""
SIZES = {Form.LETTERS: range(1, 8), Form.CHOICE: range(1, 8), Form.YES_NO: [2]}
"""Numbers of options to look at; yes-no has always two."""


def every_answer(form: Form, n_options: int) -> list[Answer]:
    """All answers of a form, each as likely as any other."""
    if form is Form.LETTERS:
        return [tuple(LETTERS[i] for i in range(n_options) if bits >> i & 1) for bits in range(2**n_options)]
    return [(letter,) for letter in LETTERS[:n_options]]


@pytest.mark.parametrize("form", LISTED)
def test_chance_is_the_mean_over_every_answer(form: Form) -> None:
    for n_options in SIZES[form]:
        guesses = every_answer(form, n_options)
        for gold in guesses:
            exact = sum(guess == gold for guess in guesses) / len(guesses)
            soft = sum(FORMS[form].soft(guess, gold) for guess in guesses) / len(guesses)
            assert FORMS[form].chance(n_options) == pytest.approx(exact)
            assert FORMS[form].soft_chance(n_options, len(gold)) == pytest.approx(soft), (n_options, gold)
        for letter in LETTERS[:n_options]:
            taken = sum(letter in guess for guess in guesses) / len(guesses)
            assert FORMS[form].chance_of_option(n_options) == pytest.approx(taken)


@pytest.mark.parametrize("form", LISTED)
def test_a_random_answer_is_each_answer_as_often(form: Form) -> None:
    for n_options in SIZES[form]:
        guesses = every_answer(form, n_options)
        drawn = [FORMS[form].random(n_options, bits) for bits in range(3 * len(guesses))]
        assert sorted(drawn) == sorted(guesses * 3)


@pytest.mark.parametrize(
    ("form", "n_options", "chance"),
    [
        (Form.LETTERS, 4, 1 / 16),
        (Form.LETTERS, 2, 1 / 4),
        (Form.LETTERS, 1, 1 / 2),
        (Form.CHOICE, 4, 1 / 4),
        (Form.CHOICE, 5, 1 / 5),
        (Form.YES_NO, 2, 1 / 2),
    ],
)
def test_chance_by_hand(form: Form, n_options: int, chance: float) -> None:
    assert FORMS[form].chance(n_options) == chance


def test_the_soft_chance_of_letters_by_hand() -> None:
    """Gold AC of three options: of the 8 sets AC earns 1, A and C earn 1/2 each, the others nothing."""
    assert FORMS[Form.LETTERS].soft_chance(3, 2) == 2 / 8
    assert FORMS[Form.LETTERS].soft_chance(3, 0) == 1 / 8  # only the empty set earns anything
