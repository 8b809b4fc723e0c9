"""How a checkpoint was asked while it was trained: the prompt that lies beside its weights, so that it is asked so again.

`vt train` writes `PROMPT` into every folder that it saves weights in, be they whole, an adapter or a checkpoint to resume from.
Folders that earlier versions trained have none; their run.json says the style, in our own words. What others made says nothing.

This module loads without torch.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from videothinker import store
from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.prompts import Asked, saved
from videothinker.records.prompt import SavedPrompt

PROMPT = "videothinker_prompt.json"
_ADAPTER = "adapter_config.json"
_RUN = "run.json"


def save_prompt(folder: Path, asked: Asked) -> None:
    """Write how a checkpoint was asked beside its weights."""
    store.write_json(folder / PROMPT, saved(asked))


def known_prompt(ref: str, revision: str | None = None) -> Asked | None:
    """How the checkpoint that a REF names was trained; None if nothing says so.

    Of a checkpoint on the hub the one small file is fetched, or taken from what is on this machine where the hub cannot be
    reached. revision: commit, tag or branch on the hub.

    Raises:
        VtError: the file beside the weights is damaged.
    """
    if Path(ref).is_dir():
        return own_prompt(Path(ref))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _saved(Path(hf_hub_download(ref, PROMPT, revision=revision)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # it has no such file; one that is not there at all is refused where it is loaded


def own_prompt(folder: Path) -> Asked | None:
    """How the checkpoint or adapter in a folder was trained; an adapter that says nothing is asked as its base was.

    Raises:
        VtError: the file beside the weights is damaged.
    """
    if (folder / PROMPT).is_file():
        return _saved(folder / PROMPT)
    records = (_object(folder / _RUN), _object(folder.parent / _RUN) if folder.name.startswith("checkpoint-") else {})
    for record in records:
        data = record["settings"].get("data") if isinstance(record.get("settings"), dict) else None
        style = data.get("prompt") if isinstance(data, dict) else None
        if record.get("stage") in ("bias", "cdpo", "grpo") and style in list(Style):
            return Asked(Style(style), None)
    base = _object(folder / _ADAPTER).get("base_model_name_or_path")
    return own_prompt(Path(base)) if isinstance(base, str) and base != str(folder) and Path(base).is_dir() else None


def carried(text: str | None, source: str) -> Asked | None:
    """The prompt in what `as_text` wrote; None of None."""
    return None if text is None else _read(text.encode(), source)


def as_text(asked: Asked) -> str:
    """The prompt as one line of text, for files that hold other things as well."""
    return msgspec.json.encode(saved(asked)).decode()


def _saved(file: Path) -> Asked:
    return _read(file.read_bytes(), str(file))


def _read(content: bytes, source: str) -> Asked:
    from videothinker.prompts import template

    try:
        found = msgspec.json.decode(content, type=SavedPrompt)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise VtError(f"{source}: does not say a prompt ({error}); get it again, or delete it to ask in our words") from error
    if found.style not in list(Style):
        raise VtError(f"{source}: its style is {found.style!r}, expected {' or '.join(Style)}")
    if found.template is None:
        return Asked(Style(found.style), None)
    if hashlib.sha256(found.template.text.encode()).hexdigest() != found.template.sha256:
        raise VtError(f"{source}: its template is not the one that it has the hash of; get the file again")
    made = template.make(found.template.text, source)
    if (said := template.style_of(made, source)) != found.style:
        raise VtError(f"{source}: its style is {found.style!r}, and its template says {said.value!r}; get the file again")
    return Asked(said, made)


def _object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; {} where there is none. Damaged files are refused where a checkpoint is loaded."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
