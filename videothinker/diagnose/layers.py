"""Which of several sources sets what of a diagnosis: the command line, a protocol, a preset, and in the end our defaults.

The order, most explicit first: the command line; the prompt that was saved with a checkpoint; a protocol, which is asked for by
name; a preset, whose limits are for its checkpoint whatever the protocol; our defaults.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from videothinker.answers import Style
from videothinker.diagnose import protocols
from videothinker.diagnose.presets import Preset
from videothinker.prompts import Asked
from videothinker.records import Question
from videothinker.records.prompt import Template

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


def command_line(below: Sequence[Layer], **options: Any) -> Layer:
    """What the options set that were given; None stands for one that was not.

    Where a layer `below` sets frames or pixels, 0 leaves them to the checkpoint all the same; elsewhere it is out of bounds.
    """
    given = {name: value for name, value in options.items() if value is not None}
    set_below = {name for layer in below for name, value in layer.values.items() if value is not None}
    if given.get("n_frames") == 0 and set_below & {"frame_rule", "n_frames"}:
        given |= {"n_frames": None, "frame_rule": None, "fps": None}
    if given.get("max_pixels") == 0 and "max_pixels" in set_below:
        given["max_pixels"] = None
    return Layer(COMMAND_LINE, given)


def prompt_values(asked: Asked | None) -> dict[str, Any]:
    """What a prompt sets. Words and style come from one layer, so both are set; None asks in the protocol's words."""
    return {"prompt": asked and asked.style, "template": asked and asked.template}


def saved_layer(ref: str, asked: Asked | None) -> Layer:
    """The prompt that was saved with the checkpoint that `ref` names; nothing if there is none."""
    return Layer(f"the training of {ref}", {} if asked is None else prompt_values(asked))


def asked_otherwise(ref: str, trained: Asked | None, said: Asked | None) -> str | None:
    """One line on a checkpoint that is asked otherwise than it was trained; None if nothing is known, or it is not.

    said: the prompt that the command line names; None: the protocol's words.
    """
    if trained is None or trained == said:
        return None
    words = "the protocol's words" if said is None else said.told()
    return f"{ref}: was trained with the prompt {trained.told()}, and is asked in {words}, as --prompt says"


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


def told_by_set(layered: Mapping[str, Sequence[Layer]]) -> list[str]:
    """`told` of every data set, by name: one line for those that are asked alike, with their names where some are not."""
    found: dict[str, list[str]] = {}
    for name, layers in layered.items():
        if (line := told(layers)) is not None:
            found.setdefault(line, []).append(name)
    if len(found) == 1 and sum(map(len, found.values())) == len(layered):
        return list(found)
    return [f"{', '.join(names)}: {line}" for line, names in found.items()]


class Sources(NamedTuple):
    """Whose settings hold for every data set, and for each checkpoint that is asked in the prompt of its training."""

    by_set: Mapping[str, Sequence[Layer]]
    """Layers by data set, the command line's first."""
    saved: Mapping[str, Layer]
    """The prompt saved with a checkpoint, by its name; none of those that are asked otherwise."""

    def by_model(self, data_set: str) -> dict[str, list[Layer]]:
        """For one data set, the layers of each checkpoint with a saved prompt, which comes behind the command line."""
        first, *others = self.by_set[data_set]
        return {name: [first, layer, *others] for name, layer in self.saved.items()}

    def told(self, models: Iterable[str]) -> list[str]:
        """What to say of where settings are from, each line once. models: names of all that are asked."""
        beside = {name: self.by_model(name) for name in self.by_set}
        ways: list[Mapping[str, Sequence[Layer]]] = [
            {name: each[model] for name, each in beside.items()} for model in self.saved
        ]
        if set(models) != set(self.saved):
            ways.append(self.by_set)
        return list(dict.fromkeys(line for way in ways for line in told_by_set(way)))


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


def preset_layer(preset: Preset, *, whole_clips: bool = False) -> Layer:
    """What a preset sets. whole_clips: as for `protocol_layer`."""
    values = {key: value for key, value in preset.settings().items() if not (whole_clips and key in _FRAMES)}
    return Layer(f"preset {preset.name}", values)


def _listed(values: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in values.items() if name != "template" or value is not None}
    return ", ".join(f"{_named([name])} {_shown(value)}" for name, value in shown.items())


def _named(names: Sequence[str]) -> str:
    """Names as the command line has them: "n_frames" is "frames"."""
    return ", ".join(name.removeprefix("n_").replace("_", " ") for name in names)


def _shown(value: Any) -> str:
    if value is None:
        return "its own"
    if isinstance(value, Style):
        return value.value
    if isinstance(value, Template):
        return value.sha256[:12]
    return f"{value:,}" if isinstance(value, int) else str(value)
