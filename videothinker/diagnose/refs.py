"""What is found out about a REF before anything is loaded: whether a revision can be of it, and its rule of text positions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from videothinker import store
from videothinker.diagnose.files import RUN
from videothinker.diagnose.identity import todays_settings
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions, is_affected, known_rule


def check_revision(models: Mapping[str, str], kinds: Mapping[str, str], revision: str | None) -> None:
    """Check that a revision, if one is asked for, is of something on the hub, and of one thing alone.

    Raises:
        VtError: it is not.
    """
    if revision is None:
        return
    for name, ref in models.items():
        if kinds[name] == "endpoint" or (kinds[name] == "checkpoint" and Path(ref).is_dir()):
            what = "a folder here" if kinds[name] == "checkpoint" else "what a server has loaded"
            raise VtError(
                f"--revision {revision}: {ref} is {what}, and only a checkpoint on the hub has revisions; leave it out"
            )
    if len(found := [ref for name, ref in models.items() if kinds[name] == "checkpoint"]) > 1:
        raise VtError(f"--revision {revision}: is of one checkpoint, and there are {', '.join(found)}; ask each in its own run")


def text_positions_of(
    ref: str, kind: str, settings: DiagnosisSettings, before: Path | None, warn: Callable[[str], None]
) -> TextPositions | None:
    """The rule by which the text behind a clip goes on when `ref` is asked; None where it is not known yet, or never will be.

    before: the run's folder; what an earlier session found out about a checkpoint that is not on this machine holds.

    Raises:
        VtError: a server is to be asked, and the checkpoint's folder, which is at hand, says that it is of the rule which
            servers do not have.
    """
    chosen = settings.text_positions
    if kind == "solver" or (kind == "endpoint" and not Path(ref).is_dir()):
        return None if kind == "solver" else chosen
    own = known_rule(ref, settings.revision)
    differ = is_affected(ref)
    if chosen is not None and own is not None and chosen is not own and differ:
        warn(f"{ref}: was trained with text positions '{own}', and is asked under '{chosen}' as --text-positions says")
    if kind == "endpoint":
        if chosen is None and own is TextPositions.TRANSFORMERS and differ:
            raise VtError(
                f"{ref}: was trained with text positions '{own}', and servers such as vLLM have 'original'; leave out"
                f" --endpoint, or say with --text-positions which the server has (`transformers serve`: {own})"
            )
        return chosen
    if chosen is None and own is None and before is not None and (before / RUN).is_file():
        said = todays_settings(store.read_json(before / RUN, dict[str, Any]), None).get("text_positions")
        return TextPositions(said) if said in list(TextPositions) else None
    return chosen or own
