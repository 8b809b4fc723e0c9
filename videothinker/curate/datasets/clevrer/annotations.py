"""Read CLEVRER's annotations (folder or zip) and find its clips. `questions.py` reads the questions.

An annotation has about 230 kB, of which labels need about 3 kB: the object properties, the collision log, and who is in view at
a few frames. The decoder is typed, so all of the trajectory is checked to be JSON, but hardly any of it becomes an object
(`view.py`). A file that cannot be used raises nothing: a `Fault` with its reason is returned instead of the record, so that
nothing is lost between reading and counting.

Layout: annotation_train/annotation_00000-01000/annotation_00000.json and video_train/video_00000-01000/video_00000.mp4; all
files in one folder, or the annotations in their zip, are read as well. Source: the README of the CLEVRER release.
"""

import hashlib
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec

from videothinker.curate.datasets.clevrer.faults import Fault, explain
from videothinker.curate.datasets.clevrer.program import Color, Material, Shape
from videothinker.curate.datasets.clevrer.view import N_FRAMES, Frame, Trajectory, TrajectoryError
from videothinker.errors import VtError
from videothinker.outside import JSON_BYTES, is_name
from videothinker.pool import map_in_order
from videothinker.progress import Progress, no_progress
from videothinker.records import Collision, Scene, SceneObject

_ANNOTATION_NAME = re.compile(r"annotation_(\d+)\.json")
VIDEO_NAME = re.compile(r"video_(\d+)\.mp4")
"""A clip's file name in the release; its number is the scene's index."""
_CHUNK = 64  # annotations that one process reads at a time: 15 MB, a few hundredths of a second
_WORTH_A_POOL = 512  # starting processes costs about as much as reading this many annotations

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)
"""What zipfile is known to raise for archives that are damaged, encrypted, or packed in a way that it cannot unpack."""


class _Object(msgspec.Struct):
    object_id: int
    color: Color
    material: Material
    shape: Shape


class _Collision(msgspec.Struct):
    frame_id: int
    object_ids: tuple[int, int]


class _Annotation(msgspec.Struct):
    scene_index: int
    video_filename: str
    object_property: list[_Object]
    collision: list[_Collision]
    motion_trajectory: list[Frame] = []


_annotation_decoder = msgspec.json.Decoder(_Annotation)


class Annotations(NamedTuple):
    """Where the annotations of a release lie; nothing is read yet."""

    path: Path
    """The folder or the zip file."""
    files: dict[int, list[str]]
    """Scene index from the file name -> paths relative to `path`; there are several if a scene was found several times."""
    refused: list[str]
    """Entries of the zip that point outside it. They are never read."""


class ReadScenes(NamedTuple):
    """The annotations of the scenes that were asked for."""

    scenes: dict[int, Scene | Fault]
    digests: dict[int, bytes]
    """SHA-256 of each file whose bytes could be read, by scene."""

    @property
    def sha256(self) -> str:
        """Hash over the bytes of all files that were read, in the order of scenes: the identity of this input."""
        total = hashlib.sha256()
        for index in sorted(self.digests):
            total.update(b"%d " % index + self.digests[index])
        return total.hexdigest()


def find_annotations(path: Path) -> Annotations:
    """List the annotation files below a folder (nested or flat) or inside the released zip.

    Raises:
        VtError: the path does not exist, is a file but not a zip, or holds no file named like an annotation.
    """
    if path.is_dir():
        names, refused = list(_files_below(path)), []
    elif path.is_file():
        _open_zip.cache_clear()  # the file may have been replaced since
        entries = [name for name in _open_zip(path).namelist() if not name.endswith("/")]
        refused = [name for name in entries if _points_outside(name)]
        names = [name for name in entries if not _points_outside(name)]
    else:
        raise VtError(f"--annotations {path}: is neither a folder nor a file; give the release's annotation folder or zip")
    files: dict[int, list[str]] = {}
    for name in sorted(names):
        if found := _ANNOTATION_NAME.fullmatch(PurePosixPath(name).name):
            files.setdefault(int(found[1]), []).append(name)
    if not files and not refused:
        raise VtError(f"--annotations {path}: holds no annotation_00000.json or the like, in {len(names)} files")
    return Annotations(path, files, refused)


def read_scenes(
    annotations: Annotations, wanted: Sequence[int], *, workers: int = 1, progress: Progress = no_progress
) -> ReadScenes:
    """Objects and collision log of each wanted scene, or why there is none.

    workers: processes to read with; a small number of files is read in this process in any case. The result is the same.
    """
    singles = [index for index in wanted if len(annotations.files.get(index, ())) == 1]
    jobs = [(index, annotations.files[index][0]) for index in singles]
    chunks = [jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
    scenes: dict[int, Scene | Fault] = {
        index: _not_single(annotations, index) for index in wanted if len(annotations.files.get(index, ())) != 1
    }
    digests: dict[int, bytes] = {}
    workers = workers if len(jobs) >= _WORTH_A_POOL else 1
    with closing(map_in_order(partial(_read_chunk, annotations.path), chunks, workers)) as results:
        for chunk, result in zip(chunks, results, strict=True):
            for (index, _), (scene, digest) in zip(chunk, result, strict=True):
                scenes[index] = scene
                if digest:
                    digests[index] = digest
            progress(len(chunk))
    return ReadScenes(scenes, digests)


def decode_annotation(data: bytes, name: str) -> Scene | Fault:
    """The scene in one annotation file's bytes, or why they cannot be used.

    name: the file's name, whose number has to be the scene's. All of the trajectory has to be JSON; what `view.py` reads of it
    has to fit the rest.
    """
    try:
        if not data.isascii():
            data.decode()  # the typed decoder does not look into strings that it skips
        raw = _annotation_decoder.decode(data)
    except UnicodeDecodeError as error:
        return Fault(name, f"is not UTF-8: {error.reason} at byte {error.start}")
    except (msgspec.MsgspecError, RecursionError) as error:
        return Fault(name, explain(error))
    reason = _contradiction(raw, name)
    if reason:
        return Fault(name, reason)
    objects = tuple(SceneObject(o.object_id, o.color, o.material, o.shape) for o in raw.object_property)
    contacts = [(c.frame_id, (min(c.object_ids), max(c.object_ids))) for c in raw.collision]
    try:
        trajectory = Trajectory(raw.motion_trajectory, {thing.object_id for thing in objects})
        shown = [trajectory.shows(frame, pair) for frame, pair in contacts]
    except TrajectoryError as error:
        return Fault(name, str(error))
    collisions = tuple(
        Collision(frame, pair, seen=there is not False) for (frame, pair), there in zip(contacts, shown, strict=True)
    )
    return Scene(raw.scene_index, raw.video_filename, objects, collisions, is_view_known=None not in shown)


def _contradiction(raw: _Annotation, name: str) -> str | None:
    """What in an annotation cannot be true; None if nothing."""
    named = _ANNOTATION_NAME.fullmatch(PurePosixPath(name).name)
    if named and int(named[1]) != raw.scene_index:
        return f"scene_index is {raw.scene_index}, expected {int(named[1])} as in the file's name"
    video = VIDEO_NAME.fullmatch(raw.video_filename)
    if (video and int(video[1]) != raw.scene_index) or not is_name(raw.video_filename):
        return f"video_filename is '{raw.video_filename}', expected the clip of scene {raw.scene_index}"
    ids = [thing.object_id for thing in raw.object_property]
    for position, object_id in enumerate(ids):
        if object_id in ids[:position]:
            return f"object_property[{position}].object_id is {object_id} a second time"
    for position, collision in enumerate(raw.collision):
        first, second = collision.object_ids
        if not 0 <= collision.frame_id < N_FRAMES:
            return f"collision[{position}].frame_id is {collision.frame_id}, expected 0 to {N_FRAMES - 1}"
        if first == second:
            return f"collision[{position}].object_ids is [{first}, {second}], expected two different objects"
        for object_id in collision.object_ids:
            if object_id not in ids:
                return f"collision[{position}].object_ids names object {object_id}, which is not in object_property"
    return None


def _not_single(annotations: Annotations, index: int) -> Fault:
    """Why a scene has not exactly one annotation."""
    name = f"annotation_{index:05d}.json"
    if index in annotations.files:
        return Fault(name, f"was found {len(annotations.files[index])} times: {', '.join(annotations.files[index])}")
    for entry in annotations.refused:
        if PurePosixPath(entry.replace("\\", "/")).name == name:
            return Fault(name, f"the zip's entry '{entry}' points outside the archive and was not read")
    return Fault(name, f"is not in {annotations.path.resolve().name}")


def _read_chunk(path: Path, jobs: Sequence[tuple[int, str]]) -> list[tuple[Scene | Fault, bytes]]:
    """Each annotation's scene and the digest of its bytes (b"" if they cannot be read)."""
    results: list[tuple[Scene | Fault, bytes]] = []
    for _, name in jobs:
        data = _read_bytes(path, name)
        if isinstance(data, Fault):
            results.append((data, b""))
        else:
            results.append((decode_annotation(data, PurePosixPath(name).name), hashlib.sha256(data).digest()))
    return results


def _read_bytes(path: Path, name: str) -> bytes | Fault:
    try:
        with (path / name).open("rb") if path.is_dir() else _open_zip(path).open(name) as file:
            data = file.read(JSON_BYTES + 1)
    except OSError as error:
        return Fault(PurePosixPath(name).name, f"cannot be read ({error.strerror or error})")
    except _DAMAGED as error:
        return Fault(PurePosixPath(name).name, f"cannot be unpacked from {path.name}: {error}")
    if len(data) > JSON_BYTES:
        return Fault(PurePosixPath(name).name, f"has more than {JSON_BYTES:,} bytes, where an annotation has some 230,000")
    return data


@lru_cache(maxsize=1)
def _open_zip(path: Path) -> zipfile.ZipFile:
    """The opened zip, kept for the next entry: the table of 10,000 entries takes a while to read.

    Raises:
        VtError: it is not a zip file.
    """
    try:
        return zipfile.ZipFile(path)
    except (*_DAMAGED, OSError) as error:
        raise VtError(
            f"--annotations {path}: is not a readable zip file ({error}); it may be cut, download it again"
        ) from error


def _points_outside(entry: str) -> bool:
    path = PurePosixPath(entry.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1])


def _files_below(folder: Path) -> Iterator[str]:
    """POSIX paths, relative to `folder`, of all files below it. Links to folders are followed; no folder is entered twice."""
    seen: set[Path] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        below = Path(root).relative_to(folder).as_posix()
        yield from names if below == "." else (f"{below}/{name}" for name in names)


class Clips(NamedTuple):
    """Where the clips lie below their folder."""

    paths: dict[str, str]
    """File name -> POSIX path relative to the folder. Empty when curating without clips."""

    def path(self, video: str) -> str:
        """Where a clip lies or, if it is missing, where it should lie.

        That is in the release's folders of 1000, or beside the other clips if they are all in one folder.
        """
        if video in self.paths:
            return self.paths[video]
        number = VIDEO_NAME.fullmatch(video)
        flat = bool(self.paths) and not any("/" in path for path in self.paths.values())
        if number is None or flat:
            return video
        thousand = int(number[1]) // 1000 * 1000
        return f"video_{thousand:05d}-{thousand + 1000:05d}/{video}"


def find_clips(folder: Path | None) -> Clips:
    """The clips below a folder.

    Raises:
        VtError: it is not a folder, or a clip is there twice.
    """
    if folder is None:
        return Clips({})
    if not folder.is_dir():
        raise VtError(f"--videos {folder}: is not a folder")
    paths: dict[str, str] = {}
    for path in sorted(_files_below(folder)):
        name = PurePosixPath(path).name
        if VIDEO_NAME.fullmatch(name) and name in paths:
            raise VtError(
                f"--videos {folder}: {name} is there twice ({paths[name]}, {path}); point to the folder that is meant"
            )
        paths.setdefault(name, path)
    return Clips(paths)
