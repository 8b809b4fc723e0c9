"""The fixed-cache sampler writes what `generate` writes, draws from the right distribution, and stops where a reply ends."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, rows, stage

from videothinker.train.sampling import Sampler, _Decoder


@pytest.fixture(scope="module")
def trainer(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_trainer(assets, tmp_path_factory.mktemp("out"), stage("grpo"))
    made.model.train()
    return made


def sampler(trainer: Any, **changes: Any) -> Sampler:
    settings: dict[str, Any] = {
        "eos": trainer.eos_token_ids,
        "pad": trainer.processing_class.tokenizer.pad_token_id,
        "suppress": trainer.args.generation_kwargs["suppress_tokens"],
        "max_new_tokens": 12,
        "temperature": 1e-4,
    }
    return Sampler(**settings | changes)


def test_nearly_greedy_it_writes_what_generate_writes(trainer: Any, assets: Path) -> None:
    prompts = [row["prompt"] for row in rows(assets, 5)]
    ids, _, fields = trainer._tokenize_prompts(prompts)
    assert len({len(prompt) for prompt in ids}) > 1, "no padding was exercised"
    mine = sampler(trainer).sample(trainer.model, ids, fields)
    assert trainer.model.training
    trainer.generation_config.do_sample = False
    trainer.generation_kwargs["do_sample"] = False
    trainer.generation_config.max_new_tokens = trainer.generation_kwargs["max_new_tokens"] = 12
    theirs, _ = trainer._generate_single_turn(ids, None, fields, 4)
    assert mine == theirs


def test_batches_leave_nothing_behind(trainer: Any, assets: Path) -> None:
    prompts = [row["prompt"] for row in rows(assets, 6)]
    one = sampler(trainer)
    ids, _, fields = trainer._tokenize_prompts(prompts[:3])
    one.sample(trainer.model, ids, fields)
    ids, _, fields = trainer._tokenize_prompts(prompts[2:])
    assert one.sample(trainer.model, ids, fields) == sampler(trainer).sample(trainer.model, ids, fields)


def test_it_draws_from_the_models_distribution_without_the_suppressed_tokens(trainer: Any, assets: Path) -> None:
    """20,000 draws against the softmax of one forward; chi-square over the 20 likeliest, false alarm 1e-4."""
    ids, _, fields = trainer._tokenize_prompts([rows(assets, 1)[0]["prompt"]])
    with torch.no_grad():
        inputs = {key: value for key, value in fields.items() if key != "mm_token_type_ids"}
        logits = trainer.model(
            input_ids=torch.tensor(ids), mm_token_type_ids=torch.tensor(fields["mm_token_type_ids"]), **inputs
        ).logits[0, -1]
    n = 20_000
    torch.manual_seed(3)
    decoder = _Decoder(trainer.model, n, 1, sampler(trainer, temperature=0.5, max_new_tokens=1))
    decoder._draw(logits.expand(n, -1))
    drawn = decoder._replies[:, 0]
    suppressed = trainer.args.generation_kwargs["suppress_tokens"]
    logits[suppressed] = -torch.inf
    chances = (logits / 0.5).softmax(-1)
    top = chances.topk(20)
    counts = torch.bincount(drawn, minlength=len(chances))
    rest = n - counts[top.indices].sum()
    observed = torch.cat([counts[top.indices], rest[None]]).float()
    expected = torch.cat([top.values, (1 - top.values.sum())[None]]) * n
    assert ((observed - expected) ** 2 / expected).sum() < 55  # 20 degrees of freedom
    assert counts[suppressed].sum() == 0


def test_a_reply_ends_with_its_first_end_token(trainer: Any, assets: Path) -> None:
    ids, _, fields = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 4)])
    full = sampler(trainer).sample(trainer.model, ids, fields)
    end = full[0][5]
    cut = sampler(trainer, eos=[end]).sample(trainer.model, ids, fields)
    for whole, reply in zip(full, cut, strict=True):
        first = whole.index(end) if end in whole else len(whole) - 1
        assert reply == whole[: first + 1]
