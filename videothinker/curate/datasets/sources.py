"""Open what --from names: a release's folder, one file of it or of Video-R1 rows, or an id on a hub. Rows come out as dicts.

Parquet goes through `videothinker.tables`, which bounds what a file may unpack to. CSV is read as text, so that an id "007" and
an option "1.0" stay what they are.
"""

import codecs
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import delimited, store, tables
from videothinker.curate.datasets import Damaged, Dataset, Part, Table
from videothinker.errors import VtError, missing_extra

HUB = "hub"
"""--from hub, or hub:OWNER/NAME, or hub:OWNER/NAME:SPLIT."""

_EXPECTED = "expected a JSON list of objects, or one object per line"


class Opened(NamedTuple):
    """What was found."""

    tables: list[Table]
    inputs: dict[str, Any]
    """Identity of what was read: hashes of the files, or of the rows that came from a hub."""
    folder: Path | None
    """The folder that was named, or that the file lies in; None for a hub."""


def is_hub(source: Path) -> bool:
    """Whether --from names something on a hub."""
    return str(source) == HUB or str(source).startswith(f"{HUB}:")


def open_source(source: Path, dataset: Dataset) -> Opened:
    """Read every table of the data set.

    Raises:
        VtError: there is nothing to read, or a file cannot be read at all.
    """
    if is_hub(source):
        return _open_hub(source, dataset)
    if source.is_dir() and dataset.parts:
        return _open_folder(source, dataset)
    part = next((one.name for one in dataset.parts if _is_file_of(source, one)), "")
    rows, digest = _read(source, part, dataset)
    return Opened([Table(part, source.name, rows)], {"file": source.name, "sha256": digest}, source.parent)


def _is_file_of(path: Path, part: Part) -> bool:
    return any(path.resolve().match(pattern) for pattern in part.files)


def _open_folder(folder: Path, dataset: Dataset) -> Opened:
    found = []
    digests = {}
    for part in dataset.parts:
        matches = (sorted(folder.glob(pattern)) for pattern in part.files)
        for path in next((files for files in matches if files), []):
            name = path.relative_to(folder).as_posix()
            rows, digests[name] = _read(path, part.name, dataset)
            found.append(Table(part.name, name, rows))
    if not found:
        looked_for = ", ".join(dict.fromkeys(part.files[0] for part in dataset.parts[:3]))
        raise VtError(f"--from {folder}: has no file of {dataset.name} (such as {looked_for}); expected {dataset.needs}")
    return Opened(found, {"files": digests}, folder)


# ---- files -----------------------------------------------------------------------------------------------------------------


def _read(path: Path, part: str, dataset: Dataset) -> tuple[list[Any], str]:
    """The rows of a file, and the SHA-256 of its bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VtError(f"--from {path}: cannot be read ({error.strerror}); expected {dataset.needs}") from error
    if path.suffix == ".parquet":
        rows: list[Any] = tables.read(path, {}, more=True)
    else:
        text = _utf8(path, data)
        separator = delimited.SEPARATORS.get(path.suffix)
        rows = _json(path, text, part, dataset.flatten) if separator is None else _cells(path, text, separator)
    if not rows:
        raise VtError(f"--from {path}: holds no questions; {_EXPECTED}")
    return rows, hashlib.sha256(data).hexdigest()


def _utf8(path: Path, data: bytes) -> str:
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise VtError(f"--from {path}: is not UTF-8: {error.reason} at byte {error.start}; {_EXPECTED}") from error


def _json(path: Path, text: str, part: str, flatten: Callable[[str, dict[str, Any]], list[Any]] | None) -> list[Any]:
    """The rows of a JSON list, of JSON Lines, or of one JSON object that the data set knows to take apart."""
    start = text.lstrip()[:1]
    try:
        if start == "[":
            return [_row(raw) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])]
        if start == "{" and flatten is not None and (whole := _object(text)) is not None:
            return flatten(part, whole)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise VtError(f"--from {path}: {error}; {_EXPECTED}") from error
    # Of bytes, because a string may hold further characters that end a line of text.
    return [_row(msgspec.Raw(line)) for line in text.encode().splitlines() if line.strip()]


def _object(text: str) -> dict[str, Any] | None:
    """The one JSON object that the text is; None if it is lines of them."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        if isinstance(_row(msgspec.Raw(text.lstrip().encode().splitlines()[0])), dict):
            return None
        raise


def _row(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Damaged(str(error))


def _cells(path: Path, text: str, separator: str) -> list[Any]:
    """The rows of a table with a header, every cell as text; None for an empty one."""
    try:
        return [Damaged(row) if isinstance(row, str) else row for row in delimited.rows(text, separator)]
    except ValueError as error:
        raise VtError(f"--from {path}: {error}") from error


# ---- hubs ------------------------------------------------------------------------------------------------------------------


def _open_hub(source: Path, dataset: Dataset) -> Opened:
    """Load the data set's parts with the package `datasets`, which keeps what it downloads in its own cache."""
    name, _, split = str(source).removeprefix(HUB).removeprefix(":").partition(":")
    name = name or dataset.hub or ""
    if not name:
        raise VtError(f"--from {source}: {dataset.name} has no id of its own on the hub; give it as hub:OWNER/NAME")
    wanted: list[tuple[str, str | None, str | None]] = [(one.name, *one.hub) for one in dataset.parts if one.hub is not None]
    if split or not wanted:
        wanted = [("", None, split or None)]
    found = []
    digests = {}
    for part, config, its_split in wanted:
        label = "/".join(each for each in (name, config, its_split) if each)
        rows = _load(name, config, its_split, source)
        digests[label] = store.sha256_json(rows)
        found.append(Table(part, f"{HUB}:{label}", rows))
    return Opened(found, {"hub": name, "rows": digests}, None)


def _load(name: str, config: str | None, split: str | None, source: Path) -> list[Any]:
    """The rows of one part. Clips that lie in the table itself are left out of the rows' hash and of memory."""
    try:
        from datasets import DatasetDict, disable_progress_bars, exceptions, load_dataset
    except ImportError as error:
        raise missing_extra("datasets", "train", f"--from {source}") from error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells every retry; the message below tells the outcome
    disable_progress_bars()
    try:
        loaded: Any = load_dataset(name, config, split=split)
    except (OSError, ValueError, exceptions.DatasetsError) as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise VtError(
            f"--from {source}: {name} cannot be loaded here ({told}); it takes a network, and a login where the set is gated."
            " Otherwise fetch the release elsewhere and name its folder"
        ) from error
    if isinstance(loaded, DatasetDict):
        if len(loaded) > 1:
            splits = ", ".join(map(str, loaded))
            raise VtError(f"--from {source}: has the splits {splits}; name one of them as {HUB}:{name}:SPLIT")
        loaded = next(iter(loaded.values()))
    media = [column for column, kind in loaded.features.items() if hasattr(kind, "decode_example")]
    return list(loaded.remove_columns(media).to_list())
