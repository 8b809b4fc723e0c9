"""The command line's manners: exit codes, one clear line for a user's mistake, a traceback for a bug of ours."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import videothinker
from videothinker.errors import EXTRAS


def run_main(raise_what: str) -> subprocess.CompletedProcess[str]:
    """`vt` with a command that raises."""
    code = f"""
import sys
from videothinker import cli
from videothinker.errors import VtError
@cli.app.command()
def boom() -> None:
    raise {raise_what}
sys.argv = ["vt", "boom"]
cli.main()
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_users_mistake_is_one_line_and_exit_2() -> None:
    result = run_main('VtError("scene[3].json: collision[0] has 1 id,\\n expected 2")')
    assert result.returncode == 2
    assert result.stderr == "error: scene[3].json: collision[0] has 1 id, expected 2\n"
    assert result.stdout == ""


def test_a_package_of_an_extra_that_is_not_installed_is_one_line_and_exit_2() -> None:
    result = run_main('ModuleNotFoundError("No module named torch", name="torch.nn")')
    assert result.returncode == 2
    assert result.stderr.startswith("error: this command needs the package 'torch'")
    assert "pip install -e '.[models]'" in result.stderr
    assert "Traceback" in run_main('ModuleNotFoundError("No module named ours", name="ours")').stderr


def test_every_optional_package_is_one_of_pyprojects() -> None:
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(re.match(rf"{package}\b", requirement) for requirement in extras[extra]), package


def test_a_bug_keeps_its_traceback_and_exits_1() -> None:
    result = run_main('ValueError("ours")')
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ValueError: ours" in result.stderr


def test_ctrl_c_exits_without_a_traceback() -> None:
    result = run_main("KeyboardInterrupt()")
    assert result.returncode in (1, 130)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["-h"]])
def test_version_and_help_exit_0(arguments: list[str]) -> None:
    result = subprocess.run([sys.executable, "-m", "videothinker", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "videothinker 0." in result.stdout or "vt demo" in result.stdout


def test_a_source_tree_that_is_not_installed_works(tmp_path: Path) -> None:
    tree = Path(videothinker.__file__).parent
    (tmp_path / "videothinker").symlink_to(tree)
    isolated = [sys.executable, "-S", "-c", "import sys; print(__import__('videothinker').__version__)"]  # -S: no site-packages
    result = subprocess.run(isolated, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)})
    assert (result.stdout.strip(), result.stderr) == (videothinker.__version__, "")
