"""Vision towers of Qwen models, run in a few large calls instead of many small ones.

Qwen's vision towers attend within windows (Qwen2.5-VL: 8 x 8 patches) and within pairs of frames. With FlashAttention all
windows are one call. Without it, transformers calls scaled_dot_product_attention once per window, in Python: 240 times per
layer for 32 frames of 308 x 476, while the GPU waits (0.4 s a clip on an H200). Here all windows are one call of the
variable-length FlashAttention in PyTorch, and the blocks around it are compiled (`windows`, `vision_blocks`). On CPUs, in
float32 and on older GPUs, windows of equal length form one batch: at most four calls for clips of one size.

For Qwen2.5-VL, `see` shows the tower many clips together, and works out once what depends on their sizes alone: the order in
which windows want their patches, the borders of windows, the turns of rotary positions. A clip that comes alone leaves the GPU
nothing to do while Python gets it ready, so around the blocks there are a dozen operations instead of forty.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from videothinker.models import windows
from videothinker.models.aligned import align_mlps
from videothinker.models.vision_blocks import compile_blocks

Kernels = Literal["auto", "batched", "varlen", "compiled"]
"""What a vision tower computes with. batched: SDPA for windows of one length at a time. varlen: one call for all windows where
the GPU and the precision allow it. compiled: that in compiled blocks. auto: compiled where the tower is large, else varlen."""

_MOST_PATCHES = 65_536
"""Most patches in one call of the tower on a GPU, ten clips of 16 frames of 308 x 476: more are no faster, and take memory."""


class SeenClip(NamedTuple):
    """What the vision tower of a Qwen2.5-VL made of one clip."""

    features: torch.Tensor
    """(t * h * w / 4, hidden), on the model's device. Prompts about one clip share it."""
    grid: tuple[int, int, int]
    """t pairs of frames, h and w in patches (a row of `video_grid_thw`)."""
    seconds_per_pair: float
    """Time between two pairs of frames (an entry of `second_per_grid_ts`)."""


def batch_windows(model: Any, kernels: Kernels = "auto") -> None:
    """Let a Qwen vision tower attend to many windows at once. A model without one, or whose attention is not SDPA, stays.

    The result is that of transformers' own loop up to rounding, and so is the gradient. kernels: what to attend with.
    """
    visual = getattr(getattr(model, "base_model", None), "visual", None)
    if visual is not None and visual.config._attn_implementation == "sdpa":
        windows.register()
        visual.config._attn_implementation = windows.BATCHED if kernels == "batched" else windows.VARLEN


def quicken_vision(model: Any, kernels: Kernels = "auto") -> None:
    """Let the vision tower of a Qwen2.5-VL attend to many windows at once, and embed patches by one matrix product.

    On a GPU in half precision its MLPs compute at a width that is fast there (`aligned`), and a large tower runs in compiled
    blocks. The numbers are the same up to rounding.
    """
    batch_windows(model, kernels)
    tower = model.model.visual
    tower.forward = partial(_run, tower)
    tower.patch_embed.forward = partial(_embed_patches, tower.patch_embed)
    align_mlps(tower)
    if kernels in ("auto", "compiled"):
        compile_blocks(tower, always=kernels == "compiled")


def see(
    model: Any, patches: Sequence[torch.Tensor], grids: Sequence[tuple[int, int, int]], seconds: Sequence[float]
) -> list[SeenClip]:
    """Let the vision tower of a Qwen2.5-VL see clips together: in one call, or in several of some ten clips on a GPU.

    patches: of each clip (t * h * w, 3 * 2 * 14 * 14) on the model's device, `pixel_values_videos` of the processor.
    grids, seconds: of each clip, as in `SeenClip`. Clips of one size that follow one another cost least.
    """
    tower = model.model.visual
    one_call = _attends_in_one_call(tower, patches[0].device)
    most = _MOST_PATCHES if one_call else sum(map(len, patches))
    features: list[torch.Tensor] = []
    for start, end in _parts([len(clip) for clip in patches], most):
        features += _features(tower, patches[start:end], tuple(grids[start:end]), borders_there=one_call)
    return [SeenClip(*clip) for clip in zip(features, grids, seconds, strict=True)]


def _features(
    tower: Any, patches: Sequence[torch.Tensor], grids: tuple[tuple[int, int, int], ...], *, borders_there: bool
) -> tuple[torch.Tensor, ...]:
    """What one call of the tower makes of each clip."""
    sizes = (tower.spatial_merge_size, tower.window_size, tower.patch_size)
    order = _lay_out(grids, sizes, tower.rotary_pos_emb, patches[0].device, borders_there)
    pixels = (patches[0] if len(patches) == 1 else torch.cat(list(patches))).to(tower.dtype)
    is_quick = isinstance(tower.forward, partial)
    features: torch.Tensor = tower(pixels, order=order) if is_quick else _run(tower, pixels, order=order)
    return torch.split(features, [t * h * w // sizes[0] ** 2 for t, h, w in grids])


def _run(tower: Any, patches: torch.Tensor, grid_thw: Any = None, *, order: "PatchOrder | None" = None, **others: Any) -> Any:
    """The tower's forward. With `order` it takes no grids, and returns the features alone: (n / 4, hidden).

    The steps are those of transformers' forward, which works out for every call what is the same for all clips of one size.
    """
    if order is None:
        return type(tower).forward(tower, patches, grid_thw, **others)
    states = tower.patch_embed(patches)
    states = states.view(len(order.there), -1, states.shape[-1])[order.there].view(states.shape)
    for number, block in enumerate(tower.blocks):
        borders, longest = order.pairs if number in tower.fullatt_block_indexes else order.windows
        states = block(states, cu_seqlens=borders, max_seqlen=longest, position_embeddings=order.turns)
    return tower.merger(states)[order.back]


def _attends_in_one_call(tower: Any, device: torch.device) -> bool:
    """Whether the tower's attention takes windows of all lengths at once, and their borders on the device."""
    name = tower.config._attn_implementation
    if name == windows.VARLEN:
        return windows.fits(device, windows.computed_in(tower.dtype, device))
    return bool(name.startswith("flash_attention"))


def _parts(lengths: Sequence[int], most: int) -> list[tuple[int, int]]:
    """Ranges of clips that follow one another, of at most `most` patches together; a longer clip is a range of its own."""
    parts: list[tuple[int, int]] = []
    held = most + 1
    for i, length in enumerate(lengths):
        held += length
        if held > most:
            parts.append((i, i))
            held = length
        parts[-1] = (parts[-1][0], i + 1)
    return parts


class PatchOrder(NamedTuple):
    """What a tower has to know of clips besides their n patches. A token is four patches."""

    there: torch.Tensor
    """(n / 4,): the tokens as windows follow one another."""
    back: torch.Tensor
    """(n / 4,): where each token stands in `there`."""
    turns: tuple[torch.Tensor, torch.Tensor]
    """Cosines and sines of the patches' positions, in the order of windows: (n, d) each, float32."""
    pairs: tuple[torch.Tensor, int]
    """Borders of pairs of frames, int32 from 0 to n, and the patches of the longest pair."""
    windows: tuple[torch.Tensor, int]
    """The same of windows."""


@lru_cache(maxsize=16)  # the turns of ten clips of 16 frames of 308 x 476 take 38 MB
@torch.inference_mode(False)  # what is kept here may take part in a backward pass later
def _lay_out(
    grids: tuple[tuple[int, int, int], ...],
    sizes: tuple[int, int, int],
    rotary: Any,
    device: torch.device,
    borders_there: bool,
) -> PatchOrder:
    """Where the patches of clips stand, worked out on the CPU, where reading a number makes no GPU wait.

    sizes: merged patches per side of a token, window in pixels, patch in pixels. rotary: the tower's module that turns
    positions into cosines and sines. borders_there: whether attention wants borders on the device; the loops around SDPA want
    numbers.
    """
    # The tower never mixes two pairs of frames, so neighbouring clips of one size are one longer clip to it.
    merged: list[list[int]] = []
    for t, h, w in grids:
        if merged and merged[-1][1:] == [h, w]:
            merged[-1][0] += t
        else:
            merged.append([t, h, w])
    merge, window, patch = sizes
    grid = torch.tensor(merged)
    order, windows = get_vision_window_index(grid, spatial_merge_size=merge, window_size=window, patch_size=patch)
    pairs = torch.repeat_interleave(grid[:, 1] * grid[:, 2], grid[:, 0])  # patches of each pair of frames
    positions = get_vision_position_ids(grid, merge).unflatten(0, (-1, merge**2))[order].flatten(0, 1)
    borders = device if borders_there else torch.device("cpu")
    return PatchOrder(
        there=order.to(device),
        back=torch.argsort(order).to(device),
        turns=rotary(torch.empty(0, device=device), positions.to(device)),
        pairs=(F.pad(pairs.cumsum(0, dtype=torch.int32), (1, 0)).to(borders), int(pairs.max())),
        windows=(windows.to(borders), int(windows.diff().max())),
    )


def _embed_patches(module: Any, patches: torch.Tensor) -> torch.Tensor:
    """What the module's convolution computes: its kernel is as large as a patch, so it is a matrix product."""
    return F.linear(patches.to(module.proj.weight.dtype), module.proj.weight.flatten(1))
