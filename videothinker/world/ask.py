"""Ask about a simulated scene in CLEVRER's words and program dialect, with answers read off the roll-outs.

There are four types, as in the release. `factual.py` makes the descriptive questions (what was seen), the explanatory ones
(which earlier event or object is responsible) and the predictive ones (what comes after the clip); this module makes the
counterfactual ones (what if an object were not there). An object is named by a shortest expression that fits no other object
of the scene.

The options of a counterfactual question are collisions of four kinds: in both roll-outs; only in the factual one (prevented,
or with the removed object); only in the counterfactual one; in neither. A preset says how they are chosen: `clevrer` mixes them
as the release does (`mix.py`), and the others choose how often watching the clip is enough, and which label rule decides
whether it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from random import Random
from typing import NamedTuple

import msgspec

from videothinker.answers import LETTERS
from videothinker.errors import VtError
from videothinker.observers import log
from videothinker.records import Category, Rule
from videothinker.world import mix
from videothinker.world.factual import Choosing, collision_option, describe, explain, predict
from videothinker.world.mix import Planned
from videothinker.world.simulate import Simulation
from videothinker.world.story import Pair, Story, pairs

N_DESCRIPTIVE = 6
"""Descriptive questions per scene (the release has 11)."""
N_EXPLANATORY = 1
"""Explanatory questions per scene, where something has a cause (the release has 1.7)."""
N_COUNTERFACTUAL = 2
"""Counterfactual questions per scene, about different objects (the release has 1.9)."""
N_OPTIONS = {2: 1, 3: 2, 4: 4}
"""Number of options of a counterfactual question -> its relative frequency; the release, too, has mostly 4."""
HAPPENS = 0.6
"""Chance that an option happens in the counterfactual, as far as the roll-out allows. Most pairs never meet, so without this
a bet on "does not happen" would pay."""
NO_EVENT = 0.3
"""Weight of a question none of whose options happens, relative to all others; in the release such questions are rare."""
WITH_REMOVED, DIFFERENT = 0.5, 2.5
"""Weights of two kinds of options in the draw; all others have weight 1. An option that names the removed object can be
rejected without looking, so it is rarer. One that happens in only one of the two roll-outs separates those who think from those
who look, so it is more frequent."""


class WorldChoice(msgspec.Struct, frozen=True):
    """One option, in the release's fields."""

    choice_id: int
    choice: str
    program: list[str]
    answer: str
    """"correct" or "wrong"."""


class WorldQuestion(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One question, in the release's fields; descriptive ones have an `answer`, the others have `choices`."""

    question_id: int
    """Its number in its scene, 0-based."""
    question: str
    question_type: str
    """"descriptive", "explanatory", "predictive" or "counterfactual"."""
    question_subtype: str | None = None
    """Last module of a descriptive program, such as count, exist or query_color; None for the other types."""
    program: list[str]
    answer: str | None = None
    choices: list[WorldChoice] | None = None


class Counterfactual(NamedTuple):
    """What the text of a counterfactual question means."""

    question_id: int
    removed_object: int
    negated: bool
    """True for "what will not happen"."""
    options: tuple[Pair, ...]
    """The two objects that each option speaks of."""


class Asked(NamedTuple):
    """The questions of one scene; `counterfactuals` says what the counterfactual ones mean, in the same order."""

    questions: tuple[WorldQuestion, ...]
    counterfactuals: tuple[Counterfactual, ...]


@dataclass(frozen=True)
class ByCategory:
    """Counterfactual questions chosen by their category."""

    rule: Rule
    """The label rule that `inferential` refers to: any-option or oracle."""
    inferential: float
    """Probability that an inferential question is wanted, 0 to 1. Where the scene has none about the objects not yet asked
    about, an observational one is asked instead, and the other way round; docs/world.md has the measured shares."""
    only: bool = False
    """True: where the wanted category cannot be had, ask nothing instead of a question of the other category."""


@dataclass(frozen=True)
class Preset:
    """How a world's counterfactual questions are chosen. The scenes are the same under every preset, and so are their films."""

    choosing: ByCategory | None
    """None: mixed as in the release, see `mix.py`."""
    removal: str = "filter_counterfact"
    """The program token that takes an object away: get_counterfact in the release, filter_counterfact in NS-DR's words."""
    logs_hidden: bool = False
    """Does the annotation's collision log also hold contacts that the film cannot show, as the release's does?"""


PRESETS = {
    "clevrer": Preset(None, "get_counterfact", logs_hidden=True),
    "clevrer74": Preset(ByCategory(Rule.ANY_OPTION, 0.27)),
    "balanced": Preset(ByCategory(Rule.ORACLE, 0.71)),
    "inferential": Preset(ByCategory(Rule.ORACLE, 1.0, only=True)),
}
DEFAULT_PRESET = "clevrer"
"""Of `vt world make` and everything that does not name one."""


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        VtError: there is no such preset; the message names those that exist.
    """
    if name not in PRESETS:
        raise VtError(f"--preset {name}: there is no such preset; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def ask(simulation: Simulation, preset: Preset, rng: Random) -> Asked:
    """All questions of a scene, numbered in the release's order of types."""
    story = Story(simulation.factual)
    questions: list[WorldQuestion] = []
    for text, program, answer in describe(story, N_DESCRIPTIVE, rng):
        questions.append(
            WorldQuestion(
                question_id=len(questions),
                question=text,
                question_type="descriptive",
                question_subtype=program[-1],
                program=program,
                answer=answer,
            )
        )

    def add(kind: str, choosing: Choosing) -> None:
        choices = [
            WorldChoice(i, option.text, option.program, "correct" if option.is_correct else "wrong")
            for i, option in enumerate(choosing.options)
        ]
        questions.append(
            WorldQuestion(
                question_id=len(questions),
                question=choosing.text,
                question_type=kind,
                program=choosing.program,
                choices=choices,
            )
        )

    for choosing in explain(story, N_EXPLANATORY, rng):
        add("explanatory", choosing)
    prediction = predict(story, simulation.unseen, rng)
    if prediction is not None:
        add("predictive", prediction)
    counterfactuals = []
    for removed, negated, options in _plan(simulation, preset, rng):
        counterfactuals.append(Counterfactual(len(questions), removed, negated, options))
        happens = pairs(simulation.without[removed].collisions)
        choosing = _suppose(story, counterfactuals[-1], happens, preset.removal, rng)
        add("counterfactual", choosing)
    return Asked(tuple(questions), tuple(counterfactuals))


_WILL = (
    "Which event will happen if the {} is removed?",
    "Which of the following will happen if the {} is removed?",
    "What will happen if the {} is removed?",
    "What will happen without the {}?",
    "Without the {}, what will happen?",
    "Without the {}, which event will happen?",
    "If the {} is removed, which event will happen?",
)
_WILL_NOT = (
    "Which event will not happen if the {} is removed?",
    "Which of the following will not happen if the {} is removed?",
    "What will not happen if the {} is removed?",
    "What will not happen without the {}?",
    "Without the {}, what will not happen?",
    "Without the {}, which event will not happen?",
    "If the {} is removed, which event will not happen?",
)


def _plan(simulation: Simulation, preset: Preset, rng: Random) -> Iterator[Planned]:
    """The counterfactual questions before they are put in words, one at a time: the words draw from `rng` in between."""
    if preset.choosing is None:
        yield from mix.choose(simulation, rng)
        return
    for removed, options in _choose(simulation, preset.choosing, rng):
        yield Planned(removed, rng.random() < 0.5, options)


def _suppose(story: Story, question: Counterfactual, happens: set[Pair], removal: str, rng: Random) -> Choosing:
    """The counterfactual question in words and programs."""
    name, negated = story.name(question.removed_object, rng), question.negated
    program = ["all_events", *name.program, removal, "belong_to", *(["negate"] if negated else [])]
    text = rng.choice(_WILL_NOT if negated else _WILL).format(name.text)
    options = [collision_option(story, pair, (pair in happens) != negated, rng) for pair in question.options]
    return Choosing(text, program, options)


def case_of(question: Counterfactual, seen: set[Pair], happens: set[Pair]) -> log.Case:
    """The question as the observer and the label rules see it, taken straight from the roll-outs.

    seen, happens: the pairs that collide in the factual and in the counterfactual roll-out.
    """
    correct = [(pair in happens) != question.negated for pair in question.options]
    gold = tuple(letter for letter, is_correct in zip(LETTERS, correct, strict=False) if is_correct)
    return log.Case(question.options, gold, question.removed_object, question.negated, frozenset(seen))


def categories(question: Counterfactual, seen: set[Pair], happens: set[Pair]) -> dict[Rule, Category]:
    """The question's category under every rule; curation has to find the same from the files."""
    case = case_of(question, seen, happens)
    return {rule: decide(case).category for rule, decide in log.RULES.items()}


def _choose(simulation: Simulation, preset: ByCategory, rng: Random) -> list[tuple[int, tuple[Pair, ...]]]:
    """(removed object, options) of the counterfactual questions.

    Both rules come down to a mark on single options: under any-option the mark is "it was seen", under oracle "the observer is
    wrong about it". Questions of one category have no marked option, those of the other have at least one.
    """
    seen = pairs(simulation.factual.collisions)
    all_pairs = list(combinations(range(len(simulation.objects)), 2))
    is_any_option = preset.rule is Rule.ANY_OPTION
    happens = {removed: pairs(rollout.collisions) for removed, rollout in simulation.without.items()}
    marked = {
        removed: seen if is_any_option else {p for p in all_pairs if log.believes(p, removed, seen) != (p in happens[removed])}
        for removed in happens
    }
    chosen: dict[int, tuple[Pair, ...]] = {}
    for _ in range(N_COUNTERFACTUAL):
        wants_inferential = rng.random() < preset.inferential
        for is_inferential in [wants_inferential] if preset.only else [wants_inferential, not wants_inferential]:
            # A marked option makes a question inferential under oracle, and observational under any-option.
            wants_mark = is_inferential != is_any_option
            candidates = rng.sample(left := sorted(happens.keys() - chosen), len(left))
            if not wants_mark:
                # Objects without which something unmarked happens come first: otherwise most answers would be "none".
                candidates.sort(key=lambda removed: happens[removed] <= marked[removed])
            drawn = (
                (removed, _draw(all_pairs, removed, seen, happens[removed], marked[removed], wants_mark, rng))
                for removed in candidates
            )
            found = next(((removed, options) for removed, options in drawn if options is not None), None)
            if found is not None:
                chosen[found[0]] = found[1]
                break
    return list(chosen.items())


def _draw(
    all_pairs: list[Pair], removed: int, seen: set[Pair], happens: set[Pair], marked: set[Pair], wants_mark: bool, rng: Random
) -> tuple[Pair, ...] | None:
    """Options of one question, at least one of them marked if `wants_mark`, else none.

    First it is drawn how many options there are and how many of them happen, as evenly over all answers as the roll-out
    allows, and then which ones. None if the roll-out has no such options or, rarely, if ten draws found none.
    """
    if wants_mark and not marked:
        return None
    pool = all_pairs if wants_mark else [pair for pair in all_pairs if pair not in marked]
    true, false = ([p for p in pool if (p in happens) is truth] for truth in (True, False))
    # (options, options that happen) -> weight, where the pool has enough of each kind; `comb` counts the answers of that size.
    shapes = {
        (n, n_true): weight
        * comb(n, n_true)
        * HAPPENS**n_true
        * (1 - HAPPENS) ** (n - n_true)
        * (NO_EVENT if n_true == 0 else 1)
        for n, weight in N_OPTIONS.items()
        for n_true in range(n + 1)
        if n_true <= len(true) and n - n_true <= len(false)
    }
    if not shapes:
        return None

    def draw(population: list[Pair], n: int) -> list[Pair]:
        """A weighted draw of n pairs without replacement: those with the largest u**(1/weight) (Efraimidis and Spirakis)."""
        weights = (WITH_REMOVED if removed in p else DIFFERENT if (p in seen) != (p in happens) else 1 for p in population)
        keys = [(rng.random() ** (1 / weight), pair) for weight, pair in zip(weights, population, strict=True)]
        return [pair for _, pair in sorted(keys)[len(keys) - n :]]

    for _ in range(10):
        n, n_true = rng.choices(list(shapes), weights=list(shapes.values()))[0]
        options = draw(true, n_true) + draw(false, n - n_true)
        if not wants_mark or marked.intersection(options):
            return tuple(rng.sample(options, n))
    return None
