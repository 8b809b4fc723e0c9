"""Two adapters on one base, one with an output layer of its own (PEFT's `modules_to_save`): each is scored with its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from train import plain_scores
from train.lora_policies import with_two_weights
from train.trainers import make_trainer, rows, stage
from transformers import AutoModelForImageTextToText, AutoProcessor

from videothinker.models.checkpoint import check_fit, find_checkpoint
from videothinker.train.build import check_beside, check_policy

HEAD = "base_model.model.lm_head.weight"


def load(base: Path, adapter: Path | None = None) -> Any:
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
    return (model if adapter is None else PeftModel.from_pretrained(model, str(adapter))).eval()


@pytest.fixture(scope="module")
def two_weights(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_two_weights(assets / "start", tmp_path_factory.mktemp("base") / "two")


def adapter_on(base: Path, out: Path, *, seed: int, own_head: bool) -> Path:
    torch.manual_seed(seed)
    saved = ["lm_head"] if own_head else None
    config = LoraConfig(r=4, lora_alpha=16, target_modules=r".*language_model.*\.(q_proj|up_proj)", modules_to_save=saved)
    model = get_peft_model(AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32), config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(out)
    assert (HEAD in load_file(out / "adapter_model.safetensors")) == own_head
    return out


def plain_kl(assets: Path, policy: Any, reference: Any, batch: dict[str, Any]) -> float:
    """The mean over replies of the mean over tokens of KL(policy || reference), from whole tables, a reply at a time."""
    processor = AutoProcessor.from_pretrained(assets / "start")
    of_replies = []
    for row in range(len(batch["prompt_ids"])):
        prompt, reply = plain_scores.unpadded(batch, row)
        inputs = plain_scores.video_inputs(processor, plain_scores.clip_of(assets, processor, prompt))
        ids = torch.tensor([prompt + reply])
        kinds = 2 * (ids == policy.config.video_token_id).int()
        with torch.no_grad():
            tables = [
                torch.log_softmax(model(input_ids=ids, mm_token_type_ids=kinds, **inputs).logits[0, len(prompt) - 1 : -1], -1)
                for model in (policy, reference)
            ]
        of_replies.append((tables[0].exp() * (tables[0] - tables[1])).sum(-1).mean())
    return float(torch.stack(of_replies).mean())


def a_step(trainer: Any, assets: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A batch of replies, and what the metrics say of its loss."""
    trainer.model.train()
    batch = trainer._generate_and_score_completions([row for row in rows(assets, 2) for _ in range(4)])
    trainer._metrics["train"].clear()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, batch)
    return batch, trainer._metrics["train"]


@pytest.mark.parametrize(
    ("whose", "base"),
    [("reference", "one weight"), ("reference", "two weights"), ("policy", "two weights")],  # the fourth: test_lora_kinds.py
)
def test_each_adapter_is_scored_with_its_own_output_layer(
    assets: Path, two_weights: Path, tmp_path: Path, whose: str, base: str
) -> None:
    """Log-probabilities of the replies, and whole distributions, beside plain models that have one adapter each."""
    under = two_weights if base == "two weights" else assets / "start"
    start = adapter_on(under, tmp_path / "start", seed=2, own_head=whose == "policy")
    bias = adapter_on(under, tmp_path / "bias", seed=3, own_head=whose == "reference")
    first, second = find_checkpoint(str(start)), find_checkpoint(str(bias))
    config = stage("cdpo", "objective.kl=exact", "lora.rank=4")
    check_beside(config, first, second, check_fit(second))
    check_policy(config, first, check_fit(first))
    trainer = make_trainer(assets, tmp_path / "out", config, start=start, reference=bias)
    batch, logged = a_step(trainer, assets)
    policy, reference = load(under, start), load(under, bias)
    assert logged["kl"] == [pytest.approx(plain_kl(assets, policy, reference, batch), rel=1e-4)]
    processor = AutoProcessor.from_pretrained(assets / "start")
    for row in range(len(batch["prompt_ids"])):
        prompt, reply = plain_scores.unpadded(batch, row)
        clip = plain_scores.clip_of(assets, processor, prompt)
        with torch.no_grad():
            expected = plain_scores.logps(reference, processor, clip, prompt, reply)
        torch.testing.assert_close(batch["reference_logps"][row, : len(reply)], expected, atol=1e-4, rtol=1e-4)


def test_the_references_output_layer_is_neither_moved_nor_saved_with_the_policy(assets: Path, tmp_path: Path) -> None:
    """It goes on from its last checkpoint too, where both adapters were written."""
    bias = adapter_on(assets / "start", tmp_path / "bias", seed=3, own_head=True)
    out, there = tmp_path / "out", load_file(bias / "adapter_model.safetensors")
    for steps in (2, 4):
        config = stage("cdpo", "objective.kl=exact", "lora.rank=4", f"optimizer.steps={steps}")
        trainer = make_trainer(assets, out, config, reference=bias)
        trainer.train(resume_from_checkpoint=str(out / "checkpoint-2") if steps == 4 else None)
        kept = load_file(out / f"checkpoint-{steps}" / "reference" / "adapter_model.safetensors")
        assert kept.keys() == there.keys()
        assert all(torch.equal(kept[name], weight) for name, weight in there.items())
    trainer.save_policy(tmp_path / "policy")
    assert HEAD not in load_file(tmp_path / "policy" / "adapter_model.safetensors")
    with torch.no_grad():
        ids = torch.arange(5, 25)[None]
        alone = load(assets / "start", tmp_path / "policy")(input_ids=ids).logits
        torch.testing.assert_close(trainer.model.eval()(input_ids=ids).logits, alone, atol=1e-4, rtol=1e-4)
