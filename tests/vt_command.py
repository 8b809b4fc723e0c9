"""The command line as a user meets it, run in the test's own process."""

import re
import sys
from pathlib import Path

import pytest

from videothinker import cli


def vt(*arguments: str | Path) -> int:
    """Run `vt` with these arguments; returns its exit code."""
    before = sys.argv
    sys.argv = ["vt", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed as the one line of a user's mistake, after lines of progress."""
    progress = re.compile(
        r"loading|writing the folder.*|.*: [\d,]+ of [\d,]+ \w+|.*, and the first (replies|step)|drawing the first scenes"
    )
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if not progress.match(line) or "error: " in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def curate_release(release: Path, out: Path, *arguments: str | Path) -> int:
    """Run `vt curate clevrer` on what `release_factory.write_release` wrote; returns its exit code."""
    return vt(
        "curate", "clevrer", "--annotations", release / "annotation_train", "--questions", release / "train.json",
        "--out", out, *arguments,
    )  # fmt: skip
