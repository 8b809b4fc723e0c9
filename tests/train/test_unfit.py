"""Training refuses checkpoints that do not fit, be they start, bias model, adapter or what it goes on from, in one line."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from curated_factory import a_question, write_curated
from damaged import ADAPTER_WEIGHTS, Damage, copy, cut, dropped, pickled, renamed, rewritten, told, with_number, without_effect
from safetensors.torch import load_file
from train.trainers import make_trainer, stage, write_adapter, write_clip

from videothinker.curated import Curated
from videothinker.errors import VtError
from videothinker.records.training import StepRecord
from videothinker.train import run
from videothinker.train.stages import StageConfig


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    """Two scenes with a clip and a question each."""
    folder = tmp_path_factory.mktemp("curated")
    questions = {
        split: [a_question(f"{scene}:0", gold="A", observer="B", n_options=3) for scene in scenes]
        for split, scenes in {"train": (0, 1), "dev": (10, 11)}.items()
    }
    for asked in (one for members in questions.values() for one in members):
        write_clip(folder / "videos" / asked.question.clip.path, 56, 84, 30)
    return write_curated(folder, questions, videos_root="videos")


def refused(attempt: Callable[[], Any], expected: str) -> None:
    with pytest.raises(VtError) as caught:
        attempt()
    line = str(caught.value)
    assert "\n" not in line
    assert re.search(expected, line), line


WHOLE_FAULTS: dict[str, tuple[Damage, str]] = {
    "a layer gone": (
        dropped(lambda name: "layers.1." in name),
        r"12 are missing \(model\.language_model\.layers\.1\.input_layernorm",
    ),
    "prefixed": (renamed(lambda name: f"module.{name}"), r"56 are unknown .*'module\.' is what .* save model\.module"),
    "one more": (
        rewritten(lambda tensors: {**tensors, "v_head.weight": torch.ones(2)}),
        r"1 is unknown to the model \(v_head\.weight\)",
    ),
    "NaN": (with_number("model.norm.weight", float("nan")), r"model\.language_model\.norm\.weight holds NaN or infinite"),
    "cut": (cut(-7), r"model\.safetensors \([\d,]+ bytes\) is cut or damaged"),
    "pickled": (pickled, r"has pytorch_model\.bin and no model\.safetensors"),
    "foreign code": (told(auto_map={"AutoConfig": "evil.Config"}), r"config\.json names Python code .* training runs none"),
}
ADAPTER_FAULTS: dict[str, tuple[Damage, str]] = {
    "names of another version": (
        renamed(lambda name: name.replace("model.language_model.", "model.")),
        "12 are missing .*rename the tensors: 'base_model.model.model.' to 'base_model.model.model.language_model.'",
    ),
    "NaN": (
        with_number("base_model.model.model.language_model.layers.1.mlp.up_proj.lora_B.weight", float("inf")),
        r"layers\.1\.mlp\.up_proj\.lora_B\.weight holds NaN or infinite",
    ),
    "pickled": (pickled, r"has adapter_model\.bin and no adapter_model\.safetensors"),
    "no effect": (without_effect, "the adapter changes nothing"),
}


@pytest.mark.parametrize("role", ["start", "bias"])
@pytest.mark.parametrize("fault", WHOLE_FAULTS)
def test_a_whole_checkpoint_is_refused_as_start_and_as_bias_model(
    curated: Curated, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, fault: str
) -> None:
    """All but the numbers before any weights are read, and before anything is written."""
    damage, expected = WHOLE_FAULTS[fault]
    refs = {"start": assets / "start", "bias": assets / "bias"}
    refs[role] = copy(refs[role], tmp_path / "damaged", damage)
    if fault != "NaN":
        monkeypatch.setattr(run, "_run", lambda *_args, **_kwargs: pytest.fail("models are loaded"))
    start, bias = map(str, (refs["start"], refs["bias"]))
    refused(
        lambda: run.train(stage("cdpo"), data=curated, start=start, bias=bias, out=tmp_path / "out"), f"damaged: .*{expected}"
    )
    if fault != "NaN":
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("role", ["start", "bias"])
@pytest.mark.parametrize("fault", ADAPTER_FAULTS)
def test_an_adapter_is_refused_as_start_and_as_bias_model(
    curated: Curated, assets: Path, adapter: Path, tmp_path: Path, role: str, fault: str
) -> None:
    damage, expected = ADAPTER_FAULTS[fault]
    refs = {"start": assets / "start", "bias": assets / "bias"} | {role: copy(adapter, tmp_path / "damaged", damage)}
    start, bias = map(str, (refs["start"], refs["bias"]))
    config = stage("cdpo", "lora.rank=4")
    refused(lambda: run.train(config, data=curated, start=start, bias=bias, out=tmp_path / "out"), f"damaged: .*{expected}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["names of another version", "no effect", "NaN"])
def test_whoever_builds_a_trainer_without_that_check_is_refused_too(
    assets: Path, adapter: Path, tmp_path: Path, fault: str
) -> None:
    """The reference beside a LoRA policy is a second adapter; the policy's own is one to train on."""
    damage, expected = ADAPTER_FAULTS[fault]
    damaged = copy(adapter, tmp_path / "damaged", damage)
    config = stage("cdpo", "lora.rank=4")
    refused(
        lambda: make_trainer(assets, tmp_path / "out", config, reference=damaged), expected.removeprefix("12 are missing .*")
    )
    refused(lambda: make_trainer(assets, tmp_path / "out", config, start=damaged), expected)


class Killed(Exception):  # noqa: N818
    """What ends a run in the middle."""


GoOn = Callable[..., Any]


@pytest.fixture(scope="module")
def killed(curated: Curated, assets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, GoOn]]:
    """Two CDPO runs that were killed in their second step, of whole weights and of adapters, and what goes on with a copy."""

    def begin(name: str, bias: Path, *overrides: str) -> tuple[Path, GoOn]:
        config: StageConfig = stage("cdpo", "optimizer.steps=2", "saving.save_every=1", *overrides)

        def go_on(out: Path, report: Callable[[StepRecord], None] = lambda _: None) -> Any:
            return run.train(config, data=curated, start=str(assets / "start"), bias=str(bias), out=out, report=report)

        def stop(step: StepRecord) -> None:
            if step.step == 2:
                raise Killed

        out = tmp_path_factory.mktemp("killed") / name
        with pytest.raises(Killed):
            go_on(out, stop)
        assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-1"]
        return out, go_on

    bias = write_adapter(assets / "start", tmp_path_factory.mktemp("bias") / "adapter")
    return {"whole": begin("whole", assets / "bias"), "adapters": begin("adapters", bias, "lora.rank=4")}


@pytest.mark.parametrize("fault", ["a layer gone", "prefixed", "NaN", "cut"])
def test_a_run_does_not_go_on_from_whole_weights_that_do_not_fit(
    killed: dict[str, tuple[Path, GoOn]], tmp_path: Path, fault: str
) -> None:
    out, go_on = killed["whole"]
    damage, expected = WHOLE_FAULTS[fault]
    copied = copy(out, tmp_path / "out", lambda folder: damage(folder / "checkpoint-1"))
    refused(lambda: go_on(copied), f"checkpoint-1: .*{expected}.*; or delete .*checkpoint-1, and training goes on from")


@pytest.mark.parametrize("place", ["checkpoint-1", "checkpoint-1/reference"])
@pytest.mark.parametrize("fault", ["names of another version", "NaN", "pickled"])
def test_a_run_does_not_go_on_from_adapters_that_do_not_fit(
    killed: dict[str, tuple[Path, GoOn]], tmp_path: Path, fault: str, place: str
) -> None:
    """The policy's own, and the frozen one beside it."""
    out, go_on = killed["adapters"]
    damage, expected = ADAPTER_FAULTS[fault]
    if fault == "NaN":
        damage, expected = with_number(an_adapters_tensor(out / place), float("nan")), r"lora_A\.weight holds NaN"
    copied = copy(out, tmp_path / "out", lambda folder: damage(folder / place))
    refused(lambda: go_on(copied), rf"{place}: .*{expected.removeprefix('12 are missing .*')}")


def an_adapters_tensor(folder: Path) -> str:
    return next(name for name in load_file(folder / ADAPTER_WEIGHTS) if "lora_A" in name)


def test_a_run_goes_on_from_adapters_that_have_not_moved_yet_but_not_with_a_stranger(
    killed: dict[str, tuple[Path, GoOn]], tmp_path: Path
) -> None:
    out, go_on = killed["adapters"]
    copied = copy(out, tmp_path / "out", lambda folder: without_effect(folder / "checkpoint-1"))
    assert go_on(copied).result.steps == 2
    copied = copy(
        out, tmp_path / "other", lambda folder: copy(folder / "checkpoint-1/reference", folder / "checkpoint-1/guest")
    )
    refused(lambda: go_on(copied), "checkpoint-1/guest: holds an adapter that this training does not have")
