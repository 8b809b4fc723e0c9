"""Questions about an image or about nothing, asked of a checkpoint beside those about clips."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from diagnose.architectures import write_llava
from mixed_set import write_set
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from vt_command import one_error, vt

from videothinker import answers, store
from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.run import SetToAsk
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.vllm_answerer import VllmAnswerer, open_served
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.text_positions import TextPositions
from videothinker.recipes import diagnosis


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.build(tmp_path_factory.mktemp("tiny"), seed=0)


def settings(engine: str) -> DiagnosisSettings:
    return DiagnosisSettings(
        split="train", n_frames=4, max_new_tokens=6, temperature=0.0, prompt=Style.DIRECT, engine=engine, dtype="float32"
    )


def plain(checkpoint: Path, data: Curated, name: str) -> str:
    """The greedy reply by transformers' own way, without anything of ours."""
    model: Any = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    processor = AutoProcessor.from_pretrained(checkpoint)
    question = next(one.question for one in data.members if one.question.question_id == name)
    shown = [{"type": "image"}] if question.clip else []
    content = [*shown, {"type": "text", "text": answers.render(question, Style.DIRECT)}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    images = {"images": [Image.open(data.clip(question).path)]} if question.clip else {}  # type: ignore[union-attr]
    inputs = processor(text=[text], return_tensors="pt", **images)
    unseen = [model.config.image_token_id, model.config.video_token_id]
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=6, suppress_tokens=unseen, repetition_penalty=1.0)
    found: str = processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


@pytest.mark.parametrize("engine", ["graphs", "transformers"])
def test_each_kind_is_asked_and_written_as_plainly(checkpoint: Path, data: Curated, engine: str) -> None:
    answerer = open_checkpoint(str(checkpoint), curated=data, settings=settings(engine))
    questions = data.questions("train")
    found = {one.question_id: one.reply for one in answerer.answer(questions)}
    assert found.keys() == {"1", "2", "3", "4"}
    assert found["3"] == plain(checkpoint, data, "3"), "the image"
    assert found["4"] == plain(checkpoint, data, "4"), "the text"
    told = answerer.describe()
    assert told["stills"] == {"images": [{"n_images": 1, "height": 56, "width": 84, "image_tokens": 6}], "texts": 1}
    assert sum(each["n_clips"] for each in told["fed"]) == 2


def test_a_model_that_sizes_images_otherwise_is_refused_in_a_line(data: Curated, tmp_path: Path) -> None:
    answerer = open_checkpoint(str(write_llava(tmp_path / "llava")), curated=data, settings=settings("transformers"))
    with pytest.raises(VtError, match=r"about the image of question 3 has no image in it.*asked of Qwen's models"):
        list(answerer.answer([one for one in data.questions("train") if one.question_id == "3"]))


def test_a_whole_diagnosis(checkpoint: Path, data: Curated, tmp_path: Path) -> None:
    asked = ("--frames", "4", "--max-new-tokens", "6", "--dtype", "float32", "--split", "train")
    assert vt("diagnose", "--data", data.folder, "--model", f"tiny={checkpoint}", "--out", tmp_path / "runs", *asked) == 0
    metrics = store.read_json(tmp_path / "runs" / "tiny" / "metrics.json", dict[str, Any])
    assert metrics["all"]["n_questions"] == 4
    assert metrics["intervals"]["all"]["n_questions"] == 1
    assert "Mean score" in (tmp_path / "runs" / "report.md").read_text()


def test_an_image_that_is_gone_costs_its_own_question(checkpoint: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    (tmp_path / "videos" / "c.png").write_bytes(b"no picture")
    answerer = open_checkpoint(str(checkpoint), curated=data, settings=settings("graphs"))
    found = {one.question_id: one for one in answerer.answer(data.questions("train"))}
    assert found["3"].reply is None
    assert "c.png" in str(found["3"].error)
    assert found["4"].reply is not None


def test_the_first_image_that_cannot_be_read_is_named_at_the_end(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(tmp_path)
    (tmp_path / "videos" / "c.png").write_bytes(b"no picture")
    asked = ("--frames", "4", "--max-new-tokens", "2", "--split", "train")
    assert vt("diagnose", "--data", data.folder, "--model", f"tiny={checkpoint}", "--out", tmp_path / "runs", *asked) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 4 questions left out: clip not readable, the first is" in said
    assert "c.png: cannot be read as a picture" in said


def test_vllm_is_given_each_kind_as_our_engines_are(
    checkpoint: Path, data: Curated, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in counts prompts as the checkpoint's processor does, so a wrong size of the image would end the run."""
    chosen = msgspec.structs.replace(settings("vllm"), text_positions=TextPositions.ORIGINAL)
    answerer = VllmAnswerer(open_served(str(checkpoint), chosen), curated=data, settings=chosen)
    assert {one.question_id for one in answerer.answer(data.questions("train"))} == {"1", "2", "3", "4"}
    (prompts, _) = stand_in.LLM.asked[-1]
    shown = [set(prompt.get("multi_modal_data", {})) for prompt in prompts]
    assert shown == [{"video"}, {"video"}, {"image"}, set()]
    with Image.open(data.clip(data.questions("train")[2]).path) as expected:  # type: ignore[union-attr]
        np.testing.assert_array_equal(np.asarray(prompts[2]["multi_modal_data"]["image"]), np.asarray(expected))
    told = answerer.describe()
    assert told["stills"] == {"images": [{"n_images": 1, "height": 56, "width": 84, "image_tokens": 6}], "texts": 1}
    assert told["prompt_length"] == {"compared": 4, "differ": 0}
    assert sum(each["n_clips"] for each in told["fed"]) == 2


def test_a_vllm_elsewhere_is_sent_each_kind_in_files(checkpoint: Path, data: Curated, child_python: Path) -> None:
    chosen = msgspec.structs.replace(settings("vllm"), text_positions=TextPositions.ORIGINAL)
    answerer = VllmAnswerer(open_served(str(checkpoint), chosen), curated=data, settings=chosen)
    assert {one.question_id for one in answerer.answer(data.questions("train"))} == {"1", "2", "3", "4"}
    assert answerer.describe()["prompt_length"] == {"compared": 4, "differ": 0}


def test_the_prompt_that_is_shown_has_what_its_question_shows(checkpoint: Path, data: Curated, tmp_path: Path) -> None:
    questions = data.questions("train")

    def shown(n: int, *, served: bool) -> diagnosis.ShownPrompt:
        one = SimpleNamespace(folder=data.folder, questions=lambda split: questions[n:])
        asked = SetToAsk(one, settings("auto"), tmp_path)  # type: ignore[arg-type]
        (found,) = diagnosis.shown_prompts({"m": str(checkpoint)}, asked, served=served)
        return found

    assert "the image stands at <|image_pad|>" in shown(2, served=False).told
    assert "<|image_pad|>" in shown(2, served=False).text
    assert "_pad|>" not in shown(3, served=False).text
    assert shown(2, served=True).text.startswith("user: [the image]")
    assert shown(3, served=True).text.startswith("user: How many?")


def test_rows_that_say_one_thing_and_name_another_are_kept_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    rows = [
        {"problem_id": 1, "problem": "?", "problem_type": "numerical", "solution": "7", "data_type": "image", "path": "a.mp4"}
    ]
    (tmp_path / "set.json").write_text(json.dumps(rows))
    assert vt("curate", "records", "--from", tmp_path / "set.json", "--out", tmp_path / "out") == 2
    assert "data_type is 'image', but its file is 'a.mp4'; images are .jpg, .jpeg and .png" in one_error(capsys)
