"""What a run was fed, put together from its sessions: one per process of each call that asked something."""

from collections.abc import Iterable, Mapping
from typing import Any

PROMPT_TOKENS = "n_prompt_tokens"
"""Tokens of all prompts to a checkpoint that is loaded here, without padding."""
PASSED = "n_prompt_tokens_passed"
"""Those of them that went through the model. What is shared goes through once; a batch that is asked again because memory ran
out goes through again."""

ENDPOINT = "endpoint"
"""URLs of the servers that were asked, as run.json has them."""

REQUESTS = "n_requests"
"""Requests that a server has answered: one for each reply, and more for those that were paused to be looked at."""


def add_fed(before: Mapping[str, Any] | None, sessions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """`before` and what more sessions say that they were fed, in order.

    Servers are listed together. Clips are added up, by kind and by where they came from, and so are images, questions of words
    alone, requests, tokens of prompts, prompts whose length was looked at, and seconds by phase; of everything else the latest
    session's word stands.
    """
    told: dict[str, Any] = dict(before or {})
    for session in sessions:
        told = {**told, **session, **_sums(told, session)}
    return told


def _sums(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    sums: dict[str, Any] = {}
    if isinstance(clips := after.get("fed"), list):
        sums["fed"] = _counted([*before.get("fed", []), *clips], "n_clips")
    if isinstance(urls := after.get(ENDPOINT), str):
        sums[ENDPOINT] = joined([before.get(ENDPOINT), urls])
    if isinstance(stills := after.get("stills"), dict):
        earlier = before.get("stills", {"images": [], "texts": 0})
        images = _counted([*earlier["images"], *stills["images"]], "n_images")
        sums["stills"] = {"images": images, "texts": earlier["texts"] + stills["texts"]}
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


def joined(addresses: Iterable[str | None]) -> str | None:
    """Servers' addresses, each of which may be several with ", " between, as one such list without doubles."""
    return ", ".join(sorted({url for each in addresses if each for url in each.split(", ")})) or None


def told_of_stills(images: Mapping[tuple[int, int, int | None], int], n_texts: int) -> dict[str, Any]:
    """For run.json: the number of images by height, width and tokens (None: not known), and that of questions of words alone;
    nothing where there were none."""
    if not images and not n_texts:
        return {}
    told = [
        {"n_images": n, "height": height, "width": width, "image_tokens": tokens}
        for (height, width, tokens), n in sorted(images.items(), key=lambda each: (*each[0][:2], each[0][2] or 0))
    ]
    return {"stills": {"images": told, "texts": n_texts}}


def _counted(entries: list[dict[str, Any]], number: str) -> list[dict[str, Any]]:
    """The entries with the clips or images of each kind counted together as `number`, in the order of the kinds."""
    counts: dict[tuple[tuple[str, Any], ...], int] = {}
    for entry in entries:
        kind = tuple((key, value) for key, value in entry.items() if key != number)
        counts[kind] = counts.get(kind, 0) + entry[number]
    return [{number: n, **dict(kind)} for kind, n in sorted(counts.items(), key=lambda one: repr(one[0]))]
