"""Metrics of any question set by hand: choices without labels, a benchmark's own number, labels of several observers."""

import math
from collections.abc import Mapping

import pytest
from answered import INF, OBS
from curated_factory import a_choice, a_prediction, a_question, labels_of, questions_of

from videothinker.answers import FORMS
from videothinker.curated import NO_LABELS, Labels
from videothinker.diagnose import metrics
from videothinker.diagnose.compare import Answers, compare
from videothinker.records import (
    Benchmark,
    Category,
    Estimate,
    Form,
    Label,
    LabelSet,
    Metrics,
    Prediction,
    Question,
    Status,
)
from videothinker.records.metrics import AgainstChance

NOTHING = Estimate(None, None, None)

# ---- single choices that nobody has labelled: three clips, two tasks ----

CHOICES = [
    a_choice("1", gold="A", group="a", facets={"task": "order", "length": "long"}),
    a_choice("2", gold="B", group="a", facets={"task": "order"}),
    a_choice("3", gold="A", group="b", facets={"task": "order"}, n_options=2),
    a_choice("4", gold="C", group="b", facets={"task": "count", "length": "long"}, n_options=5),
    a_choice("5", gold="D", group="c", facets={"task": "count", "length": "short"}),
]


def reply(question: Question, chosen: str | None, observer: str | None = None) -> Prediction:
    """What is on disk of a reply; `chosen` None: unreadable."""
    return Prediction(
        question_id=question.question_id,
        reply="I cannot tell." if chosen is None else FORMS[question.form].solution(tuple(chosen)),
        chosen=None if chosen is None else tuple(chosen),
        gold=question.gold,
        observer=None if observer is None else tuple(observer),
        status=Status.NO_ANSWER if chosen is None else Status.OK,
    )


REPLIES = [reply(question, chosen) for question, chosen in zip(CHOICES, ("A", "C", "A", None, "D"), strict=True)]
"""Right, wrong, right, unreadable, right."""
OVER_TASKS = Benchmark(name="Tasks", macro_over="task")


def choices(benchmark: Benchmark | None = None) -> Metrics:
    return metrics.summarize(CHOICES, REPLIES, NO_LABELS, benchmark)


def test_single_choices_by_hand() -> None:
    everything = choices().all
    assert (everything.n_questions, everything.n_options, everything.n_scenes, everything.n_unparsed) == (5, 19, 3, 1)
    assert everything.per_question.value == pytest.approx(3 / 5)
    assert everything.soft == everything.per_question
    # C for B is wrong in both and right in A and D; what could not be read is right in none of its five.
    assert everything.per_option.value == pytest.approx((4 + 2 + 2 + 0 + 4) / 19)
    assert everything.chance == pytest.approx((1 / 4 + 1 / 4 + 1 / 2 + 1 / 5 + 1 / 4) / 5)
    assert choices().chance == everything.chance
    # Residuals by clip: (1 - .6) + (0 - .6), (1 - .6) + (0 - .6), 1 - .6.
    assert everything.per_question.stderr == pytest.approx(math.sqrt(3 / 2 * (0.04 + 0.04 + 0.16)) / 5)


def test_letters_of_single_choices_by_hand() -> None:
    found = choices().by_letter
    assert {letter: score.n_options for letter, score in found.items()} == {"A": 5, "B": 5, "C": 4, "D": 4, "E": 1}
    assert (found["A"].chosen.value, found["A"].correct) == (pytest.approx(2 / 5), pytest.approx(2 / 5))
    assert found["A"].per_option.value == pytest.approx(4 / 5)  # also where it was rightly left
    assert (found["C"].chosen.value, found["C"].correct) == (pytest.approx(1 / 4), pytest.approx(1 / 4))
    assert found["C"].per_option.value == pytest.approx(2 / 4)  # chosen in place of B, and missed where it could not be read
    assert (found["E"].chosen.value, found["E"].per_option.value) == (0, 0)


def test_without_labels_what_is_by_category_is_over_nothing() -> None:
    found = choices()
    assert (found.rule, found.by_rule) == (None, {})
    for pool in (found.observational, found.inferential):
        assert (pool.n_questions, pool.n_decode_error, pool.per_question, pool.chance) == (0, 0, NOTHING, None)
    assert found.gap == NOTHING
    assert found.shortcut_reliance == found.shortcut_error_share == AgainstChance(None, None, None, None)
    assert found.by_polarity == {}


def test_every_facet_has_a_pool_of_each_of_its_values() -> None:
    found = choices().by_facet
    assert {name: {value: pool.n_questions for value, pool in pools.items()} for name, pools in found.items()} == {
        "task": {"count": 2, "order": 3},
        "length": {"long": 2, "short": 1},  # two questions have no length, and are in neither
    }
    order, count = found["task"]["order"], found["task"]["count"]
    assert (order.per_question.value, count.per_question.value) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert count.chance == pytest.approx((1 / 5 + 1 / 4) / 2)


def wilson(share: float, n: float, t: float = 12.7062) -> tuple[float, float]:
    """The ends of Wilson's interval, as the roots of (share - p)^2 = t^2 p (1 - p) / n."""
    a, b, c = 1 + t * t / n, -2 * share - t * t / n, share * share
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def test_a_benchmarks_number_is_the_mean_over_its_tasks_with_a_clustered_interval() -> None:
    found = choices(OVER_TASKS).benchmark
    assert found is not None
    assert (found.name, found.value) == ("Tasks, mean over task", pytest.approx((2 / 3 + 1 / 2) / 2))
    # A question's influence is its residual in its task, over the task's questions, over the two tasks; summed by clip.
    a = ((1 - 2 / 3) + (0 - 2 / 3)) / 3 / 2
    b = (1 - 2 / 3) / 3 / 2 + (0 - 1 / 2) / 2 / 2  # one of each task: the clip's errors add up
    c = (1 - 1 / 2) / 2 / 2
    assert math.sqrt(3 / 2 * (a * a + b * b + c * c)) == pytest.approx(0.1879, abs=1e-4)
    # The intervals of both tasks rest on two clips each, t(1) = 12.7062. Task order: residuals -1/9 and 1/9 of the value, so
    # stderr^2 = 2 (2 / 81); weights 2/3, 1/3 make 9/5 even clips, and one more 2/3 / (9/5) = 10/27, squared 100/729.
    order = wilson(2 / 3, (2 / 9 + 100 / 729 * 9 / 5) / (4 / 81 + 100 / 729))
    # Task count: residuals -1/4 and 1/4, stderr^2 = 1/4; two clips, one more 1/4.
    count = wilson(1 / 2, (1 / 4 + 1 / 16 * 2) / (1 / 4 + 1 / 16))
    # Clip b is in both. The correlation is that of (-1/9, 1/9, 0) and (0, -1/4, 1/4) by clip, with one clip more in each.
    rho = (1 / 9 * -1 / 4) / math.sqrt((2 / 81 + 100 / 729) * (1 / 8 + 1 / 16))
    down, up = (2 / 3 - order[0], 1 / 2 - count[0]), (order[1] - 2 / 3, count[1] - 1 / 2)
    reach = [math.sqrt(x * x + y * y + 2 * rho * x * y) / 2 for x, y in (down, up)]
    assert found.ci95 == pytest.approx((7 / 12 - reach[0], 7 / 12 + reach[1]), abs=1e-5)


def test_a_benchmark_may_be_averaged_over_questions() -> None:
    found = choices(Benchmark(name="Plain"))
    assert found.benchmark is not None
    assert (found.benchmark.name, found.benchmark.value) == ("Plain, over questions", found.all.per_question.value)
    assert found.benchmark.ci95 == found.all.per_question.ci95
    assert choices().benchmark is None


def test_a_benchmark_leaves_out_what_could_not_be_asked_and_what_has_no_task() -> None:
    lost = Prediction(question_id="6", reply="", chosen=None, gold=("A",), observer=None, status=Status.DECODE_ERROR)
    questions = [*CHOICES, a_choice("6", facets={"task": "speed"}), a_choice("7", group="c")]
    replies = [*REPLIES, lost, reply(questions[-1], "B")]
    found = metrics.summarize(questions, replies, NO_LABELS, OVER_TASKS)
    assert found.benchmark is not None
    assert found.benchmark.value == pytest.approx(7 / 12)
    assert found.all.n_decode_error == found.by_facet["task"]["speed"].n_decode_error == 1
    nothing = metrics.summarize([], [], NO_LABELS, OVER_TASKS).benchmark
    assert nothing is not None
    assert (nothing.value, nothing.ci95) == (None, None)


def test_chance_of_single_choices_is_one_of_n() -> None:
    found = metrics.chance(CHOICES, NO_LABELS, OVER_TASKS)
    assert found.all.per_question == Estimate(pytest.approx(1.45 / 5), None, None)
    assert found.all.soft == found.all.per_question
    # Of n options the guess is right in all if it is right, else in all but two: (1/n) n + (1 - 1/n) (n - 2).
    right = [4 / 4 + 3 / 4 * 2, 4 / 4 + 3 / 4 * 2, 2 / 2 + 0, 5 / 5 + 4 / 5 * 3, 4 / 4 + 3 / 4 * 2]
    assert found.all.per_option.value == pytest.approx(sum(right) / 19)
    assert found.by_letter["A"].chosen.value == pytest.approx(1.45 / 5)
    assert found.by_letter["E"].per_option.value == pytest.approx(4 / 5)  # left by four guesses of five, as it should be
    assert found.benchmark is not None
    assert found.benchmark.value == pytest.approx((1 / 3 + 0.225) / 2)
    assert found.benchmark.ci95 is None


def test_forms_are_a_breakdown_where_there_are_several() -> None:
    questions = [*CHOICES, a_choice("6", gold="AB", form=Form.LETTERS)]
    found = metrics.summarize(questions, [*REPLIES, reply(questions[-1], "A")], NO_LABELS)
    assert {form: pool.n_questions for form, pool in found.by_facet["form"].items()} == {"choice": 5, "letters": 1}
    assert found.by_facet["form"]["letters"].soft.value == pytest.approx(1 / 2)
    assert found.all.chance == pytest.approx((1.45 + 1 / 16) / 6)
    assert "form" not in choices().by_facet


def test_checkpoints_are_compared_without_labels() -> None:
    better = [reply(question, question.gold[0]) for question in CHOICES]
    both = Answers("before", CHOICES, REPLIES, NO_LABELS), Answers("after", CHOICES, better, NO_LABELS)
    rows = {row.measure: row for row in compare(both)}
    assert (rows["all"].n_questions, rows["all"].n_gained, rows["all"].n_lost) == (5, 2, 0)
    assert rows["all"].difference.value == pytest.approx(2 / 5)
    for measure in ("observational", "inferential", "gap", "shortcut_reliance"):
        assert (rows[measure].difference, rows[measure].p_value) == (NOTHING, None)


# ---- labels of two observers: some questions have labels by both, some by one of them, and one by neither ----

ASKED = questions_of(
    a_question(key, gold=gold) for key, gold in {"0:0": "A", "0:1": "A", "1:0": "B", "1:1": "B", "1:2": "D"}.items()
)


def labelled(observer: str, rule: str, rows: Mapping[str, tuple[Category, str | None]]) -> LabelSet:
    """Labels by question id; the observer's answer None: it gave none that could be read."""
    found = {
        key: Label(question_id=key, observer=observer, rule=rule, category=kind, answer=None if said is None else tuple(said))
        for key, (kind, said) in rows.items()
    }
    return LabelSet(observer, rule, found)


LOG = labelled("log", "oracle", {"0:0": (OBS, "A"), "0:1": (INF, "B"), "1:1": (INF, "C")})
OTHER = labelled("other", "oracle", {"0:0": (INF, "B"), "0:1": (OBS, "A"), "1:0": (INF, "C")})
ANSWERED = [reply(question, chosen) for question, chosen in zip(ASKED, ("B", "B", "D", "C", "D"), strict=True)]
"""As other says, as the log says, as nobody says, as the log says, right."""


def test_two_observers_side_by_side_are_each_held_against_their_own_answers() -> None:
    found = metrics.summarize(ASKED, ANSWERED, Labels([LOG, OTHER], LOG))
    assert list(found.by_rule) == ["oracle", "other/oracle"]
    log, other = found.by_rule["oracle"], found.by_rule["other/oracle"]
    for each, n_seen, n_needed in ((log, 1, 2), (other, 1, 2)):
        assert each.all.n_questions == 5  # questions without a label are asked all the same
        assert (each.observational.n_questions, each.inferential.n_questions) == (n_seen, n_needed)
    assert log.shortcut_reliance.value == 1  # B on 0:1 and C on 1:1
    assert other.shortcut_reliance.value == 1 / 2  # B on 0:0, but D and not C on 1:0
    assert log.shortcut_reliance.chance == other.shortcut_reliance.chance == 1 / 16
    assert log.shortcut_error_share.value == 1
    assert other.shortcut_error_share.value == 3 / 4  # A and B on 0:0; of B and D on 1:0 the observer is wrong in B too
    assert log.shortcut_error_share.chance == other.shortcut_error_share.chance == 1 / 2  # 2 of 4 options everywhere
    for name, each in found.by_rule.items():
        assert found.by_facet[name] == {"observational": each.observational, "inferential": each.inferential}


def test_the_own_labels_fill_the_top() -> None:
    labels = Labels([LOG, OTHER], LOG)
    for name in ("oracle", "other/oracle"):
        found = metrics.summarize(ASKED, ANSWERED, labels.under(name))
        assert found.rule == name
        assert found.inferential == found.by_rule[name].inferential
        assert found.shortcut_reliance == found.by_rule[name].shortcut_reliance
    assert metrics.summarize(ASKED, ANSWERED, Labels([LOG, OTHER], None)).shortcut_reliance.value is None


def test_a_question_without_a_label_is_in_neither_category() -> None:
    found = metrics.summarize(ASKED[-1:], ANSWERED[-1:], Labels([LOG], LOG))
    assert (found.all.n_questions, found.observational.n_questions, found.inferential.n_questions) == (1, 0, 0)
    assert found.rule == "oracle"
    assert found.gap == NOTHING


def test_an_observer_who_could_not_be_read_is_relied_on_by_nobody() -> None:
    silent = labelled("other", "oracle", {"0:0": (INF, "B"), "1:2": (INF, None)})
    found = metrics.summarize(ASKED, ANSWERED, Labels([silent], silent))
    assert found.inferential.n_questions == 2
    assert found.shortcut_reliance.value == 1  # of the one whose observer's answer is known
    assert found.shortcut_error_share.value == 1


def test_rules_of_one_observer_may_label_different_questions() -> None:
    some = labelled("other", "some", {"0:1": (OBS, "A")})
    found = metrics.summarize(ASKED, ANSWERED, Labels([some, OTHER], None))
    assert found.by_rule["other/oracle"].shortcut_reliance.value == 1 / 2
    assert metrics.chance(ASKED, Labels([some, OTHER], None)).by_rule["other/oracle"].shortcut_reliance.value == 1 / 16


def test_chance_is_held_against_each_observer() -> None:
    """A guess is the observer's answer in 1 of 16; of its wrong options half fall where the observer is wrong."""
    found = metrics.chance(ASKED, Labels([LOG, OTHER], LOG))
    for each in found.by_rule.values():
        assert each.shortcut_reliance == AgainstChance(1 / 16, None, None, 1 / 16)
        assert each.shortcut_error_share == AgainstChance(1 / 2, None, None, 1 / 2)


def test_a_guess_of_a_single_choice_against_an_observer_by_hand() -> None:
    """Gold A of four, the observer says B: a guess is B in 1 of 4; of B it shares both wrong options, of C and D the one in A.
    So 2 + 1 + 1 of the 2 + 2 + 2 wrong options are the observer's."""
    question = a_choice("1", gold="A")
    labels = labelled("still", "oracle", {"1": (INF, "B")})
    found = metrics.chance([question], Labels([labels], labels))
    assert found.shortcut_reliance.value == 1 / 4
    assert found.shortcut_error_share.value == pytest.approx(4 / 6)


def test_comparisons_follow_the_own_observer() -> None:
    changed = [reply(ASKED[0], "A"), *ANSWERED[1:]]  # 0:0: right where it answered as other does
    for own, gained, lost in ((LOG, 0, 0), (OTHER, 0, 1)):
        labels = Labels([LOG, OTHER], own)
        rows = {
            row.measure: row for row in compare([Answers("a", ASKED, ANSWERED, labels), Answers("b", ASKED, changed, labels)])
        }
        assert rows["shortcut_reliance"].n_questions == 2
        assert (rows["shortcut_reliance"].n_gained, rows["shortcut_reliance"].n_lost) == (gained, lost)


def test_the_collision_logs_rules_keep_their_plain_names() -> None:
    asked = [a_question("0:0")]
    found = metrics.summarize(questions_of(asked), [a_prediction(asked[0], "A")], labels_of(asked))
    assert set(found.by_facet) == {"polarity", "any-option", "correct-option", "oracle"}
