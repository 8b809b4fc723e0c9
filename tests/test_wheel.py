"""What a built wheel holds. Skipped by name where it cannot be built without a network."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel needs setuptools 77 or later")
    out = tmp_path_factory.mktemp("wheel")
    code = (
        "from setuptools import setup\nimport sys\n"
        "sys.argv = ['setup.py', '-q', 'egg_info', '-e', sys.argv[1], 'build', '-b', sys.argv[1] + '/build', "
        "'bdist_wheel', '-d', sys.argv[1]]\n"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'), {'__name__': '__main__', '__file__': 'setup.py'})"
    )
    made = subprocess.run([sys.executable, "-c", code, str(out)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.mark.parametrize("folder", ["configs", "data/sample", "data/study", "reports/study-world"])
def test_it_holds_what_lies_at_the_root(wheel: zipfile.ZipFile, folder: str) -> None:
    files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert wheel.read(f"videothinker/_shipped/{file.relative_to(ROOT).as_posix()}") == file.read_bytes()


def test_it_holds_what_is_no_code(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    package = ROOT / "videothinker"
    kinds = (".html", ".css", ".js", ".md", ".toml", ".jinja", ".typed")
    wanted = {
        file.relative_to(ROOT).as_posix() for file in package.rglob("*") if file.suffix in kinds or file.name == "py.typed"
    }
    assert "videothinker/py.typed" in wanted
    assert any(name.endswith("published.toml") for name in wanted)
    assert wanted <= names


def test_its_metadata(wheel: zipfile.ZipFile) -> None:
    file = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(file).decode())
    assert metadata["Requires-Python"] in (">=3.11,<3.15", "<3.15,>=3.11")
    assert {"models", "train"} <= set(metadata.get_all("Provides-Extra", []))
