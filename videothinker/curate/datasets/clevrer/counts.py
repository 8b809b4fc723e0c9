"""Count a curation of CLEVRER: what manifest.json says beyond the settings, and what is worth a warning.

Everything is computed from the labelled questions themselves, over all splits and with those left out of the training set.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from videothinker.answers import is_exact
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.records import Category, Rule

OBSERVER_FLOOR = 0.9
"""A rule is too free if the observer's exact score on its observational questions is lower: watching does not answer them."""

PAPER_QUESTIONS = 18_473
"""Counterfactual questions of CLEVRER's train split (arXiv 2605.01324)."""
PAPER_OBSERVATIONAL = 13_674
"""Those that the paper calls observational, 74.0 %."""


def count(splits: Mapping[str, Sequence[Labelled]]) -> dict[str, Any]:
    """Number of questions by rule, split and category."""
    return {
        rule: {split: _by_category(one.category(rule) for one in questions) for split, questions in splits.items()}
        for rule in Rule
    }


def observational_shares(questions: Sequence[Labelled]) -> dict[str, float | None]:
    """Share of observational questions under each rule; None if there are no questions."""
    shares: dict[str, float | None] = {}
    for rule in Rule:
        n_observational = sum(one.category(rule) is Category.OBSERVATIONAL for one in questions)
        shares[rule] = n_observational / len(questions) if questions else None
    return shares


def score_observer(questions: Iterable[Labelled]) -> dict[str, Any]:
    """What the observer alone scores on each pool under each rule: `n_questions`, `n_exact`, `exact` (None if it is empty)."""
    asked: Counter[tuple[Rule, Category]] = Counter()
    right: Counter[tuple[Rule, Category]] = Counter()
    for one in questions:
        exact = is_exact(one.observer, one.question.gold)
        for rule in Rule:
            pool = rule, one.category(rule)
            asked[pool] += 1
            right[pool] += exact
    return {
        rule: {
            category: {
                "n_questions": (n := asked[rule, category]),
                "n_exact": right[rule, category],
                "exact": right[rule, category] / n if n else None,
            }
            for category in Category
        }
        for rule in Rule
    }


def warn_of_observer(observer: Mapping[str, Any], rule: Rule) -> str | None:
    """The warning that the chosen rule's observational pool cannot be answered by watching; None if it can."""
    score = observer[rule][Category.OBSERVATIONAL]["exact"]
    if score is None or score >= OBSERVER_FLOOR:
        return None
    return (
        f"watching alone answers {score:.1%} of the questions that {rule} calls observational (below {OBSERVER_FLOOR:.0%}): "
        "training on them rewards reasoning, and stage 1 gives no shortcut model; use --rule oracle"
    )


def compare_with_paper(scene_indices: frozenset[int], n_read: int, questions: Sequence[Labelled]) -> dict[str, Any] | None:
    """The paper's counts beside ours under every rule; None unless this is CLEVRER's train split.

    The input is taken for that if it has exactly the scenes 0 to 9999 and the paper's number of questions within 1 %.
    """
    if scene_indices != frozenset(range(10_000)) or abs(n_read - PAPER_QUESTIONS) > PAPER_QUESTIONS // 100:
        return None
    found = {rule: sum(one.category(rule) is Category.OBSERVATIONAL for one in questions) for rule in Rule}
    return {
        "source": "arXiv 2605.01324",
        "taken_for_train_split_because": "scenes 0 to 9999, and within 1 % of the paper's number of questions",
        "n_questions": {
            "paper": PAPER_QUESTIONS,
            "read": n_read,
            "labelled": len(questions),
            # One public count of the release has 18,642 questions, 169 without a correct option; the others are the paper's.
            "labelled_with_a_correct_option": sum(bool(one.question.gold) for one in questions),
        },
        "observational": {
            rule: {"paper": PAPER_OBSERVATIONAL, "found": n, "difference": n - PAPER_OBSERVATIONAL} for rule, n in found.items()
        },
    }


def training_counts(questions: Iterable[Labelled], chosen: frozenset[str], rule: Rule) -> dict[str, int]:
    """The training set by category of `rule`, and how many questions of "train" were left out of it."""
    pool = list(questions)
    counts = _by_category(one.category(rule) for one in pool if one.question.question_id in chosen)
    n_chosen = sum(counts.values())
    return {"n_questions": n_chosen, **counts, "left_out": len(pool) - n_chosen}


def _by_category(categories: Iterable[Category]) -> dict[str, int]:
    counts = Counter(categories)
    return {category: counts[category] for category in Category}
