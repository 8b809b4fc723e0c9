"""Which reading of the paper's sentence gives the paper's number?

The paper (arXiv 2605.01324) counts 13,674 of 18,473 questions of CLEVRER's train split as observational, and leaves open which
options count and whether collisions out of view do. So every reading (`observers.readings`) is counted, by the collision log as
it is and by what can be seen of it, over all questions and over those with a correct option, by polarity.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from videothinker.curate.datasets.clevrer.labelled import POLARITY, Labelled
from videothinker.observers.log import Case
from videothinker.observers.readings import READINGS
from videothinker.records import Category, Collision, Rule

PAPER_QUESTIONS = 18_473
"""Counterfactual questions of CLEVRER's train split, as the paper counts them."""
PAPER_OBSERVATIONAL = 13_674
"""Those that the paper calls observational, 74.0 %."""

SEEN, AS_LOGGED = "seen", "as_logged"
"""By what can be seen of the collision log, and by the log as it is, collisions out of view included."""
ALL, ANSWERABLE = "all_questions", "with_a_correct_option"
"""Which questions are counted. By one public count of the train split 18,473 are those with a correct option."""


def count_readings(questions: Sequence[Labelled]) -> dict[str, Any]:
    """How many questions are observational under each reading.

    Returns:
        `n_questions`: {ALL | ANSWERABLE: {"all" | "will" | "will not": number}}. `observational`: the same below each reading
        and SEEN or AS_LOGGED. `moved`: for each reading the number of questions, of all, that SEEN and AS_LOGGED label
        differently.
    """
    asked: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str, str, str]] = Counter()
    moved: Counter[str] = Counter()
    for one in questions:
        pools = [ALL, ANSWERABLE] if one.question.gold else [ALL]
        cells = [(pool, kind) for pool in pools for kind in ("all", one.question.facets[POLARITY])]
        asked.update(cells)
        seen = _read(one, [hit for hit in one.collisions if hit.seen])
        logged = seen if all(hit.seen for hit in one.collisions) else _read(one, one.collisions)
        for log, told in ((SEEN, seen), (AS_LOGGED, logged)):
            found.update((reading, log, *cell) for reading, yes in told.items() if yes for cell in cells)
        moved.update(reading for reading in READINGS if seen[reading] != logged[reading])
    polarities = ("all", "will", "will not")
    return {
        "n_questions": {pool: {kind: asked[pool, kind] for kind in polarities} for pool in (ALL, ANSWERABLE)},
        "observational": {
            reading: {
                log: {pool: {kind: found[reading, log, pool, kind] for kind in polarities} for pool in (ALL, ANSWERABLE)}
                for log in (SEEN, AS_LOGGED)
            }
            for reading in READINGS
        },
        "moved": {reading: moved[reading] for reading in READINGS},
    }


def _read(one: Labelled, collisions: Sequence[Collision]) -> dict[str, bool]:
    """The question under every reading, if these were the collisions of its clip."""
    case = Case(one.pairs, one.question.gold, one.removed_object, one.negated, frozenset(hit.object_ids for hit in collisions))
    return {name: reading(case, collisions) for name, reading in READINGS.items()}


def matches_paper(readings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Every way of counting that gives exactly the paper's 13,674 of 18,473: `reading`, `log` and `questions` of each.

    readings: what `count_readings` returns. A single match can be chance; two readings that match cannot be told apart.
    """
    return [
        {"reading": reading, "log": log, "questions": pool}
        for reading, logs in readings["observational"].items()
        for log, pools in logs.items()
        for pool, found in pools.items()
        if (found["all"], readings["n_questions"][pool]["all"]) == (PAPER_OBSERVATIONAL, PAPER_QUESTIONS)
    ]


def compare_with_paper(
    scene_indices: frozenset[int], n_read: int, questions: Sequence[Labelled], readings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The paper's counts beside ours under every rule, and the readings that match; None unless this is CLEVRER's train split.

    The input is taken for that if it has exactly the scenes 0 to 9999 and the paper's number of questions within 1 %.
    readings: what `count_readings` says of the same questions.
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
            "labelled_with_a_correct_option": sum(bool(one.question.gold) for one in questions),
        },
        "observational": {
            rule: {"paper": PAPER_OBSERVATIONAL, "found": n, "difference": n - PAPER_OBSERVATIONAL} for rule, n in found.items()
        },
        "matches_paper": matches_paper(readings),
    }
