"""CLEVRER's annotations read by several machines: the folder of one process, or one line that says why not."""

from pathlib import Path
from typing import Any

import pytest
from release_factory import annotation, entry, question, write_release
from vt_command import curate_release, one_error, vt

from videothinker import store


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Nine scenes, one of them without an annotation and one with a damaged one."""
    entries = [entry(index, question(0), question(1, removed=1)) for index in range(9)]
    held: dict[int, Any] = {index: annotation(index) for index in range(9)}
    return write_release(tmp_path / "release", entries, {**held, 3: None, 5: b'{"scene_index": 5'})


def files(folder: Path) -> dict[str, bytes]:
    kept = [path for path in folder.rglob("*") if path.is_file() and "shards" not in path.relative_to(folder).parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept if path.suffix != ".html"}


def test_merged_shards_are_the_folder_of_one_process(release: Path, tmp_path: Path) -> None:
    one, out = tmp_path / "one", tmp_path / "out"
    assert curate_release(release, one, "--train-size", "5", "--export", "trl") == 0
    for number in (2, 3, 1):
        assert curate_release(release, out, "--train-size", "5", "--export", "trl", "--shard", f"{number}/3") == 0
        assert not (out / "manifest.json").exists()
    assert vt("merge", out) == 0
    ours, theirs = files(out), files(one)
    manifests = [store.read_json(folder / "manifest.json", dict[str, Any]) for folder in (one, out)]
    provenance = [manifest.pop("provenance") for manifest in manifests]
    assert manifests[0] == manifests[1]
    assert manifests[0]["questions"] == {"n_read": 18, "n_labelled": 14, "n_unresolved": 4}
    assert list(provenance[1]["shards"]) == ["1/3", "2/3", "3/3"]
    for name in ("manifest.json", "report.md", "tables/settings.csv", "tables/settings.tex"):  # which hold the provenance
        del ours[name], theirs[name]
    assert ours == theirs
    assert vt("curate", "check", out) == 0
    assert vt("merge", out) == 0  # again: the same
    assert {name: data for name, data in files(out).items() if name in ours} == ours


def test_a_missing_shard_is_named_and_nothing_is_written(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    curate_release(release, out, "--shard", "2/3")
    capsys.readouterr()
    assert vt("merge", out) == 2
    error = one_error(capsys)
    assert "shards 1,3 of 3 are not finished" in error
    assert f"--out {out} --shard 1/3`" in error
    assert {path.name for path in out.iterdir()} <= {"shards", ".lock"}


def test_shards_with_other_settings_or_questions_are_refused(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    curate_release(release, out, "--shard", "1/2")
    capsys.readouterr()
    assert curate_release(release, out, "--shard", "2/2", "--seed", "7") == 2
    assert "settings.seed was 42, is 7" in one_error(capsys)
    assert curate_release(release, out, "--shard", "2/3") == 2
    assert "go on with /2" in one_error(capsys)
    assert curate_release(release, out, "--shard", "2/2") == 0
    (release / "train.json").write_text((release / "train.json").read_text() + "\n")
    capsys.readouterr()
    assert vt("merge", out) == 2
    assert "is not the file any more that the shards have read" in one_error(capsys)
    assert vt("merge", out, "--no-report") == 2
    assert "takes no options" in one_error(capsys)
