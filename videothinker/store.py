"""The only code that writes result files: atomically, the manifest last, and with provenance.

A file appears under its name complete or not at all (written beside it, flushed to disk, renamed). A folder of results has one
file that is written last and names the settings: while it is missing the folder is unfinished, and a folder that holds another
run's settings is refused (`claim`). JSON Lines files that grow item by item go through `JsonlAppender` and `read_jsonl`, which
treats a torn last line as not yet written.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from videothinker import __version__, locks
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

    `durable=False` does not wait for the disk; it is for files that can be made again.

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
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp lets nobody else read it
        Path(temporary).replace(path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk is told without the name of the file
        Path(temporary).unlink(missing_ok=True)
        raise


def write_report(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a report's files, by their names below `folder`, and take away tables and figures that an earlier one left there.

    Raises:
        VtError: the folder cannot be written to.
    """
    for name, content in files.items():
        write_bytes(folder / name, content)
    for pattern in _DRAWN:
        for path in folder.glob(pattern):
            if path.relative_to(folder).as_posix() not in files:
                path.unlink()


_DRAWN = ("tables/*.tex", "tables/*.csv", "figure-*.png", "figure-*.svg", "figure-*.pdf")
"""Files that belong to the report beside them."""


def _umask() -> int:
    """What the user lets nobody do with new files. It can only be read by setting it, here for a moment to the strictest."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` (records, dicts, lists) as indented JSON with a final line break."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """What `write_json` writes."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value per line, all of them at once."""
    write_bytes(path, jsonl_bytes(rows))


def jsonl_bytes(rows: Iterable[Any]) -> bytes:
    """What `write_jsonl` writes."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(row) + b"\n" for row in rows)


def put(written: Path, path: Path) -> None:
    """Move a file that another library has written into its place in one step, once it is on disk."""
    flush(written)
    written.replace(path)


def flush(path: Path) -> None:
    """Wait until a file's content is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Put a folder at `path` in one step, replacing an older one: `fill` writes into an empty folder beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        fill(temporary)
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


class JsonlAppender:
    """Appends one JSON line per finished item and flushes it, so that a killed run loses at most the line being written.

    On opening, a torn last line (no final line break) of an earlier, killed run is cut off.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a+b", buffering=0)  # a line that does not fit on the disk must not be tried again at the end
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(size - 1, 0))
        if self._file.read() not in (b"", b"\n"):  # only a torn file is read as a whole
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)  # 0 if there is no whole line: rfind is then -1
        self._encoder = msgspec.json.Encoder()

    def append(self, row: Any) -> None:
        """Write one line.

        Raises:
            OSError: it could not be written as a whole, on a full disk for instance; what was written of it is cut off again.
        """
        line, end = self._encoder.encode(row) + b"\n", self._file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            self._file.truncate(end)
            error.filename = str(self._path)
            raise

    def __enter__(self) -> "JsonlAppender":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_jsonl(path: Path, kind: type[T]) -> list[T]:
    """The records of a JSON Lines file; a torn last line (no final line break) does not count.

    Raises:
        VtError: the file is missing, or a whole line is not a `kind`; the message names file and line.
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
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VtError(f"{path}: not as expected: {error}") from error


def claim(
    folder: Path,
    marker: str,
    identity: Mapping[str, Any],
    *,
    what: str,
    advice: str,
    may_hold: Callable[[str], bool] = lambda _: False,
    replace: bool = False,
    in_todays_form: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda held: held,
    lock: bool = True,
) -> dict[str, Any] | None:
    """Claim a folder for a run: what its `marker` says if the run already owns it, or None if nobody does and it may be taken.

    The folder is then locked against other processes until `locks.release` or the end of this process.

    marker: name of the JSON file in the folder that says whose it is.
    identity: what that file has to say, compared key by key and through nested objects; further keys of the file do not matter.
    what, advice: words for messages, such as "a run" and "choose another --out".
    may_hold: True for names that may lie in the folder without a marker, because a run that was killed early left them.
    replace: accept another run of the same kind, too, because it is about to be replaced.
    in_todays_form: turns the file's content into what is compared, if an earlier version may have written less.
    lock: False for a process that leaves the lock to the main one of its launch.

    Raises:
        VtError: it is a file, cannot be written to, is locked by another process, or holds other files or another run; the
            message says which of the run's settings differ.
    """
    if folder.exists() and not folder.is_dir():
        raise VtError(f"{folder}: is a file, expected a folder")
    held = locks.holds(folder)
    if lock:
        locks.take(folder)  # first: what the folder holds may change until it is locked
    try:
        return _owned(folder, marker, identity, what, advice, may_hold, replace, in_todays_form)
    except VtError:
        if not held:
            locks.release(folder)
        raise


def _owned(
    folder: Path,
    marker: str,
    identity: Mapping[str, Any],
    what: str,
    advice: str,
    may_hold: Callable[[str], bool],
    replace: bool,
    in_todays_form: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> dict[str, Any] | None:
    """What `claim` returns, once the folder is locked."""
    if not (folder / marker).is_file():
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        strange = next((name for name in names if not name.startswith(".") and not may_hold(name)), None)
        if strange is not None:
            raise VtError(f"{folder}: is not empty and holds no {marker} (it has {strange}); {advice}")
        return None
    held = read_json(folder / marker, dict[str, Any])
    try:
        compared = msgspec.to_builtins(in_todays_form(held))
        if missing := next((key for key in identity if key not in held and key not in compared), None):
            raise msgspec.ValidationError(f"it does not say '{missing}'")
    except msgspec.ValidationError as error:
        raise VtError(f"{folder}: its {marker} is not of {what} ({error}); {advice}") from error
    if not replace:
        check_same(folder, compared, identity, what=what, advice=advice)
    return held


def check_same(folder: Path, held: Any, identity: Mapping[str, Any], *, what: str, advice: str) -> None:
    """Check that what a folder's marker says is what this run says of itself; arguments are those of `claim`.

    Raises:
        VtError: it is not; the message says which settings differ.
    """
    found = differences(held, msgspec.to_builtins(identity))
    differing = [f"{name} was {old}, is {new}" for name, old, new in found]
    if differing:
        raise VtError(f"{folder}: holds {what} with other settings or data: {'; '.join(differing)}; {advice}")


def differences(before: Any, after: Any, name: str = "") -> list[tuple[str, str, str]]:
    """(dotted name, value before, value after) wherever `before` differs in what `after` has; long values are cut."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [row for key in after for row in differences(before.get(key), after[key], f"{name}.{key}" if name else key)]
    return [] if before == after else [(name, _short(before), _short(after))]


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:16]}..."


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a value's canonical JSON (keys sorted): the identity of settings."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def provenance() -> dict[str, Any]:
    """What may differ between two runs with the same data: when, with which command, commit and versions.

    Returns a dict with `created` (UTC, ISO 8601), `command` as a shell takes it, `commit` (None outside a checkout), `dirty`,
    `python`, `platform` and `versions` of the packages that matter and are installed.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        **_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "versions": {"videothinker": __version__}
        | {name: version for name in _VERSIONED if (version := _version(name)) is not None},
    }


def command() -> str:
    """The command that runs now, as a shell takes it."""
    return shlex.join(["vt", *sys.argv[1:]])


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
