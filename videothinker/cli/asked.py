"""Which prompt a command's checkpoints are asked in: what --prompt says, and what they were trained with."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from videothinker import prompts
from videothinker.diagnose.protocols import OURS
from videothinker.errors import VtError


class Said(NamedTuple):
    """What --prompt says, where it is given."""

    asked: "prompts.Asked | None"
    """None: in the protocol's words."""


_IN_PROTOCOLS_WORDS = "protocol"


def said_prompt(named: str | None, protocol: str) -> Said | None:
    """What --prompt says; None if it is not given."""
    if named is None:
        return None
    if named == _IN_PROTOCOLS_WORDS:
        if protocol == OURS:
            raise VtError(f"--prompt {named}: whose words? name one with --protocol, or choose {', '.join(prompts.NAMES)}")
        return Said(None)
    return Said(prompts.find(named))


def trained_prompts(names: "Mapping[str, str]", revision: str | None, *, served: bool) -> "dict[str, prompts.Asked]":
    """How those of the models were asked in training of which it is known; a server's only where its name is a folder here."""
    from videothinker.diagnose.openers import kind_of
    from videothinker.models.saved_prompt import known_prompt

    known = {}
    for name, ref in names.items():
        kind = kind_of(ref, endpoint=served)
        if kind != "solver" and (kind == "checkpoint" or Path(ref).is_dir()):
            known[name] = known_prompt(ref, revision)
    return {name: asked for name, asked in known.items() if asked is not None}
