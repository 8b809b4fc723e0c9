"""What a training stage is: its settings, with bounds and sources, read from TOML and `--set`.

Three stages are the paper's (section 4). `bias`: GRPO on the observational questions alone, which teaches the shortcut.
`cdpo`: GRPO on all questions, repelled from the frozen bias model. `grpo`: the same without repulsion, the baseline of the
paper's tables. A fourth, `auto`, is VideoAuto-R1's (arXiv 2601.05175): GRPO on replies that answer, think and answer again,
kept near the start; with a bias model it is repelled from that too. A file in configs/ names only what differs from the
defaults below, which are the first paper's.

Everything that changes a result is a field here and is written to run.json. This module loads without torch.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec

from videothinker import prompts, sections
from videothinker.answers import Style
from videothinker.damage import Damage
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions
from videothinker.prompts import Asked
from videothinker.records.bounds import AboveZero, Index, NotNegative, Positive, Share
from videothinker.records.prompt import Template
from videothinker.records.training import GateMargins
from videothinker.train.rewards import ACCURACY, FALLBACK, FIRST, ORDERED, REWARDS, default_weights, weights_for_twice


class Stage(StrEnum):
    """The three trainings of the paper, and the one of VideoAuto-R1."""

    BIAS = "bias"
    CDPO = "cdpo"
    GRPO = "grpo"
    AUTO = "auto"

    @property
    def may_repel(self) -> bool:
        """Whether its settings may have a reference that the policy is repelled from."""
        return self in (Stage.CDPO, Stage.AUTO)


class Direction(StrEnum):
    """What the divergence term does to the policy."""

    REPEL = "repel"
    """Away from the reference: CDPO."""
    ATTRACT = "attract"
    """Towards it: the paper's ablation, and the ordinary KL penalty."""


class Reference(StrEnum):
    """Whose probabilities the divergence is measured to."""

    BIAS = "bias"
    """The checkpoint named by --bias-model."""
    START = "start"
    """The policy's own start, an ablation of the paper. Measured here it ended about where GRPO does, +0.2 points of
    inferential accuracy with the sign undecided, and no run collapsed (docs/training.md)."""
    SELF = "self"
    """The policy itself as it wrote the replies, without gradient. On a damaged clip (`reference_clip`) this is the idea of
    PAPO (arXiv 2507.06448) with the paper's loss: not what is repelled from is trained, but what it is shown is poorer."""


class ReferenceClip(StrEnum):
    """What the reference is shown when it scores the policy's replies; the policy always sees the clip itself."""

    SAME = "same"
    """The clip itself: CDPO."""
    BLANK = "blank"
    """Mid-grey frames, so the reference has the question's words alone. `damage.py` defines this one and those below."""
    FROZEN = "frozen"
    """The first frame at all times."""
    SHUFFLED = "shuffled"
    """The frames in another order, drawn from seed and question."""
    REVERSED = "reversed"
    """The frames from the last to the first."""
    MIRRORED = "mirrored"
    """Left and right exchanged. Nothing of what happens is lost, so this one is for `direction = "attract"`."""

    @property
    def damage(self) -> Damage | None:
        """What is done to the clip; None: nothing."""
        return None if self is ReferenceClip.SAME else Damage(self.value)


class KL(StrEnum):
    """The form of the divergence; `loss.py` has the formulas."""

    K3 = "k3"
    BOUNDED = "bounded"
    REPLY = "reply"
    EXACT = "exact"


class RepelOn(StrEnum):
    """On which replies the divergence counts."""

    ALL = "all"
    GROUPS_NOT_ALL_RIGHT = "groups_not_all_right"
    """Not where every reply to a question is right: there the advantage is 0 and repulsion alone would move the policy."""
    CORRECT_ROLLOUTS = "correct_rollouts"
    """Only on replies that are exactly right. What is right is told by the reward "accuracy", here and above: it is 1. Of
    intervals that is only the gold one itself."""


class Precision(StrEnum):
    """Numbers that the model computes with; trained weights and Adam's state are float32 in every case."""

    BF16 = "bf16"
    FP32 = "fp32"
    AUTO = "auto"
    """bf16 on a GPU, fp32 elsewhere."""


class Engine(StrEnum):
    """What writes the replies."""

    AUTO = "auto"
    """graphs on a GPU that holds the whole model, else transformers."""
    GRAPHS = "graphs"
    """Our own decoder: a cache of fixed size and one CUDA graph per token."""
    TRANSFORMERS = "transformers"
    """`generate`, also where parameters are sharded (FSDP, ZeRO-3)."""
    VLLM = "vllm"
    """Refused: TRL 1.16 hands images to vLLM, but no clips."""


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """[data]: what is asked."""

    split: str = "train"
    prompt: Style = Style.COT
    """How replies are laid out, by which the reward `format` goes. A file may also name a prompt of `prompts.NAMES` or a
    template's file here: the template is then `template`, and the style is the one that it says."""
    template: Template | None = None
    """The words of the prompt; None: ours, in the style `prompt`. Settings that are read name its file in `prompt`."""
    n_questions: Positive = 1000
    """Questions drawn by hash of seed and question_id, so that a larger draw contains a smaller one; paper: about 1K prompts in
    each stage."""
    where: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Ask only the questions of which this SQL condition is true: over the columns of questions.parquet, `category`, and the
    further columns of the label files given, such as "category = 'inferential'" or "blind < 0.5" (`--where`). The stage's own
    pool and `n_questions` are taken from what it lets through."""
    n_frames: Positive = 16
    """Frames of a clip; paper: 16 in training."""
    max_pixels: Positive = 128 * 28 * 28
    """Most pixels of a frame; paper: 128*28*28, which makes 252x364 of CLEVRER's 480x320, 936 video tokens at 16 frames."""

    @property
    def asked(self) -> Asked:
        """How questions are put."""
        return Asked(self.prompt, self.template)


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    """[objective]: the loss."""

    repulsion: NotNegative = 0.0
    """|beta|; paper: 0.01 for CDPO, 0 otherwise. 0.003 to 0.1 was stable in the study, 0.1 not for every model of the
    preparatory experiment (docs/training.md)."""
    hold_at: AboveZero | None = None
    """Adapt the repulsion, from `repulsion` on, so that the divergence stays at this multiple of the start model's (`hold.py`);
    None: constant, as in the paper."""
    gradient_share: Share | None = None
    """Set the weight anew at each optimizer step, in place of `repulsion`, so that the divergence's gradient has this share of
    the norm of the reward's (`apart.py`). For comparison: in the first study a repulsion of 0.01 came to 0.02, 0.1 to 0.21.
    None: the weight is `repulsion`."""
    log_gradient_ratio_every: Index | None = None
    """Measure that ratio every so many optimizer steps, at one more backward pass each; 0: never. None: every step,
    or never under FSDP and DeepSpeed, where it cannot be had."""
    anchor: NotNegative = 0.0
    """Weight of k3 to a frozen copy of the start, unclamped, which keeps the policy near it: the KL penalty of ordinary GRPO.
    It is a term of its own beside `repulsion`, so that one run can have both, and counts on every reply, also on those that
    `drop_equal_groups` leaves out. VideoAuto-R1: 0.01; the first paper: none."""
    direction: Direction = Direction.REPEL
    reference: Reference = Reference.BIAS
    reference_clip: ReferenceClip = ReferenceClip.SAME
    """Paper: the same clip. PAPO: 60 % of an image's patches black; other damages are ours."""
    kl: KL = KL.K3
    kl_clamp: AboveZero = 11.0
    """Nats; official code."""
    repel_on: RepelOn = RepelOn.ALL
    drop_equal_groups: bool = False
    """Leave out the replies to a question if all of them earned the same, as DAPO's dynamic sampling does: the loss, divergence
    included, is the mean over the others. No new questions take their place. False: such replies have advantage 0, but are
    repelled and count in the mean."""
    clip_low: Share = 0.2
    clip_high: NotNegative = 0.28
    """The probability ratio is cut to [1 - clip_low, 1 + clip_high]; official code, after DAPO."""

    @property
    def starts_at_zero(self) -> bool:
        """Is the reference at first the policy itself, shown the same? Then there is nothing to take a multiple or share of."""
        return self.reference is Reference.START and self.reference_clip is ReferenceClip.SAME


class Rollouts(msgspec.Struct, frozen=True, kw_only=True):
    """[rollouts]: how replies are drawn."""

    n_replies: Annotated[int, msgspec.Meta(ge=2)] = 8
    """G, replies per question; official code."""
    questions_per_step: Positive = 2
    """Questions per optimiser step, over all GPUs together; official code: 1 on each of 2 GPUs."""
    rows_per_forward: Positive | None = None
    """Replies scored at a time on one GPU; any number that divides its replies of a step. Fewer take less memory and change
    nothing else. None: n_replies, or on a GPU with a small model as many whole questions as fit (`arguments.rows_at_once`)."""
    updates_per_batch: Positive = 1
    """Optimiser steps taken on the same replies (TRL's num_iterations). Keep it at 1: above, the divergence is not clipped."""
    max_new_tokens: Positive = 768
    """Where a reply is cut."""
    temperature: AboveZero = 1.0
    shuffled: Index = 0
    """Replies per question to its clip with the frames in another order, which are graded for the reward `ordered` and then
    forgotten: each costs the writing of one reply more, and neither scoring nor gradient. Video-R1: half of n_replies."""
    shuffled_margin: NotNegative = 0.8
    """The mean accuracy that earns `ordered`, as a multiple of that on the shuffled clip. Video-R1's 0.8 also rewards a
    question at which order did not help; above 1 it has to help."""
    engine: Engine = Engine.AUTO
    shared_prompts: bool = True
    """Score all replies to a question behind one copy of its prompt, where several are in one forward pass: the same numbers
    for a fraction of the work. Done with SDPA alone, and neither with FSDP or ZeRO-3 nor with gradient checkpointing."""


class Schedule(StrEnum):
    """What becomes of the learning rate after its warm-up."""

    LINEAR = "linear"
    """It falls to 0 over `steps`."""
    CONSTANT = "constant"


class Optimizer(msgspec.Struct, frozen=True, kw_only=True):
    """[optimizer]: AdamW."""

    steps: Positive = 500
    learning_rate: AboveZero = 1e-6
    schedule: Schedule = Schedule.LINEAR
    """VideoAuto-R1: constant, behind a warm-up."""
    warmup_steps: Index = 0
    """Steps over which the learning rate rises from 0."""
    weight_decay: NotNegative = 0.0
    max_grad_norm: AboveZero = 20.0
    """Official code: 20, which hardly ever binds. Configs of tiny models say 1, against k3's spikes."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """[model]: what is loaded and what is trained."""

    precision: Precision = Precision.BF16
    attention: Annotated[str, msgspec.Meta(pattern="^(sdpa|eager|flash_attention_2)$")] = "sdpa"
    train_vision: bool = True
    """Train the vision tower too, as the official code does. VideoAuto-R1: False, a frozen tower. Then each clip is seen once
    in a run, and what the tower made of it is kept (`seen.py`); not so under FSDP and ZeRO-3, where each process has a part of
    the tower."""
    vision_cache_gib: NotNegative = 4.0
    """Memory in GiB, on the CPU and in each process, for what a frozen tower made of clips. The default is ours: a clip of 936
    tokens takes 3.7 MiB of a 3B model in bf16, so that it holds about 1,100. 0: none."""
    vision_spill_gib: NotNegative = 8.0
    """Disk in GiB, beside the cache of decoded clips ($VIDEOTHINKER_CACHE), for what memory has no room for; 0: none, and the
    tower sees such a clip again. The default is that of the decoded clips."""
    gradient_checkpointing: bool = True
    text_positions: TextPositions | None = None
    """The rule by which the text behind a clip goes on, in roll-outs and scoring alike. None: the start's own, which is the
    original one but for what earlier versions of this package trained."""


class Lora(msgspec.Struct, frozen=True, kw_only=True):
    """[lora]: train adapters alone. Without this section everything is trained."""

    rank: Positive = 64
    alpha: Positive = 128
    dropout: Share = 0.0
    targets: Annotated[str, msgspec.Meta(min_length=1)] = (
        r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    )
    """Regular expression over module names; by default the language model's projections."""


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """[alarms]: what is called out while it happens.

    These signs went before the collapses of the preparatory experiment; none of the study's runs collapsed (docs/training.md).
    """

    window: Positive = 10
    """Logged steps that are averaged; the first window is the base that later ones are compared with."""
    length_ratio: AboveZero = 1.5
    """Called out when the mean reply length exceeds this times the base's."""
    format_floor: Share = 0.98
    """Called out when the format reward falls under this, once the base or a later window had reached it."""
    kl_growth: AboveZero = 2.0
    """Called out when the divergence exceeds this times that of the window before."""
    kl_floor: NotNegative = 0.1
    """Nats; a divergence below it is never called out."""
    idle_steps: Positive = 20
    """Called out after so many logged steps in a row in which all replies to each question earned the same: then nothing but
    the divergence moves the policy."""
    stop: bool = False
    """Stop the run, with a checkpoint, at the first alarm on length, format or divergence."""


TRACKERS = ("tensorboard", "trackio", "wandb")
"""What `saving.report_to` may name; each is the name of a package."""


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """[saving]: what is kept and shown. Nothing here changes a weight."""

    log_every: Positive = 1
    save_every: Positive = 100
    """Optimiser steps between checkpoints to resume from; a multiple of `updates_per_batch`, or resuming would not be exact."""
    keep: Positive = 2
    """How many of these checkpoints are kept, the latest ones."""
    report_to: tuple[str, ...] = ()
    """Trackers: any of `TRACKERS`. A word, or words with commas between them, will do; "none" is none of them."""


class StageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A whole stage."""

    stage: Stage
    seed: int = 42
    data: Data = Data()
    objective: Objective = Objective()
    rewards: dict[str, AboveZero] = msgspec.field(default_factory=default_weights)
    """[rewards]: weight of each reward by its name in `rewards.REWARDS`; a reply earns their weighted sum. A file's section
    replaces the default, which is the paper's sum: accuracy and format, 1.0 each. `--set rewards.NAME=WEIGHT` adds to it."""
    rollouts: Rollouts = Rollouts()
    optimizer: Optimizer = Optimizer()
    model: Model = Model()
    lora: Lora | None = None
    alarms: Alarms = Alarms()
    gate: GateMargins = GateMargins()
    saving: Saving = Saving()

    @property
    def needs_reference(self) -> bool:
        """Does the loss have a divergence term?"""
        return self.objective.repulsion > 0 or self.objective.gradient_share is not None


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
