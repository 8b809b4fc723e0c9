"""Asking a real checkpoint: its own replies, whatever they are batched with, and no clip can stop the rest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from conftest import COLOURS, colour_question
from diagnose.asking import THOUGHT, answers, replies, right_replies, settings
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.answers import Style, render, solution
from videothinker.curated import Curated
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.chat import chat
from videothinker.models.decoder import Decoder, Written


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
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    assert (facts["decoder"], facts["dtype"], facts["attention"], facts["device"]) == ("pyav", "float32", "sdpa", device)
    assert (facts["architecture"], facts["adapter"]) == ("Qwen2_5_VLForConditionalGeneration", False)
    msgspec.json.encode(facts)


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
            text=[chat(processor, render(question, Style.DIRECT))],
            videos=[clip.frames],
            video_metadata=[clip.metadata()],
            do_sample_frames=False,
            return_tensors="pt",
        )
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=40)
        expected[question.question_id] = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert replies(taught, colours, n_frames=10, prompt=Style.DIRECT, engine=engine) == expected


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
    sizes, inner = [], checkpoint.loaded.model.generate

    def scarce(**inputs: Any) -> torch.Tensor:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return inner(**inputs)

    monkeypatch.setattr(checkpoint.loaded.model, "generate", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [6, 2, 2, 2], "at most three, and both questions of a clip together"
    assert checkpoint.describe()["batch_size"] == 3


def test_out_of_memory_with_graphs_halves_the_batch_too(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=4, engine="graphs"))
    sizes, inner = [], Decoder.write

    def scarce(decoder: Decoder, prompt_ids: Any, clips: Any, *, rows: list[int], **others: Any) -> list[Written]:
        sizes.append((len(prompt_ids), len(rows)))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return inner(decoder, prompt_ids, clips, rows=rows, **others)

    monkeypatch.setattr(Decoder, "write", scarce)
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)
    assert sizes == [(4, 4), (2, 2), (2, 2), (2, 2)]


def test_out_of_memory_with_one_question_is_the_users_to_solve(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings())

    def scarce(**_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(checkpoint.loaded.model, "generate", scarce)
    with pytest.raises(VtError, match="--frames or --max-pixels"):
        answers(checkpoint, colours)


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


def test_data_without_clips_is_refused_before_anything_is_loaded(colours: Curated) -> None:
    with pytest.raises(VtError, match="--videos"):
        open_checkpoint("nowhere", curated=Curated(colours.folder, colours.manifest, None), settings=settings())


def test_many_questions_of_a_scene_share_its_clip(taught: Path, colours: Curated) -> None:
    """Questions of different lengths, interleaved between scenes: every one gets its own clip's answer."""
    by_scene: list[Iterator[Any]] = []
    names = list(COLOURS)
    for scene, name in enumerate(names):
        by_scene.append(iter([colour_question(scene, qid, name, negated=bool(qid % 2)).question for qid in range(4)]))
    mixed = [next(questions) for _ in range(4) for questions in by_scene]
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=5))
    found = {answer.question_id: answer.reply for answer in checkpoint.answer(mixed)}
    assert found == {question.question_id: THOUGHT + solution(question) for question in mixed}
