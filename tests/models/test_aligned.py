"""MLPs at an aligned width: the same numbers and gradients, and only where the layers are what their weights say."""

import copy
from typing import Any

import pytest
import torch
from models.vision_cases import GRIDS, patches, stand_in, tower  # noqa: F401 (a fixture)
from torch._dynamo.testing import CompileCounterWithBackend

from videothinker.models import aligned
from videothinker.models.aligned import align_mlps, padded_mlp, padding_for
from videothinker.models.vision import quicken_vision, see
from videothinker.models.vision_blocks import compile_blocks


@pytest.fixture
def padded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The columns that were added in each call of an MLP."""
    calls: list[int] = []

    def noted(mlp: Any, states: torch.Tensor, padding: int) -> torch.Tensor:
        calls.append(padding)
        return padded_mlp(mlp, states, padding)

    monkeypatch.setattr(aligned, "padded_mlp", noted)
    return calls


def test_a_width_grows_to_the_next_sixteen_bytes() -> None:
    assert padding_for(3420, torch.bfloat16) == 4  # 6,840 bytes a row, and 6,848 are 428 times 16
    assert padding_for(3424, torch.bfloat16) == 0
    assert padding_for(3420, torch.float32) == 0
    assert padding_for(13, torch.float32) == 3


def learned(model: Any) -> dict[str, torch.Tensor]:
    features = torch.cat([clip.features for clip in see(model, patches(GRIDS), GRIDS, [1.0] * len(GRIDS))])
    features.square().mean().backward()
    return {"features": features.detach(), **{name: weight.grad for name, weight in model.visual.named_parameters()}}


def odd_tower() -> Any:
    return tower(hidden=64, intermediate=133)


def test_a_tower_of_odd_width_computes_and_learns_the_same(stand_in: Any, padded: list[int]) -> None:  # noqa: F811
    plain, quick = odd_tower(), odd_tower()
    quicken_vision(plain, "batched")
    for block in plain.visual.blocks:
        block.mlp.__class__ = type(block.mlp).__base__  # transformers' own
    quicken_vision(quick, "varlen")
    shapes = {name: weight.shape for name, weight in plain.visual.state_dict().items()}
    theirs, ours = learned(plain), learned(quick)
    assert padded == [3, 3, 3]  # of 133 float32 numbers to 136, in each of three blocks
    for name, one in theirs.items():
        torch.testing.assert_close(ours[name], one, rtol=1e-4, atol=1e-5 * float(one.abs().max()), msg=name)
    assert {name: weight.shape for name, weight in quick.visual.state_dict().items()} == shapes


def test_compiled_blocks_share_one_compilation(stand_in: Any) -> None:  # noqa: F811
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    model, plain = odd_tower(), odd_tower()
    for each in (model, plain):
        quicken_vision(each, "varlen")
    compile_blocks(model.visual, always=True, backend=counter)
    theirs, ours = learned(plain), learned(model)
    assert 1 <= counter.frame_count <= 3
    for name, one in theirs.items():
        torch.testing.assert_close(ours[name], one, rtol=1e-4, atol=1e-5 * float(one.abs().max()), msg=name)


def test_where_the_gpu_would_not_gain_nothing_is_added(padded: list[int]) -> None:
    model = odd_tower()
    quicken_vision(model)
    learned(model)  # on a CPU
    assert padded == []


def test_an_aligned_width_stays(stand_in: Any, padded: list[int]) -> None:  # noqa: F811
    model = tower(hidden=64)
    quicken_vision(model, "varlen")
    learned(model)
    assert padded == []


@pytest.mark.parametrize("change", ["adapter", "hook", "backward hook", "forward", "zero-3", "other class"])
def test_layers_that_are_more_than_their_weights_are_called(change: str, stand_in: Any, padded: list[int]) -> None:  # noqa: F811
    model = odd_tower()
    mlps = [block.mlp for block in model.visual.blocks]
    called: list[Any] = []
    if change == "other class":
        for mlp in mlps:
            mlp.__class__ = type("Sharded", (type(mlp),), {})
    quicken_vision(model, "varlen")
    if change == "adapter":
        from peft import LoraConfig, inject_adapter_in_model

        before = copy.deepcopy(model)
        inject_adapter_in_model(LoraConfig(r=2, target_modules=["down_proj"], init_lora_weights=False), model)
        with torch.no_grad():
            ours, bare = (see(each, patches(GRIDS), GRIDS, [1.0] * 3)[0].features for each in (model, before))
        assert not torch.allclose(ours, bare)  # the adapter is heard
        assert padded == [3, 3, 3]  # of the bare one
        return
    for mlp in mlps:
        if change == "hook":
            mlp.up_proj.register_forward_hook(lambda *_: called.append(1))
        if change == "backward hook":
            mlp.up_proj.register_full_backward_hook(lambda *_: called.append(1))
        if change == "forward":
            mlp.down_proj.forward = mlp.down_proj.forward
        if change == "zero-3":
            mlp.gate_proj.weight.ds_id = 0
    learned(model)
    assert padded == []
    assert len(called) == (3 if "hook" in change else 0)


def test_frozen_weights_are_not_copied_for_a_backward_pass(stand_in: Any, padded: list[int]) -> None:  # noqa: F811
    """An adapter on attention alone: its gradient needs the MLPs' own weights and nothing more."""
    model = odd_tower()
    quicken_vision(model, "varlen")
    for name, weight in model.visual.named_parameters():
        weight.requires_grad_("qkv" in name)
    learned(model)
    assert padded == []
    with torch.no_grad():
        see(model, patches(GRIDS), GRIDS, [1.0] * 3)
    assert padded == [3, 3, 3]


def test_other_mlps_are_left_alone() -> None:
    class Other(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states

    model = tower()
    model.visual.blocks[0].mlp = Other()
    align_mlps(model.visual)
    assert type(model.visual.blocks[0].mlp) is Other


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_half_precision_rounds_no_worse_than_the_plain_mlp() -> None:
    plain = odd_tower().visual.blocks[0].mlp.to("cuda", torch.bfloat16)
    exact = copy.deepcopy(plain).float()
    states = torch.randn(500, 64, device="cuda", dtype=torch.bfloat16)
    with torch.no_grad():
        true = exact(states.float())
        ours, theirs = padded_mlp(plain, states, padding_for(133, torch.bfloat16)), plain(states)
    assert (ours - true).abs().max() <= 1.5 * (theirs - true).abs().max() + 2e-3 * true.abs().max()
