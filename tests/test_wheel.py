"""What a built wheel holds. Skipped by name where none can be built without a network."""

import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("videothinker", "configs", "data", "reports/study-world")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy: setuptools writes beside what it builds, and would find there what an earlier build left."""
    if not _has("pip", 1) or not _has("setuptools", 77):
        pytest.skip("building a wheel without a network needs pip, and setuptools 77 or later")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copytree(ROOT / name, source / name, ignore=ignore_patterns("__pycache__"))
    for name in FILES:
        copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    made = subprocess.run([*pip, str(out), str(source)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def _has(package: str, major: int) -> bool:
    """Is it installed? Not imported: setuptools replaces modules of the standard library on import."""
    try:
        return int(version(package).partition(".")[0]) >= major
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    file = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(file).decode())


@pytest.mark.parametrize("folder", ["configs", "data/sample", "data/study", "reports/study-world"])
def test_it_holds_what_lies_at_the_root(wheel: zipfile.ZipFile, folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert wheel.read(f"videothinker/_shipped/{file.relative_to(ROOT).as_posix()}") == file.read_bytes()


def test_it_holds_all_of_the_package(wheel: zipfile.ZipFile) -> None:
    wanted = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "videothinker").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {"videothinker/py.typed", "videothinker/reports/published.toml", "videothinker/prompts/video-r1.jinja"} <= wanted
    assert wanted <= set(wheel.namelist())


def test_it_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"videothinker"}
    assert not [name for name in wheel.namelist() if name.startswith("videothinker/_shipped/") and name.endswith(".pyc")]


def test_its_metadata(metadata: Message) -> None:
    assert metadata["Requires-Python"] in (">=3.11,<3.15", "<3.15,>=3.11")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)
    torch = [line for line in metadata.get_all("Requires-Dist", []) if line.startswith("torch") and "extra" not in line]
    assert torch == []  # the light install has none


def test_its_command_is_vt(wheel: zipfile.ZipFile) -> None:
    file = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "vt = videothinker.cli:main" in wheel.read(file).decode()
