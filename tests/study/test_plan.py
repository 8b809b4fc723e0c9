"""From a study to commands: what each cell runs, what it waits for, and when it counts as another cell."""

from pathlib import Path

import pytest
from study_factory import FILE, make_study

from videothinker.study.plan import Cell, Kind, command, heights, make_plan


def by_name(folder: Path, text: str = FILE) -> dict[str, Cell]:
    return {cell.name: cell for cell in make_study(folder, text)[1]}


def test_the_grid_has_every_cell_once_and_after_what_it_needs(tmp_path: Path) -> None:
    plan = make_study(tmp_path)[1]
    kinds = [cell.kind for cell in plan]
    n_trained = 3 * 4 + 3 * 2
    assert kinds.count(Kind.PREPARE) == 1
    assert kinds.count(Kind.TRAIN) == n_trained
    assert kinds.count(Kind.ASK) == 2 * (n_trained + 1)
    seen: set[str] = set()
    for cell in plan:
        assert set(cell.needs) <= seen
        seen.add(cell.name)
    assert len(seen) == len(plan)


def test_commands_are_what_one_would_type(tmp_path: Path) -> None:
    cells = by_name(tmp_path)
    run, here = tmp_path / "out", tmp_path
    cdpo = cells["repulsion-03-s2"]
    assert cdpo.needs == ("curated", "bias-s2")
    assert command(cdpo, run, here) == [
        *("train", "cdpo", "--config", f"{here}/cdpo.toml", "--data", f"{run}/cells/curated", "--model", "lab/tiny"),
        *("--out", f"{run}/cells/repulsion-03-s2", "--bias-model", f"{run}/cells/bias-s2"),
        *("--set", "seed=2", "--set", "optimizer.steps=40", "--set", "objective.repulsion=0.03"),
    ]
    assert "--bias-model" not in cells["repel-start-s1"].arguments
    assert cells["repel-start-s1"].needs == ("curated",)
    assert cells["bias-s1"].arguments[-6:-4] == ("--rule", "oracle")
    ruled = {cell.arguments[1] for cell in cells.values() if cell.arguments[0] == "train" and "--rule" in cell.arguments}
    assert ruled == {"bias"}, "the other stages have no such option"
    assert command(cells["sampled.grpo-s3"], run, here) == [
        *("diagnose", "--model", f"grpo-s3={run}/cells/grpo-s3", "--data", f"{run}/cells/curated"),
        *("--out", f"{run}/cells/sampled.grpo-s3", "--temperature", "1"),
    ]
    assert cells["greedy.base"].arguments[2] == "base=lab/tiny"


def test_a_start_model_that_the_study_trains_is_waited_for(tmp_path: Path) -> None:
    text = (
        FILE.replace('model = "lab/tiny"', 'model = "{base}"')
        + '\n[prepare.base]\nrun = "train sft --config {here}/x --out {out}"\n'
    )
    cells = by_name(tmp_path, text)
    assert cells["grpo-s1"].needs == ("curated", "base")
    assert cells["greedy.base"].needs == ("base", "curated")


def test_what_nobody_needs_is_not_prepared(tmp_path: Path) -> None:
    more = '\n[prepare.lone]\nrun = "world make {out}"\n[prepare.lone-too]\nrun = "curate check {lone} {out}"\n'
    assert by_name(tmp_path, FILE + more).keys() == by_name(tmp_path).keys()


def test_identity_follows_command_file_and_what_came_before(tmp_path: Path) -> None:
    before = by_name(tmp_path / "a")
    other = by_name(tmp_path / "b", FILE.replace('"objective.repulsion" = 0.03', '"objective.repulsion" = 0.02'))
    changed = {name for name in before if before[name].identity != other[name].identity}
    assert changed == {f"{ask}repulsion-03-s{seed}" for ask in ("", "greedy.", "sampled.") for seed in (1, 2)}

    (tmp_path / "a" / "bias.toml").write_text('stage = "bias"\nseed = 3\n')
    edited = by_name_again(tmp_path / "a")
    changed = {name for name in before if before[name].identity != edited[name].identity}
    for name in ("bias-s1", "cdpo-s1", "greedy.cdpo-s1", "repulsion-03-s1"):  # all that stands on a bias model
        assert name in changed
    for name in ("curated", "grpo-s1", "repel-start-s1", "greedy.base"):
        assert name not in changed


def by_name_again(folder: Path) -> dict[str, Cell]:
    from videothinker.study.config import load_study
    from videothinker.study.plan import make_plan

    return {cell.name: cell for cell in make_plan(load_study(folder / "study.toml"), folder)}


def test_identity_does_not_depend_on_where_the_study_lies(tmp_path: Path) -> None:
    assert [cell.identity for cell in by_name(tmp_path / "a").values()] == [
        cell.identity for cell in by_name(tmp_path / "b").values()
    ]


def test_heights_are_the_longest_chains(tmp_path: Path) -> None:
    """curated 60 s -> bias 60 s -> cdpo 60 s -> ask 120 s = 300 s; curated -> grpo -> ask = 240 s."""
    plan = make_study(tmp_path)[1]
    found = heights(plan, {cell.name: cell.expected for cell in plan})
    assert found["curated"] == pytest.approx(300)
    assert found["bias-s4"] == pytest.approx(240)
    assert found["grpo-s1"] == found["cdpo-s1"] == pytest.approx(180)
    assert found["greedy.base"] == pytest.approx(120)


def test_main_arms_have_the_first_turn_then_the_file_s_order_then_late_seeds(tmp_path: Path) -> None:
    text = FILE.replace(
        '[arms.attract]\nstage = "cdpo"\nseeds = 2', '[arms.attract]\nstage = "cdpo"\nseeds = 3\nearly_seeds = 2'
    )
    cells = by_name(tmp_path, text)
    names = ("curated", "bias-s4", "cdpo-s4", "sampled.grpo-s4", "repel-start-s1", "greedy.repel-start-s2", "attract-s2")
    assert [cells[name].turn for name in names] == [0, 0, 0, 0, 4, 4, 5]
    assert cells["repulsion-03-s1"].turn == 6
    assert cells["attract-s3"].turn == cells["greedy.attract-s3"].turn == 7


def test_what_an_ablation_alone_needs_has_its_turn(tmp_path: Path) -> None:
    text = FILE.replace('note = "repulsion 0.03"', 'data = "other"') + '\n[prepare.other]\nrun = "curate clevrer --out {out}"\n'
    cells = by_name(tmp_path, text)
    assert cells["other"].turn == cells["repulsion-03-s1"].turn == 6


def test_a_way_of_asking_may_be_for_some_arms(tmp_path: Path) -> None:
    text = FILE.replace('options = "--temperature 1"', 'arms = ["base", "cdpo"]')
    names = [name for name in by_name(tmp_path, text) if name.startswith("sampled.")]
    assert names == ["sampled.base", *(f"sampled.cdpo-s{seed}" for seed in (1, 2, 3, 4))]


def test_what_only_makes_faster_is_waited_for_and_changes_no_identity(tmp_path: Path) -> None:
    warm = '\n[prepare.warm]\nrun = "clips warm --data {curated} --out {out}"\n'
    text = FILE.replace("seconds_per_step = 1.5", 'after = ["warm"]') + warm
    before, cells = by_name(tmp_path / "a"), by_name(tmp_path / "b", text)
    assert cells["grpo-s1"].after == ("warm",)
    assert cells["warm"].needs == ("curated",)
    assert cells["warm"].turn == 0
    assert cells["greedy.grpo-s1"].after == ()
    assert {name: cells[name].identity for name in before} == {name: cell.identity for name, cell in before.items()}


def test_a_given_preparation_has_no_command_and_needs_none(tmp_path: Path) -> None:
    text = FILE.replace("--annotations a", "--annotations {world}").replace(
        "[prepare.curated]", '[prepare.world]\nrun = "world make {out}"\n[prepare.curated]'
    )
    file = make_study(tmp_path, text)[0]
    made = {cell.name: cell for cell in make_plan(file, tmp_path)}
    given = {cell.name: cell for cell in make_plan(file, tmp_path, {"curated": "hash of what lies there"})}
    assert made.keys() - given.keys() == {"world"}
    assert given["curated"].arguments == ()
    assert given["grpo-s1"].identity != made["grpo-s1"].identity
    assert given["grpo-s1"].arguments == made["grpo-s1"].arguments


BLENDED = (
    FILE
    + """
[arms.half]
stage = "grpo"
seeds = 2
steps = 20
against = ["grpo"]

[arms.mid]
stage = "blend"
of = ["base", "grpo"]
weight = 0.25
seeds = 2
against = ["grpo"]
"""
)


def test_a_blend_waits_for_its_parents_of_the_same_seed_and_needs_no_gpu(tmp_path: Path) -> None:
    _, plan = make_study(tmp_path, BLENDED)
    cells = {cell.name: cell for cell in plan}
    blend = cells["mid-s2"]
    assert blend.arguments == ("checkpoint", "blend", "lab/tiny", "{grpo-s2}", "--weight", "0.25", "--out", "{out}")
    assert (blend.kind, blend.needs, blend.gpu) == (Kind.BLEND, ("grpo-s2",), False)
    assert cells["greedy.mid-s2"].needs == ("mid-s2", "curated")


def test_an_arm_may_take_other_steps(tmp_path: Path) -> None:
    """1.5 seconds a step."""
    _, plan = make_study(tmp_path, BLENDED)
    cells = {cell.name: cell for cell in plan}
    assert "optimizer.steps=20" in cells["half-s1"].arguments
    assert "optimizer.steps=40" in cells["grpo-s1"].arguments
    assert (cells["half-s1"].steps, cells["half-s1"].expected) == (20, 30.0)


def test_seconds_per_step_may_be_given_per_stage(tmp_path: Path) -> None:
    text = FILE.replace("seconds_per_step = 1.5", "seconds_per_step = { grpo = 2, bias = 1 }")
    _, plan = make_study(tmp_path, text)
    expected = {cell.arm: cell.expected for cell in plan if cell.kind is Kind.TRAIN}
    assert (expected["grpo"], expected["bias"], expected["cdpo"]) == (80.0, 40.0, None)


def test_where_data_lie_is_no_part_of_a_cells_identity(tmp_path: Path) -> None:
    """So a study goes on where the same data lie elsewhere; the command has the path."""
    text = FILE.replace("[prepare.curated]", '[paths]\nfar = "PLACE"\n\n[prepare.curated]').replace(
        "--annotations a", "--annotations {far}/a"
    )
    plans = [make_study(tmp_path, text.replace("PLACE", place))[1] for place in ("/one", "/two")]
    assert [cell.identity for cell in plans[0]] == [cell.identity for cell in plans[1]]
    assert [command(plan[0], tmp_path, tmp_path)[3] for plan in plans] == ["/one/a", "/two/a"]


def test_a_bias_model_from_elsewhere_is_named_and_not_waited_for(tmp_path: Path) -> None:
    arm = '\n[arms.far]\nstage = "cdpo"\nbias_model = "lab/bias"\nforce = true\n'
    cells = {cell.name: cell for cell in make_study(tmp_path, FILE + arm)[1]}
    assert cells["far-s1"].needs == ("curated",)
    place = cells["far-s1"].arguments.index("--bias-model")
    assert cells["far-s1"].arguments[place + 1] == "lab/bias"
