"""From graded replies to numbers with honest intervals. Pure; docs/metrics.md gives every formula.

Every share is a ratio of sums over questions, and every standard error clusters by scene: a checkpoint that misreads a clip
misses all its questions together. A share over nothing is None, never 0.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from videothinker import mcq
from videothinker.records import Category, CuratedQuestion, Estimate, Prediction, Rule, Status

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Key = TypeVar("Key", int, str)

NOTHING = Estimate(None, None, None)
"""A share over no questions."""


class AgainstChance(Estimate, frozen=True):
    """A share beside the one that would be expected without the shortcut."""

    chance: float | None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions of one kind were answered. Questions with a decode_error are counted, and in nothing else."""

    n_questions: int
    """Questions asked and answered, unreadable replies included."""
    n_options: int
    n_scenes: int
    n_unparsed: int
    """Replies without a readable answer: wrong in every option."""
    n_truncated: int
    """Replies cut at the token limit, readable or not."""
    n_decode_error: int
    """Questions that could not be asked, because their clip could not be read; in none of the other counts."""
    per_question: Estimate
    """Share of questions whose whole answer set is right."""
    per_option: Estimate
    """Share of options judged right."""
    soft: Estimate
    """Mean of the paper's soft score."""
    chance: float | None
    """`per_question` that is expected of a uniformly random set of options."""


class ByCategory(msgspec.Struct, frozen=True, kw_only=True):
    """The contrast that the diagnosis is about, under one rule."""

    all: Pool
    observational: Pool
    inferential: Pool
    gap: Estimate
    """per_question on observational minus inferential questions: what is lost when watching is not enough."""
    shortcut_reliance: AgainstChance
    """Share of inferential answers that are the observer's; chance: that of a uniformly random set."""
    shortcut_error_share: AgainstChance
    """Of the wrong options on inferential questions, the share on which the observer is wrong the same way; chance: that of
    errors that fall evenly on the question's options."""


class LetterScore(msgspec.Struct, frozen=True, kw_only=True):
    """One position of the answer list: is a letter favoured whatever it says?"""

    n_options: int
    """Questions asked that have this letter."""
    per_option: Estimate
    chosen: Estimate
    """Share of these questions whose answer contains the letter."""
    correct: float | None
    """Share of these questions where it should."""


class Metrics(ByCategory, frozen=True, kw_only=True):
    """metrics.json: `ByCategory` of the folder's own rule, the same under every rule, and further breakdowns."""

    rule: Rule
    """The rule of the fields at the top."""
    by_rule: dict[Rule, ByCategory]
    by_n_options: dict[int, Pool]
    by_n_correct: dict[int, Pool]
    by_polarity: dict[str, Pool]
    """"will" and "will not"."""
    by_letter: dict[str, LetterScore]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two checkpoints on the same questions."""

    before: str
    after: str
    """Names of the two runs."""
    measure: str
    """"all", "observational", "inferential" (per_question), "gap" or "shortcut_reliance"."""
    n_questions: int
    """Questions that both answered, decode_errors of either left out."""
    n_scenes: int
    n_gained: int | None
    """Questions that only `after` has right (shortcut_reliance: answers as the observer does); None for the gap."""
    n_lost: int | None
    """Questions that only `before` has right."""
    difference: Estimate
    """`after` minus `before`, paired by question, clustered by scene."""
    p_value: float | None
    """Two-sided, of the clustered paired z-test; None where there is no standard error."""
    p_holm: float | None
    """`p_value` corrected by Holm for all comparisons of the report."""


class Graded(NamedTuple):
    """Questions and their predictions as columns of shape (n_questions,), or (n_questions, L) by letter, L the most options."""

    scene: NDArray[np.int64]
    """Code of the question's scene, 0 to G - 1."""
    n_options: Floats
    exact: Floats
    """1 where the whole answer set is right."""
    right: Floats
    """Number of options judged right."""
    soft: Floats
    like_observer: Floats
    """1 where the answer is the observer's."""
    wrong_like_observer: Floats
    """Number of options on which checkpoint and observer are wrong, and so say the same."""
    observer_wrong: Floats
    """Number of options on which the observer is wrong."""
    readable: Mask
    truncated: Mask
    asked: Mask
    """False for a decode_error."""
    chosen: Floats
    """(n_questions, L): 1 where the answer has the letter."""
    correct: Floats
    """(n_questions, L): 1 where gold has the letter."""
    right_at: Floats
    """(n_questions, L): 1 where the question has such an option and it is judged right; `right` by letter."""


def grade(questions: Sequence[CuratedQuestion], predictions: Sequence[Prediction]) -> Graded:
    """The columns that every metric is computed from. `predictions[i]` answers `questions[i]`."""
    if [question.question_id for question in questions] != [prediction.question_id for prediction in predictions]:
        raise ValueError("predictions are not those of the questions, in their order")
    pairs = [(prediction.chosen, question) for question, prediction in zip(questions, predictions, strict=True)]
    readable = np.array([chosen is not None for chosen, _ in pairs], dtype=np.bool_)
    blank = _unanswered(questions)
    chosen_table = _letter_table([chosen or () for chosen, _ in pairs], blank.chosen.shape[1])
    return blank._replace(
        exact=_column(mcq.is_exact(chosen, question.gold) for chosen, question in pairs),
        right=_column(mcq.n_options_right(chosen, question.gold, len(question.options)) for chosen, question in pairs),
        soft=_column(mcq.soft_score(chosen, question.gold) for chosen, question in pairs),
        like_observer=_column(mcq.is_exact(chosen, question.observer) for chosen, question in pairs),
        wrong_like_observer=_column(
            0 if chosen is None else len((set(chosen) ^ set(question.gold)) & (set(question.observer) ^ set(question.gold)))
            for chosen, question in pairs
        ),
        readable=readable,
        truncated=np.array([prediction.status is Status.TRUNCATED for prediction in predictions], dtype=np.bool_),
        asked=np.array([prediction.status is not Status.DECODE_ERROR for prediction in predictions], dtype=np.bool_),
        chosen=chosen_table,
        right_at=((chosen_table == blank.correct) & _has_letter(blank) & readable[:, None]).astype(np.float64),
    )


def _unanswered(questions: Sequence[CuratedQuestion]) -> Graded:
    """The columns that depend on the questions alone; all others as for a readable answer that is never right."""
    _, scene = np.unique(np.array([question.scene_index for question in questions], dtype=np.int64), return_inverse=True)
    zeros = np.zeros(len(questions))
    yes = np.ones(len(questions), dtype=np.bool_)
    n_letters = max((len(question.options) for question in questions), default=0)
    return Graded(
        scene=scene,
        n_options=_column(len(question.options) for question in questions),
        exact=zeros,
        right=zeros,
        soft=zeros,
        like_observer=zeros,
        wrong_like_observer=zeros,
        observer_wrong=_column(len(set(question.observer) ^ set(question.gold)) for question in questions),
        readable=yes,
        truncated=~yes,
        asked=yes,
        chosen=np.zeros((len(questions), n_letters)),
        correct=_letter_table([question.gold for question in questions], n_letters),
        right_at=np.zeros((len(questions), n_letters)),
    )


def _column(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)


def _letter_table(answers: Sequence[Sequence[str]], n_letters: int) -> Floats:
    table = np.zeros((len(answers), n_letters))
    for row, answer in enumerate(answers):
        table[row, [mcq.LETTERS.index(letter) for letter in answer]] = 1.0
    return table


def _has_letter(graded: Graded) -> Mask:
    """(n_questions, L): True where the question has an option of that letter."""
    return np.arange(graded.chosen.shape[1]) < graded.n_options[:, None]


def clustered_ratio(numerator: Floats, denominator: Floats, cluster: NDArray[np.int64]) -> Estimate:
    """sum(numerator) / sum(denominator) with the linearised standard error of a ratio, clustered.

    All of shape (n,); `cluster` holds non-negative codes. With residuals r = numerator - value * denominator summed by cluster
    to R_g, stderr^2 = G / (G - 1) * sum(R_g^2) / sum(denominator)^2, where G counts the clusters with a positive denominator. A
    mean has a denominator of ones.
    """
    total = float(denominator.sum())
    if total == 0:
        return NOTHING
    value = float(numerator.sum()) / total
    influence = _by_cluster((numerator - value * denominator) / total, cluster)
    n_clusters = int(np.count_nonzero(_by_cluster(denominator, cluster)))
    return _estimate(value, influence, n_clusters)


def clustered_difference(first: Sequence[Floats], second: Sequence[Floats], cluster: NDArray[np.int64]) -> Estimate:
    """Ratio `first` minus ratio `second`, each (numerator, denominator) over the same n questions, clustered.

    The two share clusters, so their residuals are subtracted before they are squared: what a scene does to both cancels.
    """
    (n1, d1), (n2, d2) = first, second
    if d1.sum() == 0 or d2.sum() == 0:
        return NOTHING
    v1, v2 = float(n1.sum() / d1.sum()), float(n2.sum() / d2.sum())
    influence = _by_cluster((n1 - v1 * d1) / d1.sum() - (n2 - v2 * d2) / d2.sum(), cluster)
    n_clusters = int(np.count_nonzero(_by_cluster(d1 + d2, cluster)))
    return _estimate(v1 - v2, influence, n_clusters)


def _by_cluster(values: Floats, cluster: NDArray[np.int64]) -> Floats:
    return np.bincount(cluster, weights=values).astype(np.float64)


def _estimate(value: float, influence: Floats, n_clusters: int) -> Estimate:
    if n_clusters < 2:
        return Estimate(value, None, None)
    stderr = math.sqrt(n_clusters / (n_clusters - 1) * float(np.square(influence).sum()))
    return Estimate(value, stderr, (value - 1.96 * stderr, value + 1.96 * stderr))


def summarize(questions: Sequence[CuratedQuestion], predictions: Sequence[Prediction], rule: Rule) -> Metrics:
    """All metrics of one checkpoint. `predictions[i]` answers `questions[i]`; `rule` fills the fields at the top."""
    return _metrics(questions, grade(questions, predictions), rule)


def chance(questions: Sequence[CuratedQuestion], rule: Rule) -> Metrics:
    """What is expected of one who takes each option with probability 1/2: exact, so without standard errors.

    A question of n options is then right with probability 2^-n, each option with 1/2; the expected soft score is 2^(k-1-n) with
    k > 0 correct options, and 2^-n with none.
    """
    blank = _unanswered(questions)
    n, k = blank.n_options, blank.correct.sum(axis=1)
    guesses = blank._replace(
        exact=2.0**-n,
        right=n / 2,
        soft=2.0 ** (np.maximum(k - 1, 0) - n),
        like_observer=2.0**-n,
        wrong_like_observer=blank.observer_wrong / 2,
        chosen=_has_letter(blank) / 2,
        right_at=_has_letter(blank) / 2,
    )
    return msgspec.convert(_without_errors(msgspec.to_builtins(_metrics(questions, guesses, rule))), Metrics, strict=False)


def _without_errors(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: None if key in ("stderr", "ci95") else _without_errors(inner) for key, inner in value.items()}


def _metrics(questions: Sequence[CuratedQuestion], graded: Graded, rule: Rule) -> Metrics:
    by_rule = {each: _by_category(graded, _is_observational(questions, each)) for each in Rule}
    return Metrics(
        **msgspec.structs.asdict(by_rule[rule]),
        rule=rule,
        by_rule=by_rule,
        by_n_options=_pools(graded, [len(question.options) for question in questions]),
        by_n_correct=_pools(graded, [len(question.gold) for question in questions]),
        by_polarity=_pools(graded, ["will not" if question.negated else "will" for question in questions]),
        by_letter=_by_letter(graded),
    )


def _is_observational(questions: Sequence[CuratedQuestion], rule: Rule) -> Mask:
    return np.array([getattr(question, rule.column) is Category.OBSERVATIONAL for question in questions], dtype=np.bool_)


def _by_category(graded: Graded, observational: Mask) -> ByCategory:
    inferential = ~observational
    every = np.ones_like(observational)
    return ByCategory(
        all=_pool(graded, every),
        observational=_pool(graded, observational),
        inferential=_pool(graded, inferential),
        gap=clustered_difference(
            _share(graded.exact, graded.asked & observational),
            _share(graded.exact, graded.asked & inferential),
            graded.scene,
        ),
        shortcut_reliance=_shortcut_reliance(graded, inferential),
        shortcut_error_share=_shortcut_error_share(graded, inferential),
    )


def _share(column: Floats, where: Mask) -> tuple[Floats, Floats]:
    """Numerator and denominator of a column's mean over some of the questions."""
    return column * where, where.astype(np.float64)


def _pool(graded: Graded, where: Mask) -> Pool:
    asked = graded.asked & where
    ones = asked.astype(np.float64)
    n_questions = int(asked.sum())
    return Pool(
        n_questions=n_questions,
        n_options=int(graded.n_options[asked].sum()),
        n_scenes=len(np.unique(graded.scene[asked])),
        n_unparsed=int((asked & ~graded.readable).sum()),
        n_truncated=int((asked & graded.truncated).sum()),
        n_decode_error=int((where & ~graded.asked).sum()),
        per_question=clustered_ratio(graded.exact * ones, ones, graded.scene),
        per_option=clustered_ratio(graded.right * ones, graded.n_options * ones, graded.scene),
        soft=clustered_ratio(graded.soft * ones, ones, graded.scene),
        chance=float((2.0 ** -graded.n_options[asked]).mean()) if n_questions else None,
    )


def _pools(graded: Graded, keys: Sequence[Key]) -> dict[Key, Pool]:
    """One pool for each value of `keys`, in their order."""
    return {key: _pool(graded, np.array([each == key for each in keys], dtype=np.bool_)) for key in sorted(set(keys))}


def _shortcut_reliance(graded: Graded, inferential: Mask) -> AgainstChance:
    pool = graded.asked & inferential
    estimate = clustered_ratio(*_share(graded.like_observer, pool), graded.scene)
    chance = float((2.0 ** -graded.n_options[pool]).mean()) if pool.any() else None
    return AgainstChance(estimate.value, estimate.stderr, estimate.ci95, chance)


def _shortcut_error_share(graded: Graded, inferential: Mask) -> AgainstChance:
    pool = (graded.asked & inferential).astype(np.float64)
    wrong = (graded.n_options - graded.right) * pool
    estimate = clustered_ratio(graded.wrong_like_observer * pool, wrong, graded.scene)
    if estimate.value is None:
        return AgainstChance(None, None, None, None)
    # An unreadable reply is wrong in every option and in no particular way, so none of them can agree with the observer.
    by_accident = (wrong * graded.readable * graded.observer_wrong / graded.n_options).sum() / wrong.sum()
    return AgainstChance(estimate.value, estimate.stderr, estimate.ci95, float(by_accident))


def _by_letter(graded: Graded) -> dict[str, LetterScore]:
    scores = {}
    for index in range(graded.chosen.shape[1]):
        has = graded.asked & (graded.n_options > index)
        scores[mcq.LETTERS[index]] = LetterScore(
            n_options=int(has.sum()),
            per_option=clustered_ratio(*_share(graded.right_at[:, index], has), graded.scene),
            chosen=clustered_ratio(*_share(graded.chosen[:, index], has), graded.scene),
            correct=float(graded.correct[has, index].mean()) if has.any() else None,
        )
    return scores


class Answers(NamedTuple):
    """One checkpoint's answers, as `compare` takes them."""

    name: str
    questions: Sequence[CuratedQuestion]
    predictions: Sequence[Prediction]


def compare(checkpoints: Sequence[Answers]) -> list[Comparison]:
    """Every pair of checkpoints on the questions that both answered, in the order given; p-values corrected by Holm for all."""
    found = [row for before, after in combinations(checkpoints, 2) for row in _compare_pair(before, after)]
    corrected = holm([row.p_value for row in found])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(found, corrected, strict=True)]


def _compare_pair(before: Answers, after: Answers) -> list[Comparison]:
    both = {row.question_id for row in before.predictions if row.status is not Status.DECODE_ERROR}
    both &= {row.question_id for row in after.predictions if row.status is not Status.DECODE_ERROR}
    questions = [question for question in before.questions if question.question_id in both]
    by_id = {row.question_id: row for row in after.predictions}
    old = grade(questions, [row for row in before.predictions if row.question_id in both])
    new = grade(questions, [by_id[question.question_id] for question in questions])
    observational = np.array([question.category is Category.OBSERVATIONAL for question in questions], dtype=np.bool_)
    every = np.ones_like(observational)
    exact, like_observer = new.exact - old.exact, new.like_observer - old.like_observer

    def row(measure: str, where: Mask, difference: Estimate, change: Floats | None) -> Comparison:
        return Comparison(
            before=before.name,
            after=after.name,
            measure=measure,
            n_questions=int(where.sum()),
            n_scenes=len(np.unique(old.scene[where])),
            n_gained=None if change is None else int((change[where] > 0).sum()),
            n_lost=None if change is None else int((change[where] < 0).sum()),
            difference=difference,
            p_value=p_value(difference),
            p_holm=None,
        )

    def paired(measure: str, where: Mask, change: Floats) -> Comparison:
        return row(measure, where, clustered_ratio(*_share(change, where), old.scene), change)

    gap = clustered_difference(_share(exact, observational), _share(exact, ~observational), old.scene)
    return [
        paired("all", every, exact),
        paired("observational", observational, exact),
        paired("inferential", ~observational, exact),
        row("gap", every, gap, None),
        paired("shortcut_reliance", ~observational, like_observer),
    ]


def p_value(difference: Estimate) -> float | None:
    """Two-sided p-value of "no difference" by the normal distribution; None without a standard error."""
    if difference.value is None or difference.stderr is None:
        return None
    if difference.stderr == 0:
        return float(difference.value == 0)
    return math.erfc(abs(difference.value) / difference.stderr / math.sqrt(2))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, in the same order; None (no test) stays None and does not count as a test."""
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        corrected[index] = largest
    return corrected


def verdict(metrics: Metrics) -> str:
    """One line on a checkpoint, for the end of its row; docs/metrics.md says where each wording begins."""
    seen, needed = metrics.observational, metrics.inferential
    if metrics.all.n_questions == 0:
        return "nothing was answered"
    if metrics.all.n_unparsed > metrics.all.n_questions / 2:
        return "mostly unreadable: says nothing about reasoning"
    if metrics.gap.ci95 is None:
        return "too few questions of both categories to tell"
    if _is_guessing(seen) and _is_guessing(needed):
        return "no better than guessing"
    low, high = metrics.gap.ci95
    share = metrics.shortcut_error_share
    if low > 0 and share.ci95 is not None and share.chance is not None and share.ci95[0] > share.chance:
        return "looks rather than reasons" if _is_guessing(needed) else "reasons in part; where it fails, it looks"
    if low > 0:
        return "worse on inferential questions, but not with the observer's errors"
    if high < 0:
        return "better on inferential than on observational questions"
    return "no gap shown between looking and reasoning"


def _is_guessing(pool: Pool) -> bool:
    return pool.chance is not None and pool.per_question.ci95 is not None and pool.per_question.ci95[0] <= pool.chance
