"""Stopping a server's replies behind a sure first answer: two requests where one will not do, and refusals before the run."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnose.fake_server import Fake, completion, serving

from videothinker.answers import Style
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.endpoint import Endpoint, open_endpoint
from videothinker.diagnose.server import Bounds
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.models.text_positions import placeholders

PIECES = ["\\boxed", "{", "A", "}\n", "<think>", "so", "</think>", "\\boxed", "{", "B", "}", "<|im_end|>"]
"""Tokens of a reply: its first box ends inside one, behind which a line ends."""
END = PIECES[-1]


class Writer:
    """Writes `pieces` as a server that knows all of what is asked: it stops, goes on, and says how likely each token was.

    The letter is as likely as 0.9 where the question has " not ", and as 0.5 elsewhere.
    """

    def __init__(self, pieces: list[str] = PIECES, *, goes_on: bool = True, logprobs: bool = True) -> None:
        self.pieces, self.goes_on, self.logprobs = pieces, goes_on, logprobs

    def __call__(self, body: dict[str, Any], _: int) -> tuple[int, dict[str, str], Any]:
        user, *rest = body["messages"]
        goes_on = self.goes_on and body.get("continue_final_message", False)
        if isinstance(user["content"], str):  # the trial
            return self.answer(["x"], "length", 10 - 3 * goes_on, ["x"], 1.0)
        begins = rest[0]["content"] if rest else ""
        done = next(n for n in range(len(self.pieces)) if "".join(self.pieces[:n]) == begins)
        left = self.pieces[done:][: body["max_tokens"]]
        finish = "stop" if left[-1] == END else "length"
        text = [piece for piece in left if piece != END]
        for n, piece in enumerate(left, start=1):
            if any(stop in piece for stop in body.get("stop", [])):
                left, finish = left[:n], "stop"
                text = ["".join(left).partition("}")[0]]  # as servers do: without the text that stopped it
                break
        sure = 0.9 if " not " in user["content"][-1]["text"] else 0.5
        return self.answer(left, finish, 100 + done, text, sure)

    def answer(self, pieces: list[str], finish: str, n_prompt: int, text: list[str], sure: float) -> Any:
        code, headers, answer = completion("".join(text), finish)
        answer["usage"] = {"prompt_tokens": n_prompt, "completion_tokens": len(pieces)}
        if self.logprobs:
            content = [
                {"token": piece, "logprob": math.log(sure if piece == "A" else 0.8), "bytes": list(piece.encode())}
                for piece in pieces
            ]
            answer["choices"][0]["logprobs"] = {"content": content}
        return code, headers, answer


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving() as fake:
        fake.behave = Writer()
        yield fake


def ask(server: Fake, curated: Curated, **changes: Any) -> tuple[Endpoint, dict[str, RawReply]]:
    chosen = DiagnosisSettings(**{"split": "dev", "decoder": "pyav", "prompt": Style.TWICE, "max_new_tokens": 50, **changes})
    endpoint = open_endpoint([server.url], "served", curated=curated, settings=chosen, bounds=Bounds(n_tries=1))
    return endpoint, {answer.question_id: answer for answer in endpoint.answer(curated.questions("dev"))}


def test_sure_replies_end_and_the_others_are_gone_on_with(server: Fake, colours: Curated) -> None:
    endpoint, found = ask(server, colours, stop_at=0.8)
    whole = "".join(PIECES[:-1])
    n_stopped = sum(each.stopped for each in found.values())
    assert 0 < n_stopped < len(found)
    for each in found.values():
        assert each.first is not None
        assert each.first.n_tokens == 4
        if each.stopped:
            assert (each.reply, each.n_tokens, each.truncated) == ("\\boxed{A}\n", 4, False)
            assert each.first.confidence == pytest.approx(0.9)
        else:
            assert (each.reply, each.n_tokens, each.truncated) == (whole, 12, False)
            assert each.first.confidence == pytest.approx(0.5)
            assert each.logprob == pytest.approx((math.log(0.5) + 11 * math.log(0.8)) / 12)
    asked = [body for body in server.bodies if not isinstance(body["messages"][0]["content"], str)]
    first = [body for body in asked if "stop" in body]
    second = [body for body in asked if "stop" not in body]
    assert (len(first), len(second)) == (len(found), len(found) - n_stopped)
    assert {body["messages"][1]["content"] for body in second} == {"\\boxed{A}\n"}, "what stopped it, and all of its token"
    assert {(body["continue_final_message"], body["add_generation_prompt"]) for body in second} == {(True, False)}
    assert {(body["max_tokens"], body["seed"]) for body in second} == {(46, 46)}
    assert endpoint.describe()["n_requests"] == len(asked)
    assert endpoint.describe()["prompt_tokens"] == [100, 100], "of the prompts alone"


def test_vllm_tells_placeholders_whose_chances_do_not_count(
    server: Fake, colours: Curated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Our engines never write them. Half of each token's chance is theirs here, so what is left is twice as likely."""
    server.models = {"data": [{"id": "served", "owned_by": "vllm"}]}
    write = Writer()

    def behave(body: dict[str, Any], n: int) -> Any:
        code, headers, answer = write(body, n)
        if body.get("logprob_token_ids") == [6, 7]:
            for each in answer["choices"][0]["logprobs"]["content"]:
                each["logprob"] -= math.log(2)
                others = [{"token": token, "logprob": math.log(0.25)} for token in ("<|image_pad|>", "<|video_pad|>")]
                each["top_logprobs"] = [{"token": each["token"], "logprob": each["logprob"]}, *others]
        return code, headers, answer

    server.behave = behave
    _, expected = ask(server, colours, stop_at=0.8)
    assert not any("logprob_token_ids" in body for body in server.bodies), "which only of a folder here are known"
    (tmp_path / "config.json").write_text(json.dumps({"image_token_id": 6, "video_token_id": 7}))
    known = placeholders(str(tmp_path))
    monkeypatch.setattr("videothinker.diagnose.endpoint.placeholders", lambda ref: known if ref == "served" else [])
    _, found = ask(server, colours, stop_at=0.8)
    assert {(name, each.reply, each.stopped) for name, each in found.items()} == {
        (name, each.reply, each.stopped) for name, each in expected.items()
    }
    for name, each in found.items():
        assert each.logprob == pytest.approx(expected[name].logprob)
        assert each.first is not None
        assert each.first.confidence == pytest.approx(expected[name].first.confidence)  # type: ignore[union-attr]


def test_without_a_stop_a_reply_is_asked_for_once_and_its_confidence_kept(server: Fake, colours: Curated) -> None:
    _, found = ask(server, colours)
    assert {each.reply for each in found.values()} == {"".join(PIECES[:-1])}
    assert {round(each.first.confidence, 6) for each in found.values() if each.first} == {0.5, 0.9}
    assert all("stop" not in body for body in server.bodies)
    server.behave = Writer(logprobs=False)
    _, found = ask(server, colours)
    assert {(each.first, each.logprob) for each in found.values()} == {(None, None)}


def test_a_brace_in_the_box_is_looked_at_and_passed(server: Fake, colours: Curated) -> None:
    pieces = ["\\boxed{", "\\text{", "A", "}", "}", "<think>", "{x}", "</think>", "\\boxed{B}", END]
    server.behave = Writer(pieces)
    _, found = ask(server, colours, stop_at=0.8)
    assert {each.reply for each in found.values()} == {"".join(pieces[:-1]), "\\boxed{\\text{A}}"}
    assert {each.n_tokens for each in found.values()} == {5, 10}


def test_the_limit_at_the_box_and_behind_it(server: Fake, colours: Curated) -> None:
    _, found = ask(server, colours, stop_at=0.8, max_new_tokens=4)
    assert {(each.reply, each.stopped, each.truncated, each.n_tokens) for each in found.values()} == {
        ("\\boxed{A}\n", True, False, 4),
        ("\\boxed{A}\n", False, True, 4),
    }
    _, found = ask(server, colours, stop_at=0.95, max_new_tokens=6)
    assert {(each.reply, each.truncated, each.n_tokens) for each in found.values()} == {("\\boxed{A}\n<think>so", True, 6)}


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [
        ({"logprobs": False}, "gives no log-probabilities"),
        ({"goes_on": False}, "does not go on with a reply that has begun"),
    ],
)
def test_a_server_that_cannot_is_refused_before_the_run(
    server: Fake, colours: Curated, lacks: dict[str, bool], expected: str
) -> None:
    server.behave = Writer(**lacks)
    with pytest.raises(VtError, match=expected) as told:
        ask(server, colours, stop_at=0.8)
    assert "\n" not in str(told.value)
    assert len(server.bodies) == (1 if "logprobs" in lacks else 2), "nothing but the trial"
    server.behave = lambda *_: (400, {}, {"error": "unknown field logprobs"})
    with pytest.raises(VtError, match="unknown field logprobs"):
        ask(server, colours, stop_at=0.8)


def test_a_pause_that_cannot_be_told_from_an_end_is_owed(server: Fake, colours: Curated) -> None:
    """Of a server that leaves the token out which stopped it."""
    writer = Writer()

    def without_last(body: dict[str, Any], n: int) -> Any:
        code, headers, answer = writer(body, n)
        if "stop" in body:
            answer["choices"][0]["logprobs"]["content"].pop()
        return code, headers, answer

    server.behave = without_last
    with pytest.raises(VtError, match=r"6 stop at a brace that is not among the tokens"):
        ask(server, colours, stop_at=0.8)
