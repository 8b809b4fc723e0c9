"""The files of a study's pack: how what it holds is put into a few of bounded size, and read back.

Each file is a tar archive of batches, and each batch a tar archive again, compressed with xz. A batch that is larger than a
file lies in several, in pieces whose names say how many there are: "0007.tar.xz.2-of-3".
"""

import io
import lzma
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker import outside
from videothinker.errors import VtError
from videothinker.records.study_results import EARLIER

PART_BYTES = 15 * 2**20
"""Largest size of one file of a pack."""
_BATCH = 24 * 2**20
"""Bytes that are compressed together: replies of several checkpoints to the same questions are much alike."""
_PLACES = ("cells", EARLIER, "logs", "records")
"""Folders of a study that a pack has files in."""
_DAMAGED = (tarfile.TarError, lzma.LZMAError, outside.TooLargeError, EOFError, OSError, ValueError, OverflowError)
"""What tarfile and lzma are known to raise for damaged archives."""
_PIECE = re.compile(r"(.+)\.([0-9]{1,6})-of-([0-9]{1,6})")
"""The name of a piece of a batch: that of the batch, which piece it is, and of how many."""
_MEMBER = 2 * tarfile.BLOCKSIZE
"""Most bytes that a tar archive adds to a member: a block of header, and less than a block to fill up the last one."""


class Item(NamedTuple):
    """A file within an archive."""

    name: str
    content: bytes


def joined(batches: Sequence[tuple[str, list[Item]]]) -> list[tuple[list[str], list[Item]]]:
    """Join neighbouring batches up to `_BATCH` bytes. Returns for each the names of its cells, and their files."""
    found = []
    names: list[str] = []
    items: list[Item] = []
    size = 0
    for name, more in batches:
        n_bytes = sum(len(item.content) for item in more)
        if items and size + n_bytes > _BATCH:
            found.append((names, items))
            names, items, size = [], [], 0
        names, items, size = [*names, name], [*items, *more], size + n_bytes
    return [*found, (names, items)]


def compressed(items: Sequence[Item]) -> bytes:
    """The files of one batch as a compressed archive.

    Raises:
        VtError: it is larger than `read` accepts.
    """
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 4, "dict_size": 2 * _BATCH}]
    archive = tar(items)
    if len(archive) > outside.PACK_BYTES:  # `unpack` would refuse it, on another machine and perhaps too late
        largest = max(items, key=lambda item: len(item.content))
        raise VtError(
            f"{largest.name}: has {len(largest.content):,} bytes, and a study's pack takes {outside.PACK_BYTES:,} at most for"
            " what belongs together; move it out of the study's folder, and pack again"
        )
    return lzma.compress(archive, filters=filters)


def fits(n_bytes: int) -> bool:
    """Whether a batch may be a file of so many bytes."""
    return n_bytes + 2 * tarfile.RECORDSIZE <= outside.PACK_BYTES  # a header and the end, and all filled up to a whole record


def tar(items: Sequence[Item]) -> bytes:
    """The files as an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.size = len(item.content)
            archive.addfile(info, io.BytesIO(item.content))
    return buffer.getvalue()


def spread(blobs: Sequence[tuple[list[str], bytes]], n_parts: int | None) -> tuple[list[list[Item]], list[str]]:
    """Put each batch, the most important first, into the first file that has room for it, or in pieces into new files.

    blobs: the names of each batch's cells, and the batch. n_parts: how many files there may be; None for as many as it takes.

    Returns the members of every file, and the cells whose batches do not fit.
    """
    parts: list[list[Item]] = []
    room: list[int] = []
    left_out: list[str] = []
    for index, (names, blob) in enumerate(blobs):
        pieces = _pieces(f"{index:04}.tar.xz", blob)
        places, left = _places([len(piece.content) + _MEMBER for piece in pieces], room, n_parts)
        if len(places) < len(pieces):
            left_out += names
            continue
        room = left
        parts += [[] for _ in range(len(room) - len(parts))]
        for piece, place in zip(pieces, places, strict=True):
            parts[place].append(piece)
    return parts, left_out


def _pieces(name: str, blob: bytes) -> list[Item]:
    """The batch under its name, or as pieces that fill a file each, but for the last."""
    most = _room() - _MEMBER
    if len(blob) <= most:
        return [Item(name, blob)]
    n_pieces = -(-len(blob) // most)
    return [Item(f"{name}.{index + 1}-of-{n_pieces}", blob[index * most :][:most]) for index in range(n_pieces)]


def _places(sizes: Sequence[int], room: Sequence[int], n_parts: int | None) -> tuple[list[int], list[int]]:
    """The file for each of a batch's pieces, as far as there may be one, and what room all files have afterwards.

    Several pieces lie in new files: who has lost one of these does without them, and keeps all that is more important.
    """
    left = [*room]
    places: list[int] = []
    for size in sizes:
        place = next((place for place, free in enumerate(left) if size <= free), None) if len(sizes) == 1 else None
        if place is None:
            if len(left) == n_parts:
                break
            place = len(left)
            left.append(_room())
        left[place] -= size
        places.append(place)
    return places, left


def _room() -> int:
    """Bytes for members in a file of a pack; tarfile fills an archive up to a whole record, and that much is not for them."""
    return PART_BYTES - tarfile.RECORDSIZE


class _Batch:
    """The pieces of a batch that were read so far."""

    def __init__(self, name: str, n_pieces: int) -> None:
        self.name, self.n_pieces = name, n_pieces
        self.files: dict[int, Path] = {}
        """Where each piece was found."""
        self._held: dict[int, bytes] = {}

    def add(self, number: int, n_pieces: int, content: bytes, file: Path) -> bytes | None:
        """Take one more piece. Returns the batch with its last one."""
        if n_pieces != self.n_pieces or number in self.files or not 1 <= number <= n_pieces:
            raise tarfile.TarError(f"{self.name} has a piece too many")
        self.files[number], self._held[number] = file, content
        if len(self.files) < n_pieces:
            return None
        whole = b"".join(self._held[key] for key in sorted(self._held))
        self._held.clear()
        return whole

    def refuse_if_cut(self, away: Path) -> None:
        """Refuse to go on if a piece was in no file of the pack in `away`."""
        missing = [number for number in range(1, self.n_pieces + 1) if number not in self.files]
        if missing:
            others = ", ".join(sorted(file.name for file in self.files.values()))
            raise VtError(
                f"{away}: lacks a file of the pack, for piece {missing[0]} of {self.n_pieces} of {self.name} is in none; copy"
                f" all that `vt study --pack` wrote, or, if it is lost, remove {others}, where the other pieces are"
            )


def read(away: Path, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield where in `folder` each file in the pack in `away` belongs, and its content.

    Raises:
        VtError: a file of the pack is damaged, or a piece of a batch is in none of them.
    """
    batches: dict[str, _Batch] = {}
    for file in sorted(away.glob("study-*.tar")):
        try:
            for name, content in _contents(file):
                if (found := _PIECE.fullmatch(name)) is None:
                    yield from _unfolded(content, folder)
                    continue
                batch = batches.setdefault(found[1], _Batch(found[1], int(found[3])))
                if (whole := batch.add(int(found[2]), int(found[3]), content, file)) is not None:
                    yield from _unfolded(whole, folder)
        except _DAMAGED as error:
            raise VtError(f"{file}: is damaged ({error}); copy it again") from error
    for batch in batches.values():
        batch.refuse_if_cut(away)


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the members of one file of a pack, by name."""
    if file.stat().st_size > PART_BYTES:
        raise outside.TooLargeError(f"it has more than {PART_BYTES:,} bytes")
    with tarfile.open(file, "r:") as outer:
        for member in _members(outer):
            yield member.name, _content(outer, member)


def _unfolded(blob: bytes, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield where in `folder` each file belongs that was compressed into `blob`, and its content."""
    archive = outside.unpack_xz(blob, outside.PACK_BYTES)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as inner:
        for one in _members(inner):
            place = folder / one.name
            if one.name.partition("/")[0] not in _PLACES or not place.resolve().is_relative_to(folder.resolve()):
                raise tarfile.TarError(f"{ascii(one.name)[1:-1]} is no file of a study")
            yield place, _content(inner, one)


def _members(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The archive's files, after a check that it holds nothing but files within a folder."""
    found = archive.getmembers()
    for member in found:
        if not member.isreg() or member.issparse() or not outside.stays_within(member.name):
            raise tarfile.TarError(f"{ascii(member.name)[1:-1]} is no file of a study")
    # tarfile takes a header that it cannot read, and a block of zeros, for the end. The true end is followed by zeros alone.
    last = found[-1] if found else None
    end = 0 if last is None else last.offset_data + -(-last.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    assert archive.fileobj is not None
    archive.fileobj.seek(end)
    rest = archive.fileobj.read(-1)
    if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
        raise tarfile.TarError(f"it is cut or damaged after {len(found)} files")
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """A file's bytes, all of them."""
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.TarError(f"it is cut within {ascii(member.name)[1:-1]}")
    return content
