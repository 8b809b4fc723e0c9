"""Lessons in further forms say what `answers` renders and reads: twins, answers given twice, and answers at once."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pretrain.school import School
from pretrain.small import SMALL
from pretrain.test_lessons import replies_of
from typer.testing import CliRunner

from videothinker import answers, store
from videothinker.answers.twice import FALLBACK
from videothinker.cli import app
from videothinker.errors import VtError
from videothinker.models.chat import chat
from videothinker.pretrain import examine, forms, lessons
from videothinker.pretrain.course import choose
from videothinker.pretrain.record import CurvePoint
from videothinker.pretrain.scenes import N_FORMS, TWICE, Scenes
from videothinker.pretrain.settings import FormSettings, PretrainConfig, load_pretraining
from videothinker.pretrain.variants import as_they_are, at_random
from videothinker.pretrain.vocabulary import form_ids
from videothinker.records import Form
from videothinker.records.training import METRICS, RUN
from videothinker.twin import twin
from videothinker.world.stream import StreamScene, stream

CONFIGS = Path(__file__).parents[2] / "configs"
_SETS = answers.FORMS[Form.LETTERS]


@pytest.fixture(scope="module")
def asked(school: School) -> Scenes:
    """The first four scenes of the school, asked about in all forms."""
    return school.source._replace(in_forms=True).read(range(4))


@pytest.fixture(scope="module")
def course(school: School) -> forms.FormCourse:
    return forms.FormCourse(2, 3, 1, 0.5, 0.2, 0.7, form_ids(school.processor.tokenizer))


def worlds(school: School) -> list[StreamScene]:
    return list(stream(school.source.seed, school.source.preset, n_scenes=4))


def test_asking_in_forms_leaves_the_usual_questions_as_they_are(school: School, asked: Scenes) -> None:
    plain = school.scenes.take(slice(4))
    assert plain.form_lengths.shape == (4, school.source.n_questions, 0)
    for name in Scenes._fields[:-2]:
        np.testing.assert_array_equal(getattr(asked, name), getattr(plain, name))


def test_prompts_are_those_that_a_run_asks_with(school: School, asked: Scenes) -> None:
    tokenizer = school.processor.tokenizer
    n = 0
    for row, scene in enumerate(worlds(school)):
        for q, meaning in enumerate(scene.counterfactuals):
            question = scene.questions[meaning.question_id]
            assert question.choices is not None
            options = [choice.choice for choice in question.choices]
            factual = twin(question.question, options).text
            assert factual is not None
            assert "if" not in factual.split()
            texts = (
                answers.render_prompt(factual, options, answers.Style.COT),
                answers.render_prompt(question.question, options, answers.Style.TWICE),
                answers.render_prompt(question.question, options, answers.Style.DIRECT),
            )
            for form, text in enumerate(texts):
                full = tokenizer(chat(school.processor, text))["input_ids"]
                expected = full[full.index(school.processor.video_token_id) + 1 :]
                assert asked.form_prompts[row, q, form, : asked.form_lengths[row, q, form]].tolist() == expected
                n += 1
    assert n >= 3 * 8


def test_twins_are_answered_with_what_is_seen(school: School, asked: Scenes) -> None:
    """Also where an option names the removed object: its collision was seen, and the observer leaves it out."""
    differ = 0
    for row, scene in enumerate(worlds(school)):
        chosen = np.arange(len(scene.traces))[None]
        found = replies_of(forms.twins(as_they_are(asked.take([row])), chosen, school.words))[0]
        for trace, (prompt, reply) in zip(scene.traces, found, strict=True):
            assert "in the video?" in school.processor.tokenizer.decode(prompt)
            seen = tuple(letter for letter, one in zip("ABCD", trace.options, strict=False) if one.in_factual != trace.negated)
            text = f"<think>obs {trace.obs}</think>{_SETS.solution(seen)}"
            assert school.processor.tokenizer.decode(reply) == text + "<|im_end|>"
            named = any(trace.removed_object in one.object_ids and one.in_factual for one in trace.options)
            assert (seen != trace.observer) == named
            differ += named
    assert differ


@pytest.mark.parametrize("first", ["true", "observer", "fallback"])
@pytest.mark.parametrize("counterfactual", [True, False])
def test_answers_given_twice(school: School, asked: Scenes, course: forms.FormCourse, first: str, counterfactual: bool) -> None:
    differ = 0
    for row, scene in enumerate(worlds(school)):
        chosen = np.arange(len(scene.traces))[None]
        yes = np.ones_like(chosen, np.bool_)
        variants = as_they_are(asked.take([row]))
        found = replies_of(
            forms.twice(
                variants,
                chosen,
                yes & (first == "true"),
                yes & (first == "fallback"),
                yes & counterfactual,
                school.words,
                course.ids,
            )
        )[0]
        for trace, (_, reply) in zip(scene.traces, found, strict=True):
            letters = {"true": trace.gold, "observer": trace.observer, "fallback": ()}[first]
            box = FALLBACK if first == "fallback" else ",".join(letters) or "none"
            thought, last = ("cf " + trace.cf, trace.gold) if counterfactual else ("obs " + trace.obs, trace.observer)
            text = rf"\boxed{{{box}}} <think>{thought}</think> \boxed{{{','.join(last) or 'none'}}}"
            assert school.processor.tokenizer.decode(reply) == text + "<|im_end|>"
            assert reply == school.processor.tokenizer(text + "<|im_end|>")["input_ids"]
            assert answers.format_score(text, answers.Style.TWICE) == 1
            read = answers.read_twice(_SETS, text, len(trace.options))
            assert read.second == last
            assert (read.first, read.falls_back) == ((None, True) if first == "fallback" else (letters, False))
            differ += trace.gold != trace.observer
    assert differ  # else the true answer and the observer's could have been mixed up


def test_answers_at_once(school: School, asked: Scenes) -> None:
    scene = worlds(school)[0]
    chosen = np.arange(len(scene.traces))[None]
    for is_true in (True, False):
        lesson = forms.direct(as_they_are(asked.take([0])), chosen, np.full_like(chosen, is_true, np.bool_), school.words)
        for trace, (_, reply) in zip(scene.traces, replies_of(lesson)[0], strict=True):
            text = _SETS.solution(trace.gold if is_true else trace.observer)
            assert school.processor.tokenizer.decode(reply) == text + "<|im_end|>"


def test_shares_are_kept_and_other_lessons_are_drawn_as_without_forms(
    school: School, asked: Scenes, course: forms.FormCourse
) -> None:
    variants = at_random(asked.take(np.repeat(np.arange(4), 100)), np.random.default_rng(0))
    plain = choose(variants, school.words, np.random.default_rng(1), school.course)
    found = choose(variants, school.words, np.random.default_rng(1), school.course._replace(in_forms=course))
    for mine, theirs in zip(found, plain, strict=False):
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    assert [len(lesson.tokens[0]) for lesson in found[len(plain) :]] == [3, 2, 1]
    (twice,) = (lesson for lesson in found[len(plain) :] if len(lesson.tokens[0]) == 3)
    texts = [school.processor.tokenizer.decode(reply) for row in replies_of(twice) for _, reply in row]
    assert len(texts) == 1200
    # Four standard deviations of shares of 1,200 are 4.6 and 5.3 points.
    assert np.mean([FALLBACK in text for text in texts]) == pytest.approx(0.2, abs=0.046)
    assert np.mean(["<think>cf" in text for text in texts]) == pytest.approx(0.7, abs=0.053)
    both = [answers.read_twice(_SETS, text.removesuffix("<|im_end|>"), 4) for text in texts]
    assert 0.1 < np.mean([one.first != one.second for one in both if one.first is not None]) < 0.6


def test_a_tokenizer_that_joins_box_and_answer_is_refused(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    class Joins:
        """Gives a token of its own to a brace with a letter behind it."""

        def __call__(self, text: str, **options: object) -> dict[str, list[int]]:
            ids = school.processor.tokenizer(text, **options)["input_ids"]
            joined = school.processor.tokenizer("{A", add_special_tokens=False)["input_ids"]
            at = next((i for i, pair in enumerate(pairwise(ids)) if [*pair] == joined), None)
            return {"input_ids": ids if at is None else [*ids[:at], 9999, *ids[at + 2 :]]}

    with pytest.raises(ValueError, match="is not made of the tokens of its parts"):
        form_ids(Joins())


def test_scores_in_forms_count_what_was_answered(school: School, asked: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six questions: two fall back, the others say the observer's answer first; the second answer is always true, twins are
    answered with the true answer, as by one who does not hear the difference, and directly always "none"."""
    scenes = asked.take([0, 1, 2])
    gold, observer = (values[:, :2].reshape(6, 4) for values in (scenes.gold, scenes.observer))
    assert (scenes.lengths[:, :2] > 0).all()

    def letters(options: np.ndarray) -> str:
        return ",".join(np.array(list("ABCD"))[options]) or "none"

    def reply(_: object, __: object, prompts: list[list[int]], begun: list[list[int]], *___: object) -> list[str]:
        assert len(prompts) == len(begun) == 6 * (3 + N_FORMS)
        usual = ["<think>cf x</think><answer>A</answer>"] * 18
        twins = [f"<think>obs x</think><answer>{letters(one)}</answer>" for one in gold]
        first = [FALLBACK if i < 2 else letters(one) for i, one in enumerate(observer)]
        twice = [rf"\boxed{{{a}}} <think>cf x</think> \boxed{{{letters(b)}}}" for a, b in zip(first, gold, strict=True)]
        twice[5] = twice[5].replace("cf x", " ")
        return [*usual, *twins, *twice, *["<answer>none</answer>"] * 6]

    monkeypatch.setattr(examine, "_replies", reply)
    parts = [scenes.take([0]), scenes.take([1, 2])]
    found = examine.examine(school.model, school.processor, parts, school.layout, school.words, n_questions=2, max_new_tokens=4)
    scores = examine.Scores.of(found).forms
    assert scores
    inferential = (gold != observer).any(-1)
    hit = (gold == scenes.shown[:, :2].reshape(6, 4)).all(-1)
    assert 0 < inferential[2:].sum() < 4
    assert scores.twin == pytest.approx(hit.mean())
    assert scores.twin_inferential == pytest.approx(hit[inferential].mean())
    assert scores.first == pytest.approx((~inferential[2:]).mean())
    assert (scores.first_inferential, scores.first_observed) == (0, 1)
    assert (scores.second, scores.second_inferential) == (1, 1)
    assert (scores.falls_back, scores.well_laid_out) == pytest.approx((2 / 6, 5 / 6))
    assert scores.direct == pytest.approx((~gold.any(-1)).mean())
    no_forms = examine._form_marks([], examine._Truth(gold, observer, gold))
    without = examine.Scores.of([one._replace(forms=no_forms) for one in found])
    assert without.forms is msgspec.UNSET
    assert "forms" not in msgspec.to_builtins(without)


def test_lessons_that_do_not_exist_are_not_made(school: School, asked: Scenes, course: forms.FormCourse) -> None:
    none = asked._replace(form_lengths=np.zeros_like(asked.form_lengths))
    for lesson in forms.choose(as_they_are(none), school.words, np.random.default_rng(0), course):
        assert isinstance(lesson, lessons.Lessons)
        assert not lesson.there.any()
    assert asked.form_lengths[..., TWICE].min() > 150


SMALL_FORMS = (
    SMALL.replace("length = 448", "length = 1152").replace("steps = 6", "steps = 2")
    + """
[forms]
n_twins = 1
n_twice = 1
n_direct = 1
"""
)


def test_a_run_in_forms_resumes_and_says_how_it_did_in_each(tmp_path: Path) -> None:
    """The command of docs/pretraining.md from end to end: from a fresh model, resumed, and from the weights that it left."""
    file = tmp_path / "forms.toml"
    file.write_text(SMALL_FORMS)
    out = tmp_path / "run"
    command = ["pretrain", "--config", str(file), "--out", str(out)]
    stopped = CliRunner().invoke(app, [*command, "--max-minutes", "0"])
    assert "stopped at step 0 of 2" in stopped.output
    finished = CliRunner().invoke(app, command)
    assert finished.exit_code == 0, finished.output
    assert "twin 0.0% twice 0.0% then 0.0% (laid out 0.0%" in finished.output
    (point,) = store.read_jsonl(out / METRICS, CurvePoint)
    assert point.unseen
    assert point.unseen.forms == examine.FormScores(**dict.fromkeys(examine.FormScores.__struct_fields__, 0.0))
    assert "| twice, second answer | 0.0 | 0.0 |" in (out / "README.md").read_text()
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, VtError)
    assert "finished; choose another --out" in str(again.exception)
    other = [*command[:-1], str(tmp_path / "other"), "--model", str(out), "--set", "optimizer.steps=1"]
    onward = CliRunner().invoke(app, [*other, "--set", "world.first_scene=48"])
    assert onward.exit_code == 0, onward.output
    assert store.read_json(tmp_path / "other" / RUN, dict)["settings"]["forms"]["n_twice"] == 1


def test_without_the_section_nothing_is_written_about_forms() -> None:
    assert "forms" not in msgspec.to_builtins(PretrainConfig())
    config = load_pretraining(CONFIGS / "tiny-sft.toml", ["forms.n_twice=4"])
    assert config.forms == FormSettings(n_twice=4)
