"""The preset `clevrer` asks as the real release does: every share lies within the interval that was measured on the release.

The sample is fixed: the first `N_SCENES` scenes of seed 77 that may be asked about, each planned `REPEATS` times with other
random numbers, so that what is left of chance is mostly which scenes were drawn. A share is held to the measured interval, and
nothing is added for the sample's own error. That error, clustered by scene, is held below half of the interval's half width
(for kinds of options, whose intervals are narrow, below the half width), so that a preset that is off by twice the half width
would be caught.
"""

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from videothinker.diagnose.estimates import clustered_share
from videothinker.records import Category, Rule
from videothinker.world import mix
from videothinker.world.ask import PRESETS, Counterfactual, ask, categories
from videothinker.world.make import annotation
from videothinker.world.simulate import Simulation, draw_scene, roll_out, simulate
from videothinker.world.story import Pair, pairs
from videothinker.world.stream import make_scene

SEED, N_SCENES, REPEATS = 77, 300, 10
CLEVRER = PRESETS["clevrer"]


class Sampled(NamedTuple):
    """A question before it is put in words."""

    scene: Simulation
    repeat: int
    meaning: Counterfactual

    @property
    def seen(self) -> set[Pair]:
        return pairs(self.scene.factual.collisions)

    @property
    def happens(self) -> set[Pair]:
        return pairs(self.scene.without[self.meaning.removed_object].collisions)

    @property
    def kinds(self) -> Counter[str]:
        """Options by what happens to them, told by the roll-outs."""
        names = {(True, True): "kept", (True, False): "prevented", (False, True): "new", (False, False): "neither"}
        return Counter(names[pair in self.seen, pair in self.happens] for pair in self.meaning.options)

    @property
    def n_correct(self) -> int:
        return sum((pair in self.happens) != self.meaning.negated for pair in self.meaning.options)

    def is_observational(self, rule: Rule) -> bool:
        return categories(self.meaning, self.seen, self.happens)[rule] is Category.OBSERVATIONAL


@pytest.fixture(scope="module")
def sample() -> list[Sampled]:
    found: list[Sampled] = []
    n_scenes, index = 0, -1
    while n_scenes < N_SCENES:
        index += 1
        # The factual roll-out alone says whether a scene is asked about, and most of the time goes into the others.
        if mix.chance(roll_out(*draw_scene(Random(f"{SEED}:{index}:scene")))) == 0:
            continue
        n_scenes += 1
        scene = simulate(SEED, index)
        for repeat in range(REPEATS):
            planned = mix.choose(scene, Random(f"{SEED}:{index}:{repeat}"))
            found += [Sampled(scene, repeat, Counterfactual(0, *one)) for one in planned]
    return found


def share(
    sample: list[Sampled], part: Callable[[Sampled], float], whole: Callable[[Sampled], float] = lambda _: 1
) -> tuple[float, float]:
    """The share and its standard error, clustered by scene."""
    numerator, denominator = (np.array([of(one) for one in sample], np.float64) for of in (part, whole))
    found = clustered_share(numerator, denominator, np.array([one.scene.scene_index for one in sample]))
    assert found.value is not None
    assert found.stderr is not None
    return found.value, found.stderr


def half_width(p: float, n: int) -> float:
    """Half of the 95 % interval of a share that was counted on n independent ones."""
    return 1.96 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize(
    ("rule", "real", "half"),
    [(Rule.ANY_OPTION, 0.784, 0.047), (Rule.CORRECT_OPTION, 0.745, 0.050), (Rule.ORACLE, 0.548, 0.057)],
)
def test_as_many_are_observational_as_in_the_release(rule: Rule, real: float, half: float, sample: list[Sampled]) -> None:
    value, error = share(sample, lambda one: one.is_observational(rule))
    assert error < half / 2
    assert abs(value - real) <= half


@pytest.mark.parametrize(("kind", "real"), [("kept", 0.318), ("prevented", 0.017), ("new", 0.139), ("neither", 0.527)])
def test_options_are_of_the_kinds_of_the_release(kind: str, real: float, sample: list[Sampled]) -> None:
    value, error = share(sample, lambda one: one.kinds[kind], lambda one: one.kinds.total())
    half = half_width(real, 1_073)  # options that were transcribed from the release
    assert error < half
    assert abs(value - real) <= half


@pytest.mark.parametrize(("n", "real"), [(4, 0.71), (3, 0.17), (2, 0.11), (1, 0.01)])
def test_questions_have_as_many_options(n: int, real: float, sample: list[Sampled]) -> None:
    value, error = share(sample, lambda one: len(one.meaning.options) == n)
    half = half_width(real, 299)  # questions that were transcribed
    assert error < half / 2
    assert abs(value - real) <= half


@pytest.mark.parametrize(("n", "of_18_642"), [(0, 169), (1, 7_947), (2, 6_406), (3, 4_120), (4, 0)])
def test_questions_have_as_many_right_options(n: int, of_18_642: int, sample: list[Sampled]) -> None:
    """The release's own numbers have no error to speak of, so the sample's is what may lie between: three standard errors."""
    value, error = share(sample, lambda one: one.n_correct == n)
    assert error < 0.02
    assert abs(value - of_18_642 / 18_642) <= 3 * error


def test_as_many_ask_what_will_not_happen(sample: list[Sampled]) -> None:
    value, error = share(sample, lambda one: one.meaning.negated)
    assert error < half_width(0.46, 299) / 2
    assert abs(value - 0.46) <= half_width(0.46, 299)


def test_no_option_names_the_removed_object_and_none_is_there_twice(sample: list[Sampled]) -> None:
    for one in sample:
        assert all(one.meaning.removed_object not in pair for pair in one.meaning.options)
        assert len(set(one.meaning.options)) == len(one.meaning.options)


def test_a_question_has_a_right_and_a_wrong_option_unless_it_has_one(sample: list[Sampled]) -> None:
    for one in sample:
        n = len(one.meaning.options)
        assert one.n_correct == 0 if n == 1 else 0 < one.n_correct < n


def test_the_program_is_the_releases(sample: list[Sampled]) -> None:
    order = {"filter_color": 0, "filter_material": 1, "filter_shape": 2}
    n_negated = n_plain = 0
    for scene in {one.scene.scene_index: one.scene for one in sample}.values():
        questions, meanings = ask(scene, CLEVRER, Random(scene.scene_index))
        for meaning in meanings:
            program = questions[meaning.question_id].program
            assert program[:2] == ["all_events", "objects"]
            ending = ["unique", "get_counterfact", "belong_to", *(["negate"] if meaning.negated else [])]
            assert program[-len(ending) :] == ending
            filters = [order[token] for token in program if token in order]
            assert filters == sorted(filters)
            n_negated += meaning.negated
            n_plain += not meaning.negated
    assert min(n_negated, n_plain) > 100


def test_scenes_are_like_the_releases(sample: list[Sampled]) -> None:
    """The intervals are Wilson's, of 12, 12 and 6, and of 19, 10 and 1, of 30 annotations."""
    frames = [collision.frame for one in sample for collision in one.scene.factual.collisions]
    assert min(frames) >= 15
    assert max(frames) <= 124
    asked = {(one.scene.scene_index, one.repeat): one.scene for one in sample}.values()
    n_objects = Counter(len(scene.objects) for scene in asked)
    n_collisions = Counter(len(scene.factual.collisions) for scene in asked)
    for counts, intervals in (
        (n_objects, {4: (0.246, 0.577), 5: (0.246, 0.577), 6: (0.095, 0.373)}),
        (n_collisions, {2: (0.455, 0.781), 3: (0.192, 0.512), 4: (0.006, 0.167)}),
    ):
        assert set(counts) == set(intervals)
        for number, (low, high) in intervals.items():
            assert low <= counts[number] / len(asked) <= high


def test_kinds_are_sorted_by_both_roll_outs() -> None:
    scene = simulate(SEED, 3)
    for removed, rollout in scene.without.items():
        seen, happens = pairs(scene.factual.collisions), pairs(rollout.collisions)
        kept, prevented, new, neither = map(set, mix.options_by_kind(scene, removed))
        assert kept == seen & happens
        assert prevented == {pair for pair in seen - happens if removed not in pair}
        assert new == happens - seen
        n = len(scene.objects) - 1
        assert len(kept | prevented | new | neither) == n * (n - 1) // 2


def test_the_log_also_holds_contacts_that_no_film_shows() -> None:
    """Other presets do not log them, and there is no other difference between the annotations."""
    index = next(i for i in range(200) if simulate(1, i).hidden)
    scene = make_scene(index, seed=1, preset="clevrer")
    plain, logged = (msgspec.json.decode(annotation(scene, with_hidden=there)) for there in (False, True))
    hidden = [c for c in logged["collision"] if c not in plain["collision"]]
    assert len(hidden) == len(scene.simulation.hidden) > 0
    assert [c["frame_id"] for c in logged["collision"]] == sorted(c["frame_id"] for c in logged["collision"])
    for contact in hidden:
        states = [frame["objects"] for frame in logged["motion_trajectory"][contact["frame_id"] :]]
        together = [[at[i]["inside_camera_view"] for i in contact["object_ids"]] for at in states]
        assert not all(together[0])
        assert not any(together[0]) or not any(map(all, together))
    del plain["collision"], logged["collision"]
    assert plain == logged


def test_scenes_and_films_are_those_of_the_other_presets() -> None:
    ours, theirs = (make_scene(5, seed=1, preset=name).simulation for name in ("clevrer", "clevrer74"))
    assert np.array_equal(ours.factual.location, theirs.factual.location)
    assert ours.objects == theirs.objects
    assert ours.factual.collisions == theirs.factual.collisions
