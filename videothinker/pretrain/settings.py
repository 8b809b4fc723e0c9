"""The settings of `vt pretrain`, with their bounds, read from TOML and `--set`. This module loads without torch.

A few fields have a plainer name here than their key in the file, which stays as it was: `lessons.draws`, `lessons.rows` and
`optimizer.rows`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from videothinker import sections
from videothinker.errors import VtError
from videothinker.models.text_positions import TextPositions
from videothinker.pretrain.course import CHUNK
from videothinker.records.bounds import AboveZero, Index, NotNegative, Positive, Share
from videothinker.world.ask import PRESETS


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[model]: the checkpoint that is made."""

    size: Literal["test", "small", "tiny"] = "small"
    """One of `tiny.Size`."""
    width: Annotated[int, msgspec.Meta(ge=28, multiple_of=28)] = 168
    """Width in pixels of the clips that the model is shown."""
    height: Annotated[int, msgspec.Meta(ge=28, multiple_of=28)] = 112
    """Height in pixels. 168x112 is what the model's processor makes of CLEVRER's 480x320."""
    text_positions: TextPositions | msgspec.UnsetType = msgspec.UNSET
    """The rule by which the text behind a clip goes on. Left out: that of the checkpoint to start from; for a fresh one,
    original. Left out it is not written down, so that runs of earlier versions keep their identity."""


class SceneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[world]: what is simulated and asked. A run sees every scene once, in `lessons.draws` variants."""

    seed: int = 1000
    """Choose another seed than that of any world that the checkpoint will be measured on."""
    preset: str = "balanced"
    n_questions: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    """Questions that are asked about a scene."""
    n_unseen: Positive = 512
    """The first scenes of the world are never trained on. Evaluations ask about them and about as many that were."""
    first_scene: Index = 0
    """Scenes to leave out after those. To go on from an earlier run's weights, give the `scenes` of its last row."""


class LessonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[lessons]: what is made of a scene. The module `lessons` shows the four kinds."""

    variants_per_scene: Positive = msgspec.field(default=4, name="draws")
    """How often a scene is drawn, each time in other colours and perhaps mirrored. In the file: `draws`."""
    sequences_per_clip: Positive = msgspec.field(default=2, name="rows")
    """Sequences of lessons about each drawn clip. In the file: `rows`."""
    n_questions: Positive = 16
    """Questions per sequence at most; those that do not fit into it are left out."""
    n_tracks: Index = 8
    """Tracks per sequence. With any, there is also one list of the objects."""
    without_share: Share = 0.5
    """Share of the tracks that are of a world without another object."""
    counterfactual_share: Share = 0.7
    """How often a thought is about what would happen. The trained model does so as often by itself, at temperature 1."""
    length: Annotated[int, msgspec.Meta(ge=256)] = 2048
    """Tokens per sequence."""
    noise: NotNegative = 3.0
    """Standard deviation of the noise on pictures, on a pixel's scale of 255: about what a film's compression does to them."""
    perception: NotNegative = 1.0
    """Weight of `perception.Heads`' loss per object in sight, beside the loss per reply token; 0 trains without the heads."""
    backlog: Positive = 2048
    """Clips per process from which batches are mixed. A run begins with fewer."""


class FormSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[forms]: lessons that ask the same questions otherwise (`forms`), beside those of [lessons]. Without the section none.

    How often a thought of the style "twice" is about what would happen is `lessons.counterfactual_share`, as everywhere.
    """

    n_twins: Index = 2
    """Factual twins per sequence at most, answered with what is seen."""
    n_twice: Index = 3
    """Questions per sequence at most in the style "twice"."""
    n_direct: Index = 2
    """Questions per sequence at most in the style "direct"."""
    observer_share: Share = 0.5
    """How often a quick look says what the observer says: the first answer of "twice", and the answer of "direct". Otherwise it
    says what is true."""
    fallback_share: Share = 0.15
    """How often the first box of "twice" holds the fallback instead."""


class OptimizerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[optimizer]: the learning rate rises over `warmup_steps`, stays, and falls linearly to 0 over the last `decay_share`.

    A rate that falls to the end keeps lifting accuracy to the end. Whether a model has reached a plateau shows only at a rate
    that is small and constant: with `settle_share` it falls earlier, and only to `settle_rate`. The formula is
    `schedule.learning_rate`.
    """

    name: Literal["muon", "adamw"] = "muon"
    """muon updates the layers' matrices by Muon and everything else by AdamW."""
    schedule: Literal["steps", "minutes"] = "steps"
    """What measures the run: `steps`, or --max-minutes, at whose end it is finished however fast it was."""
    steps: Positive = 10_000
    """Length of the run; with schedule "minutes" an upper limit."""
    sequences_per_step: Positive = msgspec.field(default=64, name="rows")
    """Sequences per step, of all processes together. In the file: `rows`."""
    learning_rate: AboveZero = 1e-3
    warmup_steps: Index = 200
    decay_share: Share = 0.2
    """Share of the run over which the rate falls."""
    settle_share: Share = 0.0
    """Last share of the run, after the fall, at `settle_rate`."""
    settle_rate: Share = 0.05
    """Rate of that last part, as a share of `learning_rate`."""
    weight_decay: NotNegative = 0.05
    max_grad_norm: AboveZero = 1.0


LATE = 0.75
"""Evaluations after this share of a run are large enough to show a plateau."""


class EvaluationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[evaluation]: questions about unseen scenes and, side by side, about the first ones that were trained on."""

    times: Positive = 10
    """Evaluations in a run, evenly spread; the last one is at its end."""
    n_questions: Positive = 1
    """Questions per scene."""
    n_late_questions: Positive = 4
    """Questions per scene in the last quarter of the run."""
    max_new_tokens: Positive = 96


class ComputeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[compute]: where and how a run computes. It may be resumed with other values."""

    workers: Index = 0
    """Processes that simulate scenes, for each process that trains; 0 chooses one per core, less two."""
    clips_a_round: Positive = 512
    """Clips that each training process draws at a time."""
    flex: bool | None = None
    """Whether to use FlexAttention, which skips the pairs of tokens that do not see each other; None: on a GPU."""
    compile: bool | None = None
    """Whether to compile the layers; None: on a GPU."""
    graph: bool | None = None
    """Whether to record a step as CUDA graphs; None: on a GPU, if a picture is one window of the tower's attention."""
    log_every: Positive = 50
    """Steps between two rows of metrics.jsonl."""
    save_every: Positive = 1000
    """Steps between two points to resume from."""


class PretrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a pretraining."""

    seed: int = 42
    """Decides on the initial weights and on everything that is drawn at random."""
    model: ModelSettings = ModelSettings()
    world: SceneSettings = SceneSettings()
    lessons: LessonSettings = LessonSettings()
    forms: FormSettings | msgspec.UnsetType = msgspec.UNSET
    """Left out: no lessons in further forms. It is then not written down, so that runs of earlier versions keep their
    identity."""
    optimizer: OptimizerSettings = OptimizerSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    compute: ComputeSettings = ComputeSettings()


def load_pretraining(file: Path, overrides: Sequence[str] = ()) -> PretrainConfig:
    """The settings of `file` with `--set section.key=value` applied.

    Raises:
        VtError: the file is not TOML, or settings are unknown, of the wrong kind or out of bounds; the message names them all.
    """
    raw = sections.load_toml(file)
    for assignment in overrides:
        sections.override(raw, assignment)
    problems: list[str] = []
    config = sections.read(PretrainConfig, raw, problems)
    if config is not None:
        problems += _conflicts(config)
        if not problems:
            return config
    raise VtError(f"--config {file}: {'; '.join(problems)}")


def _conflicts(config: PretrainConfig) -> list[str]:
    """What single settings allow and their combination does not."""
    compute, lessons, optimizer = config.compute, config.lessons, config.optimizer
    found = []
    if config.world.preset not in PRESETS:
        found.append(f"world.preset = {config.world.preset!r}: choose one of {', '.join(PRESETS)}")
    chunk = CHUNK * lessons.variants_per_scene
    for name, n in (("compute.clips_a_round", compute.clips_a_round), ("lessons.backlog", lessons.backlog)):
        if n % chunk:
            found.append(f"{name} = {n}: is not a multiple of {chunk}, {CHUNK} x lessons.draws")
    if compute.clips_a_round > lessons.backlog:
        found.append("compute.clips_a_round: is more than lessons.backlog holds")
    if compute.clips_a_round * lessons.sequences_per_clip % optimizer.sequences_per_step:
        found.append("compute.clips_a_round x lessons.rows: is not a multiple of optimizer.rows")
    return found
