"""The settings of a pretraining: shipped files load, every violation is named, keys and identities of files stay."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from videothinker import store
from videothinker.errors import VtError
from videothinker.pretrain import record
from videothinker.pretrain.settings import PretrainConfig, load_pretraining

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("file", ["tiny-sft.toml", "tiny-sft-settle.toml", "tiny-sft-cpu.toml", "pretrain-forms.toml"])
def test_the_shipped_configs_load(file: str) -> None:
    config = load_pretraining(CONFIGS / file)
    assert config.lessons.counterfactual_share == 0.7
    assert config.evaluation.times >= 1


def test_the_second_piece_differs_from_the_first_only_where_its_file_says_so() -> None:
    first, second = (tomllib.loads((CONFIGS / name).read_text()) for name in ("tiny-sft.toml", "tiny-sft-settle.toml"))
    lines = (CONFIGS / "tiny-sft-settle.toml").read_text().splitlines()
    said = {line.partition(" ")[0] for line in lines if " = " in line and "#" in line}
    values = {(section, key): value for section in second if section != "seed" for key, value in second[section].items()}
    changed = {key for (section, key), value in values.items() if first[section].get(key) != value}
    assert first.keys() == second.keys()
    assert first["seed"] == second["seed"]
    assert changed <= said


def test_every_violation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[optimizer]\nsteps = 0\n[lesson]\n[world]\npreset = 3")
    with pytest.raises(VtError, match=r"lesson: unknown.*optimizer\.steps.*world\.preset"):
        load_pretraining(file)
    for override, why in (
        ("world.preset=none", "choose one of clevrer, clevrer74"),
        ("lessons.backlog=100", "is not a multiple of 64"),
        ("lessons.backlog=64", "more than lessons.backlog holds"),
        ("optimizer.rows=48", "is not a multiple of optimizer.rows"),
    ):
        with pytest.raises(VtError, match=why):
            load_pretraining(CONFIGS / "tiny-sft.toml", [override])


def test_keys_of_files_stay_where_python_has_plainer_names(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[lessons]\ndraws = 2\nrows = 3\n[optimizer]\nrows = 96")
    config = load_pretraining(file, ["lessons.draws=8"])
    assert (config.lessons.variants_per_scene, config.lessons.sequences_per_clip) == (8, 3)
    assert config.optimizer.sequences_per_step == 96
    plain = msgspec.to_builtins(config)
    assert (plain["lessons"]["draws"], plain["lessons"]["rows"], plain["optimizer"]["rows"]) == (8, 3, 96)
    with pytest.raises(VtError, match=r"lessons\.sequences_per_clip: unknown setting; known here: draws, rows, n_questions"):
        load_pretraining(file, ["lessons.sequences_per_clip=3"])


@pytest.mark.parametrize("piece", ["2-settling", "3-longer"])
def test_a_run_of_an_earlier_version_keeps_its_identity_and_its_curve(piece: str) -> None:
    """Else the folder could not be resumed: it would count as a run with other settings."""
    folder = ROOT / "reports" / "pretraining-world" / piece
    stored = store.read_json(folder / record.RUN, dict)
    config = msgspec.convert(stored["settings"], PretrainConfig)
    start = stored["start"]
    begun = record.begin(config, start=start["ref"], sha256=start["sha256"], max_minutes=stored["max_minutes"])
    assert begun["settings"] == stored["settings"]
    assert begun["identity"] == stored["identity"]
    assert begun.keys() == stored.keys() - {"sessions", "result"}
    points = store.read_jsonl(folder / record.METRICS, record.CurvePoint)
    assert points[-1].step == stored["result"]["steps"]
    assert points[-1].unseen is not None
    assert msgspec.to_builtins(points[-1]) == stored["result"]["last"]
