"""Checkpoints x data sets: each data set's own mean and its chance, changes with Holm over the whole table, the average."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, write_unlabelled

from videothinker import answers
from videothinker.curated import NO_LABELS, Curated
from videothinker.diagnose.benchmarks import Asked, changes, checkpoint_names, summarize
from videothinker.diagnose.compare import Answers, compare_means
from videothinker.diagnose.runs import Run, references, scored
from videothinker.diagnose.student import t975
from videothinker.errors import VtError
from videothinker.records import Benchmark, Comparison, Prediction, Question, RunRecord, Status

OVER_TASKS = Benchmark(name="B", macro_over="task")


def questions(tasks: Mapping[str, int], *, n_options: int = 4) -> list[Question]:
    """So many questions of each task, each about a clip of its own; gold is A."""
    return [a_choice(f"{task}{i}", n_options=n_options, facets={"task": task}) for task, n in tasks.items() for i in range(n)]


def replied(asked: Sequence[Question], right: set[str], lost: frozenset[str] = frozenset()) -> list[Prediction]:
    """A where the question is among `right` and B where not; the clips of `lost` could not be read."""
    return [
        Prediction(
            question_id=one.question_id,
            reply=answers.form_of(one).solution(("A",) if one.question_id in right else ("B",)),
            chosen=None if one.question_id in lost else ("A",) if one.question_id in right else ("B",),
            gold=one.gold,
            observer=None,
            status=Status.DECODE_ERROR if one.question_id in lost else Status.OK,
        )
        for one in asked
    ]


def a_run(name: str, asked: Sequence[Question], right: set[str], benchmark: Benchmark | None = None, **more: str) -> Run:
    record = RunRecord(name=name, model=more.get("model", name), kind="checkpoint", settings={"split": "test"})
    return scored(name, record, asked, replied(asked, right), NO_LABELS, benchmark)


def compared(asked: Sequence[Question], before: set[str], after: set[str], facet: str | None) -> Comparison:
    old, new = (Answers(name, asked, replied(asked, right), NO_LABELS) for name, right in (("a", before), ("b", after)))
    return compare_means(old, new, facet, "mean")


def test_the_change_of_a_mean_over_tasks_by_hand() -> None:
    """Order gains 2 of 4, count loses 1 of 2: over tasks (2/4 - 1/2) / 2 = 0, over questions (2 - 1) / 6."""
    asked = questions({"order": 4, "count": 2})
    before, after = {"count0", "count1"}, {"order0", "order1", "count0"}
    over_tasks = compared(asked, before, after, "task")
    assert (over_tasks.measure, over_tasks.n_questions, over_tasks.n_scenes) == ("mean", 6, 6)
    assert (over_tasks.n_gained, over_tasks.n_lost) == (2, 1)
    assert over_tasks.difference.value == pytest.approx(0)
    # Of four clips (1 - 1/2) twice and (0 - 1/2) twice, of two (-1 + 1/2) and (0 + 1/2), each over its number of clips and two.
    squares = 4 * (0.5 / 4 / 2) ** 2 + 2 * (0.5 / 2 / 2) ** 2
    assert over_tasks.difference.stderr == pytest.approx(math.sqrt(6 / 5 * squares))
    # A clip counts 1 of order and 2 of count: +1, +1 and -2 cancel; of all 8 signs each leads at least as far from 0 as 0.
    assert over_tasks.p_value == 1.0
    over_questions = compared(asked, before, after, None)
    assert over_questions.difference.value == pytest.approx(1 / 6)
    assert over_questions.p_value == pytest.approx(1)  # two gained, one lost: 6 of 8 ways lead to +-1, 2 to +-3


def test_the_test_of_a_mean_over_tasks_weighs_questions_as_the_mean_does() -> None:
    """Order has 4 questions and gains 2, count has 2 and gains 1: sums +-1 +-1 +-2, and only 2 of 8 ways lead to 4."""
    asked = questions({"order": 4, "count": 2})
    row = compared(asked, set(), {"order0", "order1", "count0"}, "task")
    assert row.difference.value == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert row.p_value == pytest.approx(2 / 8)


def test_many_unequal_tasks_are_tested_though_their_exact_weights_would_not_fit() -> None:
    """Twelve prime sizes, whose least common multiple has 14 digits, with one gain in each: 2 of 2^12 ways."""
    sizes = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
    asked = questions({f"t{size}-": size for size in sizes})
    row = compared(asked, set(), {f"t{size}-0" for size in sizes}, "task")
    assert row.difference.value == pytest.approx(sum(1 / size for size in sizes) / 12)
    assert row.p_value == pytest.approx(2 / 2**12)


def test_only_what_both_answered_is_compared_and_over_nothing_there_is_no_change() -> None:
    asked = questions({"order": 3, "count": 1})
    lost = Answers("b", asked, replied(asked, {"order0"}, frozenset({"count0", "order1"})), NO_LABELS)
    row = compare_means(Answers("a", asked, replied(asked, set()), NO_LABELS), lost, "task", "mean over task")
    assert (row.n_questions, row.difference.value) == (2, pytest.approx(1 / 2))
    nothing = compare_means(Answers("a", asked[:1], replied(asked[:1], set()), NO_LABELS), lost, "kind", "mean over kind")
    assert (nothing.n_questions, nothing.difference.value, nothing.p_value) == (0, None, None)


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, Asked]:
    """Two data sets: six questions averaged over two tasks, and ten averaged over questions; "ours" gains on both."""
    first, second = questions({"order": 4, "count": 2}), questions({"x": 10}, n_options=5)

    def asked(name: str, each: list[Question], benchmark: Benchmark | None, right: Mapping[str, set[str]]) -> Asked:
        curated: Curated = write_unlabelled(tmp_path / name, {"test": each}, benchmark=benchmark)
        runs = [a_run(run, each, found, benchmark) for run, found in right.items()]
        return Asked(curated, runs, references(runs, curated))

    every = {one.question_id for one in second}
    return {
        "tasks": asked("tasks", first, OVER_TASKS, {"base": {"order0"}, "ours": {"order0", "order1", "count0"}, "odd": set()}),
        "plain": asked("plain", second, None, {"base": set(), "ours": every}),
    }


def test_scores_are_each_sets_own_mean_beside_its_chance(sets: dict[str, Asked]) -> None:
    found = summarize(sets)
    ours = found.checkpoints["ours"]
    assert ours["tasks"].value == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert ours["tasks"].over_questions.value == pytest.approx(3 / 6)
    base = found.checkpoints["base"]["tasks"]
    assert (base.value, base.over_questions.value) == (pytest.approx(1 / 8), pytest.approx(1 / 6))
    assert (base.n, base.chance, base.protocol) == (6, 0.25, "ours")
    assert found.references["chance"]["plain"].value == pytest.approx(0.2)
    assert found.references["chance"]["plain"].protocol is None
    assert found.datasets["tasks"].mean == "mean over task"
    assert (found.datasets["plain"].n_questions, found.datasets["plain"].n_groups) == (10, 10)
    assert found.datasets["plain"].splits == ["test"]
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


def test_the_interval_of_a_mean_over_tasks_is_that_of_metrics_json(sets: dict[str, Asked]) -> None:
    run = sets["tasks"].runs[1]
    assert run.metrics.benchmark is not None
    assert summarize(sets).checkpoints["ours"]["tasks"].ci95 == run.metrics.benchmark.ci95


def test_the_average_is_unweighted_and_only_over_all_sets(sets: dict[str, Asked]) -> None:
    assert summarize(sets).averages == {"base": pytest.approx(1 / 16), "ours": pytest.approx(3 / 4)}


def test_chance_of_a_mean_over_tasks_is_averaged_over_tasks(tmp_path: Path) -> None:
    """Three questions of two options and one of four: (1/2 + 1/4) / 2, though over questions it is 7/16."""
    asked = [*questions({"order": 3}, n_options=2), *questions({"count": 1})]
    curated = write_unlabelled(tmp_path / "set", {"test": asked}, benchmark=OVER_TASKS)
    runs = [a_run("base", asked, set(), OVER_TASKS)]
    found = summarize({"set": Asked(curated, runs, references(runs, curated))})
    assert found.checkpoints["base"]["set"].chance == pytest.approx(3 / 8)
    assert found.references["chance"]["set"].value == pytest.approx(3 / 8)


def test_holm_corrects_for_the_whole_table(sets: dict[str, Asked]) -> None:
    """Three tests: gained 2 of 6 clips, of weights 1 and 2 (p = 1/2); lost one clip (p = 1); gained all ten (p = 2/1024)."""
    rows = {(one.dataset, one.after): one for one in changes(sets, "base")}
    assert list(rows) == [("tasks", "ours"), ("tasks", "odd"), ("plain", "ours")]
    assert [one.p_value for one in rows.values()] == [0.5, 1.0, pytest.approx(2 / 1024)]
    assert [one.p_holm for one in rows.values()] == [1.0, 1.0, pytest.approx(3 * 2 / 1024)]
    change = rows["plain", "ours"].difference
    assert change.value == 1.0
    assert change.ci95 == (pytest.approx(1 - t975(9) / 10), 1.0)  # one clip more of ten that changes the other way


def test_the_baseline_is_the_first_or_the_one_that_is_named(sets: dict[str, Asked]) -> None:
    assert summarize(sets).baseline == "base"
    found = summarize(sets, "ours")
    assert found.baseline == "ours"
    assert {(one.before, one.after) for one in found.changes} == {("ours", "base"), ("ours", "odd")}
    assert found.changes[0].difference.value == pytest.approx(1 / 8 - 1 / 2)
    with pytest.raises(VtError, match="--baseline nobody: there is no such checkpoint; there are base, ours, odd"):
        summarize(sets, "nobody")


def test_one_name_may_not_stand_for_two_checkpoints(sets: dict[str, Asked]) -> None:
    asked = sets["plain"].runs[0].questions
    other = sets["plain"]._replace(runs=[a_run("base", asked, set(), model="models/another")])
    with pytest.raises(VtError, match="'base' is base on tasks and models/another on plain"):
        checkpoint_names(sets | {"plain": other})
