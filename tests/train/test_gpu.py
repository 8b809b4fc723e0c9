"""What only a GPU can show: the captured graph writes what plain steps write, from up-to-date weights; skipped elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, rows, stage

from videothinker.models.reply_state import ReplyState
from videothinker.train.sampling import ReplySampler

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def replies(trainer: Any, sampler: ReplySampler, assets: Path) -> list[list[int]]:
    ids, _, _ = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 5)])
    written = sampler.sample(trainer.model, ids, trainer._clips["train"], trainer._rows[:, 0].tolist())
    return [reply.tokens for reply in written]


def nearly_greedy(trainer: Any) -> ReplySampler:
    hidden = trainer.args.generation_kwargs["suppress_tokens"]
    pad = trainer.processing_class.tokenizer.pad_token_id
    return ReplySampler(eos=trainer.eos_token_ids, pad=pad, suppress=hidden, max_new_tokens=24, temperature=1e-4)


@pytest.mark.parametrize("overrides", [(), ("lora.rank=4",)])
def test_the_graph_writes_what_plain_steps_write_before_and_after_an_update(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    captured = []
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda noise: noise.fill_(1.0))  # bfloat16 ties: the first one wins
    monkeypatch.setattr(
        ReplyState, "_capture", lambda self, capture=ReplyState._capture: (capture(self), captured.append(self._graph))
    )
    trainer = make_trainer(assets, tmp_path, stage("grpo", "model.precision=bf16", *overrides))
    trainer.model.train()
    graph = nearly_greedy(trainer)
    before = replies(trainer, graph, assets)
    assert None not in captured
    assert len(captured) == 1
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    after = replies(trainer, graph, assets)
    assert before != after
    assert len(captured) == 1, "a second batch of the same shape uses the first's graph"
    monkeypatch.setattr(ReplyState, "_capture", lambda self: None)
    plain = nearly_greedy(trainer)
    assert replies(trainer, plain, assets) == after


def test_draws_differ_from_token_to_token_and_batch_to_batch(assets: Path, tmp_path: Path) -> None:
    """A graph replays kernels, but must not replay their random numbers."""
    trainer = make_trainer(assets, tmp_path, stage("grpo", "model.precision=bf16"))
    trainer.model.train()
    sampler = nearly_greedy(trainer)
    sampler.temperature = 100.0
    first, second = replies(trainer, sampler, assets), replies(trainer, sampler, assets)
    assert first != second
    assert min(len(set(reply)) for reply in first) > 6


def test_a_lora_policy_writes_in_its_base_s_own_memory_and_gives_it_back(assets: Path, tmp_path: Path) -> None:
    """The first batch moves weights side by side; captured graphs read them where they lie then."""
    trainer = make_trainer(assets, tmp_path, stage("grpo", "model.precision=bf16", "lora.rank=4"))
    trainer.model.train()
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    places = []
    for _ in range(2):
        replies(trainer, trainer.sampler, assets)
        now = dict(trainer.model.named_parameters())
        assert all(torch.equal(now[name], weight) for name, weight in before.items())
        places.append([weight.data_ptr() for weight in now.values()])
    assert places[0] == places[1]
    assert trainer.sampler._copy is None
    pieces = [piece for kept in trainer.sampler._base._kept.values() for piece in kept]
    assert pieces
    assert all(piece.is_pinned() for piece in pieces)
