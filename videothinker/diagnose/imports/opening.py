"""Open a result file: JSON, JSON Lines, CSV, TSV, an Excel sheet, or the zip that inspect_ai writes. Rows come out as dicts.

Python's json takes the NaN that evaluators write. Nothing is unpacked beyond what `videothinker.outside` allows, and a pickle
is refused, because reading one runs whatever is in it.
"""

import hashlib
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from videothinker import delimited
from videothinker.diagnose.imports.told import Fields
from videothinker.errors import VtError
from videothinker.outside import SAMPLE_BYTES, TABLE_BYTES, TooLargeError

SUFFIXES = ".json, .jsonl, .csv, .tsv, .xlsx or .eval"
_LISTS = ("samples", "results")
"""Fields of a JSON object that hold its rows: of inspect_ai, whose logs have `results` too, and of Video-R1's evaluator."""


class Row(NamedTuple):
    """A row with its place, for messages."""

    place: str
    fields: Fields


class Opened(NamedTuple):
    """A result file."""

    path: Path
    sha256: str
    rows: list[Row]
    """At least one."""
    head: dict[str, Any]
    """What a JSON object says beside its list of rows; of a list, of lines and of a table there is none."""

    @property
    def columns(self) -> set[str]:
        """The fields of the first row."""
        return set(self.rows[0].fields)


def open_results(path: Path) -> Opened:
    """Read a result file.

    Raises:
        VtError: it cannot be read, is damaged, is of no known kind, or holds no rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VtError(f"{path}: cannot be read ({error.strerror})") from error
    if path.suffix in (".pkl", ".pickle"):
        raise VtError(f"{path}: is a pickle, which may run anything when it is read; save it as {SUFFIXES}")
    try:
        head, rows = _KINDS.get(path.suffix, _json)(path, data)
    except UnicodeDecodeError as error:
        raise VtError(f"{path}: cannot be read ({error}); expected UTF-8") from error
    except (zipfile.BadZipFile, zlib.error, struct.error, TooLargeError, *_DAMAGED) as error:
        raise VtError(f"{path}: cannot be read ({(str(error).splitlines() or ['it is damaged'])[0]})") from error
    if not rows:
        raise VtError(f"{path}: holds no results")
    for place, row in rows:
        if not isinstance(row, dict):
            raise VtError(f"{path}: {place} is of type {type(row).__name__}, expected an object")
    return Opened(path, hashlib.sha256(data).hexdigest(), [Row(place, row) for place, row in rows], head)


_DAMAGED = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, SyntaxError)
"""What reading a damaged file ends in; the last is that of XML."""
_Read = tuple[dict[str, Any], list[tuple[str, Any]]]
"""The head, and the rows with their places; a row may still be anything."""


# ---- JSON ------------------------------------------------------------------------------------------------------------------


def _json(path: Path, data: bytes) -> _Read:
    text = data.decode("utf-8-sig")
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        # Of bytes, because a string may hold further characters that end a line of text.
        lines = [line for line in enumerate(text.encode().splitlines(), start=1) if line[1].strip()]
        return {}, [(f"line {number}", _line(path, number, line)) for number, line in lines]
    if not isinstance(whole, dict):
        return {}, _numbered(path, whole)
    name = next((name for name in _LISTS if name in whole), None)
    if name is None:
        return {}, [("result 1", whole)]
    return {key: value for key, value in whole.items() if key != name}, _numbered(path, whole[name])


def _numbered(path: Path, rows: Any) -> list[tuple[str, Any]]:
    if not isinstance(rows, list):
        raise VtError(
            f"{path}: is of type {type(rows).__name__}, expected a list of results, or an object with one in 'results'"
        )
    return [(f"result {number}", row) for number, row in enumerate(rows, start=1)]


def _line(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: not JSON, or a number of thousands of digits
        raise VtError(f"{path}: line {number} is not JSON ({error}); expected JSON, or JSON Lines") from error


# ---- tables ----------------------------------------------------------------------------------------------------------------


def _flat(path: Path, data: bytes) -> _Read:
    rows: list[tuple[str, Any]] = []
    for number, row in enumerate(delimited.rows(data.decode("utf-8-sig"), delimited.SEPARATORS[path.suffix]), start=1):
        if isinstance(row, str):
            raise VtError(f"{path}: row {number}: {row}")
        rows.append((f"row {number}", row))
    return {}, rows


def _sheet(path: Path, data: bytes) -> _Read:
    """The first sheet of an Excel file."""
    from openpyxl import load_workbook

    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > TABLE_BYTES:
            raise TooLargeError(f"it unpacks to more than {TABLE_BYTES:,} bytes")
    book = load_workbook(path, read_only=True, data_only=True)
    try:
        lines = book.worksheets[0].iter_rows(values_only=True)
        header = [None if name is None else str(name) for name in next(lines, ())]
        delimited.check_header([name for name in header if name is not None])
        cells = [line for line in lines if any(cell is not None for cell in line)]
    finally:
        book.close()
    rows = [{name: cell for name, cell in zip(header, line, strict=False) if name is not None} for line in cells]
    return {}, [(f"row {number}", row) for number, row in enumerate(rows, start=1)]


# ---- inspect_ai's zip ------------------------------------------------------------------------------------------------------


def _log(path: Path, data: bytes) -> _Read:
    """The header and every sample of an .eval file: header.json, and samples/ID_epoch_N.json."""
    with zipfile.ZipFile(path) as packed:
        head = json.loads(_member(packed, data, packed.getinfo("header.json")))
        samples = [one for one in packed.infolist() if one.filename.startswith("samples/") and one.filename.endswith(".json")]
        rows = [(one.filename, json.loads(_member(packed, data, one))) for one in samples]
    if not isinstance(head, dict):
        raise VtError(f"{path}: its header.json is of type {type(head).__name__}, expected an object")
    return head, rows


_ZSTANDARD = 93
"""Compression of a zip's member that inspect_ai uses since 2026, and Python's zipfile reads only from 3.14 on."""


def _member(packed: zipfile.ZipFile, data: bytes, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > SAMPLE_BYTES:
        raise TooLargeError(f"{member.filename} unpacks to more than {SAMPLE_BYTES:,} bytes")
    if member.compress_type != _ZSTANDARD:
        return packed.read(member)
    import pyarrow as pa

    # The member's own header: 30 bytes, of which the last four tell how long a name and an extra field follow.
    name, extra = struct.unpack_from("<HH", data, member.header_offset + 26)
    begins = member.header_offset + 30 + name + extra
    raw = data[begins : begins + member.compress_size]
    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        found: bytes = stream.read(member.file_size + 1)
    if len(found) != member.file_size or zlib.crc32(found) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename} is damaged")
    return found


_KINDS = {".csv": _flat, ".tsv": _flat, ".xlsx": _sheet, ".eval": _log}
