"""What tells one checkpoint's folder from another, without loading it: hashes of whole files, each file read once.

A file's hash is kept in the user's cache under its path, size, times and inode, so that the weights of a large model are read
when they are first seen and again only when they have changed.
"""

import json
import os
import time
from pathlib import Path

from videothinker import store
from videothinker.errors import VtError

_SUFFIXES = ("config.json", ".index.json", ".jinja", ".safetensors", ".model", ".tiktoken", ".py")
_NAMES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
)
_SETTLED_NS = 2 * 10**9
"""A file that changed less than this before it was hashed may change again within one tick of its file system's clock."""


def fingerprint(checkpoint: Path, *, weights: bool = True) -> str | None:
    """SHA-256 of all that decides what a checkpoint answers; None for what is no local folder.

    It covers configurations, tokenizer, chat template, Python code, every byte of the weights, and the same of an adapter's
    base where that is a folder here. weights: False leaves the weights out.
    """
    if not checkpoint.is_dir():
        return None
    files = [path for path in sorted(checkpoint.iterdir()) if path.name.endswith(_SUFFIXES) or path.name in _NAMES]
    wanted = [path for path in files if path.is_file() and (weights or path.suffix != ".safetensors")]
    base = _base(checkpoint)
    return store.sha256_json([[(path.name, file_hash(path)) for path in wanted], base and fingerprint(base, weights=weights)])


def file_hash(path: Path) -> str:
    """Hex SHA-256 of a file, from the cache if the file is the one that was hashed before."""
    seen = path.stat()
    # The time of the last change to the inode notices what tools that set a file's time back would hide.
    key = [str(path.resolve()), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
    kept = _folder() / store.sha256_json(key)
    try:
        found = kept.read_text()
    except (OSError, UnicodeDecodeError):
        found = ""
    if len(found) == 64:
        return found
    found = store.sha256_file(path)
    if time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) > _SETTLED_NS and _same(path.stat(), seen):
        _keep(kept, found)
    return found


def _same(now: os.stat_result, then: os.stat_result) -> bool:
    """Whether the file stayed as it was while it was read; reading may change its time of access."""
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (then.st_size, then.st_mtime_ns, then.st_ctime_ns)


def _keep(path: Path, text: str) -> None:
    try:
        store.write_bytes(path, text.encode(), durable=False)
    except (OSError, VtError):
        return  # without a cache the file is read again the next time


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("VIDEOTHINKER_CACHE") or f"{base}/videothinker").expanduser() / "hashes"


def _base(checkpoint: Path) -> Path | None:
    """The folder here of the checkpoint that an adapter was trained on; None if there is none, or it is on the hub."""
    try:
        named = json.loads((checkpoint / "adapter_config.json").read_bytes())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no adapter, or a damaged one, which is refused where it is loaded
    if not isinstance(named, str) or not Path(named).is_dir() or Path(named).resolve() == checkpoint.resolve():
        return None
    return Path(named)
