"""Reading ahead: whatever a clip does to its decoder, the others are read, and the cache never gives the wrong frames."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from videothinker.clips import ClipCache, ClipReader, Decoding
from videothinker.frames import Clip, ClipError, Frames, clip_indices


def half(_: float, n_total: int) -> Sequence[int]:
    return clip_indices(n_total, n_total // 2)


def fake_probe(path: Path, backend: str) -> tuple[float, int]:
    return 25.0, 8


def fake_read(path: Path, *, indices: Sequence[int], backend: str, max_pixels: int | None) -> Clip:
    """A decoder whose behaviour the file's name says; runs in the decoding process."""
    if path.name.startswith("hang"):
        time.sleep(600)
    if path.name.startswith("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name.startswith("broken"):
        raise ClipError(f"{path}: is broken")
    value = int(path.read_text())
    return Clip(np.full((len(indices), 2, 2, 3), value, np.uint8), tuple(indices), 25.0, 8)


def reader(cache: ClipCache | None = None, n_workers: int = 1, time_limit_s: float = 3.0) -> ClipReader:
    decoding = Decoding("pyav", None, cache, probe=fake_probe, read=fake_read)
    return ClipReader(sample=half, decoding=decoding, n_workers=n_workers, time_limit_s=time_limit_s)


def write(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return paths


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_clip_that_hangs_or_kills_its_process_costs_only_itself(tmp_path: Path, n_workers: int) -> None:
    paths = write(tmp_path, "good0", "hang1", "good2", "die3", "broken4", "good5")
    with reader(n_workers=n_workers) as clips:
        found = dict(clips.read(paths))
    assert list(found) == paths
    errors = {path.name: str(clip) for path, clip in found.items() if isinstance(clip, ClipError)}
    assert set(errors) == {"hang1", "die3", "broken4"}
    assert "longer than 3 s" in errors["hang1"]
    assert "exit code -9" in errors["die3"]
    assert errors["broken4"].endswith("is broken")
    for number, path in enumerate(paths):
        clip = found[path]
        if not isinstance(clip, ClipError):
            assert clip.frames.tolist() == np.full((4, 2, 2, 3), number).tolist()
            assert clip[1:] == ((0, 2, 4, 6), 25.0, 8)


def test_leaving_early_ends_the_processes(tmp_path: Path) -> None:
    paths = write(tmp_path, *(f"good{i}" for i in range(9)), "hang")
    with reader(time_limit_s=300) as clips:
        assert next(clips.read(paths))[0] == paths[0]  # nine are decoded ahead, and the tenth hangs
        [worker] = clips._workers
        assert worker.is_alive()
    assert not worker.is_alive()


def test_a_clip_is_decoded_once_for_the_same_content_and_frames(tmp_path: Path) -> None:
    first, same, other = write(tmp_path, "first", "same", "other")
    same.write_text("0")
    cache = ClipCache(tmp_path / "cache", 10**6)
    with reader(cache) as clips:
        list(clips.read([first, same, other]))
    assert len(list(cache.folder.iterdir())) == 2
    first.unlink()
    gone = tmp_path / "hang-if-decoded"
    gone.write_text("0")  # the same content under a name that the fake decoder never returns from
    with reader(cache) as clips:
        [(_, clip)] = clips.read([gone])
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
    return np.full((1, 10, 10, 3), value, np.uint8)  # 300 bytes, 428 as a file


def test_the_least_recently_used_frames_leave(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 1000)
    cache.put("a", frames(1))
    cache.put("b", frames(2))
    for number, key in enumerate("ab"):
        os.utime(tmp_path / f"{key}.npy", (number, number))
    assert cache.get("a") is not None  # now b is the older one
    cache.put("c", frames(3))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c"]
    assert cache.get("b") is None
    cache.put("d", np.zeros((1, 30, 30, 3), np.uint8))  # larger than the whole cache
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c"]


def test_a_damaged_entry_is_decoded_again(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, 1000)
    for damage in (b"", b"\x93NUMPY\x01\x00v", b"text"):
        (tmp_path / "a.npy").write_bytes(damage)
        assert cache.get("a") is None
    cache.put("a", frames(1))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-9])
    assert cache.get("a") is None


def test_a_cache_that_cannot_be_written_costs_no_clip(tmp_path: Path) -> None:
    [path] = write(tmp_path, "good0")
    (tmp_path / "file").touch()
    with reader(ClipCache(tmp_path / "file" / "cache", 1000)) as clips:
        [(_, clip)] = clips.read([path])
    assert isinstance(clip, Clip)
