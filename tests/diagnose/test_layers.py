"""Who sets what: the command line, then a protocol, then a preset, then our defaults."""

import pytest
from curated_factory import a_choice

from videothinker.answers import Style
from videothinker.diagnose.layers import COMMAND_LINE, Layer, command_line, protocol_layer, resolve, told, told_by_set, values
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError

RATE = Layer("protocol p", {"prompt": None, "frame_rule": "fps", "fps": 2.0, "n_frames": 32, "temperature": 0.01})
EVEN = Layer("protocol p", {"frame_rule": "midpoints", "n_frames": 16})


def test_the_most_explicit_layer_wins() -> None:
    layers = [
        Layer(COMMAND_LINE, {"temperature": 0.5}),
        Layer("the checkpoint", {"prompt": Style.DIRECT}),
        Layer("preset q", {"prompt": Style.COT, "max_pixels": 784, "temperature": 1.0}),
        RATE,
    ]
    found = resolve(layers)
    assert {name: (one.value, one.layer) for name, one in found.items()} == {
        "temperature": (0.5, COMMAND_LINE),
        "prompt": (Style.DIRECT, "the checkpoint"),
        "max_pixels": (784, "preset q"),
        "frame_rule": ("fps", "protocol p"),
        "fps": (2.0, "protocol p"),
        "n_frames": (32, "protocol p"),
    }
    assert told(layers) == (
        "the checkpoint sets prompt direct; preset q sets max pixels 784; overridden: prompt, temperature; "
        "protocol p sets frame rule fps, fps 2.0, frames 32; overridden: prompt, temperature"
    )


def test_a_frame_rule_comes_with_its_own_numbers() -> None:
    number = Layer(COMMAND_LINE, {"n_frames": 8})
    assert values([number, RATE]) == {"n_frames": 8, "prompt": None, "frame_rule": "fps", "fps": 2.0, "temperature": 0.01}
    assert values([number, EVEN]) == {"n_frames": 8, "frame_rule": "midpoints"}
    assert values([EVEN, RATE]) == {"frame_rule": "midpoints", "n_frames": 16, "prompt": None, "temperature": 0.01}
    rate = Layer("preset q", {"frame_rule": "fps", "fps": 1.0})
    assert values([rate, EVEN]) == {"frame_rule": "fps", "fps": 1.0}
    for layers in ([number, RATE], [number, EVEN], [rate, EVEN], [EVEN]):
        DiagnosisSettings(split="dev", **values(layers))


def test_zero_on_the_command_line_leaves_frames_and_pixels_to_the_checkpoint() -> None:
    protocol = protocol_layer("videothinker", [a_choice("1")])
    found = values([command_line([protocol], n_frames=0, max_pixels=0, temperature=0.0, top_p=None), protocol])
    assert found | {"prompt": None} == {
        "n_frames": None,
        "frame_rule": None,
        "fps": None,
        "max_pixels": None,
        "temperature": 0.0,
        "top_p": 0.001,
        "max_new_tokens": 1024,
        "prompt": None,
    }
    assert DiagnosisSettings(split="dev", **found).n_frames is None
    ours = protocol_layer("ours", [a_choice("1")])
    assert command_line([ours], n_frames=0, max_pixels=None).values == {"n_frames": 0}, "which the settings refuse"


def test_ours_sets_nothing_and_says_nothing() -> None:
    layers = [Layer(COMMAND_LINE, {"n_frames": 8}), protocol_layer("ours", [a_choice("1")])]
    assert values(layers) == {"n_frames": 8}
    assert told(layers) is None


def test_a_protocol_asks_in_its_own_words_and_leaves_frames_to_a_server() -> None:
    question = a_choice("1")
    assert protocol_layer("video-r1", [question]).values["prompt"] is None
    whole = protocol_layer("video-r1", [question], whole_clips=True)
    assert dict(whole.values) == {"prompt": None, "max_new_tokens": 1024, "temperature": 0.1, "top_p": 0.001}
    assert told([Layer(COMMAND_LINE, {}), whole]) == (
        "protocol video-r1 sets prompt its own, max new tokens 1,024, temperature 0.1, top p 0.001"
    )
    with pytest.raises(VtError, match="does not say how another is asked"):
        protocol_layer("official", [question])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_p": 0.0}, "top_p is 0.0, expected more than 0, at most 1"),
        ({"frame_rule": "every"}, "frame_rule is 'every', expected floor, linspace, midpoints, inside or fps"),
        ({"protocol": "mine"}, "protocol is 'mine', expected ours, official,"),
    ],
)
def test_settings_have_bounds(changes: dict[str, object], message: str) -> None:
    with pytest.raises(VtError, match=message):
        DiagnosisSettings(split="dev", **changes)  # type: ignore[arg-type]


def test_what_was_taken_is_told_once_for_data_sets_that_are_asked_alike_and_by_name_where_they_differ() -> None:
    few, many = ([Layer(COMMAND_LINE, {}), Layer("protocol x", {"n_frames": n})] for n in (16, 64))
    none = [Layer(COMMAND_LINE, {}), Layer("protocol x", {})]
    assert told_by_set({"a": few}) == ["protocol x sets frames 16"]
    assert told_by_set({"a": few, "b": few}) == ["protocol x sets frames 16"]
    assert told_by_set({"a": few, "b": many, "c": few}) == [
        "a, c: protocol x sets frames 16",
        "b: protocol x sets frames 64",
    ]
    assert told_by_set({"a": few, "b": none}) == ["a: protocol x sets frames 16"]
    assert told_by_set({"a": none, "b": none}) == []
