"""The language of claims: what each text says, what is refused, and which cells a claim rests on."""

from pathlib import Path

import pytest
from study_factory import FILE, make_study, write_study

from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.records.study import Claim
from videothinker.study.claims import Comparison, Gated, comparisons, parse_claim
from videothinker.study.config import load_study
from videothinker.study.plan import cells_of, settled

FAMILY = '\n[families.undo]\narms = ["base", "grpo", "attract"]\n'


def one(text: str, **claim: object) -> Comparison | Gated:
    (part,) = parse_claim(Claim(text="x", holds=(text,), **claim))  # type: ignore[arg-type]
    return part


@pytest.mark.parametrize(
    ("text", "weights", "above", "bound"),
    [
        ("c-90 > 0.5 g-90 + 0.5 base", {"c-90": 1, "g-90": -0.5, "base": -0.5}, True, 0.0),
        ("0.5 a + 0.5 b < c - 2", {"a": 0.5, "b": 0.5, "c": -1}, False, -0.02),
        ("a + 1 > b", {"a": 1, "b": -1}, True, -0.01),  # a may be a point below b
        ("a - 0.5 > b + 1", {"a": 1, "b": -1}, True, 0.015),
        ("a - b > 0.5 c - 0.5 b", {"a": 1, "b": -0.5, "c": -0.5}, True, 0.0),
    ],
)
def test_arms_have_weights_and_points_stand_alone(text: str, weights: dict[str, float], above: bool, bound: float) -> None:
    part = one(text)
    assert isinstance(part, Comparison)
    assert (dict(part.weights), part.above) == (weights, above)
    assert part.bound == pytest.approx(bound)


def test_a_measure_and_a_rule_stand_before_a_colon_and_otherwise_the_claims_own_count() -> None:
    assert one("all: a > b")[3:5] == ("all", None)  # type: ignore[index]
    assert one("any-option observational: a > b")[3:5] == ("observational", Rule.ANY_OPTION)  # type: ignore[index]
    assert one("correct-option: a > b", measure="all")[3:5] == ("all", Rule.CORRECT_OPTION)  # type: ignore[index]
    assert one("a > b", measure="all", rule=Rule.ANY_OPTION)[3:5] == ("all", Rule.ANY_OPTION)  # type: ignore[index]


def test_a_gate_is_named_by_its_arm() -> None:
    assert one("bias-2 is a shortcut model") == Gated("bias-2")


def test_names_say_what_is_compared() -> None:
    part = one("c-90 > 0.5 g-90 + 0.5 base - 1")
    assert isinstance(part, Comparison)
    assert part.name == "c-90 \u2212 0.5 g-90 \u2212 0.5 base"
    assert part.pair is None
    plain = one("grpo < base")
    assert isinstance(plain, Comparison)
    assert plain.pair == ("grpo", "base")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "is not of the form"),
        ("a > b > c", "compares twice"),
        ("a b > c", "'b' stands in the wrong place"),
        ("a >", "ends too early"),
        ("3b > a", "'3b > a' cannot be read"),
        ("2 a > b", "weigh 2 on one side and 1 on the other"),
        ("a > 70", "weigh 1 on one side and 0 on the other"),
        ("a + b > b + a", "with itself"),
        ("speed: a > b", "'speed' before the colon"),
        ("oracle any-option: a > b", "'any-option' before the colon"),
        (": a > b", "nothing stands before the colon"),
    ],
)
def test_what_is_not_of_the_language_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^'") as caught:
        one(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cdpo > undo", None),
        ("undo < cdpo - 1", None),
        ("bias is a shortcut model", None),
        ("grpo is a shortcut model", "'grpo' is no arm of stage bias"),
        ("all: cdpo > undo", "compared on inferential accuracy"),
        ("cdpo > 0.5 undo + 0.5 base", "compared with one arm"),
        ("undo > base", "compared with one arm"),
        ("grpo > undo", "a family that it is part of"),
        ("cdpo > undone", "'undone' is neither an arm nor 'base' nor a family"),
    ],
)
def test_claims_name_arms_families_and_bias_models_of_the_study(tmp_path: Path, text: str, said: str | None) -> None:
    file = write_study(tmp_path, FILE.replace('holds = ["cdpo > grpo"]', f'holds = ["{text}"]') + FAMILY)
    if said is None:
        assert load_study(file).claims[1].holds == (text,)
        return
    with pytest.raises(VtError) as caught:
        load_study(file)
    assert f"claims[1].holds: {said}" in str(caught.value) or said in str(caught.value)


def test_a_family_has_arms_of_the_study_each_once(tmp_path: Path) -> None:
    with pytest.raises(VtError) as caught:
        load_study(write_study(tmp_path, FILE + '\n[families.cdpo]\narms = ["base", "base", "gone"]\n'))
    said = str(caught.value)
    assert "families.cdpo: the name is taken by an arm" in said
    assert "'gone' is neither an arm" in said
    assert "an arm is listed twice" in said


def test_claims_have_names_or_numbers_and_no_two_the_same(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, FILE.replace('text = "CDPO beats GRPO"', 'name = "b"\ntext = "CDPO beats GRPO"')))
    assert [*study.named_claims] == ["1", "b", "3"]
    with pytest.raises(VtError, match="two of them have the same name"):
        load_study(write_study(tmp_path, FILE.replace('text = "CDPO beats GRPO"', 'name = "3"\ntext = "CDPO beats GRPO"')))


def test_a_claim_rests_on_its_arms_common_seeds_and_on_what_these_need(tmp_path: Path) -> None:
    """attract has two of the four seeds, so that of cdpo and its bias model two are needed; base is asked once."""
    study, plan = make_study(tmp_path)
    claim = Claim(text="x", holds=("attract < cdpo", "attract < base"))
    trained = {f"{arm}-s{seed}" for arm in ("attract", "cdpo", "bias") for seed in (1, 2)}
    asked = {f"greedy.{arm}-s{seed}" for arm in ("attract", "cdpo") for seed in (1, 2)}
    assert cells_of(claim, study, plan) == {"curated", "greedy.base", *trained, *asked}
    gates = cells_of(Claim(text="x", holds=("bias is a shortcut model",)), study, plan)
    assert gates == {"curated", *(f"bias-s{seed}" for seed in study.seeds)}


def test_what_awaits_a_command_holds_back_all_that_needs_it_until_it_is_understood(tmp_path: Path) -> None:
    text = FILE.replace(
        "[train]\n", '[prepare.probe]\nrun = "curate probe --out {out}/x.parquet"\nawaits = "the probe"\n\n[train]\n'
    )
    text = text.replace('note = "repulsion 0.03"', 'note = "repulsion 0.03"\nbias = "late"\n')
    text = text.replace(
        "[arms.attract]", '[arms.late]\nstage = "bias"\nseeds = 2\nlabels = "{probe}/x.parquet"\nagainst = []\n\n[arms.attract]'
    )
    study, plan = make_study(tmp_path, text)
    cells = {cell.name: cell for cell in plan}
    assert "--labels" in cells["late-s1"].arguments
    assert "--rule" not in cells["late-s1"].arguments, "the label file says which questions are observational"
    assert "--rule" in cells["bias-s1"].arguments
    assert cells["late-s1"].arguments[cells["late-s1"].arguments.index("--labels") + 1] == "{probe}/x.parquet"
    assert cells["late-s1"].needs == ("curated", "probe")
    late = {"probe", "late-s1", "late-s2", "repulsion-03-s1", "repulsion-03-s2"}
    late |= {f"{ask}.{name}" for ask in study.ask for name in late if name != "probe"}
    for understood, expected in ((False, late), (True, set())):
        found = settled(plan, lambda cell, yes=understood: yes)  # type: ignore[misc]
        assert {cell.name for cell in found if cell.awaits} == expected


def test_comparisons_leave_gates_out() -> None:
    claim = Claim(text="x", holds=("bias is a shortcut model", "a > b"))
    assert [part.name for part in comparisons(claim)] == ["a \u2212 b"]
