"""`vt diagnose` refuses checkpoints that do not fit before it asks any, alone and as a cell of a study."""

from pathlib import Path

import pytest
from damaged import ADAPTER_WEIGHTS, WEIGHTS, Damage, copy, cut, dropped, pickled, pointer, renamed, told, without_effect
from train.trainers import write_adapter
from vt_command import one_error, vt

from videothinker.curated import Curated
from videothinker.models import tiny
from videothinker.records.study_cells import State
from videothinker.study.cells import read_records
from videothinker.study.plan import Cell, Kind
from videothinker.study.run import Slots, run_study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("whole") / "base")


@pytest.fixture(scope="module")
def adapter(whole: Path) -> Path:
    return write_adapter(whole, whole.with_name("adapter"))


FAULTS: dict[str, tuple[Damage, str]] = {
    "wrapped": (renamed(lambda name: f"_orig_mod.{name}"), "unknown to the model (_orig_mod.model.embed_tokens.weight"),
    "part": (dropped(lambda name: name.startswith("visual.merger")), "missing (model.visual.merger.ln_q.weight"),
    "cut": (cut(1000), "model.safetensors (1,000 bytes) is cut or damaged"),
    "placeholder": (pointer(WEIGHTS), "model.safetensors is a placeholder of git-lfs"),
    "pickled": (pickled, "has pytorch_model.bin and no model.safetensors"),
    "mute": (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
    "code": (
        told(model_type="own", auto_map={"AutoConfig": "own.Config"}),
        "read that code, and let `vt diagnose` run it with",
    ),
}
ADAPTER_FAULTS: dict[str, tuple[Damage, str]] = {
    "other names": (renamed(lambda name: name.replace("model.language_model.", "model.")), "rename the tensors: 'base_model.m"),
    "no effect": (without_effect, "the adapter changes nothing"),
    "no weights": (lambda folder: (folder / ADAPTER_WEIGHTS).unlink(), "has no adapter_model.safetensors"),
}


@pytest.mark.parametrize("fault", [*FAULTS, *ADAPTER_FAULTS])
def test_a_bad_checkpoint_is_refused_before_the_good_one_before_it_is_asked(
    whole: Path, adapter: Path, colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    source, (damage, expected) = (whole, FAULTS[fault]) if fault in FAULTS else (adapter, ADAPTER_FAULTS[fault])
    bad = copy(source, tmp_path / "bad", damage)
    models = ("--model", f"good={whole}", "--model", bad)
    assert vt("diagnose", "--data", colours.folder, *models, "--out", tmp_path / "out", "--max-new-tokens", "2") == 2
    line = one_error(capsys)
    assert line.startswith(f"error: {bad}: ")
    assert expected in line
    assert not (tmp_path / "out").exists()


def test_whole_ones_are_asked_and_the_adapter_answers_otherwise_than_its_base(
    whole: Path, adapter: Path, colours: Curated, tmp_path: Path
) -> None:
    models = ("--model", whole, "--model", adapter, "--max-new-tokens", "2", "--no-report")
    assert vt("diagnose", "--data", colours.folder, *models, "--out", tmp_path / "out") == 0
    base, tuned = ((tmp_path / "out" / name / "predictions.jsonl").read_text() for name in ("base", "adapter"))
    assert len(base.splitlines()) == len(tuned.splitlines()) == 6
    assert base != tuned


def test_a_path_without_a_folder_is_refused_at_once(
    whole: Path, colours: Curated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ref, expected in {f"{whole.parent}/bais": "no such folder", "./nowhere": "no such folder"}.items():
        assert vt("diagnose", "--data", colours.folder, "--model", ref, "--out", tmp_path / "out") == 2
        assert one_error(capsys).startswith(f"error: {ref}: {expected}")


def test_a_cell_of_a_study_fails_with_that_line(whole: Path, colours: Curated, tmp_path: Path) -> None:
    bad = copy(whole, tmp_path / "bad", renamed(lambda name: f"module.{name}"))
    arguments = ("diagnose", "--data", str(colours.folder), "--model", f"x={bad}", "--out", "{out}")
    cell = Cell("greedy.x", Kind.ASK, arguments, gpu=False, group="ask greedy", identity="one")
    assert run_study([cell], tmp_path / "study", tmp_path, Slots((), 1)) == {"greedy.x": State.FAILED}
    record = read_records([cell], tmp_path / "study")["greedy.x"]
    assert record.returncode == 2
    assert record.tail[-1].startswith(f"error: {bad}: the weights do not fit its config.json: 57 are missing (lm_head.weight")
    assert "save model.module with save_pretrained" in record.tail[-1]
