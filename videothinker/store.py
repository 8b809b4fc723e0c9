"""The only code that writes result files: atomic, manifest last, with provenance.

A file appears under its name complete or not at all (written beside it, flushed to disk, renamed). A folder of results has one
file that is written last and names the settings: while it is missing the folder is unfinished, and a folder that holds another
run's settings is refused. JSON Lines files that grow item by item go through `JsonlAppender` and `read_jsonl`, which treats a
torn last line as not yet written.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from videothinker import __version__
from videothinker.errors import VtError

T = TypeVar("T")

_VERSIONED = (
    "numpy",
    "polars",
    "pandas",
    "msgspec",
    "av",
    "pymunk",
    "torch",
    "transformers",
    "trl",
    "datasets",
    "decord",
)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path` in one step: a reader, or a crash at any moment, sees the old file or the whole new one.

    `durable=False` does not wait for the disk, for what can be made again.

    Raises:
        VtError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise VtError(f"{path}: cannot be written ({error.strerror}); choose a folder that you may write to") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` (records, dicts, lists) as indented JSON with a final line break."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, all at once."""
    encoder = msgspec.json.Encoder()
    write_bytes(path, b"".join(encoder.encode(row) + b"\n" for row in rows))


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Put a folder at `path` in one step, in place of an older one: `fill` writes into an empty folder beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        fill(temporary)
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class JsonlAppender:
    """Appends one JSON line a finished item, each flushed to the system, so that a killed run loses at most the line in hand.

    On opening, a torn last line (no final line break) of an earlier, killed run is cut off.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.seek(0)
        content = self._file.read()
        self._file.truncate(content.rfind(b"\n") + 1)
        self._encoder = msgspec.json.Encoder()

    def append(self, row: Any) -> None:
        """Write one line."""
        self._file.write(self._encoder.encode(row) + b"\n")
        self._file.flush()

    def __enter__(self) -> "JsonlAppender":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_jsonl(path: Path, kind: type[T]) -> list[T]:
    """The records of a JSON Lines file; a torn last line (no final line break) does not count.

    Raises:
        VtError: the file is missing, or a whole line is not a `kind`; names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VtError(f"{path}: cannot be read ({error.strerror})") from error
    decoder = msgspec.json.Decoder(kind)
    rows: list[T] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            rows.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise VtError(f"{path}: line {number} is not a {kind.__name__}: {error}") from error
    return rows


def read_json(path: Path, kind: type[T]) -> T:
    """The JSON file as a `kind`.

    Raises:
        VtError: the file is missing, is not UTF-8 JSON, or does not have the fields of a `kind`.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise VtError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VtError(f"{path}: not as expected: {error}") from error


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON (keys sorted): the identity of settings."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def provenance() -> dict[str, Any]:
    """What may differ between two runs with the same data: when, with which command, commit and versions.

    Returns a dict with `created` (UTC, ISO 8601), `command`, `commit` (None outside a checkout), `dirty`, `python`, `platform`
    and `versions` of the packages that matter and are installed.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["vt", *sys.argv[1:]]),
        **_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "versions": {"videothinker": __version__}
        | {name: version for name in _VERSIONED if (version := _version(name)) is not None},
    }


def _commit() -> dict[str, Any]:
    """The package's own commit, if it runs from a git checkout."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10, check=False)
        if tracked.returncode != 0:  # the package lies inside somebody else's checkout (site-packages of a project)
            return {"commit": None, "dirty": None}
        dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(dirty.strip())}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
