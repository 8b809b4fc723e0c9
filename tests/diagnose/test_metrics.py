"""Every number of metrics.json against a calculation by hand, the textbook formula or a bootstrap."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from answered import INF, OBS, PREDICTIONS, QUESTIONS, summarize
from curated_factory import a_prediction, a_question, labels_of, questions_of, random_questions

from videothinker.answers import FORMS, LETTERS, is_exact
from videothinker.answers.form import n_options_right
from videothinker.curate.datasets.clevrer.labelled import Labelled
from videothinker.curated import Labels
from videothinker.diagnose import metrics
from videothinker.diagnose.grading import beside, grade
from videothinker.records import DECIDED, Category, Estimate, Form, Label, LabelSet, Metrics, Prediction, Rule, Status

soft = FORMS[Form.LETTERS].soft


def summary() -> Metrics:
    return summarize(QUESTIONS, PREDICTIONS)


def test_counts_and_shares_by_hand() -> None:
    found = summary()
    everything = found.all
    assert (everything.n_questions, everything.n_options, everything.n_scenes) == (6, 21, 3)
    assert (everything.n_unparsed, everything.n_truncated, everything.n_decode_error) == (1, 1, 0)
    assert everything.per_question.value == pytest.approx(2 / 6)
    assert everything.per_option.value == pytest.approx((4 + 3 + 0 + 2 + 1 + 4) / 21)
    assert everything.soft.value == pytest.approx((1 + 1 / 2 + 0 + 0 + 1 / 3 + 1) / 6)
    assert everything.chance == pytest.approx((4 / 16 + 1 / 4 + 1 / 8) / 6)
    assert found.observational.per_question.value == pytest.approx(1 / 3)
    assert found.inferential.per_question.value == pytest.approx(1 / 3)
    assert found.gap.value == pytest.approx(0)


def test_standard_errors_by_hand() -> None:
    found = summary()
    # Exact per question is 1 0 | 0 0 | 0 1 by scene, mean 1/3: residuals sum to 1/3, -2/3, 1/3.
    stderr = math.sqrt(3 / 2 * (1 / 9 + 4 / 9 + 1 / 9)) / 6
    assert found.all.per_question.stderr == pytest.approx(stderr)
    # stderr^2 = 1/36; one scene more that is right 2/3 / 3 = 2/9. Effective questions (2/9 + 3 * 4/81) / (1/36 + 4/81) =
    # (120/324) / (25/324) = 4.8. t(2)^2 = 18.5132: middle (1/3 + 18.5132 / 9.6) / (1 + 18.5132 / 4.8) = 0.465684, reach
    # 4.3027 / 4.856917 * sqrt(2/9 / 4.8 + 18.5132 / (4 * 4.8^2)) = 0.885891 * 0.497169 = 0.440438.
    assert found.all.per_question.ci95 == pytest.approx((0.465684 - 0.440438, 0.465684 + 0.440438), abs=1e-5)
    # Observational: scenes 0 and 1 with residual sums 1/3 and -1/3, over 3 questions.
    assert found.observational.per_question.stderr == pytest.approx(math.sqrt(2 * (2 / 9)) / 3)
    # Gap: scene 0 has 1/3 of 3 from observational; scene 1 has -1/3 there and -1/3 in inferential, which cancel; scene 2 1/3.
    assert found.gap.stderr == pytest.approx(math.sqrt(3 / 2 * (1 / 81 + 0 + 1 / 81)))
    # Per option: 14 of 21 right. Residual sums by scene: 7 - 8 * 2/3, 2 - 6 * 2/3, 5 - 7 * 2/3.
    residuals = [7 - 16 / 3, 2 - 4, 5 - 14 / 3]
    assert found.all.per_option.stderr == pytest.approx(math.sqrt(3 / 2 * sum(r * r for r in residuals)) / 21)


def test_shortcut_by_hand() -> None:
    found = summary()
    # One of three inferential answers is the observer's; a random set is with 1/16, 1/8 and 1/16.
    assert found.shortcut_reliance.value == pytest.approx(1 / 3)
    assert found.shortcut_reliance.chance == pytest.approx((1 / 16 + 1 / 8 + 1 / 16) / 3)
    # Wrong options: 2 on 1:1 (both the observer's), 2 on 2:0 (one the observer's), 0 on 2:1.
    assert found.shortcut_error_share.value == pytest.approx(3 / 4)
    # Spread evenly: 2 * 2/4 on 1:1 and 2 * 1/3 on 2:0 would fall on the observer's wrong options.
    assert found.shortcut_error_share.chance == pytest.approx((2 * 2 / 4 + 2 * 1 / 3) / 4)


def test_an_unreadable_reply_is_wrong_in_every_option_and_never_the_observers_way() -> None:
    questions = [a_question("0:0", gold="A", observer="BCD"), a_question("1:0", gold="A", observer="B")]
    found = summarize(questions, [a_prediction(questions[0], None), a_prediction(questions[1], "B")])
    assert found.shortcut_error_share.value == pytest.approx((0 + 2) / (4 + 2))
    assert found.shortcut_error_share.chance == pytest.approx((0 + 2 * 2 / 4) / (4 + 2))
    assert found.shortcut_reliance.value == pytest.approx(1 / 2)


def test_categories_follow_each_rule() -> None:
    found = summary()
    assert found.by_rule[Rule.ORACLE].observational == found.observational
    any_option = found.by_rule[Rule.ANY_OPTION]
    assert (any_option.observational.n_questions, any_option.inferential.n_questions) == (4, 2)
    assert any_option.inferential.per_question.value == pytest.approx(1 / 2)
    assert found.by_rule[Rule.CORRECT_OPTION].inferential.n_questions == 0
    assert summarize(QUESTIONS, PREDICTIONS, Rule.ANY_OPTION).gap == any_option.gap


def test_unsure_is_a_pool_of_its_own_and_in_no_contrast() -> None:
    """Four questions of a scene each: a right and a wrong one observational, a right one unsure, a wrong one unlabelled."""
    asked = [a_question(f"{i}:0", gold="A") for i in range(4)]
    given = [a_prediction(one, chosen) for one, chosen in zip(asked, "ABAB", strict=True)]
    kinds = [Category.OBSERVATIONAL, Category.OBSERVATIONAL, Category.UNSURE]
    probe = LabelSet(
        "probe",
        "twin",
        {
            one.question.question_id: Label(
                question_id=one.question.question_id, observer="probe", rule="twin", category=kind, answer=None
            )
            for one, kind in zip(asked, kinds, strict=False)
        },
    )
    found = metrics.summarize(questions_of(asked), given, Labels([probe], probe))
    assert (found.all.n_questions, found.observational.n_questions, found.inferential.n_questions) == (4, 2, 0)
    assert found.unsure is not None
    assert (found.unsure.n_questions, found.unsure.per_question.value) == (1, 1.0)
    assert found.gap.value is None
    assert {name: pool.n_questions for name, pool in found.by_facet["probe/twin"].items()} == {
        "observational": 2,
        "inferential": 0,
        "unsure": 1,
    }
    decided = metrics.summarize(questions_of(asked), given, labels_of(asked))
    assert decided.unsure is None
    assert "unsure" not in decided.by_facet["oracle"]


def test_breakdowns_by_hand() -> None:
    found = summary()
    assert {n: pool.n_questions for n, pool in found.by_n_options.items()} == {2: 1, 3: 1, 4: 4}
    assert {n: pool.n_questions for n, pool in found.by_n_correct.items()} == {0: 1, 1: 3, 2: 1, 3: 1}
    assert {form: pool.n_questions for form, pool in found.by_polarity.items()} == {"will": 5, "will not": 1}
    first, last = found.by_letter["A"], found.by_letter["D"]
    assert (first.n_options, last.n_options) == (6, 4)
    assert first.chosen.value == pytest.approx(2 / 6)  # 0:0 and 0:1
    assert first.correct == pytest.approx(4 / 6)
    assert first.per_option.value == pytest.approx(3 / 6)  # right on 0:0, 0:1 and 2:1; 1:0 could not be read
    assert last.per_option.value == pytest.approx(4 / 4)


def test_letters_add_up_to_options() -> None:
    questions = random_questions(range(20), seed=3)
    found = summarize(questions, random_predictions(questions, seed=4))
    right = sum((score.per_option.value or 0) * score.n_options for score in found.by_letter.values())
    assert right == pytest.approx((found.all.per_option.value or 0) * found.all.n_options)


def test_decode_errors_leave_every_denominator() -> None:
    extra = a_question("9:0", gold="A", observer="B")
    with_error = summarize([*QUESTIONS, extra], [*PREDICTIONS, a_prediction(extra, None, Status.DECODE_ERROR)])
    without = summary()
    assert (with_error.all.n_decode_error, with_error.inferential.n_decode_error) == (1, 1)
    assert with_error.observational == without.observational
    assert msgspec.structs.replace(with_error.all, n_decode_error=0) == without.all
    assert with_error.shortcut_error_share == without.shortcut_error_share
    assert with_error.by_letter == without.by_letter


def test_over_nothing_every_share_is_none_and_one_scene_has_no_interval() -> None:
    empty = summarize([], [])
    assert empty.all.per_question == Estimate(None, None, None)
    assert empty.gap == Estimate(None, None, None)
    assert empty.shortcut_error_share.chance is None
    assert empty.by_letter == {}
    one = summarize(QUESTIONS[:2], PREDICTIONS[:2])
    assert one.all.per_question == Estimate(0.5, None, None)
    assert one.inferential.per_question == Estimate(None, None, None)
    assert one.gap == Estimate(None, None, None)
    right = summarize(QUESTIONS[3:4], [a_prediction(QUESTIONS[3], "A")])
    assert right.shortcut_error_share.value is None  # no wrong option, so nothing to share


def test_predictions_of_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of the questions"):
        summarize(QUESTIONS, PREDICTIONS[::-1])


def test_the_file_has_the_contracts_fields_and_reads_back() -> None:
    found = summary()
    written = msgspec.json.encode(found)
    assert msgspec.json.decode(written, type=Metrics) == found
    raw = msgspec.json.decode(written)
    pool = {"n_questions", "n_options", "n_scenes", "n_unparsed", "n_decode_error", "per_question", "per_option", "soft"}
    for place in (raw, *raw["by_rule"].values()):
        for kind in ("all", "observational", "inferential"):
            assert pool <= set(place[kind])
            assert set(place[kind]["soft"]) == {"value", "stderr", "ci95"}
    assert set(raw["by_rule"]) == {"any-option", "correct-option", "oracle"}
    assert set(raw["shortcut_error_share"]) == {"value", "stderr", "ci95", "chance"}


# ---- the fast formulas against slow ones ----


def random_predictions(questions: list[Labelled], seed: int) -> list[Prediction]:
    """Answers that go wrong scene by scene, some unreadable."""
    rng = np.random.default_rng(seed)
    skill = {question.scene_index: rng.random() for question in questions}
    found = []
    for one in questions:
        chosen: str | None = "".join(one.question.gold)
        if rng.random() > skill[one.scene_index]:
            chosen = "".join(letter for letter in LETTERS[: len(one.question.options)] if rng.random() < 0.5)
        found.append(a_prediction(one, None if rng.random() < 0.05 else chosen))
    return found


def textbook_stderr(residuals: list[tuple[int, float]], n: float) -> float:
    """Liang and Zeger, as written: every pair of observations of one cluster."""
    total = sum(a * b for scene, a in residuals for other, b in residuals if scene == other)
    n_clusters = len({scene for scene, _ in residuals})
    return math.sqrt(n_clusters / (n_clusters - 1) * total) / n


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_formula_is_the_textbooks(seed: int) -> None:
    questions = random_questions(range(12), seed=seed)
    predictions = random_predictions(questions, seed)
    found = summarize(questions, predictions)
    exact = [
        (q.scene_index, float(is_exact(p.chosen, p.gold)), q.category(Rule.ORACLE))
        for q, p in zip(questions, predictions, strict=True)
    ]
    mean = sum(x for _, x, _ in exact) / len(exact)
    assert found.all.per_question.stderr == pytest.approx(textbook_stderr([(g, x - mean) for g, x, _ in exact], len(exact)))
    # The gap is a mean of contrast weights: + 1/n_obs and - 1/n_inf.
    n = {kind: sum(1 for _, _, k in exact if k is kind) for kind in DECIDED}
    means = {kind: sum(x for _, x, k in exact if k is kind) / n[kind] for kind in DECIDED}
    sign = {OBS: 1, INF: -1}
    contrast = [(g, sign[k] * (x - means[k]) / n[k]) for g, x, k in exact]
    assert found.gap.value == pytest.approx(means[OBS] - means[INF])
    assert found.gap.stderr == pytest.approx(textbook_stderr(contrast, 1))


def slow_ratio(rows: list[tuple[int, float, float]]) -> tuple[float | None, float | None]:
    """Value and standard error of a share from (scene, numerator, denominator), term by term."""
    total = sum(w for _, _, w in rows)
    if not total:
        return None, None
    value = sum(y for _, y, _ in rows) / total
    if len({scene for scene, _, w in rows if w}) < 2:
        return value, None
    return value, textbook_stderr([(scene, y - value * w) for scene, y, w in rows if w], total)


@pytest.mark.parametrize("seed", range(4))
def test_every_pool_under_every_rule_is_what_a_slow_count_says(seed: int) -> None:
    questions = random_questions(range(9), per_scene=5, seed=seed)
    predictions = random_predictions(questions, seed)
    predictions[3] = a_prediction(questions[3], None, Status.DECODE_ERROR)
    found = summarize(questions, predictions)
    for rule in Rule:
        for name in ("all", "observational", "inferential"):
            pool = getattr(found.by_rule[rule], name)
            inside = [(q, p) for q, p in zip(questions, predictions, strict=True) if name in ("all", q.category(rule))]
            asked = [(q, p) for q, p in inside if p.status is not Status.DECODE_ERROR]
            assert pool.n_questions == len(asked)
            assert pool.n_decode_error == len(inside) - len(asked)
            assert pool.n_options == sum(len(q.question.options) for q, _ in asked)
            assert pool.n_scenes == len({q.scene_index for q, _ in asked})
            assert pool.n_unparsed == sum(p.chosen is None for _, p in asked)
            rows: dict[str, list[tuple[int, float, float]]] = {"per_question": [], "per_option": [], "soft": []}
            for q, p in asked:
                said = [None if p.chosen is None else letter in p.chosen for letter in LETTERS[: len(q.question.options)]]
                right = sum(s is (letter in q.question.gold) for s, letter in zip(said, LETTERS, strict=False))
                rows["per_question"].append((q.scene_index, float(right == len(q.question.options)), 1))
                rows["per_option"].append((q.scene_index, right, len(q.question.options)))
                rows["soft"].append((q.scene_index, soft(p.chosen, q.question.gold), 1))
            for score, terms in rows.items():
                estimate = getattr(pool, score)
                assert (estimate.value, estimate.stderr) == pytest.approx(slow_ratio(terms)), (rule, name, score)


@pytest.mark.parametrize("seed", range(4))
def test_the_shortcut_is_what_a_slow_count_says(seed: int) -> None:
    questions = random_questions(range(9), per_scene=5, seed=seed)
    predictions = random_predictions(questions, seed)
    found = summarize(questions, predictions)
    same, errors, by_accident, n_wrong = [], [], 0.0, 0
    for q, p in zip(questions, predictions, strict=True):
        if q.category(Rule.ORACLE) is INF:
            letters = LETTERS[: len(q.question.options)]
            observer_wrong = [letter for letter in letters if (letter in q.observer) != (letter in q.question.gold)]
            wrong = [letter for letter in letters if p.chosen is None or (letter in p.chosen) != (letter in q.question.gold)]
            alike = [] if p.chosen is None else [letter for letter in wrong if letter in observer_wrong]
            same.append((q.scene_index, float(p.chosen == q.observer), 1.0))
            errors.append((q.scene_index, float(len(alike)), float(len(wrong))))
            n_wrong += len(wrong)
            by_accident += 0 if p.chosen is None else len(wrong) * len(observer_wrong) / len(letters)
    reliance, share = found.shortcut_reliance, found.shortcut_error_share
    assert (reliance.value, reliance.stderr) == pytest.approx(slow_ratio(same))
    assert (share.value, share.stderr) == pytest.approx(slow_ratio(errors))
    assert share.chance == pytest.approx(by_accident / n_wrong)


def test_the_intervals_are_those_of_a_bootstrap_over_scenes() -> None:
    questions = random_questions(range(150), per_scene=4, seed=5)
    predictions = random_predictions(questions, seed=6)
    found = summarize(questions, predictions)
    graded = grade(questions_of(questions), predictions)
    (oracle,) = [labels for labels in labels_of(questions).sets if labels.rule == Rule.ORACLE]
    wrong_like_observer = beside(questions_of(questions), predictions, oracle).wrong_like
    observational = np.array([question.category(Rule.ORACLE) is OBS for question in questions])
    wrong = (graded.n_options - graded.right) * ~observational
    n_scenes = int(graded.group.max()) + 1

    def by_scene(values: Any) -> Any:
        return np.bincount(graded.group, weights=values)

    draws = np.random.default_rng(7).multinomial(n_scenes, np.full(n_scenes, 1 / n_scenes), size=4000)
    drawn = {
        "per_question": draws @ by_scene(graded.exact) / (draws @ by_scene(np.ones(len(questions)))),
        "per_option": draws @ by_scene(graded.right) / (draws @ by_scene(graded.n_options)),
        "gap": draws @ by_scene(graded.exact * observational) / (draws @ by_scene(observational))
        - draws @ by_scene(graded.exact * ~observational) / (draws @ by_scene(~observational)),
        "shortcut_error_share": draws @ by_scene(wrong_like_observer * ~observational) / (draws @ by_scene(wrong)),
    }
    computed = {
        "per_question": found.all.per_question,
        "per_option": found.all.per_option,
        "gap": found.gap,
        "shortcut_error_share": found.shortcut_error_share,
    }
    for name, values in drawn.items():
        assert computed[name].stderr == pytest.approx(values.std(), rel=0.06), name  # 4,000 draws: 1 % of their own noise


def test_clustering_matters_when_a_scene_fails_together() -> None:
    questions = [a_question(f"{scene}:{qid}") for scene in range(10) for qid in range(8)]
    predictions = [a_prediction(question, "A" if question.scene_index % 2 else "B") for question in questions]
    stderr = summarize(questions, predictions).all.per_question.stderr
    naive = math.sqrt(0.25 / 80)
    assert stderr == pytest.approx(math.sqrt(10 / 9 * 10 * 4**2) / 80)
    assert stderr is not None
    assert stderr > 2.5 * naive


# ---- chance ----


def test_chance_is_the_mean_over_every_set_of_letters() -> None:
    expected: dict[str, list[float]] = {"exact": [], "soft": [], "options": [], "observer": []}
    wrong, alike = 0.0, 0.0
    for one in QUESTIONS:
        n, gold = len(one.question.options), one.question.gold
        sets = [tuple(letter for i, letter in enumerate(LETTERS[:n]) if bits >> i & 1) for bits in range(2**n)]
        expected["exact"].append(sum(is_exact(s, gold) for s in sets) / len(sets))
        expected["soft"].append(sum(soft(s, gold) for s in sets) / len(sets))
        expected["options"].append(sum(n_options_right(s, gold, n) for s in sets) / len(sets))
        if one.category(Rule.ORACLE) is INF:
            expected["observer"].append(sum(is_exact(s, one.observer) for s in sets) / len(sets))
            differ = [set(s) ^ set(gold) for s in sets]
            wrong += sum(map(len, differ)) / len(sets)
            alike += sum(len(d & (set(one.observer) ^ set(gold))) for d in differ) / len(sets)
    found = metrics.chance(questions_of(QUESTIONS), labels_of(QUESTIONS))
    assert found.all.per_question == Estimate(pytest.approx(np.mean(expected["exact"])), None, None)
    assert found.all.soft.value == pytest.approx(np.mean(expected["soft"]))
    assert found.all.per_option.value == pytest.approx(sum(expected["options"]) / 21) == pytest.approx(0.5)
    assert found.all.chance == pytest.approx(found.all.per_question.value)
    assert found.shortcut_reliance.value == pytest.approx(np.mean(expected["observer"]))
    assert found.shortcut_error_share.value == pytest.approx(alike / wrong)
    assert found.shortcut_error_share.value == pytest.approx(found.shortcut_error_share.chance)
    assert found.all.n_scenes == 3
