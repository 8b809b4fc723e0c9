"""Engines write the same replies, draw as the softmax says, and say which of them it was."""

import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diagnose.architectures import write_qwen3
from diagnose.asking import answers, replies, right_replies, settings
from transformers import AutoModelForImageTextToText

from videothinker.cli import options
from videothinker.curated import Curated
from videothinker.diagnose.checkpoint_answerer import open_checkpoint
from videothinker.diagnose.engines import ENGINES
from videothinker.diagnose.engines.base import Row, reply_seed
from videothinker.diagnose.engines.choosing import Race
from videothinker.diagnose.engines.graphs import GraphsEngine
from videothinker.diagnose.engines.transformers import TransformersEngine
from videothinker.diagnose.feed import QuestionFeed
from videothinker.diagnose.prompts import put_by, write_prompts
from videothinker.diagnose.reply import Reply
from videothinker.errors import VtError
from videothinker.frames import read_clip
from videothinker.models.decoder import Decoder, Written
from videothinker.models.load import Loaded, load


def test_the_engine_is_said(taught: Path, colours: Curated) -> None:
    said = {"auto": "transformers", "transformers": "transformers", "graphs": "eager"}
    assert {*said, "vllm"} == set(ENGINES)  # vllm is no engine for rows, see test_vllm
    for asked, used in said.items():
        checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(engine=asked))
        assert checkpoint.describe()["engine"] == used


class Parrot:
    """An engine that says the same to every row, and is cut every second time."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def reply(self, rows: Sequence[Row]) -> list[Reply]:
        tokens = self.loaded.processor.tokenizer("<answer>A</answer>")["input_ids"]
        whole, cut = [*tokens, *self.loaded.eos], tokens
        sure = [-0.5] * len(tokens)
        return [Reply(cut, sure, cut=True) if i % 2 else Reply(whole, [*sure, -4.0], cut=False) for i in range(len(rows))]

    def n_at_once(self, n_tokens: int) -> int:
        return 4

    def free(self) -> None:
        raise AssertionError("nothing runs out")

    def describe(self) -> dict[str, Any]:
        return {"engine": "parrot"}


def test_an_engine_is_one_module_and_one_line(taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("parrot")
    module.open_engine = lambda ref, settings, *, trust_remote_code: Parrot(load(ref))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "videothinker.diagnose.engines.parrot", module)
    with pytest.raises(VtError, match="engine is 'parrot', expected auto, graphs, transformers or vllm"):
        settings(engine="parrot")
    monkeypatch.setitem(ENGINES, "parrot", "says the same to everyone")
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(engine="parrot"))
    found = answers(checkpoint, colours)
    assert {answer.reply for answer in found.values()} == {"<answer>A</answer>"}
    # Six questions at four at once are two batches of three, or of four and two so that each clip's two are together. Every
    # second reply of a batch is cut.
    assert [answer.truncated for answer in found.values()] == [False, True, False, True, False, True]
    assert (checkpoint.describe()["engine"], checkpoint.describe()["batch_size"]) == ("parrot", 3)
    n = len(checkpoint.loaded.processor.tokenizer("<answer>A</answer>")["input_ids"])
    first, second = list(found.values())[:2]
    assert (first.n_tokens, first.logprob) == (n + 1, pytest.approx((-0.5 * n - 4.0) / (n + 1)))
    assert (second.n_tokens, second.logprob) == (n, pytest.approx(-0.5))


def test_help_and_settings_know_the_engines_of_the_table() -> None:
    option = options.Engine.__metadata__[0]
    for name, what in ENGINES.items():
        assert f"{name}: {what}" in option.help
        assert settings(engine=name).engine == name


def test_graphs_that_cannot_be_had_are_refused(taught: Path, colours: Curated, tmp_path: Path) -> None:
    with pytest.raises(VtError, match="--engine graphs"):
        open_checkpoint(str(taught), curated=colours, settings=settings(engine="graphs", attention="eager"))
    with pytest.raises(VtError, match="Qwen3VL"):
        open_checkpoint(str(write_qwen3(tmp_path / "qwen3")), curated=colours, settings=settings(engine="graphs"))


def test_sampling_depends_on_seed_and_question_and_not_on_batch_or_engine(taught: Path, colours: Curated) -> None:
    asked = [(1, 1, "transformers"), (1, 4, "transformers"), (1, 1, "graphs"), (1, 4, "graphs"), (2, 4, "graphs")]
    warm = [
        replies(taught, colours, temperature=2.0, seed=seed, batch_size=size, engine=engine) for seed, size, engine in asked
    ]
    assert warm[0] == warm[1] == warm[2] == warm[3]
    assert warm[0] != warm[4]
    assert warm[0] != right_replies(colours)


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_engines_agree_with_a_plain_forward_pass_on_how_sure_a_reply_was(
    taught: Path, colours: Curated, temperature: float
) -> None:
    """Log-probabilities of whole batches, against prompt and reply fed at once, one row at a time, with nothing shared."""
    chosen = settings(temperature=temperature)
    graphs, plain = GraphsEngine(load(str(taught)), chosen), TransformersEngine(load(str(taught)), chosen)
    feed, questions = QuestionFeed(graphs.loaded, chosen), colours.questions("dev")
    prompts = write_prompts(graphs.loaded.processor, questions, put_by(chosen))
    shown = {q.clip.path: feed.show(read_clip(path, n_frames=16)) for q in questions if (path := colours.clip(q))}
    rows = feed.rows([(shown[question.clip.path], [question]) for question in questions], prompts)
    assert [row.question_id for row in rows] == [question.question_id for question in questions]
    ours, theirs = graphs.reply(rows), plain.reply(rows)
    assert [reply.tokens for reply in ours] == [reply.tokens for reply in theirs]
    assert [reply.cut for reply in ours] == [reply.cut for reply in theirs]
    assert temperature or not any(reply.cut for reply in ours), "no end token is among them"
    model, hidden = AutoModelForImageTextToText.from_pretrained(taught), graphs.loaded.placeholders
    for question, reply, other in zip(questions, ours, theirs, strict=True):
        inputs = feed.process(prompts.texts[question.question_id], shown[question.clip.path])
        n, tail = inputs["input_ids"].shape[1], torch.tensor([reply.tokens])
        for key, of_reply in (("input_ids", tail), ("attention_mask", tail * 0 + 1), ("mm_token_type_ids", tail * 0)):
            inputs[key] = torch.cat([inputs[key], of_reply], 1)
        with torch.no_grad():
            logits = model(**inputs).logits[0, n - 1 : -1]
        logits[:, hidden] = -torch.inf
        expected = logits.log_softmax(-1)[range(len(reply.tokens)), reply.tokens]
        torch.testing.assert_close(torch.tensor(reply.logprobs), expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(torch.tensor(other.logprobs), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
def test_placeholders_take_no_probability_from_others(taught: Path, colours: Curated, engine: str) -> None:
    """With an output layer of zeros all tokens are equally likely, but for two that stand for an image and a clip."""
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(engine=engine, temperature=1.0))
    head = checkpoint.loaded.model.lm_head
    with torch.no_grad():
        head.weight.zero_()
    expected = -math.log(len(head.weight) - 2)
    assert [answer.logprob for answer in answers(checkpoint, colours).values()] == pytest.approx([expected] * 6, abs=1e-5)


def test_the_race_samples_the_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    n = 4000
    sampler = Race(2.0, [reply_seed(0, f"question {i}") for i in range(n)])
    expected = (logits[0] / 2).softmax(0)
    for _ in range(2):  # the first token and the second
        counts = sampler(logits.expand(n, 4)).argmax(1).bincount(minlength=4)
        # five standard errors of a share
        assert ((counts / n - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt()).all()


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
def test_a_reply_at_the_token_limit_is_truncated(taught: Path, colours: Curated, engine: str) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(max_new_tokens=3, engine=engine))
    found = answers(checkpoint, colours)
    assert all(answer.truncated for answer in found.values())
    assert {answer.reply for answer in found.values()} != {""}


def test_the_last_batch_is_filled_up_to_the_size_of_the_graph(
    taught: Path, colours: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(
        str(taught), curated=colours, settings=settings(batch_size=4, engine="graphs", temperature=1.0)
    )
    sizes, inner = [], Decoder.write

    def watched(decoder: Decoder, *, prompt_ids: Any, rows: list[int], **others: Any) -> list[Written]:
        sizes.append((len(prompt_ids), len(rows)))
        return inner(decoder, prompt_ids=prompt_ids, rows=rows, **others)

    monkeypatch.setattr(Decoder, "write", watched)
    found = {key: answer.reply for key, answer in answers(checkpoint, colours).items()}
    assert sizes == [(4, 4), (2, 4)]
    assert found == replies(taught, colours, batch_size=1, engine="graphs", temperature=1.0)


@pytest.mark.parametrize("engine", ["transformers", "graphs"])
def test_what_a_clips_questions_begin_with_passes_once(taught: Path, colours: Curated, engine: str) -> None:
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(engine=engine, batch_size=3))
    questions = colours.questions("dev")
    found = {answer.question_id: answer.reply for answer in checkpoint.answer(questions)}
    assert found == right_replies(colours)
    prompts = write_prompts(checkpoint.loaded.processor, questions, put_by(settings()))
    assert prompts.ends is not None
    shown = checkpoint.feed.show(read_clip(colours.clip(questions[0]).path, n_frames=16))  # type: ignore[union-attr]
    first = prompts.texts[questions[0].question_id]
    before = checkpoint.feed.process(first, shown)["input_ids"].shape[1] - len(prompts.ends[questions[0].question_id])
    whole = passed = 0
    for question, other in zip(questions[::2], questions[1::2], strict=True):
        ends = prompts.ends[question.question_id], prompts.ends[other.question_id]
        alike = next(i for i, (a, b) in enumerate(zip(*ends, strict=False)) if a != b)
        whole += 2 * before + len(ends[0]) + len(ends[1])
        passed += before + len(ends[0]) + len(ends[1]) - alike
    said = checkpoint.describe()
    assert (said["n_prompt_tokens"], said["n_prompt_tokens_passed"]) == (whole, passed)
    assert passed < whole


@pytest.mark.parametrize("size", [1, 4])
def test_a_cache_of_fixed_size_changes_no_reply(taught: Path, colours: Curated, size: int) -> None:
    """As on a GPU, with what is shared and without."""
    checkpoint = open_checkpoint(str(taught), curated=colours, settings=settings(batch_size=size))
    checkpoint.engine._fixed = True  # type: ignore[attr-defined]
    assert {key: answer.reply for key, answer in answers(checkpoint, colours).items()} == right_replies(colours)


def test_the_seed_of_a_question_is_documented() -> None:
    expected = int.from_bytes(hashlib.sha256(b"42:10000:3").digest()[:8]) >> 1
    assert reply_seed(42, "10000:3") == expected
