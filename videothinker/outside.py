"""What a file from outside may do: how much it may unpack to, and which of its texts may become the name of a file.

A file of a few megabytes can unpack to hundreds of gigabytes, and a name such as `../../x` leads out of the folder that it is
joined to. Every reader that unpacks or joins asks here first.
"""

import lzma
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

JSON_BYTES = 16 * 2**20
"""Most bytes of one JSON document that stands for a single thing, such as a scene. CLEVRER's annotations have 230 kB."""
PACK_BYTES = 2**30
"""Most bytes that one member of a study's pack may unpack to; `vt study --pack` compresses 24 MB at a time, or one cell."""
SAMPLE_BYTES = 2**28
"""Most bytes of one sample of an evaluator's log, which may hold a clip as base64."""
TABLE_BYTES = 4 * 2**30
"""Most bytes of a parquet file's columns in memory; a question has about 1 kB."""

_BLOCK = 2**20
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class TooLargeError(Exception):
    """A file would unpack to more than it may."""


def is_name(text: str) -> bool:
    """Whether the text is the name of one file or folder: not hidden, without separators and control characters.

    255 bytes are the most that file systems take.
    """
    plain = bool(text) and not text.startswith(".") and not re.search(r"[/\\]", text)
    return plain and not _UNPRINTABLE.search(text) and len(text.encode()) <= 255


def stays_within(path: str) -> bool:
    """Whether the POSIX path leads to something below the folder that it is joined to."""
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute() and ".." not in parts.parts and not _UNPRINTABLE.search(path)


def unpack_xz(data: bytes, at_most: int) -> bytes:
    """The content of one xz stream of at most `at_most` bytes. No more than that is ever unpacked.

    Raises:
        lzma.LZMAError: the stream is damaged, cut, or something follows it.
        TooLargeError: there is more in it.
    """
    # A header can ask for a dictionary of 4 GB; the largest that is written here has 48 MB.
    unpacker = lzma.LZMADecompressor(memlimit=2**28)
    found = b"".join(_blocks(unpacker, data, at_most))
    if len(found) > at_most:
        raise TooLargeError(f"it unpacks to more than {at_most:,} bytes")
    if not unpacker.eof:
        raise lzma.LZMAError("it is cut")
    if unpacker.unused_data:
        raise lzma.LZMAError(f"{len(unpacker.unused_data)} bytes follow its end")
    return found


def _blocks(unpacker: lzma.LZMADecompressor, data: bytes, at_most: int) -> Iterator[bytes]:
    """Yield what is in the stream, block by block, until there is more than `at_most`."""
    size = 0
    while size <= at_most and not unpacker.eof:
        block = unpacker.decompress(data, _BLOCK)
        if not block and unpacker.needs_input:
            return
        data = b""  # the unpacker keeps what it has not read yet
        size += len(block)
        yield block
