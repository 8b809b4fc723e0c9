"""What a run was fed, put together from its sessions: one per process of each call that asked something."""

from collections.abc import Iterable, Mapping
from typing import Any

PROMPT_TOKENS = "n_prompt_tokens"
"""Tokens of all prompts to a checkpoint that is loaded here, without padding."""
PASSED = "n_prompt_tokens_passed"
"""Those of them that went through the model. What is shared goes through once; a batch that is asked again because memory ran
out goes through again."""

REQUESTS = "n_requests"
"""Requests that a server has answered: one for each reply, and more for those that were paused to be looked at."""


def add_fed(before: Mapping[str, Any] | None, sessions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`before` and what more sessions say that they were fed, in order.

    Clips are added up, by kind and by where they came from, and so are requests, tokens of prompts, prompts whose length was
    looked at, and seconds by phase; of everything else the latest session's word stands.
    """
    told: dict[str, Any] = dict(before or {})
    for session in sessions:
        told = {**told, **session, **_sums(told, session)}
    return told


def _sums(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    sums: dict[str, Any] = {}
    if isinstance(clips := after.get("fed"), list):
        sums["fed"] = _clips([*before.get("fed", []), *clips])
    for name in ("clips", "prompt_length"):
        if isinstance(counts := after.get(name), dict):
            earlier = before.get(name, {})
            sums[name] = {what: earlier.get(what, 0) + n for what, n in counts.items()}
    for counted in (PROMPT_TOKENS, PASSED, REQUESTS):
        if isinstance(n := after.get(counted), int):
            sums[counted] = before.get(counted, 0) + n
    if isinstance(seconds := after.get("seconds"), dict):
        earlier = before.get("seconds", {})
        sums["seconds"] = {phase: round(earlier.get(phase, 0.0) + spent, 2) for phase, spent in seconds.items()}
    return sums


def _clips(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries with the clips of each kind counted together, in the order of the kinds."""
    counts: dict[tuple[tuple[str, Any], ...], int] = {}
    for entry in entries:
        kind = tuple((key, value) for key, value in entry.items() if key != "n_clips")
        counts[kind] = counts.get(kind, 0) + entry["n_clips"]
    return [{"n_clips": n, **dict(kind)} for kind, n in sorted(counts.items(), key=lambda one: repr(one[0]))]
