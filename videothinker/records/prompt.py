"""A prompt as files hold it: in the settings of a run, and beside the weights that were trained with it."""

import msgspec


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt of the user's own: a file that `videothinker.prompts` reads."""

    sha256: str
    """Hex SHA-256 of `text` in UTF-8."""
    text: str
    """The whole file."""


class SavedPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """videothinker_prompt.json in a checkpoint's folder: how it was asked while it was trained."""

    style: str
    """One of `answers.Style`: what its replies are laid out as."""
    template: Template | None = None
    """None: in our own words."""
