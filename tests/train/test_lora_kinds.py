"""Which adapters a LoRA policy may have: those that replies are written and scored with as PEFT's own model has them.

Replies are written here as on a GPU, without its kernels and graphs.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from train.lora_policies import all_weights, lora_trainer, same_bits, with_two_weights, write
from train.trainers import make_trainer, stage
from transformers import AutoModelForImageTextToText

from videothinker.errors import VtError
from videothinker.models.checkpoint import check_fit, find_checkpoint
from videothinker.train import lora, sampling
from videothinker.train.build import check_beside, check_policy
from videothinker.train.clips import bare
from videothinker.train.lora import MergedBase

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="bits are compared as a CPU computes them")


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_on_gpu", lambda model: True)


def other_adapter(assets: Path, out: Path, targets: str = r".*language_model.*\.(q_proj|up_proj)", **settings: Any) -> Path:
    """An adapter on start/ of another kind, all of it far from nothing."""
    torch.manual_seed(2)
    base = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=16, target_modules=targets, **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
            if "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.5 * torch.rand_like(parameter))
    model.save_pretrained(out)
    return out


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_policy_with_dora_writes_with_its_magnitudes(assets: Path, tmp_path: Path, precision: str) -> None:
    """In the base's own memory and in a copy; PEFT's merge of the very weights says what is right."""
    start = other_adapter(assets, tmp_path / "dora", use_dora=True)
    config = stage("grpo", f"model.precision={precision}", "lora.rank=4", "rollouts.engine=graphs")
    trainer = make_trainer(assets, tmp_path / "out", config, start=start)
    base, ids = bare(trainer.model.eval()), torch.arange(5, 25)[None]
    before = all_weights(trainer)
    with torch.no_grad():
        layer = base.model.language_model.layers[0].mlp.up_proj
        added = layer.base_layer.weight + layer.get_delta_weight("default")
        assert float((lora.merged_weight(layer) - added).abs().max()) > 0.1, "what a plain LoRA would come to is another weight"
        unmerged = trainer.model(input_ids=ids).logits.float()
        copy = trainer.sampler._up_to_date(base)
        with MergedBase().merged(base):
            in_place = base(input_ids=ids).logits.float()
            weights = {name: weight.clone() for name, weight in base.named_parameters()}
        assert same_bits(before, trainer)
        for name, weight in copy.named_parameters():
            assert torch.equal(weight, weights[name].to(torch.bfloat16)), name
        trainer.model.train()
        assert write(trainer, assets)
        trainer.model.eval()
        peft = trainer.model.merge_and_unload()(input_ids=ids).logits.float()
    near = {"bf16": 0.05, "fp32": 1e-4}[precision]
    torch.testing.assert_close(in_place, peft, atol=near, rtol=near)
    torch.testing.assert_close(in_place, unmerged, atol=near, rtol=near)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"lora_bias": True, "targets": r".*language_model.*\.q_proj"}, r"q_proj has a bias of its own \(lora_bias\)"),
        ({"alora_invocation_tokens": [7]}, r"is no LoRA or DoRA \(ALoraLinearVariant\)"),
        ({"trainable_token_indices": [5]}, r"is no LoRA or DoRA \(TrainableTokensLayer\)"),
    ],
)
def test_what_replies_would_be_written_without_is_refused(
    assets: Path, tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    start = find_checkpoint(str(other_adapter(assets, tmp_path / "other", **settings)))
    expected = rf"^[^\n]*other: under \[lora\] [^\n]*{why}, which replies would be written without; leave [^\n]*$"
    with pytest.raises(VtError, match=expected):
        check_policy(stage("grpo", "lora.rank=4"), start, check_fit(start))
    check_policy(stage("grpo"), start, check_fit(start))


ONE_WEIGHT = r"embed_tokens and lm_head are one weight \(tie_word_embeddings\), and both would change while replies are written"
HEAD = "lm_head has an adapter, and replies are scored with its plain weight"


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (r".*(q_proj|embed_tokens)", ONE_WEIGHT),
        (r".*(q_proj|lm_head)", HEAD),
        (r".*q_projection", r"does not fit the model: Target modules \.\*q_projection not found"),
        (r".*(q_proj", r"does not fit the model: missing \), unterminated"),
    ],
)
def test_targets_that_cannot_be_trained_are_refused_before_anything_is_loaded(assets: Path, targets: str, why: str) -> None:
    start = find_checkpoint(str(assets / "start"))
    with pytest.raises(VtError, match=rf"^lora\.targets = '{re.escape(targets)}': {why}[^\n]*$"):
        check_policy(stage("grpo", "lora.rank=4", f"lora.targets={targets}"), start, check_fit(start))
    for trained in (r".*language_model.*\.(q_proj|up_proj)", r".*visual.*\.qkv", "all-linear"):
        check_policy(stage("grpo", "lora.rank=4", f"lora.targets={trained}"), start, check_fit(start))


@pytest.mark.parametrize(("targets", "why"), [(r".*(q_proj|embed_tokens)", ONE_WEIGHT), (r".*(q_proj|lm_head)", HEAD)])
def test_an_adapter_on_embeddings_is_refused_where_it_is_trained_on_or_scored(
    assets: Path, tmp_path: Path, targets: str, why: str
) -> None:
    start, other = (
        find_checkpoint(str(assets / "start")),
        find_checkpoint(str(other_adapter(assets, tmp_path / "other", targets))),
    )
    with pytest.raises(VtError, match=rf"other: under \[lora\] this adapter is trained on: {why}; leave the section"):
        check_policy(stage("grpo", "lora.rank=4"), other, check_fit(other))
    check_policy(stage("grpo"), other, check_fit(other))  # merged, with embeddings of two weights
    config = stage("cdpo", "lora.rank=4")
    check_beside(stage("cdpo"), start, other, check_fit(other))
    if why is HEAD:
        with pytest.raises(VtError, match=rf"other: is scored as an adapter beside the policy's: {why}; merge it"):
            check_beside(config, start, other, check_fit(other))
    else:
        check_beside(config, start, other, check_fit(other))


def test_embeddings_of_two_weights_may_have_an_adapter_on_the_first(assets: Path, tmp_path: Path) -> None:
    two = with_two_weights(assets / "start", tmp_path / "two")
    start = find_checkpoint(str(two))
    targets = r"lora.targets=.*(q_proj|embed_tokens)"
    check_policy(stage("grpo", "lora.rank=4", targets), start, check_fit(start))
    trainer = lora_trainer(assets, tmp_path / "out", targets, start=two)
    base, ids = bare(trainer.model.eval()), torch.arange(5, 25)[None]
    before = all_weights(trainer)
    with torch.no_grad():
        unmerged = trainer.model(input_ids=ids).logits.float()
        with MergedBase().merged(base):
            merged = base(input_ids=ids).logits.float()
    assert same_bits(before, trainer)
    near = 0.02 * float(unmerged.abs().max())
    torch.testing.assert_close(merged, unmerged, atol=near, rtol=0.02)
