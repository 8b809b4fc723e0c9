"""Result files survive crashes: nothing half-written under its name, torn lines are owed again, wrong lines are named."""

import os
import subprocess
from pathlib import Path

import pytest

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Collision, Scene, SceneObject

SCENE = Scene(7, "video_00007.mp4", (SceneObject(0, "red", "metal", "cube"),), (Collision(46, (0, 1)),))


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "manifest.json"
    store.write_json(target, {"n": 1})

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        store.write_json(target, {"n": 2})
    assert store.read_json(target, dict[str, int]) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_report_leaves_no_table_or_figure_of_an_earlier_one_and_all_else_alone(tmp_path: Path) -> None:
    store.write_report(tmp_path, {"report.html": b"1", "tables/by-a.tex": b"1", "tables/by-a.csv": b"1", "figure-x.svg": b"1"})
    for name in ("tables/notes.md", "mine.tex", "a-figure-x.png"):
        (tmp_path / name).write_bytes(b"mine")
    store.write_report(tmp_path, {"report.html": b"2", "tables/by-b.tex": b"2"})
    left = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        **{"report.html": b"2", "tables/by-b.tex": b"2"},
        **dict.fromkeys(("tables/notes.md", "mine.tex", "a-figure-x.png"), b"mine"),
    }


@pytest.mark.parametrize(
    ("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]
)
def test_new_files_are_open_to_whom_the_umask_says(tmp_path: Path, umask: int, file_mode: int, folder_mode: int) -> None:
    before = os.umask(umask)
    try:
        store.write_text(tmp_path / "file", "x")
        store.write_folder(tmp_path / "folder", lambda folder: (folder / "inner").touch())
        assert os.umask(umask) == umask  # and it is as it was
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == file_mode
    assert (tmp_path / "folder").stat().st_mode & 0o777 == folder_mode


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VtError, match=r"file/report.html: cannot be written .* choose a folder"):
        store.write_text(tmp_path / "file" / "report.html", "")


def test_jsonl_round_trip(tmp_path: Path) -> None:
    store.write_jsonl(tmp_path / "scenes.jsonl", [SCENE, SCENE])
    assert store.read_jsonl(tmp_path / "scenes.jsonl", Scene) == [SCENE, SCENE]


def test_a_torn_last_line_is_not_read_and_is_cut_before_the_next_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "scenes.jsonl"
    store.write_jsonl(path, [SCENE])
    with path.open("ab") as file:
        file.write(b'{"scene_index":8,"vid')
    assert store.read_jsonl(path, Scene) == [SCENE]
    with store.JsonlAppender(path) as appender:
        appender.append(SCENE)
    assert store.read_jsonl(path, Scene) == [SCENE, SCENE]
    assert path.read_bytes().endswith(b"\n")


def test_a_wrong_whole_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scenes.jsonl"
    path.write_text('{"scene_index": "seven"}\n')
    with pytest.raises(VtError, match=r"scenes.jsonl: line 1 is not a Scene: .*scene_index"):
        store.read_jsonl(path, Scene)


def test_the_settings_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert store.sha256_json({"a": 1, "b": [2, 3]}) == store.sha256_json({"b": [2, 3], "a": 1})
    assert store.sha256_json({"a": 1}) != store.sha256_json({"a": 2})


def test_provenance_names_the_commit_only_of_our_own_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed into another project's tree, the package must not report that project's commit as its own."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    foreign = tmp_path / "site-packages" / "videothinker" / "store.py"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(store, "__file__", str(foreign))
    assert store.provenance()["commit"] is None
