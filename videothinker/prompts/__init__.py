"""Prompts by name or from a file: how `vt diagnose --prompt` and `data.prompt` of a training say what a model is asked.

    asked = find("mine.jinja")            # or cot, direct, video-r1
    template.render(asked.template, question)

`cot` and `direct` are ours and live in `answers/`, which words them for every form of answer. All others are templates, a
file each (`template` has their language). A template says which style of reply it
asks for, because replies are read and rewarded by style and form, and not by the words of a prompt.
"""

from pathlib import Path
from typing import NamedTuple

from videothinker import shipped
from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.records.prompt import SavedPrompt, Template

_VIDEO_R1 = Path(__file__).with_name("video-r1.jinja")
SHIPPED = {"video-r1": _VIDEO_R1, "videothinker": _VIDEO_R1, "observe-first": shipped.PROMPTS / "observe-first.jinja"}
"""Templates that come with the package, by name: those of published checkpoints, and the example in configs/prompts."""
NAMES = (*(style.value for style in Style), *SHIPPED)
"""Every prompt that has a name."""


class Asked(NamedTuple):
    """How questions are put to a model, and what its replies are laid out as."""

    style: Style
    template: Template | None
    """None: in our own words."""

    def told(self) -> str:
        """A few words for messages: "cot", or "template 1a2b3c4d5e6f (cot)"."""
        return self.style.value if self.template is None else f"template {self.template.sha256[:12]} ({self.style.value})"


OURS = Asked(Style.COT, None)
"""How a model is asked where nothing else is said."""


def find(named: str) -> Asked:
    """The prompt of a name in `NAMES`, else that of a file.

    Raises:
        VtError: there is no such prompt or file, or it is no template.
    """
    from videothinker.prompts import template

    if named in list(Style):
        return Asked(Style(named), None)
    path = SHIPPED.get(named) or Path(named)
    if named not in SHIPPED and not path.is_file():
        raise VtError(f"prompt {named}: is neither a file nor one of {', '.join(NAMES)}")
    read = template.read_file(path)
    return Asked(template.style_of(read, str(path)), read)


def saved(asked: Asked) -> SavedPrompt:
    """The prompt as it is written beside weights."""
    return SavedPrompt(style=asked.style.value, template=asked.template)
