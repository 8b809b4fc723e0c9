"""The figure of what arms pay for what they gain: which it shows, where the even line lies, what it says in words."""

from pathlib import Path

import msgspec
import pytest
from study_factory import FILE, make_study

from videothinker.records import Estimate, Rule
from videothinker.records.study import Claim, Study
from videothinker.records.study_results import NO_SEED, Level, Value
from videothinker.reports import placing
from videothinker.reports.study_trade import _trade, trade_figure

FAMILY = """
[families.undone]
arms = ["base", "repulsion-03", "grpo"]
note = "what undoes GRPO"
"""
RIGHT = {"base": (0.88, 0.68), "bias": (0.95, 0.20), "grpo": (0.90, 0.66), "cdpo": (0.89, 0.67), "repulsion-03": (0.89, 0.69)}
"""Observational and inferential."""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path, FILE + FAMILY)[0]


def level(study: Study, arm: str, right: tuple[float | None, float | None], *, n_seeds: int | None = None) -> Level:
    seeds = [NO_SEED] if arm == "base" else study.seeds_of(arm)[:n_seeds]

    def value(share: float | None) -> Value:
        one = Estimate(share, None, None)
        return Value(per_seed=dict.fromkeys(seeds, one), scenes=one, seeds=one)

    measures = {"observational": value(right[0]), "inferential": value(right[1])}
    n_questions = {"all": 300, "observational": 200, "inferential": 100}
    return Level(ask="greedy", arm=arm, rule=Rule.ORACLE, n_questions=n_questions, measures=measures)


def levels(study: Study) -> dict[str, Level]:
    return {arm: level(study, arm, right) for arm, right in RIGHT.items()}


def test_members_inside_a_family_have_no_name_and_bias_models_no_mark(study: Study) -> None:
    found = _trade(study, levels(study))
    assert found is not None
    assert found.arms == {"base": (88, 68), "grpo": (90, 66), "cdpo": (89, 67)}
    assert found.curves == {"what undoes GRPO": [(88, 68), (89, 69), (90, 66)]}
    assert found.colours["grpo"] == "orange"
    assert found.partly == []


def test_on_the_even_line_two_observational_answers_weigh_one_inferential_one(study: Study) -> None:
    """Of 300 questions 200 are observational: a point of these is 2 answers, a point of the others 1."""
    found = _trade(study, levels(study))
    assert found is not None
    assert (found.to, found.even, found.slope) == ("grpo", (90, 66), -2)


def test_an_arm_whose_seeds_are_not_over_is_left_out_by_name(study: Study) -> None:
    some = levels(study) | {"cdpo": level(study, "cdpo", RIGHT["cdpo"], n_seeds=3)}
    drawing = trade_figure(study, some, {})
    assert drawing is not None
    assert "left out: cdpo." in drawing.caption
    assert "cdpo at" not in drawing.alt
    assert "grpo at 90.0 % and 66.0 %" in drawing.alt
    assert "what undoes GRPO: 88.0 % and 68.0 %, 89.0 % and 69.0 %, 90.0 % and 66.0 %" in drawing.alt
    assert "right as by grpo" in drawing.caption


def test_an_arm_that_is_judged_under_another_rule_alone_is_left_out_by_name(study: Study) -> None:
    """And one that is judged under both, or by no claim, is not."""
    other = Claim(text="elsewhere", holds=["any-option: cdpo > grpo"])
    drawing = trade_figure(msgspec.structs.replace(study, claims=[other]), levels(study), {})
    assert drawing is not None
    assert drawing.caption.endswith("Claims judge these under other rules alone, so they are left out: cdpo.")
    assert "cdpo at" not in drawing.alt
    assert "grpo at" in drawing.alt  # in a family, whatever the claims say
    both = [other, Claim(text="here", holds=["cdpo > base"])]
    for claims in ([], both):
        drawing = trade_figure(msgspec.structs.replace(study, claims=claims), levels(study), {})
        assert drawing is not None
        assert "cdpo at" in drawing.alt


def test_runs_that_diverged_are_told_of_the_arms_that_are_shown(study: Study) -> None:
    drawing = trade_figure(study, levels(study), {"cdpo": 1, "bias": 2})
    assert drawing is not None
    assert drawing.caption.endswith("Runs that diverged, and count: 1 of cdpo.")


def test_families_of_one_note_are_told_apart_by_their_names(tmp_path: Path) -> None:
    study, _ = make_study(tmp_path, FILE + FAMILY + FAMILY.replace("undone", "halved").replace('"repulsion-03", ', ""))
    found = _trade(study, levels(study))
    assert found is not None
    assert found.curves == {"undone": [(88, 68), (89, 69), (90, 66)], "halved": [(88, 68), (90, 66)]}


def test_an_arm_without_a_value_has_no_mark(study: Study) -> None:
    found = _trade(study, levels(study) | {"cdpo": level(study, "cdpo", (0.9, None))})
    assert found is not None
    assert "cdpo" not in found.arms
    assert found.partly == []


def test_there_is_no_figure_unless_a_whole_family_was_asked(study: Study) -> None:
    some = levels(study)
    del some["repulsion-03"]
    assert trade_figure(study, some, {}) is None
    assert trade_figure(msgspec.structs.replace(study, families={}), levels(study), {}) is None
    assert trade_figure(study, {}, {}) is None


def test_marks_that_lie_on_each_other_are_told_in_the_legend(study: Study) -> None:
    drawing = trade_figure(study, levels(study) | {"cdpo": level(study, "cdpo", (0.90, 0.66))}, {})
    assert drawing is not None
    assert "cdpo at 90.0 % and 66.0 %" in drawing.alt
    text = drawing.files["figure-trade.pdf"]
    assert text.startswith(b"%PDF")


def test_where_there_is_no_room_a_name_is_led_to() -> None:
    """A mark in a cage of lines half an inch wide, with a name of a third of an inch."""
    cage = [[(0.8, 0.9), (1.2, 0.9)], [(0.8, 1.1), (1.2, 1.1)], [(0.9, 0.9), (0.9, 1.1)], [(1.1, 0.9), (1.1, 1.1)]]
    assert placing.places({"cdpo-1": (1.0, 1.0)}, [], cage, (2.0, 2.0)) is None
    found = placing.places({"cdpo-1": (1.0, 1.0)}, [], cage, (2.0, 2.0), led=True)
    assert found is not None
    left, low, right, high = found["cdpo-1"]
    assert left >= 1.1 or right <= 0.9 or low >= 1.1 or high <= 0.9
