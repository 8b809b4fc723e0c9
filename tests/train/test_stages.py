"""Every shipped config loads and says what the paper says; settings that cannot be right are refused, all at once."""

import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml

from videothinker.errors import VtError
from videothinker.train.objective import Reference, ReferenceClip
from videothinker.train.stage_files import load_stage, make_stage
from videothinker.train.stages import Stage, StageConfig

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(path for stage in Stage for path in CONFIGS.glob(f"{stage}-*.toml"))


def test_there_is_a_config_for_every_stage_size_and_way() -> None:
    kinds = ("3b", "7b", "3b-lora", "7b-lora", "tiny")
    assert {path.stem for path in FILES} >= {f"{stage}-{kind}" for stage in Stage for kind in kinds}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_stage(Stage(path.stem.split("-")[0]), path)
    assert config.lora is not None if "lora" in path.stem else config.lora is None
    assert (config.objective.repulsion > 0) is (config.stage is Stage.CDPO)
    assert (config.objective.anchor > 0) is (config.stage is Stage.AUTO)


@pytest.mark.parametrize(
    "path", [path for path in FILES if "3b." in path.name and "auto" not in path.name], ids=lambda path: path.stem
)
def test_the_full_3b_configs_hold_the_papers_values(path: Path) -> None:
    """Paper, section 4, and the official code's particulars."""
    config = load_stage(Stage(path.stem.split("-")[0]), path)
    assert config.data.n_questions == 1000
    assert (config.data.n_frames, config.data.max_pixels) == (16, 128 * 28 * 28)
    assert (config.rollouts.n_replies, config.rollouts.max_new_tokens, config.rollouts.temperature) == (8, 768, 1.0)
    assert (config.optimizer.steps, config.optimizer.learning_rate, config.optimizer.max_grad_norm) == (500, 1e-6, 20.0)
    assert config.model.train_vision
    assert config.seed == 42
    assert (config.objective.clip_low, config.objective.clip_high) == (0.2, 0.28)
    if config.stage is Stage.CDPO:
        assert (config.objective.repulsion, config.objective.kl, config.objective.kl_clamp) == (0.01, "k3", 11.0)


def test_the_full_auto_configs_hold_the_second_papers_values() -> None:
    """VideoAuto-R1's script; frames, steps and rate are the first paper's."""
    for size in ("3b", "7b"):
        config, grpo = (load_stage(stage, CONFIGS / f"{stage}-{size}.toml") for stage in (Stage.AUTO, Stage.GRPO))
        assert config.rewards == {"accuracy": 1.1, "format": 1.0, "first": 0.9, "fallback": 0.3}
        assert (config.objective.anchor, config.objective.repulsion, config.rollouts.n_replies) == (0.01, 0.0, 16)
        assert (config.optimizer.schedule, config.model.train_vision, config.data.prompt) == ("constant", False, "twice")
        assert config.data.max_pixels == grpo.data.max_pixels
        assert config.optimizer.learning_rate == 1e-6


def test_a_stage_that_answers_twice_has_that_papers_rewards_by_default_and_refuses_other_prompts() -> None:
    config = make_stage(Stage.AUTO, {"objective": {"repulsion": 0.1}, "optimizer": {"steps": 3}}, ["rewards.first=0.5"])
    assert config.rewards == {"accuracy": 1.1, "format": 1.0, "first": 0.5, "fallback": 0.3}
    assert (config.objective.anchor, config.objective.repulsion, config.data.prompt) == (0.01, 0.1, "twice")
    assert config.needs_reference
    with pytest.raises(VtError, match=r"data.prompt = 'cot': stage auto is about replies that answer twice.*vt train grpo"):
        make_stage(Stage.AUTO, {"rewards": {"accuracy": 1.0}}, ["data.prompt=cot"])
    with pytest.raises(VtError, match="data: is not a section"):
        make_stage(Stage.AUTO, {"data": 3})


def test_the_rival_of_cdpo_differs_from_it_in_its_reference_alone() -> None:
    cdpo, rival = (load_stage(Stage.CDPO, CONFIGS / f"cdpo-3b{kind}.toml") for kind in ("", "-self-blank"))
    changed = msgspec.structs.replace(rival.objective, reference=Reference.BIAS, reference_clip=ReferenceClip.SAME)
    assert msgspec.structs.replace(rival, objective=changed) == cdpo
    assert (rival.objective.reference, rival.objective.reference_clip) == ("self", "blank")


@pytest.mark.parametrize("kind", ["inferential", "filtered", "ordered"])
def test_the_rivals_of_grpo_differ_from_it_in_what_they_are_named_after(kind: str) -> None:
    grpo, rival = (load_stage(Stage.GRPO, CONFIGS / f"grpo-3b{suffix}.toml") for suffix in ("", f"-{kind}"))
    if kind == "ordered":
        assert rival.rewards == grpo.rewards | {"ordered": 0.3}
        rollouts = msgspec.structs.replace(rival.rollouts, shuffled=0)
        assert msgspec.structs.replace(rival, rollouts=rollouts, rewards=grpo.rewards) == grpo
    else:
        assert rival.data.where is not None
        assert msgspec.structs.replace(rival, data=msgspec.structs.replace(rival.data, where=None)) == grpo


def test_the_baseline_is_cdpo_without_repulsion() -> None:
    for kind in ("3b", "7b", "tiny"):
        cdpo, grpo = (load_stage(stage, CONFIGS / f"{stage}-{kind}.toml") for stage in (Stage.CDPO, Stage.GRPO))
        assert msgspec.structs.replace(cdpo, stage=Stage.GRPO, objective=grpo.objective) == grpo


def test_the_parallel_files_name_what_they_are() -> None:
    names = {path.name: path.read_text() for path in (CONFIGS / "accelerate").glob("*.yaml")}
    assert set(names) == {"ddp.yaml", "ddp-nodes.yaml", "fsdp.yaml", "fsdp-nodes.yaml", "zero2.yaml", "zero3.yaml"}
    for kind in ("ddp", "fsdp"):  # the same training on one machine and on several
        one, several = (yaml.safe_load(names[f"{kind}{nodes}.yaml"]) for nodes in ("", "-nodes"))
        of_place = ("num_machines", "num_processes", "main_process_port")
        assert {key: value for key, value in several.items() if key not in of_place} == {
            key: value for key, value in one.items() if key not in of_place
        }
    assert "fsdp_version: 2" in names["fsdp.yaml"]
    assert "zero_stage: 2" in names["zero2.yaml"]
    assert "zero_stage: 3" in names["zero3.yaml"]


def test_overrides_take_toml_values_and_plain_words() -> None:
    config = make_stage(
        Stage.CDPO,
        {"objective": {"repulsion": 0.01}},
        ["objective.repulsion=0.02", "objective.kl = bounded", "seed=7", 'saving.report_to=["tensorboard"]', "lora.rank=8"],
    )
    assert config.objective.repulsion == 0.02
    assert config.objective.kl == "bounded"
    assert config.seed == 7
    assert config.saving.report_to == ("tensorboard",)
    assert config.lora is not None
    assert config.lora.rank == 8


@pytest.mark.parametrize(
    ("named", "trackers"),
    [("wandb", ("wandb",)), ("none", ()), ("trackio,wandb", ("trackio", "wandb")), ('["wandb"]', ("wandb",)), ("[]", ())],
)
def test_a_tracker_is_named_by_a_word(named: str, trackers: tuple[str, ...]) -> None:
    assert make_stage(Stage.GRPO, {}, [f"saving.report_to={named}"]).saving.report_to == trackers
    assert make_stage(Stage.GRPO, {"saving": {"keep": 3}}, [f"saving.report_to={named}"]).saving.keep == 3


def test_overrides_leave_the_rest_of_a_section_alone() -> None:
    raw = {"optimizer": {"steps": 7}}
    assert make_stage(Stage.GRPO, raw, ["optimizer.learning_rate=1e-3"]).optimizer.steps == 7
    assert raw == {"optimizer": {"steps": 7}}


def test_a_files_rewards_replace_the_default_and_overrides_add_to_it() -> None:
    assert make_stage(Stage.GRPO, {}).rewards == {"accuracy": 1.0, "format": 1.0}
    assert make_stage(Stage.GRPO, {}, ["rewards.format=0.25"]).rewards == {"accuracy": 1.0, "format": 0.25}
    assert make_stage(Stage.GRPO, {"rewards": {"accuracy": 2}}).rewards == {"accuracy": 2.0}
    assert make_stage(Stage.GRPO, {}, ["rewards={accuracy=3.0}"]).rewards == {"accuracy": 3.0}
    twice = make_stage(Stage.GRPO, {}, ["data.prompt=twice", "rewards.fallback=0.3"])
    assert twice.rewards == {"accuracy": 1.0, "format": 1.0, "fallback": 0.3}


def test_all_violations_are_told_at_once() -> None:
    raw = {"sead": 1, "objective": {"repulsion": -1, "kl": "k4"}, "rollouts": {"n_replies": 1}, "lora": {"rank": 0}}
    with pytest.raises(VtError) as caught:
        make_stage(Stage.CDPO, raw)
    for name in ("sead", "objective.repulsion", "objective.kl", "rollouts.n_replies", "lora.rank"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "overrides", "why"),
    [
        (Stage.GRPO, ["stage=bias"], "vt train bias"),
        (Stage.CDPO, [], "repulsion = 0"),
        (Stage.BIAS, ["objective.repulsion=0.1"], "only `vt train cdpo` and `vt train auto` have a reference"),
        (Stage.GRPO, ["rollouts.rows_per_forward=3"], "does not divide the 16 replies"),
        (
            Stage.GRPO,
            ["rewards.lenght=1.0"],
            "there is no reward 'lenght'; known are accuracy, format, ordered, first, fallback",
        ),
        (Stage.GRPO, ["rewards.first=0.9"], "rewards.first: is for replies that answer twice, and data.prompt is 'cot'"),
        (Stage.GRPO, ["rewards.format=0"], "rewards = .*Expected `float` > 0"),
        (Stage.GRPO, ["rewards={}"], "rewards: names none"),
        (
            Stage.CDPO,
            ["objective.repulsion=0.1", "objective.repel_on=correct_rollouts", "rewards={format=1.0}"],
            r"told by the reward 'accuracy', which is not among \[rewards\]",
        ),
        (Stage.GRPO, ["rollouts.engine=vllm"], "passes it no clips"),
        (Stage.GRPO, ["rollouts.updates_per_batch=3", "saving.save_every=4"], "a resumed run would differ"),
        (Stage.GRPO, ['saving.report_to=["paper"]'], "known are tensorboard"),
        (Stage.GRPO, ["saving.report_to=none,wandb"], "known are tensorboard, trackio, wandb, or none"),
        (Stage.GRPO, ["objective=3"], "objective: is not a section"),
        (Stage.GRPO, ["optimizer.steps"], "is not KEY=VALUE"),
        (Stage.GRPO, ["a.b.c=1"], "a: unknown setting"),
    ],
)
def test_contradictions_are_refused(stage: Stage, overrides: list[str], why: str) -> None:
    with pytest.raises(VtError, match=why):
        make_stage(stage, {}, overrides)


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(VtError, match="cannot be read"):
        load_stage(Stage.GRPO, tmp_path / "none.toml")
    (tmp_path / "x.toml").write_text("seed = ")
    with pytest.raises(VtError, match="is not TOML"):
        load_stage(Stage.GRPO, tmp_path / "x.toml")


def test_a_resolved_config_reads_back_as_itself() -> None:
    for path in FILES:
        config = load_stage(Stage(path.stem.split("-")[0]), path)
        assert msgspec.json.decode(msgspec.json.encode(config), type=StageConfig) == config
        assert tomllib.loads(path.read_text())["stage"] == config.stage


def test_a_word_that_a_setting_does_not_know_is_told_with_those_it_does() -> None:
    with pytest.raises(VtError, match=r"reference_clip = 'torn': .*, expected one of same, blank, frozen, .*mirrored"):
        load_stage(Stage.CDPO, CONFIGS / "cdpo-tiny.toml", ["objective.reference=self", "objective.reference_clip=torn"])
