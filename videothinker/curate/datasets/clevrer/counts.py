"""Count a curation of CLEVRER: what manifest.json says beyond the settings, and what is worth a warning.

Everything is computed from the labelled questions themselves, over all splits and with those left out of the training set.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from videothinker.answers import is_exact
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.observers.log import OBSERVER_FLOOR
from videothinker.records import DECIDED, Category, Rule, Scene


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
            for category in DECIDED
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


def count_options(questions: Sequence[Labelled]) -> dict[str, Any]:
    """Options in all, those that name the removed object, and questions by their numbers of options and of correct ones."""
    n_choices = Counter(len(one.pairs) for one in questions)
    n_correct = Counter(len(one.question.gold) for one in questions)
    return {
        "n_options": sum(len(one.pairs) for one in questions),
        "n_naming_removed_object": sum(one.removed_object in pair for one in questions for pair in one.pairs),
        "questions_by_n_options": {str(n): n_choices[n] for n in sorted(n_choices)},
        "questions_by_n_correct": {str(n): n_correct[n] for n in sorted(n_correct)},
    }


def count_view(scenes: Iterable[Scene]) -> dict[str, int]:
    """Logged collisions and those that the film does not show; annotations that do not say it of some collision.

    Of the latter every such collision counts as seen.
    """
    known = list(scenes)
    return {
        "n_annotations": len(known),
        "n_annotations_without_view": sum(not scene.is_view_known for scene in known),
        "n_collisions": sum(len(scene.collisions) for scene in known),
        "n_collisions_out_of_view": sum(not hit.seen for scene in known for hit in scene.collisions),
    }


def training_counts(questions: Iterable[Labelled], chosen: frozenset[str], rule: Rule) -> dict[str, int]:
    """The training set by category of `rule`, and how many questions of "train" were left out of it."""
    pool = list(questions)
    counts = _by_category(one.category(rule) for one in pool if one.question.question_id in chosen)
    n_chosen = sum(counts.values())
    return {"n_questions": n_chosen, **counts, "left_out": len(pool) - n_chosen}


def _by_category(categories: Iterable[Category]) -> dict[str, int]:
    counts = Counter(categories)
    return {category: counts[category] for category in DECIDED}
