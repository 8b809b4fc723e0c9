"""Checkpoint folders that something is wrong with, made from whole ones for the tests of whatever loads them."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
POINTER = b"version https://git-lfs.example/spec/v1\noid sha256:4d7a2146\nsize 7520000000\n"

Tensors = dict[str, torch.Tensor]
Damage = Callable[[Path], object]


def copy(folder: Path, to: Path, *damages: Damage) -> Path:
    """A copy of a checkpoint folder, with the damages done to it in turn."""
    shutil.copytree(folder, to)
    for damage in damages:
        damage(to)
    return to


def weights_file(folder: Path) -> Path:
    """The file of the weights, be it a checkpoint or an adapter."""
    return next(folder / name for name in (ADAPTER_WEIGHTS, WEIGHTS) if (folder / name).is_file())


def rewritten(change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> Damage:
    """All tensors as `change` makes them of those that were."""

    def damage(folder: Path) -> None:
        file = weights_file(folder)
        made = change(load_file(file))
        save_file({name: tensor.contiguous() for name, tensor in made.items()}, file, metadata={"format": "pt"})

    return damage


def renamed(rename: Callable[[str], str]) -> Damage:
    return rewritten(lambda tensors: {rename(name): tensor for name, tensor in tensors.items()})


def dropped(matches: Callable[[str], bool]) -> Damage:
    return rewritten(lambda tensors: {name: tensor for name, tensor in tensors.items() if not matches(name)})


def with_number(name: str, number: float, at: int = 0) -> Damage:
    """One number of one tensor replaced."""

    def change(tensors: Tensors) -> Tensors:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[at] = number
        return tensors

    return rewritten(change)


def without_effect(folder: Path) -> None:
    """An adapter as training begins with it: every lora_B zero."""
    rewritten(lambda tensors: {name: tensor * ("lora_B" not in name) for name, tensor in tensors.items()})(folder)


def pickled(folder: Path) -> None:
    """The same weights as a pickle."""
    file = weights_file(folder)
    torch.save(load_file(file), file.with_name("adapter_model.bin" if "adapter" in file.name else "pytorch_model.bin"))
    file.unlink()


def cut(at: int) -> Damage:
    """The file of the weights after its first `at` bytes; counted from the end if negative."""

    def damage(folder: Path) -> None:
        file = weights_file(folder)
        file.write_bytes(file.read_bytes()[:at])

    return damage


def pointer(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes(POINTER)


def sharded(folder: Path, n: int = 3) -> None:
    """The same weights in `n` files and an index."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    files = [f"model-{i + 1:05}-of-{n:05}.safetensors" for i in range(n)]
    for i, file in enumerate(files):
        save_file({name: tensor for j, (name, tensor) in enumerate(tensors.items()) if j % n == i}, folder / file)
    placed = {name: files[j % n] for j, name in enumerate(tensors)}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def told(name: str = "config.json", **changes: Any) -> Damage:
    """Other values in one of the configuration files."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps(content))

    return damage
