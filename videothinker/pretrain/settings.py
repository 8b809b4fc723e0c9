"""The settings of `vt train sft`, with bounds, read from TOML and `--set`. This module loads without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from videothinker import sections
from videothinker.errors import VtError
from videothinker.pretrain.lessons import CHUNK
from videothinker.sections import AboveZero, Index, NotNegative, Positive, Share
from videothinker.world.ask import PRESETS


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """[model]: the checkpoint to be made."""

    size: Literal["test", "small", "tiny"] = "small"
    """See `tiny.Size`."""
    width: Annotated[int, msgspec.Meta(ge=28, multiple_of=28)] = 168
    height: Annotated[int, msgspec.Meta(ge=28, multiple_of=28)] = 112
    """Pixels of the clips it is shown: 168x112 is what its processor makes of CLEVRER's 480x320."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """[world]: what is simulated and asked. No scene comes twice in a run, but for `Lessons.draws`."""

    seed: int = 1000
    """Another than that of any world that the checkpoint will be measured on."""
    preset: str = "balanced"
    n_questions: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    """Questions asked about a scene."""
    n_unseen: Positive = 512
    """Scenes that are never trained on: the first of the world. Examined beside as many that were."""
    first_scene: Index = 0
    """Scenes after those to leave out: when going on from the weights of an earlier piece, the `scenes` of its last row."""


class Lessons(msgspec.Struct, frozen=True, kw_only=True):
    """[lessons]: what is made of a scene; `lessons.Course` has the words."""

    draws: Positive = 4
    rows: Positive = 2
    n_questions: Positive = 16
    n_tracks: Index = 8
    without_share: Share = 0.5
    """How many of the tracks are of a world without another object."""
    counterfactual_share: Share = 0.7
    """How often a thought is about what would happen, and with it the trained model's own habit at temperature 1."""
    length: Annotated[int, msgspec.Meta(ge=256)] = 2048
    noise: NotNegative = 3.0
    """Standard deviation, in steps of a pixel's 255, of the noise on pictures: about what a film's compression does."""
    perception: NotNegative = 1.0
    """Weight of `perception.Heads`' loss, per object in sight, beside the loss per reply token; 0: without."""
    backlog: Positive = 2048
    """Clips, a process, from which batches are mixed; a run begins with fewer."""


class Optimizer(msgspec.Struct, frozen=True, kw_only=True):
    """[optimizer]: the rate rises over `warmup_steps`, stays, falls linearly over `decay_share` of the run, to 0 at its end.

    A rate that falls to the end keeps lifting accuracy to the end. Whether a model is at a plateau shows once the rate is small
    and stays: with `settle_share` it falls earlier, and to `settle_rate`.
    """

    name: Literal["muon", "adamw"] = "muon"
    """muon: for the layers' matrices, with AdamW for all else."""
    schedule: Literal["steps", "minutes"] = "steps"
    """What the run is measured by: `steps`, or --max-minutes, at whose end it is finished whatever its speed."""
    steps: Positive = 10_000
    """With schedule "minutes": at most."""
    rows: Positive = 64
    """Sequences a step, of all processes together."""
    learning_rate: AboveZero = 1e-3
    warmup_steps: Index = 200
    decay_share: Share = 0.2
    settle_share: Share = 0.0
    """Last share of the run, after the fall, at `settle_rate`."""
    settle_rate: Share = 0.05
    """As a share of `learning_rate`."""
    weight_decay: NotNegative = 0.05
    max_grad_norm: AboveZero = 1.0

    def rate(self, step: int, gone: float) -> float:
        """The learning rate of step 0, 1, ..., when the share `gone` of the run is over."""
        rise = (step + 1) / self.warmup_steps if self.warmup_steps else 1.0
        left = 1 - self.settle_share - gone
        fall = left / self.decay_share if self.decay_share else float(left > 0)
        lowest = self.settle_rate if self.settle_share else 0.0
        return self.learning_rate * min(1.0, rise, max(lowest, fall))


LATE = 0.75
"""From this share of a run on its evaluations are large enough to see a plateau."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """[evaluation]: on unseen scenes and, side by side, on the first ones that were trained on."""

    times: Positive = 10
    """Evaluations in a run, evenly spread; the last one is at its end."""
    n_questions: Positive = 1
    """Questions a scene."""
    n_late_questions: Positive = 4
    """The same in the last quarter of the run."""
    max_new_tokens: Positive = 96


class Compute(msgspec.Struct, frozen=True, kw_only=True):
    """[compute]: where and how; a run may go on with other values."""

    workers: Index = 0
    """Processes that simulate, for each process that trains; 0: one a core, but for two."""
    clips_a_round: Positive = 512
    """Clips drawn at a time by each process that trains."""
    flex: bool | None = None
    """FlexAttention, which skips what lessons do not see; None: on a GPU."""
    compile: bool | None = None
    """None: on a GPU."""
    graph: bool | None = None
    """Record a step as CUDA graphs; None: on a GPU."""
    log_every: Positive = 50
    save_every: Positive = 1000
    """Steps between two points to resume from."""


class SftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A whole pretraining."""

    seed: int = 42
    """Of the weights and of what is drawn."""
    model: Shape = Shape()
    world: World = World()
    lessons: Lessons = Lessons()
    optimizer: Optimizer = Optimizer()
    evaluation: Evaluation = Evaluation()
    compute: Compute = Compute()


def load_sft(file: Path, overrides: Sequence[str] = ()) -> SftConfig:
    """The settings of `file` with `--set section.key=value` applied.

    Raises:
        VtError: the file is not TOML, or a setting is unknown, of the wrong kind or out of bounds; names all of them.
    """
    raw = sections.load_toml(file)
    for assignment in overrides:
        sections.override(raw, assignment)
    problems: list[str] = []
    config = sections.read(SftConfig, raw, problems)
    if config is not None:
        if config.world.preset not in PRESETS:
            problems.append(f"world.preset = {config.world.preset!r}: choose one of {', '.join(PRESETS)}")
        chunk = CHUNK * config.lessons.draws
        for name, n in (("compute.clips_a_round", config.compute.clips_a_round), ("lessons.backlog", config.lessons.backlog)):
            if n % chunk:
                problems.append(f"{name} = {n}: is not a multiple of {chunk}, {CHUNK} x lessons.draws")
        if config.compute.clips_a_round > config.lessons.backlog:
            problems.append("compute.clips_a_round: is more than lessons.backlog holds")
        if config.compute.clips_a_round * config.lessons.rows % config.optimizer.rows:
            problems.append("compute.clips_a_round x lessons.rows: is not a multiple of optimizer.rows")
        if not problems:
            return config
    raise VtError(f"--config {file}: {'; '.join(problems)}")
