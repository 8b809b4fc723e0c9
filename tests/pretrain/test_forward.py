"""The fast path computes what the model computes with its processor's tensors: the silent failure is a model that learns on
other inputs than it is asked with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain.school import School
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.answers import Style
from videothinker.diagnose.feed import QuestionFeed
from videothinker.diagnose.prompts import chats, in_style
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.frames import Clip, clip_indices
from videothinker.models import tiny
from videothinker.models.load import Loaded
from videothinker.pretrain import forward, fresh, lessons, tower
from videothinker.pretrain.course import choose
from videothinker.pretrain.layout import Layout
from videothinker.pretrain.packing import pack
from videothinker.pretrain.settings import PretrainConfig, SceneSettings
from videothinker.pretrain.variants import as_they_are
from videothinker.records import Clip as ClipOf
from videothinker.records import Question
from videothinker.world import draw
from videothinker.world.stream import stream


def pictures(school: School, width: int = 168, height: int = 112) -> torch.Tensor:
    clips = as_they_are(school.scenes).clips()
    frames: torch.Tensor = draw.frames(clips.rollouts(), width=width, height=height, device="cpu")
    return frames


def as_questions(school: School) -> list[Question]:
    """The first question of every scene, as curation would write it."""
    found = []
    for scene in stream(school.source.seed, school.source.preset, n_scenes=8):
        trace, meaning = scene.traces[0], scene.counterfactuals[0]
        question = scene.questions[meaning.question_id]
        assert question.choices is not None
        found.append(
            Question(
                question_id=trace.question_id,
                text=question.question,
                options=tuple(choice.choice for choice in question.choices),
                clip=ClipOf(path="x.mp4"),
                gold=trace.gold,
                group=str(scene.scene_index),
                source="CLEVRER",
            )
        )
    return found


def test_tensors_equal_those_that_diagnose_feeds(school: School) -> None:
    """Pixels, token ids and positions of the whole prompt, against the answerer's own preparation of the same clip."""
    feed = QuestionFeed(Loaded(school.model, school.processor, "school", False), DiagnosisSettings(split="dev"))
    variants = as_they_are(school.scenes)
    found = lessons.questions(variants, np.zeros((8, 1), np.int64), np.ones((8, 1), np.bool_), school.words)
    rows = pack([found], school.layout.beginning, 512, school.course.pad)
    positions = forward.load(rows, school.layout, "cpu").positions
    for i, (frames, question) in enumerate(zip(pictures(school), as_questions(school), strict=True)):
        clip = Clip(frames.permute(0, 2, 3, 1).numpy(), clip_indices(128, 16), 25.0, 128)
        fed = feed.process(chats(school.processor, [question], in_style(Style.COT))[0], feed.show(clip))
        n = fed["input_ids"].shape[1]
        asked = (rows.lesson[i] >= 0) & ~rows.is_reply[i]
        assert np.flatnonzero(asked).tolist() == list(range(n))
        assert rows.ids[i, :n].tolist() == fed["input_ids"][0].tolist()
        torch.testing.assert_close(tower.patches(frames[None], school.processor), fed["pixel_values_videos"], rtol=0, atol=0)
        assert tuple(fed["video_grid_thw"][0].tolist()) == school.layout.grid
        assert float(fed["second_per_grid_ts"][0]) == pytest.approx(school.layout.seconds_per_grid)
        theirs, _ = school.model.model.get_rope_index(
            fed["input_ids"],
            mm_token_type_ids=fed["mm_token_type_ids"],
            video_grid_thw=fed["video_grid_thw"],
            second_per_grid_ts=fed["second_per_grid_ts"],
        )
        assert torch.equal(positions[:, i, :n], theirs[:, 0])


def test_packed_predictions_equal_the_models_own_on_one_lesson_at_a_time(school: School) -> None:
    rng = np.random.default_rng(1)
    variants = as_they_are(school.scenes.take([0, 1]))
    parts = choose(variants, school.words, rng, school.course._replace(n_questions=2, n_tracks=1))
    rows = pack(parts, school.layout.beginning, 640, school.course.pad)
    pixels = tower.patches(pictures(school)[:2], school.processor)
    forward.prepare(school.model, school.layout, flex=False, compiled=False)
    with torch.inference_mode():
        seen = tower.visual_tokens(school.model, pixels, school.layout)
        ours = forward.reply_logits(school.model, seen, forward.load(rows, school.layout, "cpu"), school.layout, flex=False)
        expected = []
        for row, clip in enumerate(pixels.chunk(2)):
            for number in range(1, int(rows.lesson[row].max()) + 1):
                mine = rows.lesson[row] == number
                ids = np.concatenate([school.layout.beginning, rows.ids[row, mine]]).astype(np.int64)
                input_ids = torch.as_tensor(ids)[None]
                logits = school.model(
                    input_ids=input_ids,
                    attention_mask=torch.ones_like(input_ids),
                    mm_token_type_ids=2 * (input_ids == school.model.config.video_token_id).int(),
                    pixel_values_videos=clip,
                    video_grid_thw=torch.tensor([school.layout.grid]),
                    second_per_grid_ts=torch.tensor([0.64]),
                ).logits[0]
                n_reply = int(rows.is_reply[row, mine].sum())
                expected.append(logits[-n_reply - 1 : -1])
    torch.testing.assert_close(ours, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_windows_as_large_as_a_picture_make_one_batch(tmp_path: Path) -> None:
    """The size that is trained in earnest, its patches a matrix product: what transformers computes window by window."""
    folder = tiny.build(tmp_path, size="small")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    layout = Layout.of(model, AutoProcessor.from_pretrained(folder), 168, 112)
    patches = torch.randn(2 * 768, 1176, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = model.model.get_video_features(patches, torch.tensor([[8, 8, 12]] * 2), return_dict=True).pooler_output
        forward.prepare(model, layout, flex=False, compiled=False)
        ours = tower.visual_tokens(model, patches, layout)
    torch.testing.assert_close(ours, torch.stack(list(theirs)), rtol=1e-4, atol=1e-5)


def test_padding_does_not_count(school: School) -> None:
    variants = as_they_are(school.scenes.take([0, 1]))
    parts = choose(variants, school.words, np.random.default_rng(1), school.course._replace(n_questions=2))
    rows = pack(parts, school.layout.beginning, 640, school.course.pad)
    n = int(rows.is_reply.sum())
    forward.prepare(school.model, school.layout, flex=False, compiled=False)
    found = []
    with torch.inference_mode():
        seen = tower.visual_tokens(school.model, tower.patches(pictures(school)[:2], school.processor), school.layout)
        for room in (None, n + 50):
            loaded = forward.load(rows, school.layout, "cpu", room)
            assert len(loaded.before) == len(loaded.targets) == (room or n)
            found.append(forward.loss(school.model, seen, loaded, school.layout, flex=False))
            found.append(forward.loss(school.model, seen, loaded, school.layout, flex=False, reduction="sum") / n)
    torch.testing.assert_close(found, found[:1] * 4)
    with pytest.raises(ValueError, match=f"{n} tokens of replies where {n - 1} have room"):
        forward.load(rows, school.layout, "cpu", n - 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's gradient needs a GPU")
def test_compiled_flex_attention_gives_the_loss_and_gradient_of_the_plain_path(tmp_path: Path, school: School) -> None:
    fresh.build(tmp_path, PretrainConfig(world=SceneSettings(seed=5)))
    variants = as_they_are(school.scenes)
    parts = choose(variants, school.words, np.random.default_rng(1), school.course)
    rows = forward.load(pack(parts, school.layout.beginning, 768, school.course.pad), school.layout, "cuda")
    patches = tower.patches(pictures(school).cuda(), school.processor)
    found = []
    for fast in (False, True):
        model = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).cuda()
        forward.prepare(model, school.layout, flex=fast, compiled=fast)
        loss = forward.loss(model, tower.visual_tokens(model, patches, school.layout), rows, school.layout, flex=fast)
        loss.backward()
        weights = (model.model.visual.patch_embed.proj.weight, model.model.language_model.layers[0].self_attn.k_proj.weight)
        found.append((loss, *(weight.grad for weight in weights)))
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-2, atol=1e-4)


def test_a_size_that_the_processor_changes_is_refused(school: School) -> None:
    with pytest.raises(ValueError, match="the processor makes 168x112 of clips of 480x320"):
        Layout.of(school.model, school.processor, 480, 320)
