"""Choose a scene's counterfactual questions so that they are mixed as those of the real CLEVRER release are.

A real question never names the removed object in an option, has one to four options, mostly four, and always both a right and a
wrong one unless it has a single option. Half of its options never happen, a third happen either way, one in seven happens only
without the object, and hardly any is prevented by taking it away.

Nothing is bent to reach these shares: the roll-outs say what each option is. A question's *outline* says how many options of
each kind it has and whether it asks what will not happen. Of all outlines that a scene offers, over all objects that could be
removed, one is drawn by weight; the weight is a product of the factors below, which `benchmarks/world_mix.py` fits so that the
expected shares are the measured ones (a log-linear model; docs/world.md has the shares that result).
"""

from itertools import combinations, product
from random import Random
from typing import NamedTuple

from videothinker.world.simulate import Rollout, Simulation
from videothinker.world.story import Pair, pairs

MAX_OPTIONS = 4
"""Most options of a question."""
N_COLLISIONS = (2, 3, 4)
"""Numbers of collisions in the scenes that are asked about."""
FRAMES = (15, 124)
"""The first and the last frame in which a collision of a scene that is asked about may happen."""
N_QUESTIONS = {4: 1, 5: 2, 6: 2}
"""Number of objects, as the release's annotations have them -> the most questions about one scene. With four objects only three
pairs are left once one is removed, so that no question of such a scene has the usual four options."""
KEPT_WITH_4_COLLISIONS, KEPT_WITH_6_OBJECTS = 0.4, 0.7
"""Shares of such scenes that are asked about; they are more frequent here than in the release."""


class Outline(NamedTuple):
    """What a counterfactual question looks like before its objects are chosen: how many options of each kind it has."""

    negated: bool
    """True for "what will not happen"."""
    kept: int
    """Options that happen in both roll-outs."""
    prevented: int
    """Options that happen in the factual roll-out alone."""
    new: int
    """Options that happen in the counterfactual roll-out alone."""
    neither: int
    """Options that happen in neither."""

    @property
    def n_options(self) -> int:
        return self.kept + self.prevented + self.new + self.neither

    @property
    def n_correct(self) -> int:
        return self.prevented + self.neither if self.negated else self.kept + self.new


class Planned(NamedTuple):
    """A question whose objects are chosen."""

    removed: int
    negated: bool
    options: tuple[Pair, ...]


def _is_real(outline: Outline) -> bool:
    """Does the release have such questions? Those of one option have no right one; all others have a right and a wrong one."""
    n, k = outline.n_options, outline.n_correct
    return k == 0 if n == 1 else 1 <= n <= MAX_OPTIONS and 0 < k < n


OUTLINES = tuple(
    outline
    for outline in (
        Outline(negated, *counts) for negated in (False, True) for counts in product(range(MAX_OPTIONS + 1), repeat=4)
    )
    if _is_real(outline)
)


def features(outline: Outline) -> tuple[str, ...]:
    """Names of the factors whose product is the outline's weight; a factor that counts twice is there twice."""
    found = [f"{outline.n_correct} correct", *(["will not"] if outline.negated else [])]
    if outline.n_options > 1:  # a question of one option is the same as one without a right option
        found.append(f"{outline.n_options} options")
    found += ["kept"] * outline.kept + ["prevented"] * outline.prevented + ["new"] * outline.new
    if not outline.kept:
        found.append("not correct-option")
        if not outline.prevented:
            found.append("not any-option")
    if outline.prevented or outline.new:
        found.append("not oracle")
    return tuple(found)


FACTORS = {
    "0 correct": 0.033,
    "1 correct": 1.317,
    "2 correct": 0.997,
    "3 correct": 1.415,
    "2 options": 0.203,
    "3 options": 0.245,
    "4 options": 3.126,
    "will not": 0.833,
    "kept": 2.609,
    "prevented": 0.134,
    "new": 1.406,
    "not any-option": 0.23,
    "not correct-option": 3.593,
    "not oracle": 8.895,
}
"""Factor of each feature, from `python benchmarks/world_mix.py --fit --scenes 3000 --seed 5`."""


def _weight(outline: Outline) -> float:
    weight = 1.0
    for feature in features(outline):
        weight *= FACTORS[feature]
    return weight


WEIGHTS = {outline: _weight(outline) for outline in OUTLINES}


def chance(factual: Rollout) -> float:
    """The chance that a scene is asked about, 0 to 1: 0 if its objects or its collisions are unlike the release's."""
    n_objects, frames = len(factual.objects), [collision.frame for collision in factual.collisions]
    if n_objects not in N_QUESTIONS or len(frames) not in N_COLLISIONS:
        return 0.0
    if min(frames) < FRAMES[0] or max(frames) > FRAMES[1]:
        return 0.0
    return (KEPT_WITH_4_COLLISIONS if len(frames) == 4 else 1.0) * (KEPT_WITH_6_OBJECTS if n_objects == 6 else 1.0)


def choose(simulation: Simulation, rng: Random) -> list[Planned]:
    """The counterfactual questions of a scene, about different objects; none where the scene is unlike the release's."""
    if rng.random() >= chance(simulation.factual):
        return []
    kinds = {removed: options_by_kind(simulation, removed) for removed in simulation.without}
    planned: list[Planned] = []
    for _ in range(N_QUESTIONS[len(simulation.objects)]):
        left = sorted(kinds.keys() - {question.removed for question in planned})
        offered = [(removed, outline) for removed in left for outline in OUTLINES if offers(kinds[removed], outline)]
        if offered:
            ((removed, outline),) = rng.choices(offered, weights=[WEIGHTS[outline] for _, outline in offered])
            planned.append(Planned(removed, outline.negated, _options(kinds[removed], outline, rng)))
    return planned


Kinds = tuple[list[Pair], list[Pair], list[Pair], list[Pair]]
"""Pairs that could be options: kept, prevented, new, neither, as in `Outline`."""


def options_by_kind(simulation: Simulation, removed: int) -> Kinds:
    """All pairs of the other objects, by what happens to them without the removed one."""
    seen, happens = pairs(simulation.factual.collisions), pairs(simulation.without[removed].collisions)
    found: Kinds = ([], [], [], [])
    for pair in combinations(range(len(simulation.objects)), 2):
        if removed not in pair:
            # kept (0) and prevented (1) were seen, new (2) and neither (3) were not; the even ones happen without the object.
            found[(pair not in happens) + 2 * (pair not in seen)].append(pair)
    return found


def offers(kinds: Kinds, outline: Outline) -> bool:
    """Are there enough pairs of each kind?"""
    return all(len(pool) >= wanted for pool, wanted in zip(kinds, outline[1:], strict=True))


def _options(kinds: Kinds, outline: Outline, rng: Random) -> tuple[Pair, ...]:
    options = [pair for pool, wanted in zip(kinds, outline[1:], strict=True) for pair in rng.sample(pool, wanted)]
    return tuple(rng.sample(options, len(options)))
