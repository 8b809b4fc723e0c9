"""What comes with the package and is no code: configs, prompts, the sample, the study's checkpoints and its report.

In a checkout these folders lie at its root; a wheel holds copies of them, which setup.py puts in.
"""

import difflib
import re
import tomllib
from pathlib import Path

from videothinker.errors import VtError

_INSTALLED = Path(__file__).parent / "_shipped"
ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]
"""Holds configs/, data/README.md, data/sample, data/study and reports/study-world."""

CONFIGS = ROOT / "configs"
PROMPTS = CONFIGS / "prompts"
MODELS = ROOT / "data" / "study"
STUDY = ROOT / "reports" / "study-world"

_SUFFIXES = (".toml", ".yaml", ".jinja")


def config_files() -> dict[str, Path]:
    """All shipped files of settings by name: bias-3b, accelerate/fsdp, prompts/observe-first; folders come last."""
    found = [file.relative_to(CONFIGS) for file in CONFIGS.rglob("*") if file.suffix in _SUFFIXES]
    found.sort(key=lambda file: (len(file.parts), file))
    return {file.with_suffix("").as_posix(): CONFIGS / file for file in found}


def shipped_config(name: str) -> Path:
    """The shipped file of that name.

    Raises:
        VtError: none is called so.
    """
    files = config_files()
    if name not in files:
        near = difflib.get_close_matches(name, files)
        hint = f"near it: {', '.join(near)}; " if near else ""
        raise VtError(f"config {name!r}: neither a file nor the name of a shipped config; {hint}vt config list shows all")
    return files[name]


def config_file(given: Path) -> Path:
    """The TOML file that a user means: a file that exists, else a shipped config by its name. Other paths come back as given.

    Raises:
        VtError: it is no file, and looks like a name that no shipped config has, or is the path of one in a checkout.
    """
    if given.is_file():
        return given
    if len(given.parts) == 1 and re.fullmatch(r"[\w-]+", given.name):
        return shipped_config(given.name)
    if given.suffix == ".toml" and not given.exists() and given.stem in config_files():
        raise VtError(f"{given}: no such file; give {given.stem} for the shipped config of that name")
    return given


def about(file: Path) -> str:
    """What a file is for: its first line, which is a comment."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("{").removeprefix("#").strip()


def stage_of(file: Path) -> str:
    """What takes the file: a stage of `vt train`, pretrain, study, accelerate or prompt."""
    if file.suffix != ".toml":
        return "prompt" if file.suffix == ".jinja" else "accelerate"
    settings = _read(file)
    return str(settings.get("stage", "study" if "train" in settings else "pretrain"))


def companions(file: Path) -> list[Path]:
    """Files that a config names and expects beside it: those of a study's trainings."""
    if file.suffix != ".toml":
        return []
    return [file.with_name(name) for name in _read(file).get("train", {}).get("configs", {}).values()]


def _read(file: Path) -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(file.read_text(encoding="utf-8"))
