"""The rooms of the house keep to themselves: who may import whom, and what stays light.

Covers: imports as written (ast), torch-free modules as loaded (a fresh interpreter), and the quick `--help`.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_group

import videothinker
from videothinker.cli import app

PACKAGE = Path(videothinker.__file__).parent
HEAVY = ("torch", "transformers", "trl", "datasets", "decord")
CURATE = [f"curate {name}" for name in get_group(app).commands["curate"].commands]
"""Every subcommand of `vt curate`: one for each data set, and what goes with them."""


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Dotted names that a file imports; `from a import b` counts as both a and a.b."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_of(name: str, room: str) -> bool:
    """Is the module the room itself, or in it?"""
    return name == room or name.startswith(room + ".")


def reaches(path: Path, room: str) -> bool:
    return any(is_of(name, room) for name in imported(path))


def test_nobody_imports_the_command_line() -> None:
    outside = {
        name: path
        for name, path in modules().items()
        if not name.startswith("videothinker.cli") and name != "videothinker.__main__"
    }
    assert [name for name, path in outside.items() if reaches(path, "videothinker.cli")] == []


def test_only_commands_and_notebooks_follow_recipes() -> None:
    may = ("videothinker.cli", "videothinker.recipes", "videothinker.notebooks")
    followers = [name for name, path in modules().items() if reaches(path, "videothinker.recipes")]
    assert [name for name in followers if not name.startswith(may)] == []
    assert followers


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("videothinker.records", ()),
        ("videothinker.answers", ("videothinker.records",)),
        ("videothinker.observers", ("videothinker.records", "videothinker.answers")),
        ("videothinker.progress", ()),
        ("videothinker.outside", ()),
        ("videothinker.tables", ("videothinker.errors", "videothinker.outside")),
    ],
)
def test_the_ground_floor_stands_on_nothing_else(room: str, allowed: tuple[str, ...]) -> None:
    """What these rooms import of the package: themselves, and what is named here."""
    inside = {name: path for name, path in modules().items() if is_of(name, room)}
    assert inside, f"no module {room}"
    for name, path in inside.items():
        ours = {other for other in imported(path) if is_of(other, "videothinker") and other != "videothinker"}
        assert {other for other in ours if not any(is_of(other, each) for each in (room, *allowed))} == set(), name


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        (
            "videothinker.train",
            ("videothinker.pretrain", "videothinker.curate", "videothinker.diagnose", "videothinker.reports", "polars"),
        ),
        (
            "videothinker.pretrain",
            ("videothinker.train", "videothinker.curate", "videothinker.diagnose", "videothinker.reports", "polars"),
        ),
        (
            "videothinker.models",
            (
                "videothinker.train",
                "videothinker.pretrain",
                "videothinker.curate",
                "videothinker.diagnose",
                "videothinker.reports",
                "polars",
            ),
        ),
        (
            "videothinker.diagnose",
            ("videothinker.train", "videothinker.pretrain", "videothinker.curate", "videothinker.reports", "polars"),
        ),
        (
            "videothinker.world",
            (
                "videothinker.curate",
                "videothinker.diagnose",
                "videothinker.train",
                "videothinker.pretrain",
                "videothinker.reports",
                "polars",
            ),
        ),
        (
            "videothinker.curate",
            ("videothinker.world", "videothinker.train", "videothinker.pretrain", "videothinker.reports", "torch"),
        ),
        (
            "videothinker.study",
            (
                "videothinker.train",
                "videothinker.pretrain",
                "videothinker.curate",
                "videothinker.world",
                "videothinker.reports",
                "videothinker.diagnose.run",
                "videothinker.diagnose.checkpoint_answerer",
                "videothinker.diagnose.feed",
                "videothinker.diagnose.openers",
                "videothinker.models",
                "videothinker.diagnose.solvers",
                "polars",
                "torch",
            ),
        ),
        ("videothinker.sections", ("videothinker.study", "videothinker.train", "videothinker.pretrain", "polars", "torch")),
        ("videothinker.reports", ("videothinker.train", "videothinker.pretrain", "videothinker.world", "torch")),
        ("videothinker.steps", ("videothinker.train", "videothinker.study", "polars", "torch")),
        ("videothinker.answers", ("polars", "torch")),
        ("videothinker.observers", ("polars", "torch")),
        ("videothinker.curated", ("polars", "torch", "videothinker.curate")),
        ("videothinker.tables", ("polars", "torch")),
        ("videothinker.progress", ("polars", "torch", "rich")),
        ("videothinker.records", ("videothinker.store", "polars", "torch")),
    ],
)
def test_rooms_meet_in_files_and_not_by_import(room: str, forbidden: tuple[str, ...]) -> None:
    inside = {name: path for name, path in modules().items() if is_of(name, room)}
    assert inside, f"no module {room}"
    broken = [(name, other) for name, path in inside.items() for other in forbidden if reaches(path, other)]
    assert broken == []


def test_only_the_store_puts_files_into_place() -> None:
    writers = [name for name, path in modules().items() if "mkstemp(" in path.read_text() and name != "videothinker.store"]
    assert writers == []


def test_checkpoints_are_read_in_two_modules_alone() -> None:
    """Which pass trust_remote_code and use_safetensors, and refuse what does not fit."""
    readers = [name for name, path in modules().items() if ".from_pretrained(" in path.read_text()]
    assert readers == ["videothinker.models.adapter", "videothinker.models.read"]


def test_the_light_rooms_load_without_heavy_packages() -> None:
    heavy = (
        "videothinker.train",
        "videothinker.pretrain",
        "videothinker.models",
        "videothinker.diagnose.engines.",
        "videothinker.__main__",
    )
    outside = {name: path for name, path in modules().items() if not name.startswith(heavy)}
    light = [name for name, path in outside.items() if not imported(path, top_level_only=True) & set(HEAVY)]
    code = f"""
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
print([package for package in {HEAVY!r} if package in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module", ["videothinker.train.stage_files", "videothinker.pretrain.settings", "videothinker.pretrain.course"]
)
def test_settings_and_what_worker_processes_import_load_without_torch(module: str) -> None:
    code = f"import sys, {module}; print([package for package in {HEAVY!r} if package in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "world make",
        "curate",
        *CURATE,
        "diagnose",
        "report",
        "demo",
        "clips warm",
        "merge",
        "pretrain",
        "train cdpo",
        "train bias",
        "train sft",
        "study",
    ],
)
def test_help_needs_no_heavy_package(command: str) -> None:
    code = f"""
import sys
from videothinker.cli import app
try:
    app({[*command.split(), "--help"]!r})
except SystemExit as end:
    assert end.code == 0, end.code
loaded = [package for package in {(*HEAVY, "polars", "pandas", "pyarrow", "matplotlib", "numpy")!r} if package in sys.modules]
assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
