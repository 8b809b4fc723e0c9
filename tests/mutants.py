"""Damaged copies of a file, drawn from a seed: as disks, downloads, editors and ill will damage files."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEEP = "[" * 20_000
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308, -0.0, float("nan"), float("inf"), "", "../../x", "/etc/passwd",
    "a\0b", "\x1b[31m", "x" * 50_000, "\u0430", "\u202e", "\ud800", "A. B", [], {}, [[]], [None], {"": 0}, "@deep@",
)  # fmt: skip
"""Values that stand where others are expected; "@deep@" becomes an array of arrays of arrays."""
ODD_TOML = ("true", "-1", "9" * 5000, "9223372036854775808", "nan", "inf", "1e999", '""', '"../../x"', '"\\u0000"', DEEP, "{}",
            "[[1]]", "2020-01-01", "x", '"""')  # fmt: skip


def damage(path: Path, seed: int) -> str:
    """Damage the file in place; returns what was done, for messages. The same seed does the same."""
    draw = random.Random(seed)
    data = path.read_bytes()
    kinds = [_bytes, _bytes]
    if path.suffix in (".json", ".jsonl"):
        kinds += [_values] * 4
    if path.suffix == ".toml":
        kinds += [_settings] * 4
    if draw.random() < 0.02:
        path.unlink()
        path.mkdir()
        return "a folder in its place"
    done, made = draw.choice(kinds)(data, draw)
    path.write_bytes(made)
    return done


def _bytes(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    at = draw.randrange(len(data))
    to = min(len(data), at + draw.choice((1, 4, 16, 512)))
    flipped = bytes([data[at] ^ 1 << draw.randrange(8)])
    made = {
        "a flipped bit": data[:at] + flipped + data[at + 1 :],
        "another byte": data[:at] + draw.randbytes(1) + data[at + 1 :],
        "cut": data[:at],
        "zeros": data[:at] + bytes(to - at) + data[to:],
        "noise": data[:at] + draw.randbytes(to - at) + data[to:],
        "a part gone": data[:at] + data[to:],
        "a part twice": data[:to] + data[at:],
        "a part moved": data[to:] + data[at:to] + data[:at],
        "something after it": data + draw.randbytes(to - at),
        "a byte order mark": b"\xef\xbb\xbf" + data,
        "UTF-16": data.decode("latin-1").encode("utf-16"),
        "Latin-1": data[:at] + b"\xe9\xff" + data[at:],
        "line ends of Windows": data.replace(b"\n", b"\r\n"),
        "a pointer": b"version https://git-lfs.example/spec/v1\noid sha256:4d7a2146\nsize 7520000000\n",
        "nested": DEEP.encode(),
        "empty": b"",
    }
    done = draw.choice(sorted(made))
    return f"{done} at {at}", made[done]


def _values(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One value of a JSON file, or of a line of it, gone, named otherwise, there twice, or another."""
    text = data.decode()
    try:
        whole, is_lines = json.loads(text), False
    except json.JSONDecodeError:
        whole, is_lines = [json.loads(line) for line in text.splitlines()], True
    places = list(_places(whole))
    holder, key = draw.choice(places)
    done = draw.choice(("gone", "renamed", "twice", "other", "other", "other"))
    if done == "gone":
        del holder[key]
    elif done == "renamed" and isinstance(holder, dict):
        holder[f"{key}s"] = holder.pop(key)
    elif done == "twice" and isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[key] = draw.choice(ODD)
    made = "\n".join(map(json.dumps, whole)) + "\n" if is_lines else json.dumps(whole)
    return f"{key} {done}", made.replace('"@deep@"', DEEP + "]" * len(DEEP)).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of every value within one, as what holds it and its key there."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()):
        yield value, key
        yield from _places(inner)


def _settings(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One line of a TOML file gone, there twice, or with another value or name."""
    lines = data.decode().splitlines(keepends=True)
    at = draw.choice([number for number, line in enumerate(lines) if "=" in line or line.startswith("[")])
    name, _, _ = lines[at].partition("=")
    odd = draw.choice(ODD_TOML)
    made = draw.choice(("", lines[at] * 2, f"{name}= {odd}\n", f"{name}= {odd}\n", re.sub(r"\w", "x", lines[at], count=1)))
    lines[at] = made
    return f"line {at + 1} is {made[:40]!r}", "".join(lines).encode()
