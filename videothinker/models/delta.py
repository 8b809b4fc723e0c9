"""What training has changed in a checkpoint, as one small file beside the checkpoint that it began with.

    pack(Path("base"), Path("runs/grpo"), Path("grpo.delta"))
    unpack(Path("base"), Path("grpo.delta"), Path("grpo"))     # the same weights again, rounded to bfloat16 unless exact

Weights are compared in bfloat16, which is what a diagnosis on a GPU computes with. `vt train` saves float32, which is rounded
first; or, with `exact`, cut behind the upper half of its bits, and the lower half, as good as random, is kept as it is.
Reinforcement learning moves a weight to a nearby bfloat16 number, so the file keeps how many numbers away it is. Large weights,
whose neighbours are far apart, move by fewer numbers than small ones. The differences are therefore sorted by the base's
exponent, which is known when unpacking, and cost 15 % fewer bytes (4 to 5 bits per weight after 200 steps of Adam at 3e-5).

The file is a safetensors file. It holds the low and the high bytes of all differences, compressed with xz, the lower halves if
it is exact, and as metadata the hashes of the base and of the result.
"""

import hashlib
import lzma
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from videothinker import outside, store
from videothinker.errors import VtError
from videothinker.models.checkpoint import Checkpoint, add_to_hash, stored_weights, weights_hash
from videothinker.models.companions import copy_companions
from videothinker.models.misfit import NotFiniteError, check_finite, is_finite
from videothinker.models.saved_prompt import as_text, carried, own_prompt, save_prompt
from videothinker.models.stored import ADAPTER, CONFIG, read_config_file
from videothinker.models.text_positions import FIELD, named_rule, own_rule

_FORMAT = "videothinker delta 1"
_EXACT = "videothinker delta 2"
"""The format with lower halves, which earlier versions do not know."""
_FLOAT32 = "float32"
"""Key of an exact file's metadata: of each tensor in the order of the names 1 if it is float32, 0 if it is bfloat16."""
_REST = "rest"
_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 0, "pb": 0}]
"""No context bits: a difference does not depend on those before it."""
_PROMPT = "prompt"
"""Key of the metadata that says how the result was asked while it was trained."""

Bits = NDArray[np.uint16]


class Delta(NamedTuple):
    """What `pack` wrote."""

    n_weights: int
    n_moved: int
    """How many of them are another number than in the base."""
    n_bytes: int
    """Size of the file."""
    rounded: bool
    """Whether the weights had a higher precision and were rounded."""
    sha256: str
    """`weights_hash` of the checkpoint that `unpack` makes."""


def pack(base: Path, other: Path, out: Path, *, exact: bool = False) -> Delta:
    """Write into the file `out` what turns `base` into `other`, two folders with full weights of the same names and shapes.

    exact: keep float32 as it is, for two bytes more a weight, where otherwise it is rounded to bfloat16.

    Raises:
        VtError: one of them is an adapter, names or shapes differ, the base is not bfloat16, or `other` holds integers or, with
            `exact`, anything but float32 and bfloat16.
        NotFiniteError: a weight is NaN or infinite, or would be once it is rounded.
    """
    for folder in (base, other):
        if (folder / ADAPTER).is_file():
            raise VtError(f"{folder}: is a LoRA adapter, which is small already; a delta is between two full checkpoints")
    digests = hashlib.sha256(), hashlib.sha256()
    low, high = (lzma.LZMACompressor(filters=_XZ) for _ in range(2))
    low_parts, high_parts, rest_parts, float32 = [], [], [], ""
    n_weights = n_moved = 0
    rounded = False
    for ours, theirs in zip_longest(_bfloat16(base), stored_weights(other)):
        if ours is None or theirs is None or (ours[0], ours[1].shape) != (theirs[0], theirs[1].shape):
            first, second = ("nothing" if one is None else f"{one[0]} {tuple(one[1].shape)}" for one in (ours, theirs))
            raise VtError(f"{other}: has {second} where {base} has {first}; a delta is between checkpoints of one shape")
        (name, before), (_, after) = ours, theirs
        if not after.is_floating_point() or (exact and after.dtype not in (torch.float32, torch.bfloat16)):
            raise VtError(f"{other}: {name} is {after.dtype}, expected float32 or bfloat16")
        check_finite(str(other), [(name, after)])
        if not exact:
            rounded |= after.dtype != torch.bfloat16
            after = _rounded(other, name, after)
        add_to_hash(digests[0], name, before)
        add_to_hash(digests[1], name, after)
        upper, lower = _halves(after)
        if lower is not None:
            rest_parts.append(lower.astype("<u2").tobytes())
        float32 += str(int(after.dtype == torch.float32))
        # uint16 subtraction wraps around, and so does the addition in `unpack`: a distance of any size survives.
        steps = _zigzag(_ordered(upper) - _ordered(_bits(before)))[_by_exponent(_bits(before))]
        low_parts.append(low.compress((steps & 0xFF).astype(np.uint8).tobytes()))
        high_parts.append(high.compress((steps >> 8).astype(np.uint8).tobytes()))
        n_weights += steps.size
        n_moved += int(np.count_nonzero((upper != _bits(before)) | (0 if lower is None else lower)))
    streams = {"low": [*low_parts, low.flush()], "high": [*high_parts, high.flush()]}
    if exact:
        streams[_REST] = rest_parts
    identity = {"format": _FORMAT, "base": digests[0].hexdigest(), "result": digests[1].hexdigest()}
    identity |= {FIELD: own_rule(other).value} | ({"format": _EXACT, _FLOAT32: float32} if exact else {})
    if (asked := own_prompt(other)) is not None:
        identity[_PROMPT] = as_text(asked)
    data = _save({name: b"".join(parts) for name, parts in streams.items()}, identity)
    store.write_bytes(out, data)
    return Delta(n_weights, n_moved, len(data), rounded, identity["result"])


def is_exact(file: Path) -> bool:
    """Whether the file keeps float32 as it was, so that nothing was rounded for it.

    Raises:
        VtError: it is none that `pack` wrote, or damaged.
    """
    return _load(file)[0]["format"] == _EXACT


def unpack(base: Path, file: Path, out: Path) -> str:
    """Write the checkpoint folder `out` from `base` and a file that `pack` wrote; verify its weights and return their hash.

    Configuration, tokenizer and processor are copied from the base. `out` appears whole or not at all; a checkpoint that lies
    there is replaced.

    Raises:
        VtError: the file was packed with another base or is damaged, or something else lies at `out`.
    """
    if out.exists() and not (out / "config.json").is_file():
        raise VtError(f"{out}: is there and no checkpoint; choose another folder")
    identity, streams, rest = _load(file)
    if weights_hash(Checkpoint(base, None)) != identity["base"]:
        raise VtError(f"{file}: was packed with another base than {base}; it needs weights `{identity['base'][:12]}`")
    asked = carried(identity.get(_PROMPT), str(file))
    # A file of an earlier version does not say the rule: such a checkpoint was trained on as its base was.
    rule = named_rule(identity[FIELD], str(file)) if FIELD in identity else own_rule(base)
    n_weights = sum(tensor.numel() for _, tensor in stored_weights(base))
    low, high = (_unpacked(file, stream, n_weights) for stream in streams)

    def fill(folder: Path) -> None:
        from safetensors.torch import save_file

        made: dict[str, torch.Tensor] = {}
        start = n_float32 = 0
        for number, (name, before) in enumerate(_bfloat16(base)):
            stop = start + before.numel()
            sorted_steps = low[start:stop] | (high[start:stop].astype(np.uint16) << 8)
            if sorted_steps.size != before.numel():
                raise VtError(f"{file}: is damaged, it ends within {name}; get it again")
            steps = np.empty_like(sorted_steps)
            steps[_by_exponent(_bits(before))] = sorted_steps  # assigning through the order undoes the sorting
            upper = _unordered(_ordered(_bits(before)) + _unzigzag(steps))
            lower = None
            if identity.get(_FLOAT32, "")[number : number + 1] == "1":
                lower = rest[n_float32 : n_float32 + before.numel()]
                n_float32 += before.numel()
                if lower.size != before.numel():
                    raise VtError(f"{file}: is damaged, it ends within {name}; get it again")
            made[name] = _joined(upper, lower).reshape(before.shape)
            check_finite(str(file), [(name, made[name])])
            start = stop
        save_file(made, folder / "model.safetensors", metadata={"format": "pt"})
        if weights_hash(Checkpoint(folder, None)) != identity["result"]:
            raise VtError(f"{file}: is damaged, its weights are not those that were packed; get it again")
        copy_companions(base, folder)
        if asked is not None:
            save_prompt(folder, asked)
        store.write_json(folder / CONFIG, read_config_file(str(base), base) | {FIELD: rule.value})

    store.write_folder(out, fill)
    return identity["result"]


def _bfloat16(base: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in stored_weights(base):
        if tensor.dtype != torch.bfloat16:
            raise VtError(f"{base}: {name} is {tensor.dtype}, expected a base in bfloat16, as `vt pretrain` saves it")
        check_finite(str(base), [(name, tensor)])
        yield name, tensor


def _rounded(other: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A finite tensor in bfloat16."""
    found = tensor.to(torch.bfloat16)
    if not is_finite(found):
        largest, limit = float(tensor.abs().max()), torch.finfo(torch.bfloat16).max
        raise NotFiniteError(
            f"{other}: {name} holds a number of size {largest:.5g}, which rounding to bfloat16 would make infinite (it ends at"
            f" {limit:.5g}); keep float32 as it is: `vt checkpoint pack --exact`, or `vt study --pack` without --pack-rounded"
        )
    return found


def _save(streams: dict[str, bytes], metadata: dict[str, str]) -> bytes:
    from safetensors.numpy import save

    return save({name: np.frombuffer(data, np.uint8) for name, data in streams.items()}, metadata)


def _load(file: Path) -> tuple[dict[str, str], list[bytes], Bits]:
    """The metadata, the low bytes and the high bytes of all differences as they are packed, and the lower halves of an exact
    file, of others none."""
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise VtError(f"{file}: is not there; expected a file that `vt checkpoint pack` wrote")
    try:
        with safe_open(file, framework="np") as stored:
            metadata = stored.metadata() or {}
            exact = metadata.get("format") == _EXACT
            if not exact and metadata.get("format") != _FORMAT:
                raise VtError(f"{file}: is no '{_FORMAT}' file; expected one that `vt checkpoint pack` wrote")
            said = ("base", "result", *((FIELD, _FLOAT32) if exact else ()))
            if missing := [key for key in said if key not in metadata]:
                raise VtError(f"{file}: is damaged, it does not say its {missing[0]}; get it again")
            rest = np.frombuffer(stored.get_tensor(_REST).tobytes() if exact else b"", "<u2").astype(np.uint16)
            return metadata, [stored.get_tensor(name).tobytes() for name in ("low", "high")], rest
    # TypeError: numbers of a kind that numpy does not have. ValueError: half a number at the end.
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise VtError(f"{file}: is damaged ({error}); get it again") from error


def _unpacked(file: Path, stream: bytes, n_weights: int) -> NDArray[np.uint8]:
    """The (n_weights,) bytes of a stream, which can hold no other number of them."""
    try:
        found = outside.unpack_xz(stream, n_weights)
    except (lzma.LZMAError, outside.TooLargeError) as error:
        raise VtError(f"{file}: is damaged ({error}); get it again") from error
    return np.frombuffer(found, np.uint8)


def _bits(tensor: torch.Tensor) -> Bits:
    """The (n,) bit patterns of a bfloat16 tensor; numpy has no bfloat16, so they pass through int16."""
    return tensor.reshape(-1).view(torch.int16).numpy().view(np.uint16)


def _halves(tensor: torch.Tensor) -> tuple[Bits, Bits | None]:
    """The (n,) upper halves of a float32 tensor's bit patterns, each that of a bfloat16 number, and the lower halves; of a
    bfloat16 tensor its patterns and None."""
    if tensor.dtype == torch.bfloat16:
        return _bits(tensor), None
    whole = tensor.reshape(-1).numpy().view(np.uint32)
    return (whole >> 16).astype(np.uint16), (whole & 0xFFFF).astype(np.uint16)


def _joined(upper: Bits, lower: Bits | None) -> torch.Tensor:
    """The (n,) tensor of which these are the `_halves`."""
    if lower is None:
        return torch.from_numpy(upper.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(((upper.astype(np.uint32) << 16) | lower).view(np.float32))


def _ordered(bits: Bits) -> Bits:
    """Turn bit patterns into integers in the order of the numbers: neighbours differ by 1, also across zero.

    A float is a sign and a magnitude, so negative patterns grow as their numbers fall: they are inverted. Positive ones get the
    top bit, which puts them above.
    """
    return np.where(bits >> 15, ~bits, bits | np.uint16(0x8000))


def _unordered(integers: Bits) -> Bits:
    """The inverse of `_ordered`: the top bit says which of the two cases it was."""
    return np.where(integers >> 15, integers & np.uint16(0x7FFF), ~integers)


def _zigzag(differences: Bits) -> Bits:
    """Write signed differences (modulo 2**16) 0, -1, 1, -2, ... as 0, 1, 2, 3, ..., so that small ones have no high byte."""
    signed = differences.view(np.int16)
    return ((signed << 1) ^ (signed >> 15)).view(np.uint16)


def _unzigzag(values: Bits) -> Bits:
    """The inverse of `_zigzag`: odd values were negative."""
    return np.where(values & 1, ~(values >> 1), values >> 1)


def _by_exponent(bits: Bits) -> NDArray[np.int64]:
    """The (n,) order that puts weights with small exponents first; a stable sort, so equal ones keep their order.

    A bfloat16 has 1 sign bit, 8 exponent bits and 7 bits of fraction, which the shift drops.
    """
    return np.argsort(((bits >> 7) & 0xFF).astype(np.uint8), kind="stable")
