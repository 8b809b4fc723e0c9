"""How a stage's settings are read from TOML and `--set`, and which of them contradict each other.

This module loads without torch.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from videothinker import prompts, sections
from videothinker.answers import Style
from videothinker.errors import VtError
from videothinker.train.objective import KL, Direction, Reference, ReferenceClip, RepelOn
from videothinker.train.rewards import ACCURACY, FALLBACK, FIRST, ORDERED, REWARDS, default_weights, weights_for_twice
from videothinker.train.stages import TRACKERS, Engine, Stage, StageConfig


def load_stage(stage: Stage, file: Path, overrides: Sequence[str] = ()) -> StageConfig:
    """The settings of `file` with `--set section.key=value` applied.

    overrides: "section.key=value" with a TOML value (quotes may be left out around a plain word).

    Raises:
        VtError: the file is not TOML, or any setting is unknown, of the wrong kind or out of bounds; names all of them.
    """
    return make_stage(stage, sections.load_toml(file), overrides, source=str(file))


def make_stage(
    stage: Stage, raw: dict[str, Any], overrides: Sequence[str] = (), *, source: str = "the settings"
) -> StageConfig:
    """`load_stage` of settings that are already read; {} gives the defaults. A missing `stage` is the command's."""
    raw = _with_defaults(raw, stage)
    raw = _without_replaced_weight(raw, overrides)
    for assignment in overrides:
        sections.override(raw, assignment)
    raw = _with_trackers(_with_prompt(raw, source))
    problems: list[str] = []
    config = sections.read(StageConfig, raw, problems)
    if config is not None:
        problems = list(_contradictions(config, stage))
        if not problems:
            return config
    raise VtError(f"{source}: {'; '.join(problems)}")


def _with_defaults(raw: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """`raw` with the stage's own defaults where it says nothing; rewards among them, so that --set rewards.NAME=... adds."""
    if stage is not Stage.AUTO:
        return {"stage": stage.value, "rewards": default_weights(), **raw}
    with_rewards = {"stage": stage.value, "rewards": weights_for_twice(), **raw}
    own: dict[str, dict[str, Any]] = {"data": {"prompt": Style.TWICE.value}, "objective": {"anchor": 0.01}}
    given = {name: raw.get(name, {}) for name in own}  # a section that is no table is told of where it is read
    return with_rewards | {name: {**own[name], **said} if isinstance(said, dict) else said for name, said in given.items()}


def _with_prompt(raw: dict[str, Any], source: str) -> dict[str, Any]:
    """`raw` with what `data.prompt` names: a style of ours, or a template and the style that it says.

    Raises:
        VtError: it names no prompt, or the settings hold a template themselves.
    """
    data = raw.get("data")
    if not isinstance(data, dict):
        return raw
    if "template" in data:
        raise VtError(f"{source}: data.template: is read from a file; name that in data.prompt")
    named = data.get("prompt", Style.COT)
    if not isinstance(named, str) or named in list(Style):
        return raw
    try:
        asked = prompts.find(named)
    except VtError as error:
        raise VtError(f"{source}: data.prompt: {error}") from error
    template = None if asked.template is None else {"sha256": asked.template.sha256, "text": asked.template.text}
    return {**raw, "data": {**data, "prompt": asked.style.value, "template": template}}


def _with_trackers(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with `saving.report_to` as a list, where it is a word such as wandb, or none."""
    saving = raw.get("saving")
    if not isinstance(saving, dict) or not isinstance(named := saving.get("report_to"), str):
        return raw
    names = [name.strip() for name in named.split(",") if name.strip()]
    return {**raw, "saving": {**saving, "report_to": [] if names == ["none"] else names}}


def _without_replaced_weight(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`raw` without the file's weight of the divergence where `--set` chooses the other way to say it.

    A weight and a share exclude each other, and every file of stage cdpo has one of them.
    """
    objective, said = raw.get("objective"), {assignment.partition("=")[0].strip() for assignment in overrides}
    if not isinstance(objective, dict):
        return raw
    ways = ("repulsion", "gradient_share")
    chosen = {way for way in ways if f"objective.{way}" in said}
    replaced = set(ways) - chosen if len(chosen) == 1 else set()
    return {**raw, "objective": {name: value for name, value in objective.items() if name not in replaced}}


def _contradictions(config: StageConfig, command: Stage) -> Iterator[str]:
    """What is wrong between settings each of which is fine by itself."""
    if config.stage is not command:
        yield f"stage = {config.stage.value!r}: this is a file for `vt train {config.stage.value}`, not `{command.value}`"
    if config.stage is Stage.CDPO and not config.needs_reference:
        yield "objective.repulsion = 0: then this is the baseline, `vt train grpo`; the paper's value is 0.01"
    if not config.stage.may_repel and config.objective.repulsion != 0:
        yield f"objective.repulsion = {config.objective.repulsion}: only {_REPELLING} have a reference to repel from"
    if config.stage is Stage.AUTO and config.data.prompt is not Style.TWICE:
        yield (
            f"data.prompt = '{config.data.prompt}': stage auto is about replies that answer twice; set it to '{Style.TWICE}',"
            " or take `vt train grpo`"
        )
    yield from _wrong_share(config)
    yield from _wrong_reference(config)
    if config.objective.hold_at is not None:
        if not config.needs_reference or config.objective.direction is not Direction.REPEL:
            yield "objective.hold_at: only a repulsion is adapted; choose a repulsion and direction repel, or leave it out"
        elif config.objective.starts_at_zero:
            yield "objective.hold_at: the start model does not diverge from itself, so there is nothing to take a multiple of"
    yield from _wrong_rewards(config)
    rows, n_replies = config.rollouts.rows_per_forward, config.rollouts.n_replies * config.rollouts.questions_per_step
    if rows is not None and n_replies % rows:
        yield (
            f"rollouts.rows_per_forward = {rows}: does not divide the {n_replies} replies of a step (rollouts.n_replies x"
            " questions_per_step)"
        )
    if config.rollouts.engine is Engine.VLLM:
        yield "rollouts.engine = 'vllm': TRL 1.16 passes it no clips, so it would answer unseen; choose auto or transformers"
    if config.saving.save_every % config.rollouts.updates_per_batch:
        yield (
            f"saving.save_every = {config.saving.save_every}: is not a multiple of rollouts.updates_per_batch ="
            f" {config.rollouts.updates_per_batch}, so a resumed run would differ"
        )
    if unknown := [name for name in config.saving.report_to if name not in TRACKERS]:
        yield f"saving.report_to = {unknown}: known are {', '.join(TRACKERS)}, or none"


_REPELLING = " and ".join(f"`vt train {stage}`" for stage in Stage if stage.may_repel)


def _wrong_share(config: StageConfig) -> Iterator[str]:
    objective = config.objective
    share = objective.gradient_share
    if objective.log_gradient_ratio_every and not config.stage.may_repel:
        yield f"objective.log_gradient_ratio_every: only {_REPELLING} have a divergence whose gradient could be measured"
    if share is None:
        return
    if not config.stage.may_repel:
        yield f"objective.gradient_share = {share}: only {_REPELLING} have a reference to repel from"
    if objective.repulsion != 0:
        yield (
            f"objective.gradient_share = {share} and objective.repulsion = {objective.repulsion}: both set the weight of the"
            " divergence; leave one out"
        )
    if objective.hold_at is not None:
        yield "objective.gradient_share and objective.hold_at: both adapt the weight of the divergence; leave one out"
    if objective.starts_at_zero:
        yield (
            "objective.gradient_share: the start model does not diverge from itself, so at first a share of rounding errors"
            " would move the policy; set objective.repulsion, or reference = 'bias'"
        )


def _wrong_reference(config: StageConfig) -> Iterator[str]:
    objective = config.objective
    if not config.stage.may_repel:
        asked = {
            "reference": objective.reference is Reference.SELF,
            "reference_clip": objective.reference_clip.damage is not None,
        }
        for name in (name for name, wanted in asked.items() if wanted):
            yield f"objective.{name} = '{getattr(objective, name)}': only {_REPELLING} have a reference; leave it out"
    if objective.reference is not Reference.SELF:
        return
    if objective.reference_clip.damage is None:
        clips = ", ".join(clip for clip in ReferenceClip if clip.damage is not None)
        yield (
            "objective.reference = 'self' with reference_clip = 'same': the policy does not diverge from itself on one clip, so"
            f" nothing would be repelled; choose a reference_clip of {clips}"
        )
    if objective.kl is KL.EXACT and config.rollouts.updates_per_batch > 1:
        yield (
            "objective.reference = 'self', kl = 'exact' and rollouts.updates_per_batch > 1: the output layer of the policy that"
            " wrote the replies is not kept; set updates_per_batch = 1, or another kl"
        )


def _wrong_rewards(config: StageConfig) -> Iterator[str]:
    if unknown := [name for name in config.rewards if name not in REWARDS]:
        yield f"rewards: there is no reward {', '.join(map(repr, unknown))}; known are {', '.join(REWARDS)}"
    if not config.rewards:
        yield f"rewards: names none, so nothing would be learnt; known are {', '.join(REWARDS)}"
    asked_twice = [name for name in (FIRST, FALLBACK) if name in config.rewards]
    if asked_twice and config.data.prompt is not Style.TWICE:
        yield (
            f"rewards.{asked_twice[0]}: is for replies that answer twice, and data.prompt is '{config.data.prompt}'; set it to"
            f" '{Style.TWICE}', or leave {' and '.join(asked_twice)} out of [rewards]"
        )
    if (ORDERED in config.rewards) is not (config.rollouts.shuffled > 0):
        yield (
            f"rewards.{ORDERED} and rollouts.shuffled: the one is earned by the other, so set both, such as {ORDERED} = 0.3 and"
            " shuffled = 4, or neither"
        )
    if config.needs_reference and config.objective.repel_on is not RepelOn.ALL and ACCURACY not in config.rewards:
        yield (
            f"objective.repel_on = '{config.objective.repel_on}': which replies are right is told by the reward '{ACCURACY}',"
            " which is not among [rewards]; add it, or choose repel_on = 'all'"
        )
