"""What comes with the package and is no code: configs, the sample, the study's checkpoints and its report.

In a checkout these folders lie at its root; a wheel holds copies of them, which setup.py puts in.
"""

import difflib
from pathlib import Path

from videothinker.errors import VtError

_INSTALLED = Path(__file__).parent / "_shipped"
ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]
"""Holds configs/, data/sample, data/study and reports/study-world."""

CONFIGS = ROOT / "configs"


def config_names() -> list[str]:
    """Names of the shipped TOML configs, such as bias-3b, sorted."""
    return sorted(file.stem for file in CONFIGS.glob("*.toml"))


def shipped_config(name: str) -> Path:
    """The file of a shipped config.

    Raises:
        VtError: none is called so.
    """
    names = config_names()
    if name not in names:
        near = difflib.get_close_matches(name, names)
        hint = f"near it: {', '.join(near)}; " if near else ""
        raise VtError(f"config {name!r}: neither a file nor a shipped config; {hint}vt config list shows all")
    return CONFIGS / f"{name}.toml"


def config_file(given: Path) -> Path:
    """The file that a user means: a path that exists, else a shipped config by its name. Other paths come back as they are.

    Raises:
        VtError: it looks like a name, without folder or ending, and no shipped config is called so.
    """
    if given.exists() or not given.name.replace("-", "").isalnum() or len(given.parts) != 1:
        return given
    return shipped_config(given.name)


def about(file: Path) -> str:
    """What a config is for: its first line, which is a comment."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def stage_of(name: str) -> str:
    """The command that takes the config, by its name: bias, cdpo, grpo, pretrain or study."""
    first = name.partition("-")[0]
    return "pretrain" if first == "tiny" else first
