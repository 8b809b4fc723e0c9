"""Servers that are real: vLLM's where VT_VLLM_PYTHON names it, and `transformers serve` where its packages are installed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mixed_set import write_set
from PIL import Image

from benchmarks.servers import started
from videothinker import answers
from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose import vllm_child
from videothinker.diagnose.answerer import Answerer, RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.endpoint import Endpoint, open_endpoint
from videothinker.diagnose.server import Bounds
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.vllm_answerer import VllmAnswerer, open_served
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models import tiny
from videothinker.models.text_positions import TextPositions
from videothinker.pretrain.teach import Example, teach

VLLM = os.environ.get(vllm_child.PYTHON)
needs_vllm = pytest.mark.skipif(VLLM is None, reason=f"{vllm_child.PYTHON} names no environment with vLLM")

PATIENCE_S = 300.0
"""For a server to load a checkpoint of this size."""


def settings(**changes: Any) -> DiagnosisSettings:
    plain = {"split": "dev", "decoder": "pyav", "dtype": "float32", "n_frames": 4, "max_new_tokens": 48}
    return DiagnosisSettings(**plain | {"text_positions": TextPositions.ORIGINAL} | changes)


@contextmanager
def vllm_server(checkpoint: Path, said: Path) -> Iterator[str]:
    assert VLLM is not None
    program = [VLLM, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    options = ["--dtype", "float32", "--max-num-seqs", "8", "--enforce-eager", "--skip-mm-profiling"]
    with started([*program, *options, "--trust-request-mm-kwargs"], said, PATIENCE_S) as url:
        yield url


def by_id(answerer: Answerer, curated: Curated, split: str = "dev") -> dict[str, RawReply]:
    return {reply.question_id: reply for reply in answerer.answer(curated.questions(split))}


@pytest.fixture(scope="module")
def thinker(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that answers, thinks and answers again, and is more often wrong at first on some questions than others."""
    from conftest import write_colours

    curated = write_colours(tmp_path_factory.mktemp("thinker") / "colours")
    examples = []
    for n_wrong, question in enumerate(curated.questions("dev")):
        clip = curated.clip(question)
        assert clip is not None
        prompt, right = answers.render(question, Style.TWICE), ",".join(question.gold)
        for first in [right] * (8 - n_wrong) + ["A,B,C"] * n_wrong:
            examples.append(Example(clip, prompt, f"\\boxed{{{first}}}<think>I look.</think>\\boxed{{{right}}}"))
    checkpoint = tiny.build(tmp_path_factory.mktemp("thinker") / "checkpoint")
    teach(checkpoint, examples, n_steps=100, batch_size=8)
    return checkpoint


@needs_vllm
def test_vllms_server_stops_where_our_engine_does(thinker: Path, colours: Curated, tmp_path: Path) -> None:
    """Replies that stop are the unstopped ones cut, the others are the unstopped ones."""
    asked: dict[str, Any] = {"prompt": Style.TWICE}
    ours = by_id(open_checkpoint(str(thinker), curated=colours, settings=settings(**asked)), colours)
    sure = sorted(reply.first.confidence for reply in ours.values() if reply.first)
    assert len(sure) == len(ours)
    at = sum(sure[len(sure) // 2 - 1 : len(sure) // 2 + 1]) / 2
    stopped = by_id(open_checkpoint(str(thinker), curated=colours, settings=settings(stop_at=at, **asked)), colours)
    with vllm_server(thinker, tmp_path / "said") as url:

        def served(**changes: Any) -> tuple[Endpoint, dict[str, RawReply]]:
            endpoint = open_endpoint([url], str(thinker), curated=colours, settings=settings(**asked, **changes))
            return endpoint, by_id(endpoint, colours)

        _, whole = served()
        endpoint, found = served(stop_at=at)
    assert sum(reply.stopped for reply in found.values()) == len(found) // 2
    for name, reply in found.items():
        for one, other in ((reply, stopped[name]), (whole[name], ours[name])):
            assert (one.reply, one.n_tokens, one.truncated, one.stopped) == (
                *(other.reply, other.n_tokens, other.truncated, other.stopped),
            )
            assert one.first is not None
            assert other.first is not None
            assert one.first.n_tokens == other.first.n_tokens
            assert one.first.confidence == pytest.approx(other.first.confidence, abs=1e-5)
            assert one.logprob == pytest.approx(other.logprob, abs=1e-5)
        assert (whole[name].reply or "").startswith(reply.reply or "-") if reply.stopped else reply.reply == whole[name].reply
    told = endpoint.describe()
    assert told["prompt_length"] == {"compared": 6, "differ": 0}
    assert told["n_requests"] == 6 + 3


@needs_vllm
def test_vllms_server_is_asked_about_images_and_words(tmp_path: Path) -> None:
    data, checkpoint = write_set(tmp_path), tiny.build(tmp_path / "tiny", seed=0)
    chosen = settings(split="train", prompt=Style.DIRECT, max_new_tokens=4)
    ours = by_id(open_checkpoint(str(checkpoint), curated=data, settings=chosen), data, "train")
    with vllm_server(checkpoint, tmp_path / "said") as url:
        endpoint = open_endpoint([url], str(checkpoint), curated=data, settings=chosen)
        found = by_id(endpoint, data, "train")
    assert {name: reply.reply for name, reply in found.items()} == {name: reply.reply for name, reply in ours.items()}
    assert endpoint.describe()["prompt_length"] == {"compared": 4, "differ": 0}


@needs_vllm
def test_vllm_in_a_process_is_asked_about_images_and_words(tmp_path: Path) -> None:
    data, checkpoint = write_set(tmp_path), tiny.build(tmp_path / "tiny", seed=0)
    chosen = settings(split="train", prompt=Style.DIRECT, max_new_tokens=4)
    ours = by_id(open_checkpoint(str(checkpoint), curated=data, settings=chosen), data, "train")
    answerer = VllmAnswerer(open_served(str(checkpoint), chosen), curated=data, settings=chosen)
    found = by_id(answerer, data, "train")
    assert {name: reply.reply for name, reply in found.items()} == {name: reply.reply for name, reply in ours.items()}
    assert answerer.describe()["prompt_length"] == {"compared": 4, "differ": 0}


@pytest.fixture(scope="module")
def transformers_serve(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("fastapi")
    program = str(Path(sys.executable).with_name("transformers"))
    with started([program, "serve", str(taught)], tmp_path_factory.mktemp("serve") / "said", PATIENCE_S) as url:
        yield url


IMAGES_ALONE = "for (a server that takes|servers that take) images alone, as `transformers serve` does"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, rf"--send images is {IMAGES_ALONE}\).* HTTP 500"),
        ({"n_frames": None}, rf"{IMAGES_ALONE}, give --frames N --send images\).* HTTP 500"),
        ({"send": "images", "prompt": Style.TWICE, "stop_at": 0.97}, "gives no log-probabilities of its tokens; vLLM's server"),
    ],
)
def test_transformers_serve_says_in_a_line_what_it_cannot(
    transformers_serve: str, taught: Path, colours: Curated, changes: dict[str, Any], expected: str
) -> None:
    """As of 5.24: it looks for the sound track of every clip."""
    chosen, once = settings(text_positions=None, **changes), Bounds(n_tries=1)
    with pytest.raises(VtError, match=expected) as told:
        by_id(open_endpoint([transformers_serve], str(taught), curated=colours, settings=chosen, bounds=once), colours)
    assert "\n" not in str(told.value)


def test_transformers_serve_is_asked_about_images_and_words(transformers_serve: str, taught: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    chosen = settings(split="train", prompt=Style.DIRECT, max_new_tokens=5, send="images", text_positions=None)
    ours = by_id(open_checkpoint(str(taught), curated=data, settings=chosen), data, "train")
    endpoint = open_endpoint([transformers_serve], str(taught), curated=data, settings=chosen)
    found = by_id(endpoint, data, "train")
    for name in "34":  # it takes the thinking out of a reply, and white space from its ends
        assert found[name].reply == (ours[name].reply or "").rstrip()
    assert endpoint.describe()["prompt_length"] == {"compared": 2, "differ": 0}, "the image and the words, not clips as images"


def test_transformers_serve_answers_as_the_checkpoint_does(transformers_serve: str, taught: Path, colours: Curated) -> None:
    """Frames as images: of a whole clip `transformers serve` 5.23 wants the audio track, and fails where there is none."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, processor = AutoModelForImageTextToText.from_pretrained(taught), AutoProcessor.from_pretrained(taught)
    chosen = settings(n_frames=3, max_new_tokens=12, batch_size=3, send="images", text_positions=None)
    endpoint = open_endpoint([transformers_serve], str(taught), curated=colours, settings=chosen)
    found = {answer.question_id: answer for answer in endpoint.answer(colours.questions("dev"))}
    for question in colours.questions("dev"):
        path = colours.clip(question)
        assert path is not None
        images = [Image.fromarray(frame) for frame in read_clip(path, n_frames=3).frames]
        prompt = answers.render(question, answers.Style.COT)
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": prompt}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
        inputs = processor(text=[text], images=images, return_tensors="pt")
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        answer = found[question.question_id]
        assert answer.reply == processor.decode(ids, skip_special_tokens=True)
        assert answer.truncated == (ids[-1].item() != model.generation_config.eos_token_id)
    assert endpoint.describe()["prompt_tokens"] is not None
