"""`--json`: standard output is one document, and its figures are those of the files that the command wrote."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from vt_command import vt


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json") / "world"
    assert vt("world", "make", folder, "--scenes", "12", "--seed", "1", "--no-videos", "--workers", "1") == 0
    return folder


@pytest.fixture(scope="module")
def curated(world: Path) -> Path:
    assert vt(*_curate(world, world.parent / "curated")) == 0
    return world.parent / "curated"


def _curate(world: Path, out: Path) -> list[str | Path]:
    return [
        "curate", "clevrer", "--annotations", world / "annotation_train", "--questions", world / "train.json", "--out", out,
        "--workers", "1",
    ]  # fmt: skip


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[Any, str]:
    """What the command prints with --json on standard output, and what on standard error."""
    capsys.readouterr()
    assert vt(*arguments, "--json") == 0
    shown = capsys.readouterr()
    return msgspec.json.decode(shown.out), shown.err


def without_provenance(path: Path) -> Any:
    read = msgspec.json.decode(path.read_bytes())
    read.pop("provenance", None)
    return read


def test_a_worlds_document_is_world_json(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, rest = document(capsys, "world", "make", world, "--scenes", "12", "--seed", "1", "--no-videos", "--workers", "1")
    said.pop("provenance")
    assert said == without_provenance(world / "world.json")
    assert "counterfactual questions" in rest


def test_a_curations_document_is_its_manifest(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, rest = document(capsys, *_curate(world, tmp_path))
    written = without_provenance(tmp_path / "manifest.json")
    assert {key: said[key] for key in ("questions", "splits", "rule", "observer")} == {
        key: written[key] for key in ("questions", "splits", "rule", "observer")
    }
    assert "counterfactual questions" in rest


def test_a_check_counts(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said, _ = document(capsys, "curate", "check", curated)
    assert said["n_read"] == said["n_labelled"] + said["n_unresolved"] > 0
    assert said["problems"] == []


def test_the_list_of_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    said, _ = document(capsys, "curate", "list")
    assert {"clevrer", "mvbench"} <= set(said)


def test_a_diagnosis_and_its_report_are_metrics_json(curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs"
    asked, rest = document(
        capsys, "diagnose", "--data", curated, "--split", "train", "--model", "solver:observer", "--model", "solver:gold",
        "--out", run,
    )  # fmt: skip
    assert "answers exactly right" in rest
    assert set(asked["runs"]) == {"observer", "gold"}
    for name, metrics in asked["runs"].items():
        folder = next(each for each in run.iterdir() if each.name == name)
        assert metrics == msgspec.json.decode((folder / "metrics.json").read_bytes())
    summary = msgspec.json.decode((run / "summary.json").read_bytes())
    assert (asked["references"], asked["comparisons"]) == (summary["references"], summary["comparisons"])
    again, _ = document(capsys, "report", run, "--out", tmp_path / "again")
    assert again["runs"] == asked["runs"]


def test_without_the_option_the_table_is_on_standard_output_again(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document(capsys, "curate", "check", curated)
    assert vt("curate", "check", curated) == 0
    assert "gold answers" in capsys.readouterr().out


def test_a_mistake_leaves_standard_output_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vt("curate", "check", tmp_path, "--json") == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith("error: ")) == ("", True)
