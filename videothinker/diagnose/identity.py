"""Whether a folder holds the same diagnosis: what run.json has to say alike for a run to be resumed, or shards to be of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from videothinker import store
from videothinker.diagnose.files import RUN
from videothinker.diagnose.settings import FREE, LATER
from videothinker.models.text_positions import TextPositions, is_affected
from videothinker.records import RunRecord, Served


def identity(record: RunRecord) -> dict[str, Any]:
    """The fields that have to be equal for a run to be resumed, or for shards to be of one run."""
    said: dict[str, Any] = msgspec.to_builtins(record)
    settings = {name: value for name, value in said["settings"].items() if name not in FREE}
    if settings.get("template") is not None:
        settings["template"] = {"sha256": settings["template"]["sha256"]}  # which stands for the text, in a message too
    names = ("name", "model", "kind", "weights", "data", *(["served"] if record.served else []))
    return {name: said[name] for name in names} | {"settings": settings}


def claim(folder: Path, record: RunRecord, *, replace: bool = False, lock: bool = True) -> None:
    """Check that the folder is free, or holds this same diagnosis; with `replace` any other diagnosis may be there."""
    store.claim(
        folder,
        RUN,
        identity(record),
        what="a diagnosis",
        advice="choose another --out or NAME=REF, or start over with --no-resume",
        may_hold=lambda name: not name.startswith("predictions"),  # without run.json nobody knows how they were made
        replace=replace,
        in_todays_form=lambda said: in_todays_form(said, record),
        lock=lock,
    )


def in_todays_form(said: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """The content of a run.json as this version would have written it, to be compared with `record`'s `identity`."""
    return {**with_served(said, record.served), "settings": todays_settings(said, record)}


def with_served(said: Mapping[str, Any], served: Served | None) -> dict[str, Any]:
    """The content of a run.json that, where it does not know what was served, says the same as `served`."""
    return {**said, "served": said.get("served") or msgspec.to_builtins(served)}


def todays_settings(said: Mapping[str, Any], record: RunRecord | None) -> dict[str, Any]:
    """The settings in a run.json with those that earlier versions did not have, at the values that they worked with.

    Frames that were chosen here went to servers as images. Before there were rules of text positions, checkpoints were asked as
    transformers has them. Where a run does not know its rule, which is so for one of an architecture that all rules treat
    alike, it is that of `record`.
    """
    held = said.get("settings")
    if not isinstance(held, dict):
        return {}
    filled: dict[str, Any] = {**LATER, **held}
    if "send" not in held and said.get("kind") == "endpoint" and (held.get("n_frames") or held.get("frame_rule")):
        filled["send"] = "images"
    if "text_positions" not in held and said.get("kind") == "checkpoint" and is_affected(str(said.get("model"))):
        filled["text_positions"] = TextPositions.TRANSFORMERS.value
    elif filled["text_positions"] is None and record is not None:
        filled["text_positions"] = record.settings["text_positions"]
    return filled


def addresses(endpoints: Sequence[str]) -> str:
    """Servers' URLs as run.json tells them, sorted: without user, password, query and a slash at the end."""
    return ", ".join(sorted(_address(each) for each in endpoints))


def _address(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
