"""Where the cells of a study stand: records/NAME.json of each."""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """Where a cell stands."""

    WAITING = "waiting"
    RUNNING = "running"
    """If the study is not running, the cell was killed with it."""
    FINISHED = "finished"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A cell that it needs has failed."""
    INTERRUPTED = "interrupted"


OVER = (State.FINISHED, State.FAILED, State.BLOCKED)
"""States in which nothing more will be run for a cell."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """records/NAME.json, written when a cell starts and when it ends."""

    identity: str
    state: State
    command: str
    """The command as one would type it in the study's folder, which may have been moved since."""
    gpu: str | None = None
    """The GPU that it ran on; None for the CPU."""
    seconds: float = 0.0
    """Seconds of all attempts together."""
    attempts: int = 1
    returncode: int | None = None
    tail: tuple[str, ...] = ()
    """Last lines of stderr, if it failed."""
    given: bool = False
    """True if its folder was made elsewhere and linked here (`vt study --given`); `command` says where it was."""
    packed: bool = False
    """True if it ran on another machine and came in a pack, without what the report does not need."""
