"""What a frozen vision tower made of the clips, kept, so that the tower sees each clip once in a run.

A tower that is not trained makes the same of a clip in roll-outs, in scoring and in every later step that asks about it. So its
embeddings are kept: in memory up to a bound, then on disk in the manner of the clip cache, with checksums, whole or not at all.
Those that neither has room for are made again. The losses are the same with and without, up to how the tower rounds clips that
it sees together.

An entry's key says which tower with which weights made it, in which precision, and of which pixels; nothing else can be taken
for it. Towers with different weights, as those of a policy and a bias model, have entries of their own.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from videothinker import store
from videothinker.clip_cache import ClipCache, default_cache
from videothinker.errors import VtError
from videothinker.models.vision import SeenClip
from videothinker.records.training import VisionCounts
from videothinker.train.clips import ClipTensors, see_clips

GIB = 2**30
_KEY = 1
"""The version of what an entry's key stands for."""


class VisionCache:
    """The embeddings of frozen vision towers.

    memory_bytes: what they may take in this process's memory; what came first stays, since a training asks about its clips in
    turn, and throwing out the oldest would throw out what is asked for next. disk: where others go; None: nowhere.
    """

    def __init__(self, memory_bytes: int, disk: ClipCache | None = None) -> None:
        self._memory_bytes, self._disk = memory_bytes, disk
        self._kept: dict[str, torch.Tensor] = {}
        self._kept_bytes = 0
        self._towers: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._told = VisionCounts()
        self.counts = VisionCounts()

    def see(self, model: Any, clips: Sequence[ClipTensors], *, frozen: bool | None = None) -> list[SeenClip]:
        """What the vision tower of a Qwen2.5-VL makes of each clip, from what is kept where it is frozen.

        frozen: whether it makes the same of a clip in all of this run; None: as `is_frozen` finds.
        """
        tower = model.model.visual
        if not (is_frozen(tower) if frozen is None else frozen) or not all(clip.key for clip in clips):
            return see_clips(model, clips)
        with torch.inference_mode(False), torch.no_grad():  # what is kept takes part in backward passes later
            return self._frozen(model, tower, clips)

    def since_last(self) -> float | None:
        """The share of the clips shown since the last call whose embedding was kept; None if none was shown."""
        now, before = self.counts, self._told
        self._told = now
        shown = now.n_shown - before.n_shown
        kept = now.n_from_memory + now.n_from_disk - before.n_from_memory - before.n_from_disk
        return kept / shown if shown else None

    def _frozen(self, model: Any, tower: Any, clips: Sequence[ClipTensors]) -> list[SeenClip]:
        device = clips[0].patches.device
        of_tower = self._name(tower, device)
        keys = [store.sha256_json([_KEY, of_tower, clip.key, list(clip.grid)]) for clip in clips]
        features: dict[str, torch.Tensor] = {}
        n_memory = n_disk = 0
        for key in dict.fromkeys(keys):
            if (kept := self._kept.get(key)) is not None:
                features[key], n_memory = kept.to(device), n_memory + 1
            elif (stored := self._from_disk(key, tower.config.out_hidden_size)) is not None:
                features[key], n_disk = stored.to(device), n_disk + 1
                self._keep_in_memory(key, stored)
        new = {key: clip for key, clip in zip(keys, clips, strict=True) if key not in features}
        if new:
            for key, seen in zip(new, see_clips(model, list(new.values())), strict=True):
                features[key] = seen.features
                self._keep(key, seen.features)
        old = self.counts
        self.counts = VisionCounts(
            n_shown=old.n_shown + len(set(keys)),
            n_seen=old.n_seen + len(new),
            n_from_memory=old.n_from_memory + n_memory,
            n_from_disk=old.n_from_disk + n_disk,
        )
        return [SeenClip(features[key], clip.grid, clip.seconds_per_pair) for key, clip in zip(keys, clips, strict=True)]

    def _name(self, tower: Any, device: torch.device) -> str:
        """What tells apart what different towers, precisions and devices make of the same pixels."""
        if tower not in self._towers:
            self._towers[tower] = fingerprint(tower)
        autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        return f"{self._towers[tower]} {device.type} {autocast}"

    def _keep(self, key: str, features: torch.Tensor) -> None:
        on_cpu = features.detach().to("cpu", copy=True)
        if self._keep_in_memory(key, on_cpu) or self._disk is None:
            return
        with suppress(VtError):  # a full disk costs time, and not the training
            self._disk.put(key, on_cpu.contiguous().view(torch.uint8)[:, :, None, None].numpy())

    def _keep_in_memory(self, key: str, features: torch.Tensor) -> bool:
        if self._kept_bytes + features.nbytes > self._memory_bytes:
            return False
        self._kept[key] = features
        self._kept_bytes += features.nbytes
        return True

    def _from_disk(self, key: str, width: int) -> torch.Tensor | None:
        """The embedding that the disk has: bytes of one row per token, whose number of them tells their precision."""
        found = None if self._disk is None else self._disk.get(key)
        if found is None:
            return None
        dtype = {2: torch.bfloat16, 4: torch.float32}.get(found.shape[1] // width)
        return None if dtype is None else torch.from_numpy(np.ascontiguousarray(found[:, :, 0, 0])).view(dtype)


def is_frozen(tower: torch.nn.Module) -> bool:
    """Whether a vision tower makes the same of a clip for the whole run: no weight takes a gradient, and there are no adapters,
    of which now one may be active and now another."""
    if any(weight.requires_grad for weight in tower.parameters()):
        return False
    return not any(hasattr(module, "lora_A") for module in tower.modules())


def fingerprint(tower: Any) -> str:
    """SHA-256 of a tower's configuration and of every byte of its weights, in their precision."""
    whole = hashlib.sha256(tower.config.to_json_string().encode())
    for name, value in sorted(tower.state_dict().items()):
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        whole.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data if value.numel() else b"")
    return whole.hexdigest()


def vision_disk(gib: float) -> ClipCache | None:
    """Where embeddings go that memory has no room for: beside the decoded clips; None where they may take nothing."""
    return ClipCache(default_cache().folder.with_name("vision"), int(gib * GIB)) if gib else None
