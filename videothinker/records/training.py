"""What a training records about itself: `vt train` writes it, studies and reports read it."""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from videothinker.records.bounds import Positive, Share
from videothinker.records.label import Rule
from videothinker.records.metrics import Estimate

RUN = "run.json"
METRICS = "metrics.jsonl"
GATE = "gate.json"


class Completion(NamedTuple):
    """One reply of a training step: a row of completions.parquet."""

    step: int
    question_id: str
    reply: str
    rewards: dict[str, float]
    """What it earned of each reward, unweighted, by name: a column each."""
    advantage: float
    n_tokens: int | None = None
    """Tokens written; None in what earlier versions wrote."""


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One logging step: means over it and over all processes. None stands for what this stage does not measure."""

    step: int
    """1-based optimiser step."""
    loss: float | None = None
    reward: float | None = None
    """The weighted sum of `rewards`."""
    rewards: dict[str, float | None] = {}
    """Mean of each reward, unweighted, by name."""
    kl: float | None = None
    """Divergence between policy and reference in nats: k3 (also where the loss takes a bounded form), or exact. It is averaged
    as in the paper's loss, over each reply's tokens and then over replies."""
    anchor_kl: float | None = None
    """k3 between policy and start in nats per token, the mean over all tokens of all replies; None without
    `objective.anchor`."""
    repulsion: float | None = None
    """Weight of the divergence in the loss: constant, or what `objective.hold_at` or `objective.gradient_share` made of it."""
    repulsion_gradient_ratio: float | None = None
    """Norm of the divergence's gradient, with weight, over that of the reward's: of the mean gradients of an optimizer step,
    over all trained parameters, before clipping. None where it was not measured or the reward had no gradient."""
    reward_grad_norm: float | None = None
    divergence_grad_norm: float | None = None
    """Without the weight."""
    clamped_share: float | None = None
    """Share of tokens whose log-ratio reached kl_clamp, where the divergence has no gradient."""
    zero_advantage_share: float | None = None
    """Share of questions whose replies all earned the same."""
    shuffled_accuracy: float | None = None
    """Mean soft accuracy of the replies about shuffled clips (`rollouts.shuffled`)."""
    ordered_share: float | None = None
    """Share of questions at which a reply earned the reward `ordered`: how often the bonus fires."""
    entropy: float | None = None
    """Entropy of the policy in nats per token."""
    sampler_difference: float | None = None
    """Mean absolute difference, in nats per token, between the log-probabilities by which replies were drawn (on a GPU from a
    bfloat16 copy, of the tokens that may be drawn) and those by which they are scored; the loss takes both for equal. None
    where transformers writes the replies, or at a temperature other than 1."""
    length: float | None = None
    """Mean tokens per reply."""
    first_right: float | None = None
    """Share of replies whose first answer is exactly right; `answers.tally` defines this field and the five below, which are
    None for replies that do not answer twice."""
    second_right: float | None = None
    fix_rate: float | None = None
    break_rate: float | None = None
    fallback_share: float | None = None
    blank_thought_share: float | None = None
    grad_norm: float | None = None
    """Gradient norm before clipping."""
    replies_about: dict[str, int] | None = None
    """Replies to questions that show a "clip", an "image" or nothing ("text"), since the last line; None if all show clips."""
    vision_kept_share: float | None = None
    """Share of the clips shown to frozen vision towers whose embedding was kept from before; None where none are kept."""
    seconds: float | None = None
    """Duration of one optimiser step, generation included."""
    tokens: int = 0
    """Prompt and reply tokens since the start of the run."""
    alarms: tuple[str, ...] = ()
    """Signs at this step that something goes wrong, in words; `[alarms]` in a training's settings sets the limits."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the run read."""

    ref: str
    """As the user named it: a folder or a hub id."""
    sha256: str
    """`weights_hash` of its tensors, however they are cut into files."""
    files: str | None = None
    """`fingerprint` of its configuration, tokenizer and chat template; None in records of earlier versions."""


class Matched(NamedTuple):
    """The questions of a split that `data.where` lets through."""

    ids: frozenset[str]
    n_questions: int
    """Of the split."""
    n_unknown: int
    """Questions of which the condition is neither true nor false, as where one has no label or no score; not let through."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """How the questions of a run were chosen from the split by label files, by `data.where`, or both."""

    labels: dict[str, str]
    """SHA-256 of each label file given, by its path, in the order given."""
    label_set: str | None
    """Name of the label set whose categories count; None if there is none."""
    n_split: int
    """Questions of the split."""
    n_matched: int | None
    """Of them, what `data.where` lets through; None without one."""
    n_unknown: int | None
    """Of them, those of which the condition is neither true nor false; None without one."""
    n_unlabelled: int | None
    """Of those let through, questions without a label; None where the stage asks for no category."""
    n_unsure: int | None
    """Of those let through, questions whose label is unsure; None where the stage asks for no category."""
    sha256: str
    """Hash of the ids of the questions drawn, in their order."""


class TrainedOn(msgspec.Struct, frozen=True, kw_only=True):
    """The questions of the run."""

    folder: str
    """The curated folder."""
    sha256: str
    """Hash of the split's file."""
    rule: Rule | None
    """For stage bias the rule whose observational questions were taken, unless `pool.label_set` says otherwise; for the others
    the folder's own, which is not used."""
    n_questions: int
    """Number of questions drawn; `RunResult.n_asked` counts those that the steps came to."""
    shown: dict[str, int] = {}
    """Number of questions that show a "clip", an "image" or nothing ("text"); empty in records of earlier versions, which knew
    clips alone."""
    pool: Pool | msgspec.UnsetType = msgspec.UNSET
    """Set where there are label files or `data.where`."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run, or a dry run, came to."""

    out: str
    steps: int
    seconds_per_step: float
    """Mean over all steps, or over those of the last call alone if the run was resumed."""
    tokens_per_step: float
    """Prompt and reply tokens of a step."""
    peak_bytes: int
    """Most memory allocated on the main process's GPU; on a CPU the process's peak resident memory."""
    parameters: int
    trainable: int
    """How many of the parameters were trained."""
    n_asked: int | None = None
    """Different questions that were asked; None: a run of an earlier version, which did not count them."""


class VisionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the clips that the main process showed to frozen vision towers since the training was last begun."""

    n_shown: int = 0
    """Clips, once for each call that needs them and each tower; n_shown = n_seen + n_from_memory + n_from_disk."""
    n_seen: int = 0
    """Of them, clips that a tower saw."""
    n_from_memory: int = 0
    n_from_disk: int = 0


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What the last prompts really held, as the model got them, and how many there were."""

    n_frames: int
    height: int
    """Pixels of a frame."""
    width: int
    video_tokens: int
    seconds_per_pair: float
    """Seconds of the clip between two pairs of frames."""
    n_prompts: int | None = None
    """Prompts of all steps and sessions, with one clip each; a question that is asked in two steps counts twice. None: a run of
    an earlier version, which did not count them."""
    n_replies: int | None = None
    """Replies to them."""
    vision: VisionCounts | msgspec.UnsetType = msgspec.UNSET
    """Set where the vision tower is frozen and what it makes of clips is kept."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How the run was spread over processes."""

    processes: int
    mode: str
    """transformers' `ParallelMode`."""


class TrainRecord(msgspec.Struct, frozen=True, kw_only=True):
    """run.json, written when a run begins and again when it has finished.

    A field that a later version adds needs a default that says what runs did before it, so that old folders can still be read
    and resumed.
    """

    stage: str
    """bias, cdpo, grpo or auto."""
    settings: dict[str, Any]
    """`train.stages.StageConfig`, defaults included."""
    model: Weights
    """The checkpoint that training started from."""
    bias_model: Weights | None
    """The frozen reference of CDPO (the start itself where `objective.reference` is start); None without a divergence, and
    where the policy is its own reference."""
    data: TrainedOn
    text_positions: str = "transformers"
    """One of `models.text_positions.TextPositions`: the rule of the policy, of the reference and of what was trained."""
    identity: str = ""
    """Hash of what makes two runs the same, for people to compare; resuming computes it anew."""
    finished: bool = False
    provenance: dict[str, Any] = {}
    """When the latest call was made, and with which command, commit and versions."""
    result: RunResult | msgspec.UnsetType = msgspec.UNSET
    """This field and the two below are set once the run has finished."""
    fed: Fed | msgspec.UnsetType = msgspec.UNSET
    launch: Launch | msgspec.UnsetType = msgspec.UNSET


class GateMargins(msgspec.Struct, frozen=True, kw_only=True):
    """[gate]: what makes a checkpoint a shortcut model, compared on the dev split with the checkpoint it was trained from.

    Repelling from a model that has not learnt the shortcut means little. One trained under any-option labels, which a mere
    observer answers badly, lost 2.8 points on inferential questions, hardly more than GRPO does, and repelling from it ended
    0.7 points below repelling from a shortcut model (docs/training.md). The numbers below are the preparatory experiment's.
    """

    inferential_drop: Share = 0.10
    """It must lose at least this on inferential questions; in the preparatory experiment shortcut models lost 0.22 to 0.24."""
    observational_loss: Share = 0.05
    """It may lose at most this on observational ones, or it is broken rather than biased; there they gained 0.036."""
    reliance_rise: Share = 0.05
    """Its share of inferential answers that equal the observer's must rise by this; there it rose from 0.06 to 0.32."""
    least_questions: Positive = 100
    """Fewest questions per category; with fewer the differences above are noise. At 100 the standard error is up to 0.05."""
    least_clips: Positive = 20
    """Fewest clips that a category's questions are about; with fewer no interval is to be trusted. A fast look heeds it not."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a diagnosis of one checkpoint found, as fractions; None if there were no questions."""

    observational: float | None
    """Share of observational questions answered exactly right."""
    inferential: float | None
    shortcut_reliance: float | None
    """Share of inferential answers that equal the observer's."""
    n_observational: int
    """Observational questions that were answered."""
    n_inferential: int
    """Inferential questions that were answered."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """Bias model minus start, paired by question, as fractions with 95 % intervals clustered by clip."""

    observational: Estimate
    inferential: Estimate
    shortcut_reliance: Estimate
    n_clips: int
    """Clips with observational questions or with inferential ones, whichever are fewer."""


class Judged(StrEnum):
    """What the gate makes of a bias model."""

    SHORTCUT = "a shortcut model"
    """Every change is beyond its margin with its whole interval."""
    NO_SHORTCUT = "no shortcut model"
    """A change falls short of its margin with its whole interval."""
    UNDECIDED = "undecided: too few questions to show that it is a shortcut model"
    """An interval reaches across its margin, or there are too few questions or clips for intervals."""


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """gate.json: whether the bias model passed, why not, and what the verdict rests on."""

    passed: bool
    verdict: Judged | None = None
    """None in what earlier versions wrote, which judged greedy replies by their values alone."""
    reasons: tuple[str, ...]
    """What speaks against it; empty if it passed."""
    start: Measured
    bias: Measured
    changes: Changes | None = None
    """None in what earlier versions wrote."""
    margins: GateMargins
    split: str
    rule: Rule | None
    temperature: float = 0.0
    """What both were asked at; 0 is greedy."""
    fast: bool = True
    """Whether the values alone were judged, without their intervals."""
