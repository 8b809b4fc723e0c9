"""The command line's manners: exit codes, one clear line for a user's mistake, a traceback for a bug of ours."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from vt_command import one_error, vt

import videothinker
from videothinker.cli.logs import without_these
from videothinker.cli.parse import parse
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


CLEVRER = ["curate", "clevrer", "--annotations", "a", "--questions", "q", "--out", "o"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [*CLEVRER, "--rule", "nonsense"],
            "vt curate clevrer: --rule: expected one of any-option, correct-option, oracle, got 'nonsense'",
        ),
        ([*CLEVRER, "--seed=warm"], "vt curate clevrer: --seed: expected a whole number, got 'warm'"),
        ([*CLEVRER, "--dev-share", "x"], "vt curate clevrer: --dev-share: expected a number, got 'x'"),
        ([*CLEVRER, "--workers", "0"], "vt curate clevrer: --workers: expected 1 or more, got '0'"),
        (["checkpoint", "blend", "a", "b", "--weight", "2", "--out", "c"], "vt checkpoint blend: --weight: expected 1 or less"),
        (
            ["diagnose", "--data", "d", "--out", "o", "--frmes", "2"],
            "vt diagnose: there is no option --frmes; did you mean --fr",
        ),
        (["world", "make"], "vt world make: OUT is missing"),
        (CLEVRER[:4], "vt curate clevrer: --questions is missing"),
        (["curate", "kinetics"], "vt curate: no such command 'kinetics'"),
        (["--log-level", "loud", "demo"], "vt: --log-level: expected one of debug, info, warning, error, got 'loud'"),
        (["--quiet", "merge"], "vt merge: RUN_DIR... is missing"),
    ],
)
def test_a_command_that_cannot_be_parsed_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vt(*arguments) == 2
    error = one_error(capsys)
    assert error.startswith(f"error: {said}")
    assert error.endswith(f"; see {said.partition(':')[0]} --help")


def test_a_group_by_itself_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("world") == 2
    shown = capsys.readouterr()
    assert "make" in shown.out
    assert shown.err == ""


def test_quiet_keeps_results_and_errors_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = ["world", "make", tmp_path / "world", "--scenes", "1", "--seed", "1", "--no-videos", "--workers", "1"]
    assert vt("--quiet", *world) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert vt(*world) == 0
    loud = capsys.readouterr()
    assert (quiet.out, "simulating" in loud.err) == (loud.out, True)
    assert vt("--quiet", "curate", "check", tmp_path) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("in_ci", ["", "true"], ids=["here", "in CI"])
@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_log_level_holds_for_libraries_and_warnings_too(by: str, in_ci: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", in_ci)  # where it is set, transformers hands its lines to the root logger as well
    code = """
import sys
from videothinker import cli
from videothinker.cli.console import warn
@cli.app.command()
def told() -> None:
    warn("ours")
    import logging
    logging.getLogger("trl.trainer").warning("trl's")
    from transformers.utils import logging
    logging.get_logger("transformers.models").warning("transformers'")
    logging.get_logger("transformers.models").error("an error")
cli.main()
"""
    options = ["--log-level", "error"] if by == "option" else []
    variables = {**os.environ, "VT_LOG_LEVEL": "error"} if by == "variable" else None
    command = [sys.executable, "-c", code, *options, "told"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "Warning" not in line]
    assert [line.removeprefix("[transformers] ") for line in lines] == ["an error"]
    spoken = subprocess.run([*command[:3], "told"], capture_output=True, text=True, check=False)
    for each in ("warning: ours", "trl's", "transformers'", "an error"):
        assert each in spoken.stderr


def test_the_command_behind_the_options_of_vt() -> None:
    assert without_these(["--quiet", "--log-level", "info", "train", "grpo", "--dry-run"]) == ["train", "grpo", "--dry-run"]
    assert without_these(["-q", "--log-level=info"]) == []
    assert parse(["--log-level", "error", "merge", "runs"])["run_dirs"] == [Path("runs")]
