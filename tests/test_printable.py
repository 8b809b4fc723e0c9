"""Text from outside cannot act on a terminal, wherever it is printed."""

import subprocess
import sys

import pytest
from rich.table import Table

from videothinker.cli.console import Printable
from videothinker.errors import VtError
from videothinker.printable import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\nc é 中", "a\tb\nc é 中"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]52;c;aGk=\x1b\\y", "xy"),
        ("\x9b2Jgone\x9d8;;u\x9cz", "gonez"),
        ("a\x00\x07\x08\r\x7f\x85b", "ab"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("\x1b\x00[31mx", "[31mx"),
        ("\x1b]never ended", "never ended"),
    ],
)
def test_what_a_terminal_acts_on_is_taken_out(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(expected) == expected


def test_errors_and_tables_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(VtError("\x1b[2Jscene\u202e.json: bad")) == r"\x1b[2Jscene\u202e.json: bad"
    console = Printable(width=40, force_terminal=True, color_system=None)
    table = Table("na\x1b]0;t\x1b\\me")
    table.add_row("run\x1b[2J\x9b\u202e")
    console.print(table)
    console.print("[bold]x[/bold]\x1b[5n")
    shown = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\u202e") & set(shown)
    assert "name" in shown
    assert "run" in shown


def test_a_bugs_traceback_is_printable() -> None:
    code = r"""
import sys
from videothinker import cli
@cli.app.command()
def boom() -> None:
    key = "sk-secret-local"
    raise ValueError(sys.argv[0] + "\x1b[2J\x9bours")
sys.argv = ["vt", "boom"]
cli.main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (1, True)
    assert not set("\x1b\x9b") & set(result.stderr)
    assert "sk-secret-local" not in result.stderr  # locals are not shown


def test_no_name_turns_into_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    console = Printable(width=60, force_terminal=True, color_system=None)
    table = Table("set:ok:x")
    table.add_row("b:b:")
    console.print("--from hub:a: cannot be loaded", soft_wrap=True)
    console.print(table)
    shown = capsys.readouterr().out
    assert "hub:a: cannot" in shown
    assert "set:ok:x" in shown
    assert "b:b:" in shown
