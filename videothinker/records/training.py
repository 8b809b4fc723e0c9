"""What a training says about itself, as `vt train` writes it and as studies and reports read it."""

from typing import Annotated, Any

import msgspec

from videothinker.records.label import Rule

RUN = "run.json"
METRICS = "metrics.jsonl"
GATE = "gate.json"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One logging step, means over it and over all processes; None: not measured in this stage."""

    step: int
    """1-based optimiser step."""
    loss: float | None = None
    reward: float | None = None
    """The weighted sum of `rewards`."""
    rewards: dict[str, float | None] = {}
    """Mean of each reward, unweighted, by name."""
    kl: float | None = None
    """Divergence between policy and reference, nats: k3 (also where the loss takes a bounded form), or exact; averaged as in
    the paper's loss, over each reply's tokens and then over replies."""
    repulsion: float | None = None
    """Weight of the divergence in the loss: constant, or what `objective.hold_at` has made of it."""
    clamped_share: float | None = None
    """Share of tokens whose log-ratio reached kl_clamp; there the divergence has no gradient."""
    zero_advantage_share: float | None = None
    """Share of questions whose replies all earned the same."""
    entropy: float | None = None
    """Of the policy, nats per token."""
    length: float | None = None
    """Tokens per reply."""
    grad_norm: float | None = None
    """Before clipping."""
    seconds: float | None = None
    """Duration of one optimiser step, generation included."""
    tokens: int = 0
    """Prompt and reply tokens since the start of the run."""
    alarms: tuple[str, ...] = ()
    """Signs at this step that something goes wrong, in words; `[alarms]` of a training's settings."""


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that the run read."""

    ref: str
    """As the user named it: a folder or a hub id."""
    sha256: str
    """`weights_hash` of its tensors, however they are cut into files."""


class TrainedOn(msgspec.Struct, frozen=True, kw_only=True):
    """The questions of the run."""

    folder: str
    """The curated folder."""
    sha256: str
    """Of the split's file."""
    rule: Rule | None
    """For stage bias the one whose observational questions were taken; for the others the curated folder's own, and unused."""
    n_questions: int
    """How many were drawn; `RunResult.n_asked` says how many of them the steps came to."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a run, or a dry run, came to."""

    out: str
    steps: int
    seconds_per_step: float
    """Over the steps of the last call alone, if the run was resumed."""
    tokens_per_step: float
    """Prompt and reply tokens."""
    peak_bytes: int
    """Most memory allocated on the main process's GPU; on a CPU the process's peak resident memory."""
    parameters: int
    trainable: int
    """How many of the parameters were trained."""
    n_asked: int | None = None
    """Different questions that were asked; None: a run of an earlier version, which did not count them."""


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What the last prompts really held, as the model got them."""

    n_frames: int
    height: int
    """Pixels of a frame."""
    width: int
    video_tokens: int
    seconds_per_pair: float
    """Seconds of the clip between two pairs of frames."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How the run was spread over processes."""

    processes: int
    mode: str
    """transformers' `ParallelMode`."""


class TrainRecord(msgspec.Struct, frozen=True, kw_only=True):
    """run.json, written when a run begins and again when it has finished.

    A field that a later version adds needs a default that says what runs did before it: so old folders can still be read, and
    resumed.
    """

    stage: str
    """bias, cdpo or grpo."""
    settings: dict[str, Any]
    """`train.stages.StageConfig`, defaults included."""
    model: Weights
    """The checkpoint that training started from."""
    bias_model: Weights | None
    """The frozen reference of CDPO (the start itself where `objective.reference` is start); None without divergence term."""
    data: TrainedOn
    identity: str = ""
    """Hash of what makes two runs the same, for people to compare; what decides is computed anew."""
    finished: bool = False
    provenance: dict[str, Any] = {}
    """When, with which command, commit and versions; of the latest call."""
    result: RunResult | msgspec.UnsetType = msgspec.UNSET
    """This and the two fields below are there once the run has finished."""
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
    """Of each category, or the differences above are noise: at 100 questions an accuracy's standard error is up to 0.05."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a diagnosis of one checkpoint found; fractions, None over no questions."""

    observational: float | None
    """Share of observational questions answered exactly right."""
    inferential: float | None
    shortcut_reliance: float | None
    """Share of inferential answers that are the observer's."""
    n_observational: int
    """Questions that were answered, by category."""
    n_inferential: int


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """gate.json: whether the bias model passed, why not, and what the verdict rests on."""

    passed: bool
    reasons: tuple[str, ...]
    """What speaks against it; empty when passed."""
    start: Measured
    bias: Measured
    margins: GateMargins
    split: str
    rule: Rule | None
