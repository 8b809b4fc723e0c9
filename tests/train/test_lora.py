"""A LoRA policy writes as its merged weights do, in the base's own memory, and the base has its bits back afterwards.

Replies are written here as on a GPU, without its kernels and graphs: in bfloat16, and not by the policy as it is.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from train.lora_policies import BF16, all_weights, lora_trainer, move, same_bits, write
from train.trainers import make_trainer, rows, stage, write_adapter
from trl.trainer.utils import use_adapter

from videothinker.models.decoder import Decoder, TokenChoice
from videothinker.models.side_by_side import laid_side_by_side
from videothinker.train import lora, sampling
from videothinker.train.cdpo import REFERENCE
from videothinker.train.clips import bare, see_clips
from videothinker.train.lora import MergedBase
from videothinker.train.seen import is_frozen

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="bits are compared as a CPU computes them; test_gpu.py too")


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_on_gpu", lambda model: True)


def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on samplers copy, as for a base that is not bfloat16."""
    monkeypatch.setattr(MergedBase, "serves", staticmethod(lambda model: False))


@pytest.mark.parametrize("checkpointing", ["true", "false"])
def test_the_base_has_its_bits_back_after_writing(assets: Path, tmp_path: Path, checkpointing: str) -> None:
    trainer = lora_trainer(assets, tmp_path, f"model.gradient_checkpointing={checkpointing}")
    before = all_weights(trainer)
    modules = [(name, id(module)) for name, module in trainer.model.named_modules()]
    replies = write(trainer, assets)
    assert same_bits(before, trainer)
    assert [(name, id(module)) for name, module in trainer.model.named_modules()] == modules
    move(trainer)
    assert write(trainer, assets) != replies, "written by the weights of the moment"


@pytest.mark.parametrize("place", ["writing", "merging"])
def test_the_base_has_its_bits_back_after_an_error(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    trainer = lora_trainer(assets, tmp_path)
    before, replies = all_weights(trainer), write(trainer, assets)
    n_merged = 0

    def fails(*_args: Any, **_kwargs: Any) -> Any:
        nonlocal n_merged
        n_merged += 1
        if place == "writing" or n_merged == 3:
            raise RuntimeError("out of memory")
        return torch.tensor(9.0)

    with monkeypatch.context() as patched:
        patched.setattr(*((Decoder, "write") if place == "writing" else (lora, "merged_weight")), fails)
        with pytest.raises(RuntimeError, match="out of memory"):
            write(trainer, assets)
    assert same_bits(before, trainer)
    assert write(trainer, assets) == replies


def test_replies_and_log_probabilities_are_those_of_a_merged_copy(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = lora_trainer(assets, tmp_path)
    in_place = write(trainer, assets)
    ids, _, _ = trainer._tokenize_prompts([row["prompt"] for row in rows(assets, 3)])

    def written(model: Any) -> Any:
        seen = see_clips(model, trainer._clips["train"])
        torch.manual_seed(8)
        return Decoder(model, eos=[0], pad=0).write(ids, seen, choice=TokenChoice(1.0), max_new_tokens=9)

    base = bare(trainer.model.eval())
    with torch.no_grad(), MergedBase().merged(base):
        mine, weights = written(base), {name: weight.clone() for name, weight in base.named_parameters()}
    copying(monkeypatch)
    assert write(trainer, assets) == in_place
    with torch.no_grad():
        copy = trainer.sampler._up_to_date(base)
        assert written(copy) == mine
    assert all(torch.equal(weights[name], weight) for name, weight in copy.named_parameters())
    assert any(name.endswith("q_proj.weight") for name in weights)


def n_held(shapes: set[torch.Size]) -> int:
    """How many places in memory hold bfloat16 weights of these shapes. What is on the host is in pieces of one dimension."""
    gc.collect()
    tensors = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor)]
    return len({x.data_ptr() for x in tensors if x.dtype == torch.bfloat16 and x.shape in shapes})


@pytest.mark.parametrize("copies", [False, True])
def test_no_second_set_of_weights_is_held_while_writing(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: bool
) -> None:
    trainer = lora_trainer(assets, tmp_path)
    if copies:
        copying(monkeypatch)
    adapted = [weight for name, weight in trainer.model.named_parameters() if name.endswith("base_layer.weight")]
    shapes, meanwhile = {weight.shape for weight in adapted}, []
    before = n_held(shapes)

    def looks(self: Decoder, *_args: Any, reply: Callable[..., Any] = Decoder.write, **kwargs: Any) -> Any:
        meanwhile.append(n_held(shapes) - before)
        return reply(self, *_args, **kwargs)

    monkeypatch.setattr(Decoder, "write", looks)
    write(trainer, assets)
    pieces = [piece for kept in trainer.sampler._base._kept.values() for piece in kept]
    if copies:
        assert meanwhile[0] >= len(adapted) > 0
        assert not pieces
    else:
        assert meanwhile == [0]
        assert sum(piece.nbytes for piece in pieces) == sum(weight.nbytes for weight in adapted)
        assert trainer.sampler._copy is None


def test_moved_weights_get_their_bits_back_and_stay_where_they_are(assets: Path, tmp_path: Path) -> None:
    """A GPU's kernels move weights that take one input side by side, and captured graphs remember where they lie."""
    trainer = lora_trainer(assets, tmp_path)
    before, base, merging = all_weights(trainer), bare(trainer.model), MergedBase()
    places = []
    for _ in range(2):
        with merging.merged(base):
            attention = base.model.language_model.layers[0].self_attn
            joined = laid_side_by_side(attention.q_proj, attention.k_proj, attention.v_proj)
            assert joined.weight is not None
            places.append([attention.q_proj.weight.data_ptr(), joined.weight.data_ptr()])
            merged = attention.q_proj.weight.clone()
        assert same_bits(before, trainer)
        inside = base.model.language_model.layers[0].self_attn.q_proj.base_layer.weight
        assert inside.data_ptr() == places[0][0] == places[0][1], "the base has moved, and nothing was left behind"
        assert not torch.equal(inside, merged)
    assert places[0] == places[1]


@pytest.mark.parametrize("targets", [r".*language_model.*\.(q_proj|k_proj)", r".*(language_model.*\.q_proj|visual.*\.qkv)"])
def test_a_second_adapter_on_the_base_scores_the_same_before_and_after(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: str
) -> None:
    """It is on layers that the policy's own is not on, and the other way round."""
    adapter = write_adapter(assets / "start", tmp_path / "adapter")
    trainer = lora_trainer(assets, tmp_path, f"lora.targets={targets}", name="cdpo", reference=adapter)
    ids = torch.arange(5, 25)[None]

    def scores() -> list[torch.Tensor]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            own = trainer.model(input_ids=ids).logits
            with use_adapter(trainer.model, REFERENCE):
                return [own, trainer.model(input_ids=ids).logits]

    before = scores()
    replies = write(trainer, assets)
    after = scores()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not torch.equal(*before)
    copying(monkeypatch)
    assert write(trainer, assets) == replies


def test_what_a_tower_with_adapters_makes_is_not_kept_from_batch_to_batch(assets: Path, tmp_path: Path) -> None:
    """While replies are written its adapters cannot be seen, but its weights follow them."""
    trainer = lora_trainer(assets, tmp_path, "model.train_vision=false", r"lora.targets=.*visual.*\.qkv")
    write(trainer, assets)
    assert trainer._vision.counts.n_shown == 0
    kept = lora_trainer(assets, tmp_path, "model.train_vision=false")
    write(kept, assets)
    assert kept._vision.counts.n_shown == 3


def trained(assets: Path, out: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and adapter of four steps, begun or gone on with in the folder."""
    trainer = make_trainer(assets, out, stage("grpo", *BF16, "rollouts.engine=graphs", "optimizer.steps=4"))
    trainer.train(resume_from_checkpoint=str(out / "checkpoint-2") if (out / "checkpoint-2").is_dir() else None)
    adapter = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    return [row["loss"] for row in trainer.state.log_history if "loss" in row], adapter


def test_training_is_that_with_a_copy_and_goes_on_in_the_same_bits(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, adapter = trained(assets, tmp_path / "run")
    assert len(losses) == 4
    (tmp_path / "run" / "checkpoint-4").rename(tmp_path / "gone")
    again, resumed = trained(assets, tmp_path / "run")
    assert again == losses
    assert all(torch.equal(resumed[name], weight) for name, weight in adapter.items())
    copying(monkeypatch)
    with_copy, other = trained(assets, tmp_path / "copy")
    assert with_copy == losses
    assert all(torch.equal(other[name], weight) for name, weight in adapter.items())
    assert max(float(weight.abs().max()) for name, weight in adapter.items() if "lora_B" in name) > 1e-4


def test_a_float32_base_is_copied(assets: Path, tmp_path: Path) -> None:
    trainer = lora_trainer(assets, tmp_path, "model.precision=fp32")
    before = all_weights(trainer)
    replies = write(trainer, assets)
    assert write(trainer, assets) == replies, "making the copy has drawn nothing"
    assert {weight.dtype for weight in trainer.sampler._copy.parameters()} == {torch.bfloat16}
    assert same_bits(before, trainer)


# What is not kept while the loss is computed


def gradients(trainer: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss of a batch and the adapters' gradients."""
    trainer.model.train()
    ids = torch.arange(5, 45).view(2, 20)
    with torch.autocast("cpu", torch.bfloat16):
        found = trainer.model(input_ids=ids, labels=ids, fused_lm_head=True)
    trainer.model.zero_grad()
    found.loss.backward()
    return found.loss.detach(), [w.grad.clone() for w in trainer.model.parameters() if w.grad is not None]


def test_adapters_take_their_inputs_as_they_come_under_autocast_with_the_same_numbers(assets: Path, tmp_path: Path) -> None:
    trainer = lora_trainer(assets, tmp_path, "model.gradient_checkpointing=true")
    taken: set[torch.dtype] = set()
    layers = [module for module in trainer.model.modules() if hasattr(module, "lora_A")]
    for layer in layers:
        layer.lora_A["default"].register_forward_pre_hook(lambda _layer, inputs: taken.add(inputs[0].dtype))
    loss, spared = gradients(trainer)
    assert taken == {torch.bfloat16}
    with torch.no_grad():
        trainer.model(input_ids=torch.arange(5, 25)[None])  # without autocast float32 weights need float32 inputs
    assert taken == {torch.bfloat16, torch.float32}
    for layer in layers:
        layer._forward_pre_hooks.clear()
        layer.cast_input_dtype_enabled = True
    as_peft, copied = gradients(trainer)
    assert torch.equal(loss, as_peft)
    assert all(torch.equal(one, other) for one, other in zip(spared, copied, strict=True))
    assert len(spared) == 2 * len(layers)


def test_a_tower_without_adapters_is_a_constant_to_autograd(assets: Path, tmp_path: Path) -> None:
    """PEFT has its embedded patches ask for a gradient, where layers are checkpointed."""
    overrides = ("model.gradient_checkpointing=true", "model.precision=fp32")
    trainer = lora_trainer(assets, tmp_path, *overrides)
    trainer._tokenize_prompts([rows(assets, 1)[0]["prompt"]])
    assert not see_clips(bare(trainer.model), trainer._clips["train"])[0].features.requires_grad
    with_adapters = lora_trainer(assets, tmp_path, *overrides, r"lora.targets=.*visual.*\.qkv")
    assert not is_frozen(bare(with_adapters.model).model.visual)
    assert see_clips(bare(with_adapters.model), trainer._clips["train"])[0].features.requires_grad
