"""`--push-to-hub` of `vt train`: looked at before the training, done after it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from videothinker.cli.console import out as console
from videothinker.cli.console import warn

if TYPE_CHECKING:
    from videothinker.recipes.pushing import Pushed


def prepared(repo_id: str | None) -> "Callable[[Path, Path | None], Pushed | None]":
    """Check the name, the token and the hub now, and return what uploads a trained folder, with the results of a diagnosis if
    there is one; it does nothing where no repository is named, and in processes other than the main one.

    Raises:
        VtError: the name, the token or the hub is not as it must be.
    """
    from videothinker.train.process import is_main

    if repo_id is None or not is_main():
        return lambda folder, results: None
    from videothinker.recipes import pushing

    hub = pushing.hub_for(repo_id)

    def upload(folder: Path, results: Path | None) -> "Pushed":
        pushed = pushing.push(folder, repo_id, hub, results=results, warn=warn)
        say_pushed(pushed)
        return pushed

    return upload


def say_pushed(pushed: "Pushed") -> None:
    """Print what is on the hub now."""
    console.print(
        f"{pushed.repo_id}: {pushed.form}, {len(pushed.files)} files, {pushed.n_bytes:,} bytes, are on the hub", soft_wrap=True
    )
