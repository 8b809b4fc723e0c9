"""Every preset from end to end on a tiny model of its architecture, what it sets, and what comes before it."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from diagnose.architectures import write_llava, write_qwen3

from videothinker import store
from videothinker.answers import Style
from videothinker.cli import app
from videothinker.curated import Curated
from videothinker.diagnose import planning
from videothinker.diagnose.engines import base
from videothinker.diagnose.feed import QuestionFeed, Shown
from videothinker.diagnose.layers import preset_layer
from videothinker.diagnose.presets import ONE_VISION, PRESETS, QWEN_2_5, QWEN_3, Preset, find
from videothinker.errors import VtError
from videothinker.models import tiny
from videothinker.models.load import load
from videothinker.models.text_positions import AFFECTED, TextPositions


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """An untaught checkpoint of each architecture."""
    folder = tmp_path_factory.mktemp("architectures")
    return {
        QWEN_2_5: tiny.build(folder / "qwen2.5"),
        QWEN_3: write_qwen3(folder / "qwen3"),
        ONE_VISION: write_llava(folder / "onevision"),
    }


_load_once = lru_cache(load)


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets of one architecture share a checkpoint in memory; tests of loading are elsewhere."""
    monkeypatch.setattr(base, "load", lambda ref, **_: _load_once(ref))


def diagnose(curated: Curated, out: Path, *options: str) -> dict[str, Any]:
    """What run.json says after two questions, about two clips, with replies of four tokens."""
    asked = ["--data", str(curated.folder), "--out", str(out), "--limit", "2", "--no-report", "--no-clip-cache"]
    with pytest.raises(SystemExit) as end:
        app(["diagnose", *asked, *options])
    assert end.value.code == 0
    [record] = out.glob("*/run.json")
    assert len(store.read_jsonl(record.parent / "predictions.jsonl", dict)) == 2
    return store.read_json(record, dict[str, Any])


@pytest.fixture
def processed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], str]]:
    """What the processor makes of each prompt, and the prompt's text."""
    seen: list[tuple[dict[str, Any], str]] = []
    inner = QuestionFeed.process

    def watched(feed: QuestionFeed, text: str, shown: Shown) -> dict[str, Any]:
        found = inner(feed, text, shown)
        seen.append((dict(found), feed._processor.tokenizer.decode(found["input_ids"][0])))
        return found

    monkeypatch.setattr(QuestionFeed, "process", watched)
    return seen


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("preset", PRESETS, ids=[preset.name for preset in PRESETS])
def test_a_preset_runs_from_end_to_end_on_its_architecture(
    preset: Preset,
    tiny_models: Mapping[str, Path],
    colours: Curated,
    tmp_path: Path,
    processed: list[tuple[dict[str, Any], str]],
) -> None:
    model = tiny_models[preset.architecture]
    engine = ["--engine", "graphs"] if preset.architecture == QWEN_2_5 else []
    chosen = ["--preset", preset.name, "--model", f"own={model}", "--max-new-tokens", "4"]
    record = diagnose(colours, tmp_path / "out", *chosen, *engine)
    assert record["model"] == str(model)
    expected = {"preset": preset.name, "prompt": preset.prompt, "n_frames": preset.n_frames, "max_pixels": preset.max_pixels}
    assert {key: record["settings"][key] for key in expected} == expected
    assert record["settings"]["max_new_tokens"] == 4, "what is given on the command line comes first"
    assert record["fed"]["engine"] == ("eager" if engine else "transformers")
    assert record["fed"]["text_positions"] == preset.text_positions
    # A clip has 32 frames in 1.28 s, fewer than a preset asks for; Qwen3's own processor takes 2 a second, 4 at least.
    [fed] = record["fed"]["fed"]
    assert fed["frames"] == (4 if preset.n_frames is None else 32)
    assert fed["video_tokens"] > 0
    inputs, prompt = processed[0]
    assert ("<think>" in prompt) is (preset.prompt is Style.COT)
    if preset.architecture == QWEN_2_5:
        assert float(inputs["second_per_grid_ts"][0]) == pytest.approx(0.08), "two frames at 25 a second"
        again = diagnose(colours, tmp_path / "again", *chosen, "--engine", "transformers")
        assert again["fed"]["engine"] == "transformers"
        replies = [(tmp_path / name / "own" / "predictions.jsonl").read_text() for name in ("out", "again")]
        assert re.findall('"reply":"(.*?)","chosen"', replies[0]) == re.findall('"reply":"(.*?)","chosen"', replies[1])
    elif preset.architecture == QWEN_3:
        # Pairs of frames have a time each, the middle of theirs: of 32 frames the first pair is at 0 s and 0.04 s.
        times = [float(time) for time in re.findall(r"<(\d+\.\d) seconds>", prompt)]
        assert len(times) == fed["frames"] // 2
        assert times == sorted(times)
        assert 0.9 < times[-1] <= 1.28
    else:
        assert "seconds" not in prompt


def test_an_engine_for_another_architecture_is_refused(
    tiny_models: Mapping[str, Path], colours: Curated, tmp_path: Path
) -> None:
    for name, kind in (("video-utr-7b", ONE_VISION), ("qwen3-vl-4b", QWEN_3)):
        chosen = ["--preset", name, "--model", str(tiny_models[kind]), "--engine", "graphs"]
        with pytest.raises(VtError, match=r"--engine graphs: writes the replies of Qwen2\.5-VL with SDPA only"):
            diagnose(colours, tmp_path / name, *chosen)


def test_a_preset_names_its_model(colours: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: dict[str, Any] = {}

    def plan(models: Mapping[str, str], *_: Any, **__: Any) -> Any:
        planned.update(models)
        raise VtError("planned")

    monkeypatch.setattr(planning, "plan", plan)
    with pytest.raises(VtError, match="planned"):
        diagnose(colours, tmp_path, "--preset", "videorft-3b")
    assert planned == {"videorft-3b": "QiWang98/VideoRFT-3B"}


def test_explicit_options_come_before_a_presets_even_where_they_are_the_default(
    tiny_models: Mapping[str, Path], colours: Curated, tmp_path: Path
) -> None:
    chosen = ["--preset", "video-utr-7b", "--model", f"own={tiny_models[ONE_VISION]}", "--max-new-tokens", "4"]
    record = diagnose(colours, tmp_path / "out", *chosen, "--prompt", "cot", "--frames", "8")
    assert (record["settings"]["prompt"], record["settings"]["n_frames"]) == ("cot", 8)
    assert record["fed"]["fed"][0]["frames"] == 8


def test_a_protocol_that_is_asked_for_comes_before_a_preset_which_fills_what_it_leaves_open(
    tiny_models: Mapping[str, Path], colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VideoThinker's evaluator has its own words, 2 frames a second and frames of 105,369 pixels; our preset's are 200,704."""
    chosen = ["--preset", "videothinker-r1-3b", "--model", f"own={tiny_models[QWEN_2_5]}", "--protocol", "videothinker"]
    record = diagnose(colours, tmp_path / "out", *chosen, "--max-new-tokens", "4", "--engine", "graphs")
    settings = record["settings"]
    assert (settings["preset"], settings["protocol"], settings["prompt"]) == ("videothinker-r1-3b", "videothinker", None)
    assert (settings["frame_rule"], settings["fps"], settings["max_pixels"]) == ("fps", 2.0, 105_369)
    assert "preset videothinker-r1-3b sets nothing; overridden: prompt, frames" in " ".join(capsys.readouterr().err.split())


def test_a_server_chooses_the_frames_of_whole_clips() -> None:
    layer = preset_layer(find("videorft-3b"), whole_clips=True)
    assert dict(layer.values) == {"prompt": Style.COT, "max_new_tokens": 1024}


def test_what_does_not_fit_is_refused(tiny_models: Mapping[str, Path], colours: Curated, tmp_path: Path) -> None:
    qwen = str(tiny_models[QWEN_2_5])
    with pytest.raises(
        VtError, match="is a qwen2_5_vl, and --preset video-utr-7b is for a llava_onevision; choose one that fits"
    ):
        diagnose(colours, tmp_path, "--preset", "video-utr-7b", "--model", qwen)
    with pytest.raises(VtError, match="--preset videorft-3: there is none of that name; is videorft-3b meant"):
        diagnose(colours, tmp_path, "--preset", "videorft-3")
    with pytest.raises(VtError, match="whom to ask"):
        diagnose(colours, tmp_path)


def test_the_list_shows_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        app(["diagnose", "--list-presets"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for preset in PRESETS:
        assert re.search(rf"(?m)^ *{re.escape(preset.name)} +{re.escape(preset.ref)} ", said)
    assert said.count("not pinned") == sum(preset.revision is None for preset in PRESETS)


def test_presets_are_told_apart_and_say_the_rule_where_there_are_two() -> None:
    assert len({preset.name for preset in PRESETS}) == len({preset.ref for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        assert find(preset.name) is preset
        assert (preset.architecture in AFFECTED) is (preset.text_positions is TextPositions.ORIGINAL)
