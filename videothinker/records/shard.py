"""done.json of a shard: the marker that one machine's share of a command is finished."""

from typing import Any

import msgspec

FILE = "done.json"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when a shard was finished, written last; while it is missing the shard is owed."""

    shard: str
    """Which one of how many, as "3/16"."""
    n_items: int
    """Questions or scenes that the shard holds."""
    command: str
    """Of its last session, as a shell takes it."""
    machine: str
    """Name of the machine on which its last session ran."""
    started: str
    """When the session began that finished it (UTC, ISO 8601)."""
    finished: str
    seconds: float
    """Of that session."""
    call: dict[str, Any] = {}
    """What `vt merge` has to know of the command and no other file says."""
