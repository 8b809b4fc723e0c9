"""The kernels of a decoder's layers compute what PyTorch computes: interpreted on a CPU, and on a GPU where there is one."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from models.kernel_cases import CASES, check_attention, check_by_hand, check_layers, check_the_rest
from transformers import AutoModelForImageTextToText

from videothinker.models import fused_layers
from videothinker.models.decoder import Decoder, TokenChoice
from videothinker.models.reply_state import ReplyState
from videothinker.models.vision import SeenClip, see
from videothinker.train.clips import Encoded

TESTS = Path(__file__).parents[1]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the tests below run the kernels themselves")
def test_interpreted_they_compute_what_pytorch_computes(assets: Path) -> None:
    """In a process of its own, for Triton looks once whether it is to interpret."""
    pytest.importorskip("triton", reason="Triton is not installed")
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-m", "models.kernel_cases", str(assets / "start")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("length", "n_pairs", "expected"),
    [
        (2432, 16, 64),  # 38 parts of 16 pairs are 608 programs
        (2432, 256, 512),  # 128 rows: 5 parts are 1,280 programs, 10 would be 2,560
        (8192, 2, 128),  # 128 parts of 64 columns are more than are put together at once
        (100, 4096, 128),  # one part, however many rows there are
        (1, 1, 64),
    ],
)
def test_shares_keep_a_gpu_busy_without_many_parts(length: int, n_pairs: int, expected: int) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from videothinker.models.decode_kernels import columns_a_share

    assert columns_a_share(length, n_pairs) == expected


def test_a_model_on_a_cpu_is_not_served(model: Any) -> None:
    assert fused_layers.kernels_for(model) is None


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'triton'"), RuntimeError("Failed to find C compiler.\nx")]
)
def test_where_kernels_cannot_be_made_it_is_said_once_and_pytorch_serves(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_name: str) -> None:
        raise error

    fused_layers._compiled.cache_clear()
    monkeypatch.setattr(fused_layers.importlib, "import_module", fails)
    expected = f"replies are written without Triton's kernels, more slowly: {str(error).splitlines()[0]}"
    with pytest.warns(UserWarning, match=f"^{re.escape(expected)}$"):
        assert fused_layers._compiled(torch.device("cpu")) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fused_layers._compiled(torch.device("cpu")) is None
    fused_layers._compiled.cache_clear()


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_attention_is_plain_softmax(name: str, dtype: torch.dtype, tolerance: float) -> None:
    check_attention(name, dtype, "cuda", tolerance)


@needs_gpu
def test_on_a_gpu_attention_by_hand() -> None:
    check_by_hand("cuda")


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
def test_on_a_gpu_the_rest_is_pytorchs(dtype: torch.dtype, tolerance: float) -> None:
    check_the_rest(dtype, "cuda", tolerance)


@needs_gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2), (torch.float16, 5e-3)])
def test_on_a_gpu_layers_by_kernels_are_pytorchs_layers(assets: Path, dtype: torch.dtype, tolerance: float) -> None:
    check_layers(assets / "start", dtype, "cuda", tolerance)


def on_gpu(assets: Path, encoded: Encoded, dtype: torch.dtype) -> tuple[Any, list[SeenClip]]:
    model = AutoModelForImageTextToText.from_pretrained(assets / "start", dtype=dtype).eval().cuda()
    with torch.no_grad():
        found = see(
            model,
            [clip.patches.cuda() for clip in encoded.clips],
            [clip.grid for clip in encoded.clips],
            [clip.seconds_per_pair for clip in encoded.clips],
        )
    return model, [found[row] for row in encoded.rows]


@needs_gpu
def test_a_graph_replayed_while_the_cache_fills_writes_what_single_steps_write(assets: Path, encoded: Encoded) -> None:
    """200 tokens behind prompts of different lengths: several blocks of columns come into use after the capture."""
    model, clips = on_gpu(assets, encoded, torch.bfloat16)
    assert fused_layers.kernels_for(model) is not None
    settings: dict[str, Any] = {"eos": [], "pad": 0}
    for rows in (None, [0, 1, 2, 3] * 5):
        graph, steps = (Decoder(model, **settings, graphs=graphs) for graphs in (True, False))
        for _ in range(2):  # captures, then replays what it has
            one, other = (d.write(encoded.prompt_ids, clips, max_new_tokens=200, rows=rows) for d in (graph, steps))
            assert [reply.tokens for reply in one] == [reply.tokens for reply in other]
            assert [reply.logprobs for reply in one] == [pytest.approx(reply.logprobs, abs=1e-5) for reply in other]


@needs_gpu
def test_float32_is_left_to_pytorch(assets: Path, encoded: Encoded) -> None:
    model, _ = on_gpu(assets, encoded, torch.float32)
    assert fused_layers.kernels_for(model) is None
    assert ReplyState(Decoder(model, eos=[], pad=0), 1, 32, 2, TokenChoice())._fused is None
