"""Where the text behind a clip goes on: two rules, and which of them a checkpoint was trained with.

Qwen2.5-VL and Qwen2-VL were trained with text that goes on behind the last position of a clip on any of its three axes. vLLM
and transformers up to 5.2 run them so. From version 5.3 on transformers heeds the two axes of the picture alone, so that the
text after a clip longer than max(height, width) / 56 seconds stands among the clip's own instants. `positions.py` has both
formulas.

A checkpoint is asked under the rule that it was trained with, and carries its name: config.json has a field `text_positions`,
which transformers keeps wherever it loads and saves the checkpoint; an adapter has a file of its own beside its weights.
Checkpoints that earlier versions of this package trained have no such mark and are of transformers' rule; what others made is
of the original one.

This module loads without torch.
"""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

from videothinker import store
from videothinker.errors import VtError


class TextPositions(StrEnum):
    """Where the text behind a clip goes on."""

    ORIGINAL = "original"
    """Behind the clip's last position on any axis, time included."""
    TRANSFORMERS = "transformers"
    """As many positions behind the clip's first as its longer side has, as transformers 5.3 and later do."""


AFFECTED = ("qwen2_vl", "qwen2_5_vl")
"""Architectures whose clips take time as one of their axes. Qwen3-VL puts every pair of frames into a block of its own, of
which both rules make the same."""
FIELD = "text_positions"
"""The mark's field in config.json, and in an adapter's own file."""
ADAPTER_MARK = "videothinker_config.json"
"""An adapter's mark. PEFT would warn of a field that it does not know in its own file, and drop it."""

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
_RUN = "run.json"
_STAGES = ("bias", "cdpo", "grpo", "sft")
_CARD = re.compile(rf"^tags: \[videothinker, (?:{'|'.join(_STAGES)})\b", re.MULTILINE)
_TINY_VIDEO_TOKEN = 5
"""The clip's placeholder in the vocabulary that `tiny` makes; in Qwen's own it is 151,656."""


def own_rule(folder: Path) -> TextPositions:
    """The rule that the checkpoint or adapter in a folder was trained with.

    Raises:
        VtError: its mark is none of the rules.
    """
    config, adapter = _read(folder / _CONFIG), _read(folder / _ADAPTER)
    file = ADAPTER_MARK if adapter else _CONFIG
    said = (_read(folder / ADAPTER_MARK) if adapter else config).get(FIELD)
    if said is not None:
        return named_rule(said, str(folder / file))
    if _is_ours(folder, config):
        return TextPositions.TRANSFORMERS
    base = adapter.get("base_model_name_or_path")
    if isinstance(base, str) and base != str(folder):
        return known_rule(base) or TextPositions.ORIGINAL
    return TextPositions.ORIGINAL


def named_rule(said: object, source: str) -> TextPositions:
    """The rule of that name.

    source: where the name stands, for the message.

    Raises:
        VtError: no rule has it.
    """
    if not isinstance(said, str) or said not in list(TextPositions):
        raise VtError(f"{source}: {FIELD} is {said!r}, expected {' or '.join(TextPositions)}; get the file again")
    return TextPositions(said)


def known_rule(ref: str, revision: str | None = None) -> TextPositions | None:
    """The rule of the checkpoint that a REF names; None for one on the hub of which nothing is on this machine yet.

    revision: commit, tag or branch on the hub.

    Raises:
        VtError: its mark is none of the rules.
    """
    folder = _at_hand(ref, revision)
    return None if folder is None else own_rule(folder)


def is_affected(ref: str) -> bool:
    """Whether the two rules differ for the checkpoint that a REF names; True where that cannot be known yet."""
    kind = architecture(ref)
    return kind is None or kind in AFFECTED


def architecture(ref: str) -> str | None:
    """The `model_type` of the checkpoint that a REF names; None for an adapter, or where nothing is on this machine yet."""
    folder = _at_hand(ref, None)
    kind = None if folder is None else _read(folder / _CONFIG).get("model_type")
    return kind if isinstance(kind, str) else None


def placeholders(ref: str) -> list[int]:
    """Ids of the tokens that stand for images and clips; none of an adapter, or where nothing is on this machine yet."""
    folder = _at_hand(ref, None)
    config = {} if folder is None else _read(folder / _CONFIG)
    found = (config.get(f"{kind}_token_id") for kind in ("image", "video"))
    return [token for token in found if isinstance(token, int)]


def mark_adapter(folder: Path, rule: TextPositions) -> None:
    """Write an adapter's mark into its folder."""
    store.write_json(folder / ADAPTER_MARK, {FIELD: rule.value})


def _at_hand(ref: str, revision: str | None) -> Path | None:
    """The folder of a checkpoint as far as it is on this machine, of one on the hub what an earlier download has left."""
    if Path(ref).is_dir():
        return Path(ref)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in (_ADAPTER, _CONFIG):
        try:
            found = try_to_load_from_cache(ref, name, revision=revision)
        except HFValidationError:  # a path that is not there, which is refused where it is loaded
            return None
        if isinstance(found, str):
            return Path(found).parent
    return None


def _is_ours(folder: Path, config: dict[str, Any]) -> bool:
    """Whether this package trained what lies in a folder: as its run.json says or, for a checkpoint to resume from, that of the
    folder around it; as its card says; or because its vocabulary is one of ours."""
    records = (_read(folder / _RUN), _read(folder.parent / _RUN) if folder.name.startswith("checkpoint-") else {})
    if any(record.get("stage") in _STAGES for record in records):
        return True
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        card = ""
    return config.get("video_token_id") == _TINY_VIDEO_TOKEN or _CARD.search(card) is not None


def _read(file: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is none. Damaged files are refused where a checkpoint is loaded."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
