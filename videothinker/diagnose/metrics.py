"""Compute metrics with their intervals from graded replies; docs/metrics.md gives every formula.

Every share is a ratio of sums over questions, and every standard error clusters by group: a checkpoint that misreads a clip
misses all its questions together. A share over nothing is None, never 0. Results are broken down by facet: by any named value
of the questions, and by the categories of every label set that lies beside them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from videothinker.answers import LETTERS
from videothinker.curated import Labels
from videothinker.diagnose import intervals, twice
from videothinker.diagnose.estimates import Mask, clustered_gap, clustered_macro, clustered_share, share
from videothinker.diagnose.grading import BesideObserver, Graded, beside, grade, guessing, guessing_beside
from videothinker.records import (
    AgainstChance,
    Benchmark,
    ByCategory,
    Category,
    LabelSet,
    Metrics,
    Pool,
    Prediction,
    Question,
)
from videothinker.records.metrics import BenchmarkScore, LetterScore

Key = TypeVar("Key", int, str)

POLARITY = "polarity"
"""CLEVRER's facet that has a place of its own in metrics.json."""


def summarize(
    questions: Sequence[Question], predictions: Sequence[Prediction], labels: Labels, benchmark: Benchmark | None = None
) -> Metrics:
    """All metrics of one checkpoint. `predictions[i]` answers `questions[i]`; the own set of `labels` fills the top."""
    graded = grade(questions, predictions)
    found = _metrics(questions, graded, labels, lambda each: beside(questions, predictions, each), benchmark)
    if grounded := intervals.scores(questions, graded, by_category(questions, labels)):
        found = msgspec.structs.replace(found, intervals=grounded)
    if not twice.answers_twice(predictions):
        return found
    return msgspec.structs.replace(found, twice=twice.scores(questions, predictions, by_category(questions, labels)))


def by_category(questions: Sequence[Question], labels: Labels) -> dict[str, Mask]:
    """Where "all" questions stand and, by the own labels, those of each category that has any, (n_questions,) each."""
    found: dict[str, Mask] = {"all": np.ones(len(questions), dtype=np.bool_)}
    if labels.own is not None:
        kinds = zip(Category, categories(questions, labels.own), strict=True)
        found |= {str(kind): where for kind, where in kinds if where.any()}
    return found


def chance(questions: Sequence[Question], labels: Labels, benchmark: Benchmark | None = None) -> Metrics:
    """What is expected of a uniformly random answer of each question's form: exact, so without standard errors.

    Letters: each option with probability 1/2, so a question of n options is right with probability 2^-n. One letter: 1/n.
    """
    graded = guessing(questions)
    metrics = _metrics(questions, graded, labels, lambda each: guessing_beside(questions, each), benchmark)
    return msgspec.convert(_without_errors(msgspec.to_builtins(metrics)), Metrics, strict=False)


def _without_errors(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: None if key in ("stderr", "ci95") else _without_errors(inner) for key, inner in value.items()}


class Categories(NamedTuple):
    """The questions that one label set puts into each category, (n_questions,) each; without a label they are in none."""

    observational: Mask
    inferential: Mask
    unsure: Mask


def categories(questions: Sequence[Question], labels: LabelSet | None) -> Categories:
    """The questions by category; without labels they are in none."""
    by_question = {} if labels is None else labels.by_question
    found = [label and label.category for label in (by_question.get(one.question_id) for one in questions)]
    return Categories(*(np.array([each is kind for each in found], dtype=np.bool_) for kind in Category))


def _metrics(
    questions: Sequence[Question],
    graded: Graded,
    labels: Labels,
    compared: Callable[[LabelSet], BesideObserver],
    benchmark: Benchmark | None,
) -> Metrics:
    by_rule = {each.name: _by_category(graded, categories(questions, each), compared(each)) for each in labels.sets}
    own = _unlabelled(graded) if labels.own is None else by_rule[labels.own.name]
    by_facet = _by_facet(questions, graded)
    return Metrics(
        **msgspec.structs.asdict(own),
        rule=labels.rule,
        chance=own.all.chance,
        by_rule=by_rule,
        by_facet=by_facet | _by_label(by_rule),
        by_n_options=_pools(graded, [len(question.options) for question in questions]),
        by_n_correct=_pools(graded, [len(question.gold) if question.options else 0 for question in questions]),
        by_polarity=by_facet.get(POLARITY, {}),
        by_letter=_by_letter(graded),
        benchmark=None if benchmark is None else _benchmark(questions, graded, benchmark),
    )


def _by_facet(questions: Sequence[Question], graded: Graded) -> dict[str, dict[str, Pool]]:
    facets = dict.fromkeys(name for question in questions for name in question.facets)
    found = {name: _pools(graded, [question.facets.get(name) for question in questions]) for name in facets}
    if len({question.form for question in questions}) > 1:
        found["form"] = _pools(graded, [question.form.value for question in questions])
    return found


def _by_label(by_rule: Mapping[str, ByCategory]) -> dict[str, dict[str, Pool]]:
    """The categories of every label set, as values of a facet with its name."""
    return {
        name: {
            str(kind): pool
            for kind, pool in zip(Category, (by.observational, by.inferential, by.unsure), strict=True)
            if pool is not None
        }
        for name, by in by_rule.items()
    }


def _benchmark(questions: Sequence[Question], graded: Graded, benchmark: Benchmark) -> BenchmarkScore:
    """The number that the benchmark is quoted by: over questions, or the mean over a facet's values."""
    if benchmark.macro_over is None:
        estimate = clustered_share(*share(graded.exact, graded.asked), graded.group)
        return BenchmarkScore(name=f"{benchmark.name}, over questions", value=estimate.value, ci95=estimate.ci95)
    values = [question.facets.get(benchmark.macro_over) for question in questions]
    pools = [graded.asked & pool for pool in pools_of(values)]
    estimate = clustered_macro(graded.exact, pools, graded.group)
    name = f"{benchmark.name}, mean over {benchmark.macro_over}"
    return BenchmarkScore(name=name, value=estimate.value, ci95=estimate.ci95)


def pools_of(values: Sequence[str | None]) -> list[Mask]:
    """Where each value stands, (n_questions,) each, in the order of their first appearance; None is no value."""
    column = np.array(values, dtype=object)
    return [column == value for value in dict.fromkeys(values) if value is not None]


def _unlabelled(graded: Graded) -> ByCategory:
    """`ByCategory` of questions without any labels."""
    none, zeros = np.zeros_like(graded.asked), np.zeros(len(graded.asked))
    return _by_category(graded, Categories(none, none, none), BesideObserver(none, zeros, zeros, zeros))


def _by_category(graded: Graded, kinds: Categories, compared: BesideObserver) -> ByCategory:
    return ByCategory(
        all=_pool(graded, np.ones_like(graded.asked)),
        observational=_pool(graded, kinds.observational),
        inferential=_pool(graded, kinds.inferential),
        unsure=_pool(graded, kinds.unsure) if kinds.unsure.any() else None,
        gap=clustered_gap(
            share(graded.exact, graded.asked & kinds.observational),
            share(graded.exact, graded.asked & kinds.inferential),
            graded.group,
        ),
        shortcut_reliance=_shortcut_reliance(graded, kinds.inferential, compared),
        shortcut_error_share=_shortcut_error_share(graded, kinds.inferential, compared),
    )


def _pool(graded: Graded, where: Mask) -> Pool:
    asked = graded.asked & where
    ones = asked.astype(np.float64)
    n_questions = int(asked.sum())
    return Pool(
        n_questions=n_questions,
        n_options=int(graded.n_options[asked].sum()),
        n_scenes=len(np.unique(graded.group[asked])),
        n_unparsed=int((asked & ~graded.readable).sum()),
        n_truncated=int((asked & graded.truncated).sum()),
        n_decode_error=int((where & graded.lost).sum()),
        per_question=clustered_share(graded.exact * ones, ones, graded.group),
        per_option=clustered_share(graded.right * ones, graded.n_options * ones, graded.group),
        soft=clustered_share(graded.soft * ones, ones, graded.group),
        chance=float(graded.chance[asked].mean()) if n_questions else None,
    )


def _pools(graded: Graded, keys: Sequence[Key | None]) -> dict[Key, Pool]:
    """One pool for each value of `keys`, sorted; a question whose key is None is in no pool."""
    column = np.array(keys, dtype=object)
    return {key: _pool(graded, column == key) for key in sorted({key for key in keys if key is not None})}


def _shortcut_reliance(graded: Graded, inferential: Mask, compared: BesideObserver) -> AgainstChance:
    pool = graded.asked & inferential & compared.known
    estimate = clustered_share(*share(compared.like, pool), graded.group)
    by_accident = float(graded.chance[pool].mean()) if pool.any() else None
    return AgainstChance(estimate.value, estimate.stderr, estimate.ci95, by_accident)


def _shortcut_error_share(graded: Graded, inferential: Mask, compared: BesideObserver) -> AgainstChance:
    pool = (graded.asked & inferential & compared.known).astype(np.float64)
    wrong = (graded.n_options - graded.right) * pool
    estimate = clustered_share(compared.wrong_like * pool, wrong, graded.group)
    if estimate.value is None:
        return AgainstChance(None, None, None, None)
    # An unreadable reply is wrong in every option and in no particular way, so none of them can agree with the observer.
    # A question without options has no wrong ones, and counts nothing.
    n_options = np.maximum(graded.n_options, 1)
    by_accident = (wrong * graded.readable * compared.observer_wrong / n_options).sum() / wrong.sum()
    return AgainstChance(estimate.value, estimate.stderr, estimate.ci95, float(by_accident))


def _by_letter(graded: Graded) -> dict[str, LetterScore]:
    scores = {}
    for index in range(graded.chosen.shape[1]):
        has = graded.asked & (graded.n_options > index)
        scores[LETTERS[index]] = LetterScore(
            n_options=int(has.sum()),
            per_option=clustered_share(*share(graded.right_at[:, index], has), graded.group),
            chosen=clustered_share(*share(graded.chosen[:, index], has), graded.group),
            correct=float(graded.correct[has, index].mean()) if has.any() else None,
        )
    return scores
