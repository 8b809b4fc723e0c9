"""One machine's share of a command's work, on nothing but a shared folder: `--shard 3/16` on each, then `vt merge`.

What shard 3 of 16 writes lies in OUT/shards/3-of-16/, laid out as OUT itself. A marker, done.json, is written last beside each
part that is finished, so a shard that was killed is known by its absence; run again, it goes on where it stopped. No shard
needs to know of another, and they may run in any order, at any time and on any machine that sees the folder.
"""

import platform
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import shard as record
from videothinker.records.shard import Done

FOLDER = "shards"
DONE = record.FILE
OPTION = "--shard"
_MOST = 10_000


class Shard(NamedTuple):
    """One share of a command's work."""

    number: int
    """1 to `of`."""
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, out: Path) -> Path:
        """Where it writes, for a command that alone would write into `out`."""
        return out / FOLDER / f"{self.number}-of-{self.of}"

    def has(self, place: int) -> bool:
        """Whether item `place`, counted from 0, is of this shard: every `of`-th is, so that long and short ones mix."""
        return place % self.of == self.number - 1


def parse(text: str) -> Shard:
    """The shard that `--shard I/N` names.

    Raises:
        VtError: it is not of that form, or I is not 1 to N.
    """
    found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= _MOST:
        raise VtError(f"{OPTION} {text}: expected I/N, such as 3/16, with I from 1 to N and N at most {_MOST:,}")
    return Shard(int(found[1]), int(found[2]))


def begun(out: Path) -> list[Shard]:
    """The shards that have a folder in `out`, in order; [] if there are none."""
    names = [re.fullmatch(r"([0-9]{1,5})-of-([0-9]{1,5})", path.name) for path in (out / FOLDER).glob("*/")]
    return sorted((Shard(int(name[1]), int(name[2])) for name in names if name), key=lambda one: (one.of, one.number))


def check_number(out: Path, shard: Shard) -> None:
    """Check, before a shard begins, that those in `out` are of the same number.

    Raises:
        VtError: they are not.
    """
    if other := next((one for one in begun(out) if one.of != shard.of), None):
        raise VtError(
            f"{OPTION} {shard}: {out / FOLDER} has shards of {other.of} ({other.folder(out).name}); go on with /{other.of}, "
            f"or remove that folder"
        )


def all_of(out: Path) -> list[Shard]:
    """All shards of what lies in `out`, in order, those that have not begun among them.

    Raises:
        VtError: there are none, or shards of several numbers.
    """
    found = begun(out)
    if not found:
        raise VtError(f"{out}: holds no {FOLDER}/I-of-N; expected a folder that a command with {OPTION} I/N wrote into")
    if len(numbers := sorted({one.of for one in found})) > 1:
        raise VtError(f"{out / FOLDER}: holds shards of {' and of '.join(map(str, numbers))}; remove those that do not count")
    return [Shard(index, numbers[0]) for index in range(1, numbers[0] + 1)]


def mark(folder: Path, shard: Shard, *, n_items: int, started: datetime, call: dict[str, Any] | None = None) -> None:
    """Write the marker that what lies in `folder` is finished. started: when this session began, in UTC."""
    now = datetime.now(UTC)
    done = Done(
        shard=str(shard),
        command=store.command(),
        n_items=n_items,
        machine=platform.node(),
        started=started.isoformat(timespec="seconds"),
        finished=now.isoformat(timespec="seconds"),
        seconds=round((now - started).total_seconds(), 1),
        call=call or {},
    )
    store.write_json(folder / DONE, done)


def finished(out: Path, part: Path | None = None, command: str | None = None) -> list[tuple[Path, Done]]:
    """Where each shard has written a part of `out`, with its marker, in order.

    part: below a shard's folder; None: all of it. command: how one of the shards was started, for the message; None: as the
    first finished one says.

    Raises:
        VtError: a shard is missing or not finished; the message names all of them and the command for the first.
    """
    everyone = all_of(out)
    folders = [shard.folder(out) / (part or "") for shard in everyone]
    owed = [shard for shard, folder in zip(everyone, folders, strict=True) if not (folder / DONE).is_file()]
    done = [store.read_json(folder / DONE, Done) for folder in folders if (folder / DONE).is_file()]
    if owed:
        raise VtError(_told(out, part, owed, command or (done[0].command if done else None)))
    return list(zip(folders, done, strict=True))


def told(markers: Iterable[Done], what: str) -> dict[str, str]:
    """Where and when each shard was finished, as the provenance of merged results holds it: a line a shard. what: its items."""
    return {
        one.shard: f"{one.n_items:,} {what} on {one.machine}, {one.finished}, {one.seconds:g} s in its last session"
        for one in markers
    }


def n_finished(out: Path, parts: Iterable[Path]) -> int:
    """How many shards have finished all these parts of `out`."""
    wanted = list(parts)
    return sum(all((shard.folder(out) / part / DONE).is_file() for part in wanted) for shard in begun(out))


def _told(out: Path, part: Path | None, owed: Sequence[Shard], command: str | None) -> str:
    """What is missing, and how to make it."""
    numbers = spans(shard.number for shard in owed)
    what = f"shard {numbers} of {owed[0].of} is" if len(owed) == 1 else f"shards {numbers} of {owed[0].of} are"
    begun_here = part is not None and all(shard.folder(out).is_dir() for shard in owed)
    told = f"{out}: {what} not finished{f' for {part}' if begun_here else ''}; run "
    told += f"`{with_shard(command, owed[0])}`" if command else f"the same command with {OPTION} {owed[0]}"
    if len(owed) > 1:
        told += f" and so on for each of {numbers} (as an array job: sbatch --array={numbers} FILE)"
    return f"{told}, then merge again"


def spans(numbers: Iterable[int]) -> str:
    """Increasing numbers as array jobs count them: 1, 2, 3, 7 are "1-3,7"."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ",".join(f"{each[0]}-{each[-1]}" if len(each) > 1 else f"{each[0]}" for each in found)


def with_shard(command: str, shard: Shard | str) -> str:
    """The shell command of one shard as that of another."""
    return shlex.join([*without(shlex.split(command), OPTION), OPTION, str(shard)])


def without(arguments: Sequence[str], option: str) -> list[str]:
    """Command-line arguments without an option and its value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument != option and not argument.startswith(f"{option}="):
            kept.append(argument)
        skip = argument == option and not skip
    return kept
