"""Asking a server: every question sent once it can be, every clip as it is, and no answer made up when the server fails."""

import base64
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from diagnose.fake_server import Fake, completion, serving
from PIL import Image

from videothinker import answers
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.endpoint import open_endpoint
from videothinker.diagnose.lossless import alone, encode
from videothinker.diagnose.prompts import put_by, write_prompts
from videothinker.diagnose.protocols.base import Prompt
from videothinker.diagnose.server import Bounds
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.frames import Clip, read_clip


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving() as fake:
        yield fake


@pytest.fixture
def second() -> Iterator[Fake]:
    with serving() as fake:
        yield fake


def settings(**changes: Any) -> DiagnosisSettings:
    return DiagnosisSettings(**{"split": "dev", "decoder": "pyav", "batch_size": 2, **changes})


def ask(server: Fake, curated: Curated, n_tries: int = 3, **changes: Any) -> dict[str, RawReply]:
    endpoint = open_endpoint(
        [server.url], "served", curated=curated, settings=settings(**changes), bounds=Bounds(n_tries=n_tries)
    )
    found = list(endpoint.answer(curated.questions("dev")))
    assert len({answer.question_id for answer in found}) == len(found)
    return {answer.question_id: answer for answer in found}


def test_the_whole_clip_and_the_prompt_go_out(server: Fake, colours: Curated) -> None:
    server.behave = lambda body, _: completion(f"<answer>{'B' if ' not ' in str(body['messages']) else 'A'}</answer>")
    found = ask(server, colours, temperature=0.5, seed=7, max_new_tokens=99)
    assert {key: answer.reply for key, answer in found.items()} == {
        f"{scene}:{qid}": f"<answer>{'AB'[qid]}</answer>" for scene in range(3) for qid in range(2)
    }
    assert {(answer.n_tokens, answer.logprob) for answer in found.values()} == {(3, None)}  # as the server counts
    assert sorted(server.texts()) == sorted(answers.render(q, answers.Style.COT) for q in colours.questions("dev"))
    body = server.bodies[0]
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "served",
        "temperature": 0.5,
        "seed": 7,
        "max_tokens": 99,
    }
    sent = {body["messages"][0]["content"][0]["video_url"]["url"] for body in server.bodies}
    assert colours.videos_root is not None
    assert sent == {
        f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}" for path in colours.videos_root.iterdir()
    }


def test_system_text_and_the_beginning_of_the_reply_go_out(
    server: Fake, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Prompt("What is it?", system="Watch.", prefill="Best option:(")
    monkeypatch.setattr("videothinker.diagnose.endpoint.put_by", lambda _: lambda question: begun)
    found = ask(server, colours, top_p=0.5, temperature=1.0)
    assert {answer.reply for answer in found.values()} == {"<answer>A</answer>"}
    body = server.bodies[0]
    assert body["messages"][0] == {"role": "system", "content": "Watch."}
    assert body["messages"][1]["content"][-1] == {"type": "text", "text": "What is it?"}
    assert body["messages"][2] == {"role": "assistant", "content": "Best option:("}
    assert (body["continue_final_message"], body["add_generation_prompt"], body["top_p"]) == (True, False, 0.5)
    server.behave = lambda *_: (400, {}, {"error": "unknown field"})
    with pytest.raises(
        VtError, match=r"refuses question .*begins the reply for the model, which not every server can.*HTTP 400"
    ):
        ask(server, colours)


def test_a_plain_question_says_nothing_of_what_it_does_not_need(server: Fake, colours: Curated) -> None:
    ask(server, colours)
    assert {"model", "messages", "max_tokens", "temperature", "seed"} == set(server.bodies[0])


def test_frames_go_out_as_lossless_images(server: Fake, colours: Curated) -> None:
    question = colours.questions("dev")[0]
    path = colours.clip(question)
    assert path is not None
    endpoint = open_endpoint([server.url], "served", curated=colours, settings=settings(n_frames=4, send="images"))
    list(endpoint.answer([question]))
    parts = server.bodies[0]["messages"][0]["content"]
    images = [Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))) for part in parts[:-1]]
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in images]), read_clip(path, n_frames=4).frames)
    assert endpoint.describe() == {
        "endpoint": server.url,
        "sent": "images",
        "decoder": "pyav",
        "clips": {"files": 1, "folders": 0, "parts": 0, "past_end": 0},
        "fed": [{"n_clips": 1, "frames": 4, "height": 56, "width": 84, "video_tokens": None}],
        "prompt_tokens": [7, 7],
        "prompt_length": {"compared": 0, "differ": 0},
        "n_requests": 1,
    }


def sent_clip(body: dict[str, Any]) -> tuple[np.ndarray, Fraction]:
    """The frames of the clip that a request holds, and its rate."""
    data = base64.b64decode(body["messages"][0]["content"][0]["video_url"]["url"].partition(",")[2])
    with av.open(io.BytesIO(data)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        rate = container.streams.video[0].average_rate
    assert rate is not None
    return frames, rate


@pytest.mark.parametrize(
    ("n_frames", "n_sent", "rate"), [(4, 4, Fraction(25, 8)), (3, 4, Fraction(75, 32)), (1, 2, Fraction(25, 32))]
)
def test_frames_go_out_as_one_clip_that_decodes_to_them_bit_for_bit(
    server: Fake, colours: Curated, n_frames: int, n_sent: int, rate: Fraction
) -> None:
    """Of 32 frames at 25 a second, n are 32 / 25 / n seconds apart. An odd number has its last frame twice."""
    question = colours.questions("dev")[0]
    path = colours.clip(question)
    assert path is not None
    endpoint = open_endpoint([server.url], "served", curated=colours, settings=settings(n_frames=n_frames))
    list(endpoint.answer([question]))
    frames, found_rate = sent_clip(server.bodies[0])
    expected = read_clip(path, n_frames=n_frames).frames
    np.testing.assert_array_equal(frames[:n_frames], expected)
    np.testing.assert_array_equal(frames[n_frames:], expected[-1:].repeat(n_sent - n_frames, 0))
    assert found_rate == rate
    assert {"model", "messages", "max_tokens", "temperature", "seed"} == set(server.bodies[0])  # it is not known to be vLLM
    said = endpoint.describe()
    assert said["sent"] == "clip"
    assert said["fed"] == [{"n_clips": 1, "frames": n_frames, "height": 56, "width": 84, "video_tokens": None}]


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 57, 83), (5, 1, 301)])
def test_a_lossless_clip_holds_any_pixels_of_any_size(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    sent = alone(Clip(noise, tuple(range(shape[0])), 30000 / 1001, 451))
    with av.open(io.BytesIO(encode(sent))) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
        found = container.streams.video[0].average_rate
    np.testing.assert_array_equal(frames, sent.frames)
    np.testing.assert_array_equal(frames[: shape[0]], noise)
    assert found is not None
    assert float(found) == pytest.approx(shape[0] * 30000 / 1001 / 451, rel=1e-6)


def test_vllm_is_asked_for_all_frames_of_the_clip(server: Fake, colours: Curated) -> None:
    server.models = {"data": [{"id": "served", "owned_by": "vllm"}]}
    ask(server, colours, n_frames=4)
    body = server.bodies[0]
    assert body["media_io_kwargs"]["video"] == {"video_backend": "opencv", "num_frames": -1, "fps": -1}
    assert body["mm_processor_kwargs"] == {"do_sample_frames": False}
    server.bodies.clear()
    ask(server, colours)  # a clip that it is to choose from
    assert "media_io_kwargs" not in server.bodies[0]


def test_a_vllm_that_takes_no_settings_with_a_request_is_named_the_option(server: Fake, colours: Curated) -> None:
    """As vLLM 0.32 does by default."""
    server.models = {"object": "list", "data": [{"id": "served", "owned_by": "vllm"}]}
    server.behave = lambda body, n: (400, {}, {"error": {"message": "Per-request mm_processor_kwargs are disabled"}})
    with pytest.raises(VtError, match=r"--trust-request-mm-kwargs\) with HTTP 400: .*are disabled"):
        ask(server, colours, n_frames=4)


def test_what_a_reply_needs_is_made_before_threads_ask() -> None:
    """Several threads that decoded the first answers crashed in msgspec 0.22, in about one process of six."""
    code = """
import sys, threading
sys.setswitchinterval(1e-6)
from videothinker.diagnose.server import Bounds, Server
server = Server("http://127.0.0.1:1/v1", Bounds())
body = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 7}}'
together = threading.Barrier(8)
threads = [threading.Thread(target=lambda: (together.wait(), server._decode(body, "x"))) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
"""
    for _ in range(4):
        assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_a_clips_questions_meet_one_of_several_servers(server: Fake, second: Fake, colours: Curated) -> None:
    found = list(
        open_endpoint([server.url, second.url], "served", curated=colours, settings=settings()).answer(colours.questions("dev"))
    )
    assert len(found) == 6
    clips = [{body["messages"][0]["content"][0]["video_url"]["url"] for body in each.bodies} for each in (server, second)]
    assert [len(each.bodies) for each in (server, second)] == [4, 2]  # three clips with two questions each, in turn
    assert [len(each) for each in clips] == [2, 1]
    assert not clips[0] & clips[1]
    for same in (server.url, f"{server.url}/"):
        with pytest.raises(VtError, match="is given twice"):
            open_endpoint([server.url, same], "served", curated=colours, settings=settings())


def test_a_run_begins_without_the_servers_that_do_not_answer(server: Fake, colours: Curated) -> None:
    """As it goes on after one of them was lost, by the same command."""
    told: list[str] = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        endpoint = open_endpoint([gone, server.url], "served", curated=colours, settings=settings(), warn=told.append)
        assert len(list(endpoint.answer(colours.questions("dev")))) == len(colours.questions("dev")) == len(server.bodies)
        (line,) = told
        assert line.startswith(f"--endpoint {gone}: no server answers there")
        assert "1 other(s)" in line
        with pytest.raises(VtError, match="no server answers there"):
            open_endpoint([gone], "served", curated=colours, settings=settings(), warn=told.append)
    assert len(told) == 1


def test_a_server_that_is_lost_is_told_of_and_its_questions_are_owed(server: Fake, second: Fake, colours: Curated) -> None:
    second.behave = lambda *_: (400, {}, {"error": "out of memory"})
    told: list[str] = []
    endpoint = open_endpoint([server.url, second.url], "served", curated=colours, settings=settings(), warn=told.append)
    found: list[RawReply] = []
    owed = r"gave no reply to 2 of 6 questions \(2 sent to a server that was lost\), 1:[01] among them"
    with pytest.raises(VtError, match=owed):
        found.extend(endpoint.answer(colours.questions("dev")))
    assert {reply.question_id for reply in found} == {"0:0", "0:1", "2:0", "2:1"}
    assert len(told) == 1
    assert second.url in told[0]
    assert "it is left out, and clips that were not sent yet go to 1 other" in told[0]
    server.behave = second.behave
    with pytest.raises(VtError, match="refuses question"):  # nobody is left
        list(endpoint.answer(colours.questions("dev")))


def prompt_lengths(
    server: Fake, colours: Curated, ref: str, n_counted: Callable[[int], int], **changes: Any
) -> tuple[Any, list[str]]:
    """run.json's counts and what was told, of a server that counts so many prompt tokens for a text of so many characters."""

    def behave(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], Any]:
        code, headers, answer = completion("<answer>A</answer>")
        answer["usage"]["prompt_tokens"] = n_counted(len(body["messages"][0]["content"][-1]["text"]))
        return code, headers, answer

    server.behave = behave
    told: list[str] = []
    endpoint = open_endpoint([server.url], ref, curated=colours, settings=settings(**changes), warn=told.append)
    list(endpoint.answer(colours.questions("dev")))
    return endpoint.describe()["prompt_length"], told


@pytest.mark.parametrize("changes", [{}, {"n_frames": 4}])
def test_a_prompt_of_another_length_than_was_meant_is_told_of_once(
    server: Fake, colours: Curated, taught: Path, changes: dict[str, Any]
) -> None:
    loaded = open_checkpoint(str(taught), curated=colours, settings=settings(engine="transformers", **changes))
    prompts = write_prompts(loaded.loaded.processor, colours.questions("dev"), put_by(settings()))
    meant = {}
    for question in colours.questions("dev"):
        path = colours.clip(question)
        assert path is not None
        clip = read_clip(path)
        chosen = loaded.feed.frames.indices(clip.fps, clip.n_total)
        shown = loaded.feed.show(Clip(clip.frames[list(chosen)], tuple(chosen), clip.fps, clip.n_total))
        text = answers.render(question, answers.Style.COT)
        meant[len(text)] = loaded.feed.process(prompts.texts[question.question_id], shown)["input_ids"].shape[1]
    assert prompt_lengths(server, colours, str(taught), meant.__getitem__, **changes) == ({"compared": 6, "differ": 0}, [])
    found, told = prompt_lengths(server, colours, str(taught), lambda n: meant[n] - 6, **changes)
    assert found == {"compared": 6, "differ": 6}
    assert len(told) == 1  # all clips are of one kind
    longer = f"where {meant[len(answers.render(colours.questions('dev')[0], answers.Style.COT))]:,} were meant"
    assert longer in told[0] or "where" in told[0]
    assert "84x56" in told[0]


def test_counts_of_one_kind_of_clip_are_held_against_one_another(server: Fake, colours: Curated) -> None:
    """Where the checkpoint is not here: a clip takes the same tokens whatever is asked, and a text no more than its bytes."""
    assert prompt_lengths(server, colours, "served", lambda n: 900 + n // 4, n_frames=4) == ({"compared": 0, "differ": 0}, [])
    lengths = sorted({len(answers.render(question, answers.Style.COT)) for question in colours.questions("dev")})
    assert len(lengths) == 2
    found, told = prompt_lengths(server, colours, "served", lambda n: 900 if n == lengths[0] else 9000, n_frames=4)
    assert found["differ"] > 0
    assert len(told) == 1
    assert "more apart than the questions are" in told[0]


def test_images_keep_to_the_pixels(server: Fake, colours: Curated) -> None:
    endpoint = open_endpoint([server.url], "served", curated=colours, settings=settings(n_frames=2, max_pixels=1176))
    list(endpoint.answer(colours.questions("dev")[:1]))
    # 84 x 56 scaled by sqrt(1176 / 4704) = 1/2
    assert endpoint.describe()["fed"] == [{"n_clips": 1, "frames": 2, "height": 28, "width": 42, "video_tokens": None}]


def test_what_may_pass_is_tried_again(server: Fake, colours: Curated) -> None:
    codes = [429, 503]
    server.behave = lambda _, n: (codes[n], {"Retry-After": "0"}, "busy") if n < 2 else completion("<answer>C</answer>")
    found = ask(server, colours)
    assert {answer.reply for answer in found.values()} == {"<answer>C</answer>"}
    assert len(server.bodies) == 18


def test_a_server_that_stays_down_stops_the_run(server: Fake, colours: Curated) -> None:
    server.behave = lambda *_: (500, {"Retry-After": "0"}, "out of memory")
    with pytest.raises(VtError, match=r"no answer to question \d:\d .* in 3 tries.*HTTP 500.*out of memory.*run again"):
        ask(server, colours)


def test_a_refusal_is_not_tried_again(server: Fake, colours: Curated) -> None:
    server.behave = lambda *_: (400, {}, {"error": {"message": "no such\nmodel"}})
    with pytest.raises(VtError, match=r"refuses question \d:\d .* with HTTP 400.*no such") as caught:
        ask(server, colours, batch_size=1)
    assert "\n" not in str(caught.value)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("body", [b"<html>welcome</html>", {"choices": "none"}, {}])
def test_what_is_no_chat_completion_stops_the_run(server: Fake, colours: Curated, body: Any) -> None:
    server.behave = lambda *_: (200, {}, body)
    with pytest.raises(VtError, match="no chat completion"):
        ask(server, colours)


def test_no_more_requests_at_once_than_asked_for(server: Fake, colours: Curated) -> None:
    both = threading.Barrier(2)

    def wait_for_another(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], Any]:
        both.wait(30)  # passes only if a second request comes while this one is open
        time.sleep(0.05)
        return completion("<answer>A</answer>")

    server.behave = wait_for_another
    assert len(ask(server, colours, batch_size=2)) == 6
    assert server.n_most == 2


def test_the_token_limit_and_parsed_reasoning(server: Fake, colours: Curated) -> None:
    server.behave = lambda *_: completion("<answer>A</answer>", finish="length", reasoning_content="I look.")
    answer = ask(server, colours)["0:0"]
    assert (answer.reply, answer.truncated) == ("<think>I look.</think><answer>A</answer>", True)
    server.behave = lambda *_: completion(None, finish="length", reasoning_content="I look and")
    assert ask(server, colours)["0:0"].reply == "<think>I look and"  # which never closed it, as `transformers serve` tells it
    server.behave = lambda *_: completion("<answer>A</answer>", reasoning="I look.")
    assert ask(server, colours)["0:0"].reply == "<think>I look.</think><answer>A</answer>"


def test_a_clip_that_cannot_be_read_is_not_sent(server: Fake, colours: Curated) -> None:
    assert colours.videos_root is not None
    clip = colours.videos_root / "green.mp4"
    clip.write_bytes(clip.read_bytes()[:900])
    found = ask(server, colours)
    assert {key for key, answer in found.items() if answer.reply is None} == {"1:0", "1:1"}
    assert "green.mp4" in str(found["1:0"].error)
    assert len(server.bodies) == 4


def test_the_key_goes_out_with_every_request(server: Fake, colours: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    monkeypatch.setenv("VIDEOTHINKER_API_KEY", "own")
    ask(server, colours)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer own"}


def test_mistakes_are_found_before_anything_is_sent(server: Fake, colours: Curated) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    for url, changes, expected in [
        (nobody, {}, "no server answers"),
        ("localhost:8000", {}, "no address"),
        (server.url, {"max_pixels": 1000}, "needs --frames too"),
    ]:
        with pytest.raises(VtError, match=expected):
            open_endpoint([url], "served", curated=colours, settings=settings(**changes))
    with pytest.raises(VtError, match="--videos"):
        open_endpoint([server.url], "served", curated=Curated(colours.folder, colours.manifest, None), settings=settings())
