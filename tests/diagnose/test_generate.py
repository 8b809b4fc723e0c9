"""Asking a real checkpoint: its own replies, whatever they are batched with, and no clip can stop the rest."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
import torch
from conftest import COLOURS, colour_question
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from videothinker import mcq
from videothinker.clips import ClipCache
from videothinker.curated import Curated
from videothinker.decode import Decoder
from videothinker.diagnose import generate
from videothinker.diagnose.answerer import Answer
from videothinker.diagnose.generate import Checkpoint, open_checkpoint
from videothinker.diagnose.settings import Settings
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.chat import chat

THOUGHT = "<think>I look.</think>"


def settings(**changes: Any) -> Settings:
    return Settings(**{"split": "dev", "max_new_tokens": 40, "decoder": "pyav", **changes})


def answers(checkpoint: Checkpoint, curated: Curated) -> dict[str, Answer]:
    found = list(checkpoint.answer(curated.questions("dev")))
    assert len({answer.question_id for answer in found}) == len(found)
    return {answer.question_id: answer for answer in found}


def replies(ref: Path, curated: Curated, **changes: Any) -> dict[str, str | None]:
    checkpoint = open_checkpoint(str(ref), curated=curated, settings=settings(**changes))
    return {key: answer.reply for key, answer in answers(checkpoint, curated).items()}


def right_replies(curated: Curated) -> dict[str, str]:
    return {question.question_id: THOUGHT + question.solution for question in curated.questions("dev")}


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
@pytest.mark.parametrize("batch_size", [1, 4, 64, None])
def test_a_taught_checkpoint_is_right_in_batches_of_any_size(
    taught: Path, colours: Curated, batch_size: int | None, engine: str
) -> None:
    assert replies(taught, colours, batch_size=batch_size, engine=engine) == right_replies(colours)


def test_what_was_fed_is_said(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())
    assert all(answer.error is None and not answer.truncated for answer in answers(checkpoint, colours).values())
    facts = checkpoint.describe()
    # 16 frames of the 84 x 56 clip are 8 pairs of 6 x 4 patches, four of them a token
    assert facts["fed"] == [{"n_clips": 3, "frames": 16, "height": 56, "width": 84, "video_tokens": 48}]
    assert (facts["decoder"], facts["dtype"], facts["attention"], facts["device"]) == ("pyav", "float32", "sdpa", "cpu")
    assert (facts["architecture"], facts["adapter"]) == ("Qwen2_5_VLForConditionalGeneration", False)
    msgspec.json.encode(facts)


def test_the_engine_is_said(taught: Path, colours: Curated) -> None:
    for asked, used in {"auto": "transformers", "transformers": "transformers", "graphs": "eager"}.items():
        checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(engine=asked))
        assert checkpoint.describe()["engine"] == used


def test_graphs_that_cannot_be_had_are_refused(taught: Path, colours: Curated, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="--engine graphs"):
        open_checkpoint(str(taught), curated=colours, settings=settings(engine="graphs", attention="eager"))
    with pytest.raises(VtError, match="Qwen3VL"):
        open_checkpoint(str(write_qwen3(tmp_path / "qwen3")), curated=colours, settings=settings(engine="graphs"))


def test_frames_and_pixels_by_option(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(n_frames=7, max_pixels=4 * 28 * 28))
    answers(checkpoint, colours)
    # 7 frames and the last one again; scaled into 3,136 pixels 84 x 56 is 68.6 x 45.7, and multiples of 28 below are 56 x 28
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 7, "height": 28, "width": 56, "video_tokens": 8}]


def test_a_processor_without_sampling_of_its_own_is_fed_as_in_the_paper(taught: Path, colours: Curated, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    processor.video_processor.do_sample_frames = False
    processor.video_processor.num_frames = None
    processor.save_pretrained(tmp_path / "model")
    checkpoint = open_checkpoint(str(tmp_path / "model"), curated=colours, settings=settings(max_new_tokens=1))
    answers(checkpoint, colours)
    assert checkpoint.describe()["fed"][0]["frames"] == 32
    assert checkpoint.describe()["sampling"] == {"processor": "Qwen2VLVideoProcessor", "n_frames": 32, "max_pixels": 200_704}


def film(path: Path, n: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for i in range(n):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((320, 480, 3), i, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_clevrer_clip_keeps_its_time(taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 of 128 frames at 25 a second: two frames of a grid step are 0.64 s apart, and positions grow by 2 a second."""
    assert colours.videos_root is not None
    film(colours.videos_root / "red.mp4", 128)
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_new_tokens=1))
    seen: dict[str, Any] = {}
    inner = checkpoint.model.generate
    monkeypatch.setattr(checkpoint.model, "generate", lambda **inputs: (seen.update(inputs), inner(**inputs))[1])
    question = colours.questions("dev")[0]
    [answer] = checkpoint.answer([question])
    assert answer.truncated
    assert list(seen["second_per_grid_ts"]) == pytest.approx([0.64])
    assert checkpoint._feed.indices(25.0, 128) == list(range(0, 128, 8))
    positions, _ = checkpoint.model.model.get_rope_index(
        seen["input_ids"],
        mm_token_type_ids=seen["mm_token_type_ids"],
        video_grid_thw=torch.tensor([[8, 8, 12]]),
        second_per_grid_ts=seen["second_per_grid_ts"],
        attention_mask=seen["attention_mask"],
    )
    time = positions[0, 0][seen["mm_token_type_ids"][0] == 2].unique()
    assert (time - time[0]).tolist() == [0, 1, 2, 3, 5, 6, 7, 8]  # floor(0.64 s * 2 * step)


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
def test_the_replies_are_the_plain_loops(taught: Path, colours: Curated, engine: str) -> None:
    """One question at a time through processor and generate, nothing shared: the same text, right or wrong."""
    model, processor = AutoModelForImageTextToText.from_pretrained(taught), AutoProcessor.from_pretrained(taught)
    expected = {}
    for question in colours.questions("dev"):
        path = colours.clip(question)
        assert path is not None
        clip = read_clip(path, n_frames=10)
        inputs = processor(
            text=[chat(processor, mcq.render_prompt(question.problem, question.options, mcq.Prompt.DIRECT))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=40)
        expected[question.question_id] = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert replies(taught, colours, n_frames=10, prompt=mcq.Prompt.DIRECT, engine=engine) == expected


def test_sampling_depends_on_seed_and_question_and_not_on_batch_or_engine(taught: Path, colours: Curated) -> None:
    asked = [(1, 1, "transformers"), (1, 4, "transformers"), (1, 1, "graphs"), (1, 4, "graphs"), (2, 4, "graphs")]
    warm = [
        replies(taught, colours, temperature=2.0, seed=seed, batch_size=size, engine=engine) for seed, size, engine in asked
    ]
    assert warm[0] == warm[1] == warm[2] == warm[3]
    assert warm[0] != warm[4]
    assert warm[0] != right_replies(colours)


def test_the_race_samples_the_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    n = 4000
    sampler = generate._Race(2.0, [generate.reply_seed(0, f"question {i}") for i in range(n)])
    expected = (logits[0] / 2).softmax(0)
    for _ in range(2):  # the first token and the second
        counts = sampler(torch.empty(0), logits.expand(n, 4)).argmax(1).bincount(minlength=4)
        # five standard errors of a share
        assert ((counts / n - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt()).all()


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
def test_a_reply_at_the_token_limit_is_truncated(taught: Path, colours: Curated, engine: str) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_new_tokens=3, engine=engine))
    found = answers(checkpoint, colours)
    assert all(answer.truncated for answer in found.values())
    assert {answer.reply for answer in found.values()} != {""}


def test_clips_that_cannot_be_read_cost_their_questions_only(taught: Path, colours: Curated) -> None:
    assert colours.videos_root is not None
    (colours.videos_root / "red.mp4").write_bytes((colours.videos_root / "red.mp4").read_bytes()[:700])
    (colours.videos_root / "green.mp4").unlink()
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())
    found = answers(checkpoint, colours)
    for qid in (0, 1):
        assert found[f"0:{qid}"].reply is None
        assert "red.mp4" in str(found[f"0:{qid}"].error)
        assert "No such file" in str(found[f"1:{qid}"].error)
        assert found[f"2:{qid}"].reply == right_replies(colours)[f"2:{qid}"]
    assert sum(line["n_clips"] for line in checkpoint.describe()["fed"]) == 1


def test_out_of_memory_halves_the_batch_and_goes_on(taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=6))
    sizes, inner = [], checkpoint.model.generate

    def scarce(**inputs: Any) -> torch.Tensor:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return inner(**inputs)

    monkeypatch.setattr(checkpoint.model, "generate", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert checkpoint.describe()["batch_size"] == 1


def test_out_of_memory_with_graphs_halves_the_batch_too(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=4, engine="graphs"))
    sizes, inner = [], Decoder.reply

    def scarce(decoder: Decoder, prompts: Any, clips: Any, *, rows: list[int], **others: Any) -> list[list[int]]:
        sizes.append((len(prompts), len(rows)))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return inner(decoder, prompts, clips, rows=rows, **others)

    monkeypatch.setattr(Decoder, "reply", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [(4, 4), (2, 2), (2, 2), (2, 2)]


def test_the_last_batch_is_filled_up_to_the_size_of_the_graph(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(
        str(taught), curated=colours, settings=settings(batch_size=4, engine="graphs", temperature=1.0)
    )
    sizes, inner = [], Decoder.reply

    def watched(decoder: Decoder, prompts: Any, clips: Any, *, rows: list[int], **others: Any) -> list[list[int]]:
        sizes.append((len(prompts), len(rows)))
        return inner(decoder, prompts, clips, rows=rows, **others)

    monkeypatch.setattr(Decoder, "reply", watched)
    found = {key: answer.reply for key, answer in answers(checkpoint, colours).items()}
    assert sizes == [(4, 4), (2, 4)]
    assert found == replies(taught, colours, batch_size=1, engine="graphs", temperature=1.0)


def test_a_vision_tower_short_of_memory_sees_fewer_clips_at_once(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())
    sizes, inner = [], generate.see

    def scarce(model: Any, patches: Any, grids: Any, seconds: Any) -> Any:
        sizes.append(len(patches))
        if len(patches) > 1:
            raise torch.OutOfMemoryError
        return inner(model, patches, grids, seconds)

    monkeypatch.setattr(generate, "see", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [3, 1, 1, 1]


def test_clips_sized_together_are_those_sized_alone(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_pixels=4 * 28 * 28))
    questions = colours.questions("dev")
    shown = []
    for question in questions[::2]:
        path = colours.clip(question)
        assert path is not None
        shown.append(checkpoint._show(read_clip(path, n_frames=16)))
    text = checkpoint._chats(questions[:1])[0]
    for together, each in zip(checkpoint._patches(shown), shown, strict=True):
        assert torch.equal(together, checkpoint._process(text, each)["pixel_values_videos"])


def test_every_question_is_rendered_as_by_the_template_itself(taught: Path, colours: Curated) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())
    questions = colours.questions("dev")
    alone = [checkpoint._chats([question])[0] for question in questions]
    assert checkpoint._chats(questions) == alone
    words = checkpoint._words(questions)
    assert words is not None
    for question, text in zip(questions, alone, strict=True):
        whole = checkpoint.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = words.ends[question.question_id]
        assert whole[len(whole) - len(end) :] == end
    template = checkpoint.processor.chat_template
    # a template that changes the text itself is filled in for every question
    checkpoint.processor.chat_template = template.replace("part['text']", "part['text'] | upper")
    assert checkpoint._chats(questions)[3] == checkpoint._chats([questions[3]])[0] != alone[3]


def test_out_of_memory_with_one_question_is_the_users_to_solve(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())

    def scarce(**_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(checkpoint.model, "generate", scarce)
    with pytest.raises(VtError, match="--frames or --max-pixels"):
        answers(checkpoint, colours)


def test_weights_that_do_not_fit_are_the_users_to_solve(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "to", scarce)
    with pytest.raises(VtError, match="--endpoint"):
        open_checkpoint(str(taught), curated=colours, settings=settings())


def test_a_clip_is_decoded_and_seen_once(
    taught: Path, colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ClipCache(tmp_path / "cache", 10**8)
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=1), cache=cache)
    seen: list[int] = []
    checkpoint.model.model.visual.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    answers(checkpoint, colours)
    assert seen == [3 * 8 * 4 * 6]  # 8 pairs of frames of 4 x 6 patches
    kept = sorted(cache.folder.glob("*.frames"))
    assert len(kept) == 3
    written = [path.stat().st_ino for path in kept]
    answers(checkpoint, colours)
    assert [path.stat().st_ino for path in sorted(cache.folder.glob("*.frames"))] == written


def test_a_lora_folder_is_loaded_on_its_base(taught: Path, colours: Curated, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = tiny.build(tmp_path / "base", seed=3)
    model = AutoModelForImageTextToText.from_pretrained(base)
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "lora")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoProcessor.from_pretrained(base).save_pretrained(tmp_path / "merged")
    expected = replies(tmp_path / "merged", colours, max_new_tokens=8)
    assert replies(tmp_path / "lora", colours, max_new_tokens=8) == expected
    assert replies(base, colours, max_new_tokens=8) != expected
    assert open_checkpoint(str(tmp_path / "lora"), curated=colours, settings=settings()).describe()["adapter"]


def write_qwen3(folder: Path) -> Path:
    """A tiny Qwen3-VL: deepstack features, timestamps in the text, a pixel budget for the whole video."""
    tokenizer = AutoProcessor.from_pretrained(tiny.build(folder)).tokenizer
    template = tokenizer.chat_template
    ids = {
        name: tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("image_pad", "video_pad", "vision_start", "vision_end")
    }
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1],
            "num_position_embeddings": 64,
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3.0)  # so that what is said depends on what is seen
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    Qwen3VLProcessor(
        tokenizer=tokenizer,
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 1024, "longest_edge": 16 * 6 * 1024}, cap_pixels_per_frame=False
        ),
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def test_qwen3_in_batches_says_what_it_says_alone(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_qwen3(tmp_path / "qwen3")
    batched = replies(folder, colours, n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8)
    checkpoint = open_checkpoint(
        str(folder), curated=colours, settings=settings(n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8)
    )
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == batched
    # 84 x 56 scaled into 4,096 pixels a frame is 78.4 x 52.3; multiples of 32 below: 64 x 32, two tokens a pair of frames
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 8, "height": 32, "width": 64, "video_tokens": 8}]
    monkeypatch.setattr(generate, "_TESTED", ())  # pixels for every row, one row at a time: the plain way
    monkeypatch.setattr(Checkpoint, "_words", lambda *_: None)
    assert replies(folder, colours, n_frames=8, max_pixels=4 * 32 * 32, max_new_tokens=8, batch_size=1) == batched
    assert len(set(batched.values())) > 1


def write_llava(folder: Path) -> Path:
    """A tiny LLaVA-OneVision: frames of fixed size, no time in its prompt, none of the shortcuts for Qwen."""
    tokenizer = AutoProcessor.from_pretrained(tiny.build(folder)).tokenizer
    image, video = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|video_pad|>"])
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            **ends,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_id=image,
        video_token_id=video,
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = LlavaOnevisionForConditionalGeneration(config)
    shutil.rmtree(folder)
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size),
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
    return folder


def test_another_architecture_takes_the_plain_path(colours: Curated, tmp_path: Path) -> None:
    folder = write_llava(tmp_path / "llava")
    alone = replies(folder, colours, n_frames=4, max_new_tokens=6, batch_size=1)
    assert replies(folder, colours, n_frames=4, max_new_tokens=6, batch_size=4) == alone
    checkpoint = open_checkpoint(str(folder), curated=colours, settings=settings(n_frames=4, max_new_tokens=1))
    answers(checkpoint, colours)
    # 4 x 4 patches pooled to 2 x 2 a frame, and one token for the end of the clip
    assert checkpoint.describe()["fed"] == [{"n_clips": 3, "frames": 4, "height": 56, "width": 56, "video_tokens": 17}]
    with pytest.raises(VtError, match="--max-pixels"):
        open_checkpoint(str(folder), curated=colours, settings=settings(max_pixels=10_000))


@pytest.mark.parametrize("damage", ["missing", "no weights", "pickled", "not a model", "no base", "text only", "bad config"])
def test_a_ref_that_is_no_checkpoint_is_one_clear_line(tmp_path: Path, colours: Curated, damage: str) -> None:
    ref = tiny.build(tmp_path / "model")
    expected = "model: "
    match damage:
        case "missing":
            shutil.rmtree(ref)
        case "no weights":
            (ref / "model.safetensors").unlink()
        case "pickled":
            torch.save(AutoModelForImageTextToText.from_pretrained(ref).state_dict(), ref / "pytorch_model.bin")
            (ref / "model.safetensors").unlink()
        case "not a model":
            (ref / "config.json").unlink()
        case "no base":
            (ref / "adapter_config.json").write_text("{}")
            expected = "base_model_name_or_path"
        case "text only":
            (ref / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
        case "bad config":
            (ref / "config.json").write_text("{")
    with pytest.raises(VtError, match=expected) as caught:
        open_checkpoint(str(ref), curated=colours, settings=settings())
    assert "\n" not in str(caught.value)


def test_data_without_clips_is_refused_before_anything_is_loaded(colours: Curated) -> None:
    with pytest.raises(VtError, match="--videos"):
        open_checkpoint("nowhere", curated=colours._replace(videos_root=None), settings=settings())


def test_a_misspelt_folder_is_not_looked_up_on_the_hub(colours: Curated) -> None:
    with pytest.raises(VtError, match="neither a folder nor a hub id"):
        open_checkpoint("./runs/cpdo", curated=colours, settings=settings())


@pytest.mark.parametrize(("version", "refused"), [("5.17.0", True), ("5.18.0", False), ("6.0.0.dev0", False)])
def test_a_transformers_that_loses_time_is_refused(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    monkeypatch.setattr(generate, "transformers_version", version)
    if refused:
        with pytest.raises(VtError, match=r"install transformers 5\.18"):
            open_checkpoint(str(taught), curated=colours, settings=settings())
    else:
        open_checkpoint(str(taught), curated=colours, settings=settings())


def test_many_questions_of_a_scene_share_its_clip(taught: Path, colours: Curated) -> None:
    """Questions of different lengths, interleaved between scenes: every one gets its own clip's answer."""
    by_scene: list[Iterator[Any]] = []
    names = list(COLOURS)
    for scene, name in enumerate(names):
        by_scene.append(iter([colour_question(scene, qid, name, negated=bool(qid % 2)) for qid in range(4)]))
    mixed = [next(questions) for _ in range(4) for questions in by_scene]
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=5))
    found = {answer.question_id: answer.reply for answer in checkpoint.answer(mixed)}
    assert found == {question.question_id: THOUGHT + question.solution for question in mixed}


def test_the_seed_of_a_question_is_documented() -> None:
    expected = int.from_bytes(hashlib.sha256(b"42:10000:3").digest()[:8]) >> 1
    assert generate.reply_seed(42, "10000:3") == expected
