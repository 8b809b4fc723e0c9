"""Lessons as arrays say what the world says in words: prompts, thoughts, answers and tracks, in any colours."""

from itertools import chain
from pathlib import Path
from random import Random

import numpy as np
import pytest
from pretrain.school import School

from videothinker import answers
from videothinker.models.chat import chat
from videothinker.pretrain import lessons
from videothinker.pretrain.course import CHUNK, Material, choose, join, material
from videothinker.pretrain.packing import pack
from videothinker.pretrain.variants import Variants, as_they_are, at_random
from videothinker.pretrain.vocabulary import word_ids
from videothinker.records import Form
from videothinker.world import camera
from videothinker.world.stream import mirror, recolour, stream
from videothinker.world.table import COLORS

_SETS = answers.FORMS[Form.LETTERS]


def replies_of(rows: lessons.Lessons) -> list[list[tuple[list[int], list[int]]]]:
    """For each scene the (prompt, reply) tokens of its lessons."""
    found = []
    for tokens, there, is_reply in zip(*rows, strict=True):
        found.append([(t[x & ~r].tolist(), t[x & r].tolist()) for t, x, r in zip(tokens, there, is_reply, strict=True)])
    return found


def test_recoloured_lessons_are_the_recoloured_worlds(school: School) -> None:
    """Names, the order of two in an event, and the order of events at one frame: all depend on colour."""
    tokenizer = school.processor.tokenizer
    for index, plain in enumerate(stream(school.source.seed, school.source.preset, n_scenes=8)):
        scene = recolour(plain, Random(index))
        new = {old.color: fresh.color for old, fresh in zip(plain.simulation.objects, scene.simulation.objects, strict=True)}
        rest = iter(color for color in COLORS if color not in new.values())
        colors = np.array([[COLORS.index(new.get(color) or next(rest)) for color in COLORS]])
        variants = Variants(school.scenes.take([index]), colors, np.zeros(1, np.bool_))
        n = len(scene.traces)
        for says_cf in (True, False):
            found = replies_of(lessons.questions(variants, np.arange(n)[None], np.full((1, n), says_cf), school.words))[0]
            for trace, meaning, (prompt, reply) in zip(scene.traces, scene.counterfactuals, found, strict=True):
                thought, answer = ("cf " + trace.cf, trace.gold) if says_cf else ("obs " + trace.obs, trace.observer)
                text = f"<think>{thought}</think>{_SETS.solution(answer)}"
                assert tokenizer.decode(reply) == text + "<|im_end|>"
                assert reply == tokenizer(text + "<|im_end|>")["input_ids"]
                assert answers.format_score(text) == 1
                assert _SETS.parse(text, len(trace.options)) == answer
                question = scene.questions[meaning.question_id]
                assert question.choices is not None
                asked = answers.render_prompt(question.question, [c.choice for c in question.choices], answers.Style.COT)
                full = tokenizer(chat(school.processor, asked))["input_ids"]
                assert full[full.index(school.processor.video_token_id) + 1 :] == prompt


def test_tracks_tell_where_a_thing_is_seen(school: School) -> None:
    scene = next(stream(school.source.seed, school.source.preset, n_scenes=1))
    for is_mirrored in (False, True):
        simulation = (mirror(scene) if is_mirrored else scene).simulation
        plain = as_they_are(school.scenes.take([0]))
        variants = plain._replace(mirrored=np.array([is_mirrored]))
        n = len(simulation.objects)
        for without in (-1, 0):
            rollout = simulation.factual if without < 0 else simulation.without[without]
            things = np.arange(without + 1, n)[None]
            found = replies_of(lessons.tracks(variants, things, np.full_like(things, without), school.words))[0]
            for thing, (prompt, reply) in zip(rollout.objects, found, strict=True):
                i = rollout.objects.index(thing)
                spoken = ["at"]
                for location in rollout.location[8::16, i]:
                    column, row, _ = camera.project(location)
                    seen = bool(camera.in_view(location))
                    spoken += [f"{int(column / 480 * 42):02}", f"{int(row / 320 * 28):02}"] if seen else ["out"]
                assert school.processor.tokenizer.decode(reply) == " ".join(spoken) + "<|im_end|>"
                text = school.processor.tokenizer.decode(prompt)
                assert f"Track the {thing.color} {thing.material} {thing.shape}" in text
                assert (" without the " in text) is (without >= 0)
                assert text.endswith(".<|im_end|>\n<|im_start|>assistant\n")


def test_lists_name_what_comes_into_view(school: School) -> None:
    variants = at_random(school.scenes, np.random.default_rng(3))
    names = 0
    for row, found in enumerate(replies_of(lessons.lists(variants, school.words))):
        ((prompt, reply),) = found
        assert "List the objects." in school.processor.tokenizer.decode(prompt)
        rollout = variants.clips().take([row]).rollouts()[0]
        seen = camera.in_view(rollout.location[1::2]).any(0)
        things = [t for t, is_seen in zip(rollout.objects, seen, strict=True) if is_seen]
        things.sort(key=lambda t: COLORS.index(t.color))  # the tokens after a colour are checked as a set
        text = school.processor.tokenizer.decode(reply).removesuffix("<|im_end|>").removeprefix("obs ")
        assert set(text.split(" then ")) == {f"{t.color} {t.material} {t.shape}" for t in things}
        assert [name.split()[0] for name in text.split(" then ")] == [t.color for t in things]
        names += len(things)
    assert names > 20


def test_clips_are_the_mirrored_and_recoloured_roll_outs(school: School) -> None:
    scene = next(stream(school.source.seed, school.source.preset, n_scenes=1))
    colors = np.roll(np.arange(8), 1)[None]
    clip = Variants(school.scenes.take([0]), colors, np.ones(1, np.bool_)).clips().rollouts()[0]
    other = mirror(scene).simulation.factual
    np.testing.assert_array_equal(clip.location, other.location[::8])
    np.testing.assert_array_equal(clip.orientation, other.orientation[::8])
    new = [COLORS[(COLORS.index(thing.color) + 7) % 8] for thing in other.objects]
    assert [thing.color for thing in clip.objects] == new


def test_packing_loses_nothing_that_fits_and_cuts_no_lesson(school: School) -> None:
    rng = np.random.default_rng(0)
    variants = at_random(school.scenes, rng)
    course = school.course._replace(n_questions=8, n_tracks=3)
    parts = choose(variants, school.words, rng, course)
    whole = [list(chain(*several)) for several in zip(*(replies_of(part) for part in parts), strict=True)]
    for length in (512, 2048):
        packed = pack(parts, course.beginning, length, course.pad)
        for row, expected in enumerate(whole):
            numbers = packed.lesson[row]
            start = len(course.beginning)
            assert packed.ids[row, :start].tolist() == course.beginning.tolist()
            kept = 0
            for number, (prompt, reply) in enumerate(expected, start=1):
                at = np.flatnonzero(numbers == number)
                if not len(at):
                    continue
                assert packed.ids[row, at].tolist() == prompt + reply
                assert packed.offset[row, at].tolist() == list(range(len(at)))
                assert np.diff(at).tolist() == [1] * (len(at) - 1)
                assert packed.is_reply[row, at].tolist() == [False] * len(prompt) + [True] * len(reply)
                kept += len(at)
            assert (numbers > 0).sum() == kept
            fits = start + sum(len(p) + len(r) for p, r in expected) <= length
            assert (kept == sum(len(p) + len(r) for p, r in expected)) is fits


def test_the_stream_of_lessons_goes_on_where_it_is_told_and_repeats_itself(school: School) -> None:
    def some(first_scene: int, n: int) -> Material:
        stream = material(school.source, school.course, school.words, first_scene=first_scene, workers=1)
        found = join([next(stream) for _ in range(n)])
        stream.close()
        return found

    both, second = some(0, 2), some(CHUNK, 1)
    for array, later in zip((*both.clips, *both.packed), (*second.clips, *second.packed), strict=True):
        np.testing.assert_array_equal(array[len(later) :], later)
    n_clips = CHUNK * school.course.variants_per_scene
    assert both.packed.ids.shape == (2 * n_clips, school.course.sequences_per_clip, school.course.length)


def test_a_tokenizer_without_the_words_is_refused(tmp_path: Path, school: School) -> None:
    from transformers import AutoProcessor

    from videothinker.models import tiny

    other = AutoProcessor.from_pretrained(tiny.build(tmp_path))
    with pytest.raises(ValueError, match="' 00' is 3 tokens"):
        word_ids(other.tokenizer, school.source.wording)
