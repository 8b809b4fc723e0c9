"""Which of several sources sets what of a diagnosis: the command line, a protocol, and in the end our defaults.

The order, most explicit first: the command line; the prompt that was saved with a checkpoint; a preset; a protocol; our
defaults.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from videothinker.answers import Style
from videothinker.diagnose import protocols
from videothinker.records import Question

COMMAND_LINE = "the command line"
_FRAMES = ("frame_rule", "n_frames", "fps", "max_pixels")
"""Settings that a server decides on where clips are sent whole."""
_OF_RULE = ("n_frames", "fps")
"""Numbers of a frame rule."""


class Layer(NamedTuple):
    """One source of settings."""

    name: str
    """As a message calls it: "the command line", "protocol official"."""
    values: Mapping[str, Any]
    """What it sets of `DiagnosisSettings`, by name; what is not in it, it leaves to the layers below."""


class Settled(NamedTuple):
    """One setting, and who set it."""

    value: Any
    layer: str


def resolve(layers: Sequence[Layer]) -> dict[str, Settled]:
    """Every setting that some layer sets, as the most explicit one sets it; layers in order, the most explicit first.

    A frame rule comes with its numbers: those of a less explicit layer are for another rule, and do not count.
    """
    found: dict[str, Settled] = {}
    for layer in layers:
        has_rule = "frame_rule" in found
        for name, value in layer.values.items():
            if name not in found and not (has_rule and name in _OF_RULE):
                found[name] = Settled(value, layer.name)
    return found


def values(layers: Sequence[Layer]) -> dict[str, Any]:
    """`resolve`, without who set what."""
    return {name: settled.value for name, settled in resolve(layers).items()}


def told(layers: Sequence[Layer]) -> str | None:
    """One line on what was taken from each layer below the first, and what was overridden; None if they set nothing."""
    setter = {name: settled.layer for name, settled in resolve(layers).items()}
    parts = []
    for layer in layers[1:]:
        taken = {name: value for name, value in layer.values.items() if setter.get(name) == layer.name}
        lost = [name for name in layer.values if name not in taken]
        if layer.values:
            parts.append(f"{layer.name} sets {_listed(taken) or 'nothing'}" + (f"; overridden: {_named(lost)}" if lost else ""))
    return "; ".join(parts) or None


def protocol_layer(name: str, questions: Sequence[Question], *, whole_clips: bool = False) -> Layer:
    """What a protocol sets for these questions. whole_clips: they are sent whole to a server, which chooses frames and pixels.

    Raises:
        VtError: there is no such protocol, or it does not define one of the questions.
    """
    protocol = protocols.find(name)
    values = protocol.settings(questions)
    if name != protocols.OURS:
        values = {"prompt": None, **values}
    return Layer(f"protocol {name}", {key: value for key, value in values.items() if not (whole_clips and key in _FRAMES)})


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in values.items())


def _named(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _shown(value: Any) -> str:
    if value is None:
        return "its own"
    if isinstance(value, Style):
        return value.value
    return f"{value:,}" if isinstance(value, int) else str(value)
