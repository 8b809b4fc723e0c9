"""Questions and their predictions as columns of numbers, which every metric is computed from."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from videothinker import answers
from videothinker.answers.form import LETTERS, n_options_right, options_apart
from videothinker.diagnose.estimates import Codes, Floats, Mask
from videothinker.records import LabelSet, Prediction, Question, Status


class Graded(NamedTuple):
    """Answers as columns of shape (n_questions,), or (n_questions, L) by letter, where L is the most options of a question."""

    group: Codes
    """Code of the question's group, 0 to G - 1: what intervals cluster by."""
    n_options: Floats
    exact: Floats
    """1 where the whole answer is right; the score, in [0, 1], where the form is graded by score."""
    right: Floats
    """Number of options judged right."""
    soft: Floats
    chance: Floats
    """What `exact` is expected to be for a uniformly random answer of the question's form."""
    readable: Mask
    """True where an answer was read; a protocol may count a reply as right all the same."""
    truncated: Mask
    asked: Mask
    """False for a decode_error, and where the protocol leaves the question out."""
    lost: Mask
    """True for a decode_error."""
    chosen: Floats
    """(n_questions, L): 1 where the answer has the letter."""
    correct: Floats
    """(n_questions, L): 1 where gold has the letter."""
    right_at: Floats
    """(n_questions, L): 1 where the question has such an option and it is judged right; `right` by letter."""


class BesideObserver(NamedTuple):
    """How the same answers compare with those of one observer, as columns of shape (n_questions,)."""

    known: Mask
    """True where the observer gave an answer."""
    like: Floats
    """1 where the answer is the observer's."""
    wrong_like: Floats
    """Number of options on which checkpoint and observer are wrong, and so say the same."""
    observer_wrong: Floats
    """Number of options on which the observer is wrong."""


def grade(questions: Sequence[Question], predictions: Sequence[Prediction]) -> Graded:
    """The columns of one checkpoint. `predictions[i]` answers `questions[i]`."""
    if [question.question_id for question in questions] != [prediction.question_id for prediction in predictions]:
        raise ValueError("predictions are not those of the questions, in their order")
    pairs = [(said(prediction), question) for question, prediction in zip(questions, predictions, strict=True)]
    graded = np.array([chosen is not None for chosen, _ in pairs], dtype=np.bool_)
    blank = _unanswered(questions)
    chosen_table = _letter_table([chosen or () for chosen, _ in pairs], blank.chosen.shape[1])
    return blank._replace(
        exact=_column(answers.score(question.form, chosen, question.gold) for chosen, question in pairs),
        right=_column(n_options_right(chosen, question.gold, len(question.options)) for chosen, question in pairs),
        soft=_column(answers.form_of(question).soft(chosen, question.gold) for chosen, question in pairs),
        readable=np.array([prediction.chosen is not None for prediction in predictions], dtype=np.bool_),
        truncated=np.array([prediction.status is Status.TRUNCATED for prediction in predictions], dtype=np.bool_),
        asked=np.array([counts(prediction) for prediction in predictions], dtype=np.bool_),
        lost=np.array([prediction.status is Status.DECODE_ERROR for prediction in predictions], dtype=np.bool_),
        chosen=chosen_table,
        right_at=((chosen_table == blank.correct) & has_letter(blank) & graded[:, None]).astype(np.float64),
    )


def counts(prediction: Prediction) -> bool:
    """False if the question leaves every denominator: its clip could not be read, or the protocol leaves it out."""
    return prediction.status is not Status.DECODE_ERROR and (not prediction.scored or prediction.scored.counted)


def is_right(question: Question, prediction: Prediction) -> bool:
    """Whether a prediction is graded as right."""
    return answers.is_right(question.form, said(prediction), prediction.gold)


def said(prediction: Prediction) -> tuple[str, ...] | None:
    """The answer that a prediction is graded as: the one that was read or, where a protocol overrules it, gold or none.

    A protocol may call a reply right from which no answer can be read, or wrong one whose letter is gold.
    """
    if not prediction.scored:
        return prediction.chosen
    if prediction.scored.right:
        return prediction.gold
    return None if answers.is_exact(prediction.chosen, prediction.gold) else prediction.chosen


def beside(questions: Sequence[Question], predictions: Sequence[Prediction], labels: LabelSet) -> BesideObserver:
    """The columns of one checkpoint against the observer of a label set."""
    observer = _observer(questions, labels)
    rows = [(said(row), question, seen) for question, row, seen in zip(questions, predictions, observer, strict=True)]
    wrong = [set() if seen is None else _wrong(seen, question) for _, question, seen in rows]
    return BesideObserver(
        known=np.array([seen is not None for seen in observer], dtype=np.bool_),
        like=_column(seen is not None and answers.is_right(asked.form, chosen, seen) for chosen, asked, seen in rows),
        wrong_like=_column(
            0 if chosen is None else len(_wrong(chosen, question) & theirs)
            for (chosen, question, _), theirs in zip(rows, wrong, strict=True)
        ),
        observer_wrong=_column(len(theirs) for theirs in wrong),
    )


def _wrong(answer: Sequence[str], question: Question) -> set[str]:
    """The options that an answer judges wrongly."""
    return options_apart(answer, question.gold, len(question.options))


def guessing(questions: Sequence[Question]) -> Graded:
    """The exact expectations of the columns for a uniformly random answer of each question's form."""
    blank = _unanswered(questions)
    taken = _chance_of_option(questions)[:, None]  # the same for each of a question's letters
    right_at = np.where(blank.correct > 0, taken, 1 - taken) * has_letter(blank)
    return blank._replace(
        exact=blank.chance,
        right=right_at.sum(axis=1),
        soft=_column(answers.form_of(one).soft_chance(len(one.options), len(one.gold)) for one in questions),
        chosen=taken * has_letter(blank),
        right_at=right_at,
    )


def guessing_beside(questions: Sequence[Question], labels: LabelSet) -> BesideObserver:
    """The exact expectations of `beside` for a uniformly random answer of each question's form."""
    observer = _observer(questions, labels)
    graded = _unanswered(questions)
    said = _letter_table([letters or () for letters in observer], graded.correct.shape[1])
    taken = _chance_of_option(questions)[:, None]
    # Where the observer is wrong about a letter, it has one that gold lacks, which a guess shares with the chance of taking it,
    # or lacks one that gold has, which a guess shares with the chance of leaving it.
    shared = np.where(said > 0, taken, 1 - taken) * (said != graded.correct) * has_letter(graded)
    known = np.array([letters is not None for letters in observer], dtype=np.bool_)
    return BesideObserver(
        known=known,
        like=graded.chance * known,
        wrong_like=shared.sum(axis=1) * known,
        observer_wrong=(said != graded.correct).sum(axis=1).astype(np.float64) * known,
    )


def _observer(questions: Sequence[Question], labels: LabelSet) -> list[tuple[str, ...] | None]:
    found = [labels.by_question.get(question.question_id) for question in questions]
    return [None if label is None else label.answer for label in found]


def _chance_of_option(questions: Sequence[Question]) -> Floats:
    return _column(answers.form_of(one).chance_of_option(len(one.options)) for one in questions)


def _unanswered(questions: Sequence[Question]) -> Graded:
    """The columns that depend on the questions alone. The others are those of a readable answer that is never right."""
    _, group = np.unique(np.array([question.group for question in questions], dtype=np.str_), return_inverse=True)
    zeros = np.zeros(len(questions))
    yes = np.ones(len(questions), dtype=np.bool_)
    n_letters = max((len(question.options) for question in questions), default=0)
    return Graded(
        group=group,
        n_options=_column(len(question.options) for question in questions),
        exact=zeros,
        right=zeros,
        soft=zeros,
        chance=_column(answers.form_of(question).chance(len(question.options)) for question in questions),
        readable=yes,
        truncated=~yes,
        asked=yes,
        lost=~yes,
        chosen=np.zeros((len(questions), n_letters)),
        correct=_letter_table([question.gold for question in questions], n_letters),
        right_at=np.zeros((len(questions), n_letters)),
    )


def _column(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _letter_table(answered: Sequence[Sequence[str]], n_letters: int) -> Floats:
    """(n_questions, n_letters): 1 where the answer has the letter. What is no letter of theirs, as a number, has no column."""
    columns = {letter: column for column, letter in enumerate(LETTERS[:n_letters])}
    table = np.zeros((len(answered), n_letters))
    for row, answer in enumerate(answered):
        table[row, [columns[letter] for letter in answer if letter in columns]] = 1.0
    return table


def has_letter(graded: Graded) -> Mask:
    """(n_questions, L): True where the question has an option of that letter."""
    return np.arange(graded.chosen.shape[1]) < graded.n_options[:, None]
