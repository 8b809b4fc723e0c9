"""The sampler writes what `generate` writes, with the policy's weights of the moment."""

from pathlib import Path
from typing import Any

import pytest
import torch
from train.trainers import make_trainer, rows, stage

from videothinker.train.sampling import ReplySampler

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="on a GPU a bfloat16 copy of the policy replies: test_gpu.py compares that with itself"
)


@pytest.fixture(scope="module")
def trainer(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = make_trainer(assets, tmp_path_factory.mktemp("out"), stage("grpo"))
    made.model.train()
    return made


def sampler(trainer: Any, **changes: Any) -> ReplySampler:
    settings: dict[str, Any] = {
        "eos": trainer.eos_token_ids,
        "pad": trainer.processing_class.tokenizer.pad_token_id,
        "suppress": trainer.args.generation_kwargs["suppress_tokens"],
        "max_new_tokens": 12,
        "temperature": 1e-4,
    }
    return ReplySampler(**settings | changes)


def write(trainer: Any, one: ReplySampler, assets: Path, which: slice) -> list[list[int]]:
    ids, _, _ = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 6)[which]])
    written = one.sample(trainer.model, ids, trainer._clips["train"], trainer._rows[:, 0].tolist())
    return [reply.tokens for reply in written]


def test_nearly_greedy_it_writes_what_generate_writes(trainer: Any, assets: Path) -> None:
    prompts = [row["prompt"] for row in rows(assets, 5)]
    mine = write(trainer, sampler(trainer), assets, slice(5))
    assert trainer.model.training
    ids, _, fields = trainer._tokenize_prompts(prompts)
    assert len({len(prompt) for prompt in ids}) > 1, "no padding was exercised"
    trainer.generation_config.do_sample = False
    trainer.generation_kwargs["do_sample"] = False
    trainer.generation_config.max_new_tokens = trainer.generation_kwargs["max_new_tokens"] = 12
    theirs, _ = trainer._generate_single_turn(ids, None, fields, 4)
    assert mine == theirs


def test_batches_leave_nothing_behind_and_weights_are_those_of_the_moment(trainer: Any, assets: Path) -> None:
    one = sampler(trainer)
    first = write(trainer, one, assets, slice(3))
    assert write(trainer, one, assets, slice(2, 6)) == write(trainer, sampler(trainer), assets, slice(2, 6))
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    assert write(trainer, one, assets, slice(3)) == write(trainer, sampler(trainer), assets, slice(3)) != first
