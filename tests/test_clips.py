"""Reading ahead: whatever a clip does to its decoder, the others are read, and the cache never gives the wrong frames."""

import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import COLOURS, draw_square

from videothinker import clip_process, store
from videothinker import clips as clips_module
from videothinker import frames as frames_module
from videothinker.cli import app
from videothinker.clips import ClipCache, ClipIndex, ClipReader, Decoding, Seen, cached_clip, default_cache, warm
from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.footage import Footage
from videothinker.frames import Clip, ClipError, Extent, Frames, clip_indices


def half(_: float, n_total: int) -> Sequence[int]:
    return clip_indices(n_total, n_total // 2)


def fake_probe(footage: Footage, backend: str) -> Extent:
    return Extent(25.0, 8)


def fake_read(footage: Footage, *, indices: Sequence[int], backend: str, max_pixels: int | None) -> Clip:
    """A decoder whose behaviour the file's name says; runs in the decoding process."""
    path = footage.path
    if path.name.startswith("hang"):
        time.sleep(600)
    if path.name.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name.startswith("broken"):
        raise ClipError(f"{path}: is broken")
    if path.name.startswith("huge"):
        raise MemoryError
    value = int(os.environ["OMP_NUM_THREADS"]) if path.name.startswith("threads") else int(path.read_text())
    return Clip(np.full((len(indices), 2, 2, 3), value, np.uint8), tuple(indices), 25.0, 8)


def reader(cache: ClipCache | None = None, n_workers: int = 1, time_limit_s: float = 3.0) -> ClipReader:
    decoding = Decoding("pyav", None, cache, probe=fake_probe, read=fake_read)
    return ClipReader(sample=half, decoding=decoding, n_workers=n_workers, time_limit_s=time_limit_s)


def write(folder: Path, *names: str) -> list[Footage]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return list(map(Footage, paths))


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_clip_that_hangs_or_kills_its_process_costs_only_itself(tmp_path: Path, n_workers: int) -> None:
    paths = write(tmp_path, "good0", "hang1", "good2", "die3", "broken4", "good5")
    with reader(n_workers=n_workers) as clips:
        found = dict(clips.read(paths))
    assert list(found) == paths
    errors = {one.path.name: str(clip) for one, clip in found.items() if isinstance(clip, ClipError)}
    assert set(errors) == {"hang1", "die3", "broken4"}
    assert "longer than 3 s" in errors["hang1"]
    assert "exit code -9" in errors["die3"]
    assert errors["broken4"].endswith("is broken")
    for number, path in enumerate(paths):
        clip = found[path]
        if not isinstance(clip, ClipError):
            assert clip.frames.tolist() == np.full((4, 2, 2, 3), number).tolist()
            assert clip[1:] == ((0, 2, 4, 6), 25.0, 8)


def test_a_process_that_does_not_start_in_time_costs_its_clip_and_answers_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path, "good0", "good1")
    with reader() as clips:
        monkeypatch.setattr(clip_process, "_START_S", 0.0)
        late = dict(clips.read(paths[:1]))[paths[0]]
        assert isinstance(late, ClipError)
        assert "did not start within 0 s" in str(late)
        monkeypatch.undo()
        clip = dict(clips.read(paths[1:]))[paths[1]]
    assert not isinstance(clip, ClipError)
    assert clip.frames.tolist() == np.full((4, 2, 2, 3), 1).tolist()  # the second clip's frames, not the late first one's


def test_a_clip_too_large_for_memory_costs_only_itself(tmp_path: Path) -> None:
    paths = write(tmp_path, "huge0", "good1")
    with reader() as clips:
        (_, huge), (_, good) = clips.read(paths)
        assert len(clips._workers) == 1  # the process lives on
    assert str(huge) == f"{paths[0].path}: its frames do not fit into memory"
    assert isinstance(good, Clip)


def test_a_decoding_process_has_one_thread_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    told = {}
    for number in (None, 5):
        if number is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", str(number))
        with reader() as clips:
            ((_, clip),) = clips.read(write(tmp_path, "threads"))
        assert isinstance(clip, Clip)
        told[number] = int(clip.frames.max())
    assert told == {None: 1, 5: 5}


def test_leaving_early_ends_the_processes(tmp_path: Path) -> None:
    paths = write(tmp_path, *(f"good{i}" for i in range(9)), "hang")
    with reader(time_limit_s=300) as clips:
        assert next(clips.read(paths))[0] == paths[0]  # nine are decoded ahead, and the tenth hangs
        [worker] = clips._workers
        assert worker.is_alive()
    assert not worker.is_alive()


def test_a_clip_is_decoded_once_for_the_same_content_and_frames(tmp_path: Path) -> None:
    first, same, other = write(tmp_path, "first", "same", "other")
    same.path.write_text("0")
    cache = ClipCache(tmp_path / "cache", 10**6)
    with reader(cache) as clips:
        list(clips.read([first, same, other]))
    assert len(list(cache.folder.glob("*.frames"))) == 2
    first.path.unlink()
    gone = tmp_path / "hang-if-decoded"
    gone.write_text("0")  # the same content under a name that the fake decoder never returns from
    with reader(cache) as clips:
        [(_, clip)] = clips.read([Footage(gone)])
    assert isinstance(clip, Clip)
    assert not clip.frames.any()


def test_the_key_is_content_backend_frames_and_pixels() -> None:
    base = Decoding("pyav", None, None)
    keys = {
        base.key("digest", (0, 2)),
        base.key("other", (0, 2)),
        base.key("digest", (0, 3)),
        base._replace(backend="decord").key("digest", (0, 2)),
        base._replace(max_pixels=784).key("digest", (0, 2)),
    }
    assert len(keys) == 5


def frames(value: int) -> Frames:
    return np.full((1, 10, 10, 3), value, np.uint8)  # 300 bytes, 332 as a file


def test_the_least_recently_used_frames_leave(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 900)
    cache.put("a", frames(1))
    cache.put("b", frames(2))
    for number, key in enumerate("ab"):
        os.utime(tmp_path / f"{key}.frames", (number, number))
    assert cache.get("a") is not None  # now b is the older one
    cache.put("c", frames(3))
    assert sorted(path.stem for path in tmp_path.glob("*.frames")) == ["a", "c"]
    assert cache.get("b") is None
    cache.put("d", np.zeros((1, 30, 30, 3), np.uint8))  # larger than the whole cache
    assert sorted(path.stem for path in tmp_path.glob("*.frames")) == ["a", "c"]


def test_a_damaged_entry_is_decoded_again(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 1000)
    for damage in (b"", b"text", bytes(32), b"\xff" * 332):
        (tmp_path / "a.frames").write_bytes(damage)
        assert cache.get("a") is None
    cache.put("a", frames(1))
    whole = (tmp_path / "a.frames").read_bytes()
    (tmp_path / "a.frames").write_bytes(whole[:-9])
    assert cache.get("a") is None


def test_any_flipped_byte_is_noticed_and_the_clip_decoded_again(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good7")
    path.path.write_text("7")
    cache = ClipCache(tmp_path / "cache", 10**6)
    with reader(cache) as clips:
        list(clips.read([path]))
        [entry] = cache.folder.glob("*.frames")
        whole = entry.read_bytes()
        assert len(whole) == 32 + 4 * 2 * 2 * 3
        for at in range(len(whole)):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            entry.write_bytes(damaged)
            assert cache.get(entry.stem) is None, at
            assert not entry.exists(), at  # it would be found damaged again and again
            assert cache.get(entry.stem) is None
        [(_, clip)] = clips.read([path])
        assert isinstance(clip, Clip)
        assert clip.frames.tolist() == np.full((4, 2, 2, 3), 7).tolist()
        assert entry.read_bytes() == whole
        entry.write_bytes(whole[:-1] + b"\x08")
        [(_, kept)] = clips.keep([path])  # vt clips warm does not count a damaged entry as kept
        assert kept == 4 * 2 * 2 * 3
        assert entry.read_bytes() == whole


def test_a_line_of_the_index_with_a_flipped_byte_is_not_believed(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    state = path.state()
    assert state is not None
    ClipIndex(tmp_path / "seen").note(path, state, Seen("x", 25.0, 128))
    whole = (tmp_path / "seen").read_bytes()
    assert ClipIndex(tmp_path / "seen").find(path, state) == Seen("x", 25.0, 128)
    (tmp_path / "seen").write_bytes(whole.replace(b"128", b"129"))
    assert ClipIndex(tmp_path / "seen").find(path, state) is None


def test_what_earlier_versions_left_is_not_read(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    cache = ClipCache(tmp_path / "cache", 10**6)
    cache.folder.mkdir()
    digest = store.sha256_file(path.path)
    earlier = store.sha256_json([digest, "pyav", [0, 2, 4, 6], None])  # the key and the content of version 0.2's entries
    (cache.folder / f"{earlier}.frames").write_bytes(struct.pack("<4Q", 4, 2, 2, 3) + bytes([9]) * 48)
    (cache.folder / "seen.jsonl").write_bytes(b"\n" + msgspec.json.encode([str(path.path), path.state(), [digest, 25.0, 4]]))
    with reader(cache) as clips:
        [(_, clip)] = clips.read([path])
    assert isinstance(clip, Clip)
    assert (clip.n_total, clip.frames.max()) == (8, 0)
    assert cache.get(earlier) is None


def test_a_cache_that_cannot_be_written_costs_no_clip(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    (tmp_path / "file").touch()
    with reader(ClipCache(tmp_path / "file" / "cache", 1000)) as clips:
        [(_, clip)] = clips.read([path])
    assert isinstance(clip, Clip)


def test_a_full_disk_leaves_no_half_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ClipCache(tmp_path / "cache", 1000)
    cache.put("a", frames(1))

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(
            VtError, match=r"cache: decoded clips cannot be kept here \(No space left on device\).*VIDEOTHINKER_CACHE"
        ):
            cache.put("b", frames(2))
    assert [path.name for path in cache.folder.iterdir()] == ["a.frames"]
    found = cache.get("a")
    assert found is not None
    assert found.tolist() == frames(1).tolist()


def test_an_entry_comes_back_as_it_was_put(tmp_path: Path) -> None:
    kept = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    ClipCache(tmp_path, 1000).put("a", kept[:, ::-1])  # not in the order of memory
    found = ClipCache(tmp_path, 1000).get("a")
    assert found is not None
    assert found.tolist() == kept[:, ::-1].tolist()
    found[0] = 0  # the reader's own


def test_the_folder_is_looked_at_now_and_then_and_the_limit_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (looks.append(1), scandir(folder))[1])
    limit = 200 * 332
    cache = ClipCache(tmp_path, limit)
    for i in range(600):
        cache.put(str(i), frames(i % 256))
    taken = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert taken <= limit * 33 / 32
    assert len(looks) < 600
    assert cache.get("599") is not None


def test_a_known_clip_is_neither_opened_nor_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = write(tmp_path, "good0")
    cache = ClipCache(tmp_path / "cache", 10**6)
    with reader(cache) as clips:
        [(_, first)] = clips.read([path])
    monkeypatch.setattr(clips_module, "Worker", None)  # no process can be started any more
    with reader(ClipCache(tmp_path / "cache", 10**6)) as clips:
        [(_, second)] = clips.read([path])
    assert isinstance(first, Clip)
    assert isinstance(second, Clip)
    assert second.frames.tolist() == first.frames.tolist()
    assert second[1:] == first[1:]


def test_a_clip_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    cache = ClipCache(tmp_path / "cache", 10**6)
    for value in (0, 7, 8):  # the same name and size
        path.path.write_text(str(value))
        with reader(cache) as clips:
            [(_, clip)] = clips.read([path])
        assert isinstance(clip, Clip)
        assert clip.frames[0, 0, 0, 0] == value


def test_odd_names_of_files_cost_nothing(tmp_path: Path) -> None:
    names = ["new\nline.mp4", os.fsdecode(b"\xff\xfe.mp4"), "%d|a:b.mp4", "null\0.mp4", 300 * "n"]
    paths = [tmp_path / name for name in names]
    for path in paths[:3]:
        draw_square(tmp_path / "clip.mp4", COLOURS["red"], n=4)
        (tmp_path / "clip.mp4").rename(path)
    cache = ClipCache(tmp_path / "cache", 10**8)
    with ClipReader(sample=half, cache=cache, n_workers=1) as clips:
        for _ in range(2):  # decoded, then kept
            found = [clip for _, clip in clips.read(map(Footage, paths))]
            assert [type(clip) for clip in found] == [Clip, Clip, Clip, ClipError, ClipError]
    error = ClipError(f"{tmp_path / os.fsdecode(bytes([255]))}: is a folder")
    assert msgspec.json.decode(msgspec.json.encode(str(error))).endswith("\\udcff: is a folder")  # fit for a result file


def test_the_index_survives_torn_lines_and_two_writers(tmp_path: Path) -> None:
    here, there = ClipIndex(tmp_path / "seen.jsonl"), ClipIndex(tmp_path / "seen.jsonl")
    a, b = write(tmp_path, "a", "b")
    states = [one.state() for one in (a, b)]
    assert states[0] is not None
    assert states[1] is not None
    here.note(a, states[0], Seen("x", 25.0, 8))
    with (tmp_path / "seen.jsonl").open("ab") as file:
        file.write(b'\n["torn')
    there.note(b, states[1], Seen("y", 30.0, 9))
    index = ClipIndex(tmp_path / "seen.jsonl")
    assert index.find(a, states[0]) == Seen("x", 25.0, 8)
    assert index.find(b, states[1]) == Seen("y", 30.0, 9)
    assert index.find(a, states[1]) is None
    assert Footage(tmp_path / "missing").state() is None


def test_keeping_ahead_gives_what_reading_gives(tmp_path: Path) -> None:
    good, broken = write(tmp_path, "good0", "broken1")
    cache = ClipCache(tmp_path / "cache", 10**6)
    with reader(cache) as clips:
        (_, n_bytes), (_, error) = clips.keep([good, broken])
        assert n_bytes == 4 * 2 * 2 * 3
        assert isinstance(error, ClipError)
        assert next(clips.keep([good]))[1] == 4 * 2 * 2 * 3  # there already: the same number
        [(_, clip)] = clips.read([good])
    assert isinstance(clip, Clip)


def test_training_and_diagnosis_share_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_square(tmp_path / "clip.mp4", (220, 30, 30))
    cache = ClipCache(tmp_path / "cache", 10**8)
    with ClipReader(sample=lambda fps, n: clip_indices(n, 8), max_pixels=28 * 28, cache=cache) as clips:
        [(_, diagnosed)] = clips.read([Footage(tmp_path / "clip.mp4")])
    assert isinstance(diagnosed, Clip)
    plain = frames_module.read_clip(tmp_path / "clip.mp4", n_frames=8, max_pixels=28 * 28)
    monkeypatch.setattr(clip_process, "read_clip", None)
    trained = cached_clip(Footage(tmp_path / "clip.mp4"), n_frames=8, max_pixels=28 * 28, cache=ClipCache(cache.folder, 10**8))
    for clip in (diagnosed, trained):
        assert clip.frames.tolist() == plain.frames.tolist()
        assert clip[1:] == plain[1:]
    with pytest.raises(ClipError, match=r"missing\.mp4"):
        cached_clip(Footage(tmp_path / "missing.mp4"), n_frames=8, max_pixels=None, cache=cache)


def test_the_limit_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE_GB", "0.5")
    assert default_cache().limit_bytes == 2**29
    for wrong in ("none", "-1", "inf"):
        monkeypatch.setenv("VIDEOTHINKER_CACHE_GB", wrong)
        with pytest.raises(VtError, match="VIDEOTHINKER_CACHE_GB"):
            default_cache()
    monkeypatch.delenv("VIDEOTHINKER_CACHE_GB")
    assert default_cache().limit_bytes == 8 * 2**30


def test_warming_reads_each_clip_once_and_names_those_it_cannot(tmp_path: Path) -> None:
    for name, colour in COLOURS.items():
        draw_square(tmp_path / f"{name}.mp4", colour)
    (tmp_path / "blue.mp4").write_bytes(b"")
    paths = [Footage(tmp_path / f"{name}.mp4") for name in (*COLOURS, "red", "gone")]
    cache, advanced = ClipCache(tmp_path / "cache", 10**6), []
    done = warm(paths, sample=eight, max_pixels=None, cache=cache, n_workers=2, progress=advanced.append)
    assert (done.n_clips, sum(advanced), len(list(cache.folder.glob("*.frames")))) == (4, 4, 2)
    assert {one.path.stem for one in done.lost} == {"blue", "gone"}
    assert "empty" in done.lost[Footage(tmp_path / "blue.mp4")]
    before = [path.stat().st_ino for path in sorted(cache.folder.glob("*.frames"))]
    assert warm(paths, sample=eight, max_pixels=None, cache=cache, n_workers=1).lost == done.lost
    assert [path.stat().st_ino for path in sorted(cache.folder.glob("*.frames"))] == before
    with pytest.raises(VtError, match="VIDEOTHINKER_CACHE_GB=2"):
        warm(paths[:2], sample=eight, max_pixels=None, cache=ClipCache(tmp_path / "small", 200_000), n_workers=1)


def eight(_: float, n_total: int) -> Sequence[int]:
    return clip_indices(n_total, 8)


def test_warm_by_command(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    assert colours.videos_root is not None
    (colours.videos_root / "red.mp4").unlink()
    command = ["clips", "warm", "--data", str(colours.folder), "--frames", "8", "--max-pixels", "784", "--workers", "1"]
    with pytest.raises(SystemExit) as end:
        app(command)
    assert end.value.code == 0
    said = capsys.readouterr()
    assert "2 of 3 clips kept" in said.out
    assert "red.mp4" in said.err
    for wrong, said in (
        (["--decoder", "vlc"], "decoder"),
        (["--frame-rule", "even"], "--frame-rule is 'even', expected one of floor, linspace"),
        (["--fps", "2"], "--frame-rule fps and --fps F go together"),
    ):
        with pytest.raises(VtError, match=said):
            app([*command, *wrong], standalone_mode=False)


def test_shards_warm_one_cache_for_all(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    command = ["clips", "warm", "--data", str(colours.folder), "--frames", "8", "--workers", "1"]
    for shard, told in (("1/2", "2 of 2"), ("2/2", "1 of 1")):
        app([*command, "--shard", shard], standalone_mode=False)
        assert f"shard {shard}: {told} clips kept" in capsys.readouterr().out
    assert len(list((tmp_path / "cache").rglob("*.frames"))) == 3
    monkeypatch.setattr("sys.argv", ["vt", *command, "--print-sbatch", "2"])
    app([*command, "--print-sbatch", "2"], standalone_mode=False)
    assert "--dependency" not in capsys.readouterr().out


def test_the_cache_has_to_hold_what_all_shards_put_into_it(tmp_path: Path) -> None:
    draw_square(tmp_path / "red.mp4", COLOURS["red"])
    cache = ClipCache(tmp_path / "cache", 10**6)
    n_bytes = warm([Footage(tmp_path / "red.mp4")], sample=eight, max_pixels=None, cache=cache, n_workers=1).n_bytes
    with pytest.raises(VtError, match="100 clips of"):
        clips_module._check_room(64 * n_bytes, 64, 100, ClipCache(tmp_path / "cache", 70 * n_bytes))


def test_warm_by_a_rule(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 frames at 25 a second: 5 a second are 6.4, an even number of them is 6, 31 / 5 apart."""
    monkeypatch.setenv("VIDEOTHINKER_CACHE", str(tmp_path / "cache"))
    command = ["clips", "warm", "--data", str(colours.folder), "--frames", "8", "--workers", "1"]
    assert app([*command, "--frame-rule", "fps", "--fps", "5"], standalone_mode=False) is None
    monkeypatch.setattr(clips_module, "Worker", None)  # no process can be started any more
    footages = [clip for question in colours.questions("dev") if (clip := colours.clip(question))]
    with ClipReader(sample=lambda *_: (0, 6, 12, 19, 25, 31), cache=default_cache()) as clips:
        assert all(isinstance(clip, Clip) for _, clip in clips.read(footages))


def vt_warm(colours: Curated, cache: Path) -> subprocess.CompletedProcess[str]:
    command = ["clips", "warm", "--data", str(colours.folder), "--frames", "8", "--workers", "1"]
    environment = os.environ | {"VIDEOTHINKER_CACHE": str(cache), "COLUMNS": "500"}
    return subprocess.run(
        [sys.executable, "-m", "videothinker", *command], capture_output=True, text=True, check=False, env=environment
    )


def test_warming_a_cache_that_cannot_be_written_is_one_line_and_exit_2(colours: Curated, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = vt_warm(colours, tmp_path / "file" / "cache")
    assert done.returncode == 2
    assert "kept, " not in done.stdout
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "error:" in line]
    assert "decoded clips cannot be kept here (Not a directory)" in line
    assert "$VIDEOTHINKER_CACHE" in line


def test_warming_a_cache_on_a_full_disk_is_one_line_and_exit_2(colours: Curated, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        done = vt_warm(colours, disk)
        assert not list((disk / "clips").glob("*.frames"))
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 2
    assert "kept, " not in done.stdout
    assert "decoded clips cannot be kept here (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_to_write_reaches_the_one_who_warms(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    (tmp_path / "file").touch()
    with (
        reader(ClipCache(tmp_path / "file" / "cache", 10**6)) as clips,
        pytest.raises(VtError, match="decoded clips cannot be kept here"),
    ):
        list(clips.keep([path]))
