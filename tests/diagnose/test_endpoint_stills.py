"""Asking a server about one image, or about nothing, beside clips."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnose.fake_server import Fake, completion, serving
from mixed_set import write_image, write_set
from PIL import Image

from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.damage import Damage
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.endpoint import Endpoint, open_endpoint
from videothinker.diagnose.prompts import put_by
from videothinker.diagnose.server import Bounds
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.models import tiny
from videothinker.records.question import IMAGE_MAX_PIXELS


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving() as fake:
        yield fake


def settings(**changes: Any) -> DiagnosisSettings:
    plain = {"split": "train", "decoder": "pyav", "n_frames": 4, "prompt": Style.DIRECT, "dtype": "float32"}
    return DiagnosisSettings(**plain | changes)


def ask(
    server: Fake, data: Curated, ref: str = "served", told: list[str] | None = None, **changes: Any
) -> tuple[Endpoint, dict[str, RawReply]]:
    warn = [].append if told is None else told.append
    endpoint = open_endpoint([server.url], ref, curated=data, settings=settings(**changes), bounds=Bounds(n_tries=1), warn=warn)
    return endpoint, {answer.question_id: answer for answer in endpoint.answer(data.questions("train"))}


def parts(body: dict[str, Any]) -> list[str]:
    return [part["type"] for part in body["messages"][0]["content"]]


def image(body: dict[str, Any]) -> Image.Image:
    url = body["messages"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


def body_with(server: Fake, kind: str) -> dict[str, Any]:
    (found,) = [body for body in server.bodies if parts(body)[0] == kind]
    return found


def test_an_image_goes_out_as_it_is_and_words_alone_as_text(server: Fake, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    endpoint, found = ask(server, data)
    assert {name: answer.reply for name, answer in found.items()} == dict.fromkeys("1234", "<answer>A</answer>")
    kinds = [["image_url", "text"], ["text"], ["video_url", "text"], ["video_url", "text"]]
    assert sorted(parts(body) for body in server.bodies) == kinds
    with Image.open(tmp_path / "videos" / "c.png") as expected:
        np.testing.assert_array_equal(np.asarray(image(body_with(server, "image_url"))), np.asarray(expected))
    questions = {one.question_id: one for one in data.questions("train")}
    words = put_by(settings())(questions["4"]).user
    assert body_with(server, "text")["messages"] == [{"role": "user", "content": [{"type": "text", "text": words}]}]
    told = endpoint.describe()
    assert told["stills"] == {"images": [{"n_images": 1, "height": 56, "width": 84, "image_tokens": None}], "texts": 1}
    assert [each["n_clips"] for each in told["fed"]] == [2]
    assert told["clips"]["files"] == 2


def test_the_server_may_choose_frames_of_clips_beside_images(server: Fake, tmp_path: Path) -> None:
    endpoint, found = ask(server, write_set(tmp_path), n_frames=None)
    assert found.keys() == {"1", "2", "3", "4"}
    assert endpoint.describe()["sent"] == "video"
    assert image(body_with(server, "image_url")).size == (84, 56)


def test_an_image_has_as_many_pixels_as_in_our_own_engines(server: Fake, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    write_image(tmp_path / "videos" / "c.png", height=1000, width=2000)
    server.models = {"data": [{"id": "served", "owned_by": "vllm"}]}
    ask(server, data)
    body = body_with(server, "image_url")
    width, height = image(body).size
    assert (width / height, width * height) == (pytest.approx(2, rel=0.01), pytest.approx(IMAGE_MAX_PIXELS, rel=0.01))
    assert width * height <= IMAGE_MAX_PIXELS
    assert body["mm_processor_kwargs"] == {"max_pixels": IMAGE_MAX_PIXELS}
    assert "media_io_kwargs" not in body
    assert "mm_processor_kwargs" not in body_with(server, "text")


def test_an_image_is_damaged_as_in_our_own_engines(server: Fake, tmp_path: Path) -> None:
    ask(server, write_set(tmp_path), damage=Damage.MIRRORED)
    with Image.open(tmp_path / "videos" / "c.png") as expected:
        np.testing.assert_array_equal(np.asarray(image(body_with(server, "image_url"))), np.asarray(expected)[:, ::-1])


def test_an_image_that_is_gone_costs_its_own_question(server: Fake, tmp_path: Path) -> None:
    data = write_set(tmp_path)
    (tmp_path / "videos" / "c.png").write_bytes(b"no picture")
    _, found = ask(server, data)
    assert found["3"].reply is None
    assert "c.png" in str(found["3"].error)
    assert {name for name, answer in found.items() if answer.reply} == {"1", "2", "4"}


@pytest.mark.parametrize("is_vllm", [True, False])
def test_prompts_about_images_and_words_are_held_against_what_was_meant(server: Fake, tmp_path: Path, is_vllm: bool) -> None:
    """Told our size, vLLM should count what our own engine does; another server, what the processor makes of it by itself."""
    data, checkpoint = write_set(tmp_path), tiny.build(tmp_path / "tiny", seed=0)
    write_image(tmp_path / "videos" / "c.png", height=196, width=392)
    ours = open_checkpoint(str(checkpoint), curated=data, settings=settings(engine="transformers"))
    n_ours = {row.question_id: len(row.ids) for row in ours.stills.rows(data.questions("train")[2:], put_by(settings()))}
    processor = ours.loaded.processor
    least, most = (processor.image_processor.size[edge] for edge in ("shortest_edge", "longest_edge"))
    assert least < most < 196 * 392, "so that both ways of sizing differ"
    n_itself = n_ours["3"] - 7 * 14 + len(processor.image_processor(np.zeros((196, 392, 3), np.uint8))["pixel_values"]) // 4
    meant = {"image_url": n_ours["3"] if is_vllm else n_itself, "text": n_ours["4"]}
    server.models = {"data": [{"id": "served", "owned_by": "vllm" if is_vllm else "other"}]}

    def behave(body: dict[str, Any], _: int) -> Any:
        code, headers, answer = completion("<answer>A</answer>")
        answer["usage"]["prompt_tokens"] = meant.get(parts(body)[0], 9) - too_few
        return code, headers, answer

    server.behave = behave
    told: list[str] = []
    too_few = 0
    endpoint, _ = ask(server, data, str(checkpoint), told)
    assert endpoint.describe()["prompt_length"] == {"compared": 4, "differ": 2}, "the two about clips"
    assert not any("an image" in line or "words alone" in line for line in told)
    too_few = 1
    told.clear()
    endpoint, _ = ask(server, data, str(checkpoint), told)
    assert endpoint.describe()["prompt_length"] == {"compared": 4, "differ": 4}
    assert any("an image of 392x196" in line for line in told)
    assert any("words alone" in line for line in told)
