"""Compiled blocks of the vision tower: the same numbers, one compilation for all blocks and sizes, and a way back."""

from typing import Any

import pytest
import torch
from models.vision_cases import GRIDS, patches, stand_in, tower  # noqa: F401 (a fixture)
from torch._dynamo.testing import CompileCounterWithBackend

from videothinker.models.vision import quicken_vision, see
from videothinker.models.vision_blocks import compile_blocks

MOST = 3
"""Most compilations for six blocks and clips of any size: what the first block is given has no gradient, for one."""

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


def compiled(backend: Any, **shape: Any) -> Any:
    model = tower(**shape)
    quicken_vision(model, "varlen")
    assert compile_blocks(model.visual, always=True, backend=backend)
    return model


def features_of(model: Any, grids: list[tuple[int, int, int]]) -> torch.Tensor:
    return torch.cat([clip.features for clip in see(model, patches(grids), grids, [1.0] * len(grids))])


def test_blocks_share_one_compilation_for_all_sizes(stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    counter = CompileCounterWithBackend("aot_eager")
    model, plain = compiled(counter, depth=6), tower(depth=6)
    quicken_vision(plain, "varlen")
    for grids in (GRIDS, [(3, 12, 16)], [(2, 12, 12), (1, 20, 8)]):
        with torch.no_grad():
            torch.testing.assert_close(features_of(model, grids), features_of(plain, grids), rtol=1e-4, atol=1e-5)
    assert 1 <= counter.frame_count <= MOST
    assert len(stand_in) == 3 * 6  # of the plain tower: the compiled one does not come by here


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_same(checkpointing: bool, stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    models = [compiled("aot_eager"), tower()]
    quicken_vision(models[1], "batched")
    for model in models:
        model.visual.train()
        if checkpointing:
            model.visual.gradient_checkpointing_enable({"use_reentrant": False})
        features_of(model, GRIDS).square().mean().backward()
    for (name, one), other in zip(models[0].visual.named_parameters(), models[1].visual.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5 * float(other.grad.abs().max()), msg=name)


def test_layers_may_be_replaced_by_adapters(stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    from peft import LoraConfig, inject_adapter_in_model

    counter = CompileCounterWithBackend("aot_eager")
    model, plain = compiled(counter, depth=4), tower(depth=4)
    quicken_vision(plain, "batched")
    for each in (model, plain):
        torch.manual_seed(0)
        inject_adapter_in_model(LoraConfig(r=2, target_modules=["qkv", "down_proj"], init_lora_weights=False), each)
        features_of(each, GRIDS).square().mean().backward()
    assert 1 <= counter.frame_count <= MOST
    for (name, one), other in zip(model.visual.named_parameters(), plain.visual.parameters(), strict=True):
        if "lora_" in name:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5 * float(other.grad.abs().max()), msg=name)


def test_a_failure_is_said_once_and_the_blocks_go_on(stand_in: list[tuple[int, int]]) -> None:  # noqa: F811
    def fail(*_: Any) -> Any:
        raise ValueError("no compiler here\nand a second line")

    model, plain = compiled(fail), tower()
    quicken_vision(plain, "varlen")
    with torch.no_grad():
        with pytest.warns(UserWarning, match="uncompiled, for torch.compile failed: .*no compiler here") as told:
            first = features_of(model, GRIDS)
        assert torch.equal(first, features_of(model, GRIDS))
        assert torch.equal(first, features_of(plain, GRIDS))
    assert len(told) == 1
    assert "\n" not in str(told[0].message)


def test_small_towers_and_those_on_a_cpu_are_not_compiled() -> None:
    model = tower()
    assert not compile_blocks(model.visual)
    counter = CompileCounterWithBackend("eager")
    with torch.no_grad():
        features_of(compiled(counter), GRIDS)
    assert counter.frame_count == 0


def learned(kernels: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    """Features and gradients of a tower on the GPU, in float32."""
    model = tower(depth=4, hidden=320, dtype=torch.float32, device="cuda")
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())  # the same weights in both precisions
    model.visual.to(dtype)
    quicken_vision(model, kernels)
    grids = [(4, 22, 34), (4, 22, 34), (2, 10, 14)]
    given = [clip.bfloat16().float() for clip in patches(grids, device="cuda")]
    features = torch.cat([clip.features for clip in see(model, given, grids, [1.0] * 3)])
    features.float().square().mean().backward()
    return [features.detach().float(), *(weight.grad.float() for weight in model.visual.parameters())]


@needs_gpu
@pytest.mark.parametrize("kernels", ["varlen", "compiled"])
def test_on_a_gpu_rounding_is_no_worse_than_that_of_plain_bfloat16(kernels: str) -> None:
    exact = learned("batched", torch.float32)
    plain = learned("batched", torch.bfloat16)
    ours = learned(kernels, torch.bfloat16)
    for one, other, true in zip(ours, plain, exact, strict=True):
        scale = true.abs().max()
        worst, allowed = (one - true).abs().max() / scale, (other - true).abs().max() / scale
        assert worst <= 1.5 * allowed + 2e-3
        assert (one - true).norm() <= 1.5 * (other - true).norm() + 1e-3 * true.norm()


@needs_gpu
def test_on_a_gpu_blocks_run_compiled_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    counter = CompileCounterWithBackend("inductor")
    model = tower(depth=4, hidden=320, dtype=torch.bfloat16, device="cuda")
    quicken_vision(model, "varlen")
    compile_blocks(model.visual, always=True, backend=counter)  # type: ignore[arg-type]
    with torch.no_grad():
        for grids in ([(4, 22, 34)], [(2, 10, 14), (4, 22, 34)], [(8, 16, 24)]):
            see(model, patches(grids, device="cuda"), grids, [1.0] * len(grids))
    assert 1 <= counter.frame_count <= MOST
    assert not [str(each.message) for each in recwarn if "uncompiled" in str(each.message)]
