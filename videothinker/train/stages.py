"""What a training stage is: its settings, with bounds and sources.

Three stages are the paper's (section 4). `bias`: GRPO on the observational questions alone, which teaches the shortcut.
`cdpo`: GRPO on all questions, repelled from the frozen bias model. `grpo`: the same without repulsion, the baseline of the
paper's tables. A fourth, `auto`, is VideoAuto-R1's (arXiv 2601.05175): GRPO on replies that answer, think and answer again,
kept near the start; with a bias model it is repelled from that too. A file in configs/ names only what differs from the
defaults, which are the first paper's; `stage_files.py` reads it, and the section [objective] is `objective.py`'s.

Everything that changes a result is a field here and is written to run.json. This module loads without torch.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from videothinker.answers import Style
from videothinker.models.text_positions import TextPositions
from videothinker.prompts import Asked
from videothinker.records.bounds import AboveZero, Index, NotNegative, Positive, Share
from videothinker.records.prompt import Template
from videothinker.records.question import IMAGE_MAX_PIXELS
from videothinker.records.training import GateMargins
from videothinker.train.objective import Objective
from videothinker.train.rewards import default_weights


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

    image_max_pixels: Positive = IMAGE_MAX_PIXELS
    """Most pixels of an image, for questions about one. The default is ours: 1,024 tokens, about as many as a clip."""

    @property
    def asked(self) -> Asked:
        """How questions are put."""
        return Asked(self.prompt, self.template)


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
