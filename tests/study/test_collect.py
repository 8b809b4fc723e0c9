"""From cells' files to results: levels, paired differences and verdicts by hand; trainings, alarms, gates, failures."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from curated_factory import a_prediction, a_question, labels_of, questions_of, write_curated
from report_factory import make
from study_factory import FILE, finish, make_study, write_answers

from videothinker import store
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curated import label_table
from videothinker.diagnose import runs
from videothinker.records import Category, Label, LabelSet, Rule, Status
from videothinker.records.study import Study
from videothinker.records.study_cells import State
from videothinker.records.study_results import NO_SEED, Decision, Difference, Results
from videothinker.study.cells import read_records, state_of
from videothinker.study.collect import collect
from videothinker.study.plan import Cell, cell_folder, make_plan

TWO = (
    FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]").split("[arms.repel-start]")[0]
    + '[ask.greedy]\ndata = "curated"\n[[claims]]\ntext = "lower"\nholds = ["grpo < base"]\n'
)


def asked(n_scenes: int) -> list[Labelled]:
    """In each scene one observational and two inferential questions; gold is A."""
    names = [f"{scene}:{qid}" for scene in range(n_scenes) for qid in range(3)]
    return [a_question(name, gold="A", observer="A" if name.endswith(":0") else "B") for name in names]


QUESTIONS = asked(4)


def gather(study: Study, plan: tuple[Cell, ...], folder: Path) -> Results:
    records = read_records(plan, folder)
    return collect(
        study, plan, folder, {cell.name: state_of(cell, records.get(cell.name), folder) for cell in plan}, records
    ).results


def answers(
    folder: Path,
    name: str,
    right: set[str],
    lost: set[str] = frozenset(),  # type: ignore[assignment]
    questions: Sequence[Labelled] = QUESTIONS,
) -> None:
    """A run that has the questions of `right` right and gives the observer's answer elsewhere, or C."""

    predictions = []
    for one in questions:
        question_id = one.question.question_id
        reply = None if question_id in lost else "A" if question_id in right else "B"
        predictions.append(a_prediction(one, reply, Status.DECODE_ERROR if question_id in lost else None))
    write_answers(folder / name, name, questions_of(questions), labels_of(questions), predictions)


def two_seeds(
    tmp_path: Path,
    lost: set[str] = frozenset(),  # type: ignore[assignment]
    n_scenes: int = 4,
) -> tuple[Study, Results]:
    """All right but for one inferential question of each second scene under seed 1, of each scene under seed 2."""
    study, plan = make_study(tmp_path, TWO)
    folder, questions = tmp_path / "out", asked(n_scenes)
    every = {one.question.question_id for one in questions}
    right = {
        "base": every,
        "grpo-s1": every - {f"{scene}:1" for scene in range(n_scenes) if scene % 4 < 2},
        "grpo-s2": every - {f"{scene}:1" for scene in range(n_scenes)},
    }
    for cell in plan:
        finish(cell, folder, questions)
        name = cell.name.removeprefix("greedy.")
        if cell.ask and name in right:
            answers(cell_folder(folder, cell.name), name, right[name], lost if name == "grpo-s2" else set(), questions)
    return study, gather(study, plan, folder)


def test_labels_of_another_observer_change_nothing(tmp_path: Path) -> None:
    """It calls every question observational, under a rule of the same name as the collision log's."""
    study, before = two_seeds(tmp_path)
    rows = {}
    for one in QUESTIONS:
        name = one.question.question_id
        rows[name] = Label(
            question_id=name, observer="one-frame", rule="oracle", category=Category.OBSERVATIONAL, answer=("A",)
        )
    table = label_table([LabelSet("one-frame", "oracle", rows)])
    folder = tmp_path / "out"
    store.write_bytes(cell_folder(folder, "curated") / "labels" / "one-frame.parquet", table)
    after = gather(study, make_plan(study, tmp_path), folder)
    assert (after.levels, after.differences, after.verdicts) == (before.levels, before.differences, before.verdicts)


def difference(results: Results, after: str, before: str) -> Difference:
    return next(one for one in results.differences if (one.after, one.before, one.rule) == (after, before, Rule.ORACLE))


def test_levels_by_hand(tmp_path: Path) -> None:
    """grpo has 6 of 8 and 4 of 8 inferential questions right: 62.5 % pooled; t(1) = 12.7062, stderr 0.125."""
    _, results = two_seeds(tmp_path)
    level = next(one for one in results.levels if (one.arm, one.rule) == ("grpo", Rule.ORACLE))
    needed = level.measures["inferential"]
    assert level.n_questions == {"all": 12, "observational": 4, "inferential": 8, "shortcut_reliance": 8}
    assert [one.value for one in needed.per_seed.values()] == [0.75, 0.5]
    assert needed.scenes.value == 0.625
    assert needed.seeds.value == 0.625
    assert needed.seeds.ci95 == pytest.approx((0.625 - 12.7062 * 0.125, 0.625 + 12.7062 * 0.125))
    assert level.measures["observational"].scenes.value == 1.0
    assert level.measures["shortcut_reliance"].scenes.value == 0.375  # 2 + 4 wrong ones of 16, all the observer's
    base = next(one for one in results.levels if (one.arm, one.rule) == ("base", Rule.ORACLE))
    assert list(base.measures["inferential"].per_seed) == [NO_SEED]


def test_differences_are_paired_and_clustered_by_scene_over_all_seeds(tmp_path: Path) -> None:
    """grpo - base: -2/8 and -4/8. Pooled, scenes 0 and 1 lose 2 of their 4 answers, scenes 2 and 3 one of 4: mean -6/16;
    residuals by scene -2 + 1.5 = -0.5 twice and -1 + 1.5 = 0.5 twice, so stderr^2 = 4/3 * 4 * 0.25 / 16^2."""
    _, results = two_seeds(tmp_path)
    found = difference(results, "grpo", "base").measures["inferential"]
    assert {seed: one.value for seed, one in found.per_seed.items()} == {1: -0.25, 2: -0.5}
    assert found.scenes.value == -0.375
    assert found.scenes.stderr == pytest.approx((4 / 3 * 4 * 0.25) ** 0.5 / 16)
    assert found.seeds.value == -0.375
    assert difference(results, "grpo", "base").measures["observational"].scenes.value == 0


def test_one_seed_of_a_pair_is_the_diagnosis_own_paired_difference(tmp_path: Path) -> None:
    _, results = two_seeds(tmp_path)
    folder = tmp_path / "out" / "cells"
    loaded = runs.load_runs(
        [folder / "greedy.base" / "base", folder / "greedy.grpo-s2" / "grpo-s2"],
        write_curated(tmp_path / "c", {"dev": QUESTIONS}),
    )
    theirs = {row.measure: row.difference for row in runs.comparisons(loaded)}
    ours = difference(results, "grpo", "base")
    for measure in ("all", "observational", "inferential", "shortcut_reliance"):
        assert ours.measures[measure].per_seed[2] == theirs[measure]


def test_a_question_that_one_of_the_two_could_not_be_asked_leaves_the_difference(tmp_path: Path) -> None:
    """grpo-s2 lost clip 0, so that its difference is over scenes 1 to 3: -3/6."""
    _, results = two_seeds(tmp_path, lost={"0:0", "0:1", "0:2"})
    found = difference(results, "grpo", "base").measures["inferential"]
    assert found.per_seed[2].value == -0.5
    assert found.scenes.value == pytest.approx(-5 / 14)


def test_a_claim_holds_in_both_wordings_and_not_from_two_wide_seeds(tmp_path: Path) -> None:
    """Over scenes -0.375 lies below zero, over two seeds -0.375 +- 1.59 does not: undecided.

    24 scenes of 4 answers, of which twelve lose 2 and twelve 1: residuals of 0.5 each, and one scene more of 24.
    """
    _, results = two_seeds(tmp_path, n_scenes=24)
    assert results.verdicts[0].decision is Decision.UNDECIDED
    (part,) = results.verdicts[0].parts
    value = part.value
    assert part.name == "grpo \u2212 base"
    assert value is not None
    assert value.n_scenes == 24
    reach = 2.0687 * (24 / 23 * 24 * 0.5**2 / 96**2 + 1 / 24**2) ** 0.5
    assert value.scenes.ci95 == pytest.approx((-0.375 - reach, -0.375 + reach))
    assert reach < 0.375


def test_fewer_than_20_scenes_decide_nothing(tmp_path: Path) -> None:
    """The same seeds' differences, now alike: both intervals lie below zero, and 20 scenes confirm what 19 leave open."""
    for n_scenes, decision in ((19, Decision.UNDECIDED), (20, Decision.CONFIRMED)):
        study, plan = make_study(tmp_path / str(n_scenes), TWO)
        folder, questions = tmp_path / str(n_scenes) / "out", asked(n_scenes)
        right = {one.question.question_id for one in questions}
        for cell in plan:
            finish(cell, folder, questions)
            if cell.ask and cell.arm in (None, "base", "grpo"):
                name = cell.name.removeprefix("greedy.")
                lost = {one for one in right if one.endswith(":1")} if name.startswith("grpo") else set()
                answers(cell_folder(folder, cell.name), name, right - lost, questions=questions)
        results = gather(study, plan, folder)
        assert results.verdicts[0].decision is decision


def test_verdicts_of_a_made_up_study(tmp_path: Path) -> None:
    """GRPO is made worse by 8 points at every seed; 'base > grpo' is the same claim the other way round."""
    extra = '\n[[claims]]\ntext = "turned"\nholds = ["base > grpo"]\n[[claims]]\ntext = "wrong"\nholds = ["grpo > base"]\n'
    extra += '[[claims]]\ntext = "by 3"\nholds = ["base > grpo + 3"]\n'
    extra += '[[claims]]\ntext = "by 15"\nholds = ["grpo < base - 15"]\n'
    extra += '[[claims]]\ntext = "no worse"\nholds = ["grpo > base - 15"]\n'
    extra += '[[claims]]\ntext = "elsewhere"\nmeasure = "observational"\nrule = "any-option"\nholds = ["grpo < base"]\n'
    before, claims = FILE.split("[ask.sampled]")[0], FILE.partition("[[claims]]")[2]
    study, plan = make_study(tmp_path, f"{before}[[claims]]{claims}{extra}")
    questions = make(500, 3).questions["train"]
    for cell in plan:
        finish(cell, tmp_path / "out", questions)
    results = gather(study, plan, tmp_path / "out")
    decisions = {one.claim.text: one.decision for one in results.verdicts}
    assert decisions["GRPO lowers accuracy on inferential questions"] is Decision.CONFIRMED
    assert decisions["turned"] is Decision.CONFIRMED
    assert decisions["wrong"] is Decision.REFUTED
    assert decisions["by 15"] is Decision.REFUTED
    assert decisions["no worse"] is Decision.CONFIRMED
    named = {one.claim.text: one.parts[0] for one in results.verdicts}
    value = named["by 3"].value
    assert named["by 3"].name == "base \u2212 grpo (claimed to be above +3.0)"
    assert value is not None
    assert value.crossed.ci95 is not None
    assert (decisions["by 3"] is Decision.CONFIRMED) == (value.crossed.ci95[0] > 0.03)
    assert named["by 15"].name == "grpo \u2212 base (claimed to be below \u221215.0)"
    assert named["elsewhere"].name == "grpo \u2212 base (observational questions, rule any-option)"
    (other,) = [one for one in results.differences if (one.after, one.before, one.rule) == ("grpo", "base", Rule.ANY_OPTION)]
    assert named["elsewhere"].value == other.measures["observational"]
    assert set(results.references) == {"chance", "observer"}
    assert results.references["observer"]["inferential"].value == 0

    broken = next(one for one in results.trainings if one.name == "repel-start-s2")
    assert broken.diverged
    assert broken.alarms == [(37, "replies have grown from 24 to 41 tokens")]
    assert not any(one.diverged for one in results.trainings if one is not broken)
    assert {one.gate for one in results.trainings if one.arm == "bias"} == {()}
    n_trained = len(results.trainings)
    assert results.seconds["train cdpo"] == 60.0 * sum(one.stage == "cdpo" for one in results.trainings)
    assert results.seconds["ask greedy"] == 60.0 * (n_trained + 1)


def test_what_has_not_been_run_is_missing_and_not_zero(tmp_path: Path) -> None:
    study, plan = make_study(tmp_path)
    results = gather(study, plan, tmp_path / "out")
    assert results.levels == results.differences == []
    assert {one.decision for one in results.verdicts} == {Decision.UNDECIDED}
    assert [part.value for one in results.verdicts for part in one.parts] == [None] * 3
    assert {one.state for one in results.trainings} == {State.WAITING}
    assert len(results.trainings) == 18
