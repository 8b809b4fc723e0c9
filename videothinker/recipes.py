"""What takes two rooms of the package together: for commands, and for notebooks that want the same without a terminal.

    from videothinker import recipes
    from videothinker.curated import open_curated
    from videothinker.train.stages import Stage, load_stage

    settings, data = load_stage(Stage.BIAS, Path("configs/bias-3b.toml")), open_curated(Path("curated"))
    made = recipes.train_bias(settings, data, start="Qwen/Qwen2.5-VL-3B-Instruct", out=Path("runs/bias"))
    made.verdict.reasons  # what speaks against it as a bias model

Nothing here prints. `train` and `diagnose` do not import each other; this is where they meet. Heavy imports stand inside the
functions.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from videothinker.records import Progress, Rule, no_progress

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.diagnose.metrics import Metrics
    from videothinker.steps import StepRecord
    from videothinker.train.gate import GateVerdict, Measured
    from videothinker.train.run import Outcome
    from videothinker.train.stages import StageConfig

Bar = Callable[[str, int, str], AbstractContextManager[Progress]]
"""Shows how far a part of the work is: called with what is done, how many there are and of what, it yields the function that
advances it. `cli.console.progress_bar` is one."""


def no_bar(description: str, total: int, unit: str) -> AbstractContextManager[Progress]:
    """The `Bar` that shows nothing."""
    return nullcontext(no_progress)


def _silent(_: Any) -> None:
    pass


def train(
    settings: "StageConfig",
    data: "Curated",
    *,
    start: str,
    out: Path,
    bias: str | None = None,
    rule: Rule | None = None,
    dry_run: bool = False,
    report: "Callable[[StepRecord], None]" = _silent,
    warn: Callable[[str], None] = _silent,
    progress: Bar = no_bar,
) -> "Outcome":
    """`train.run.train` with a bar over its steps."""
    from videothinker.train import run

    with progress(f"training {settings.stage.value}", settings.optimizer.steps, "steps") as advance:

        def told(step: "StepRecord") -> None:
            advance(settings.saving.log_every)
            report(step)

        return run.train(
            settings, data=data, start=start, out=out, bias=bias, rule=rule, dry_run=dry_run, report=told, warn=warn
        )


class BiasModel(NamedTuple):
    """What `train_bias` came to."""

    outcome: "Outcome"
    verdict: "GateVerdict | None"
    """May it serve as a bias model? None in all processes but the main one, which alone asks."""


def train_bias(
    settings: "StageConfig",
    data: "Curated",
    *,
    start: str,
    out: Path,
    rule: Rule | None = None,
    report: "Callable[[StepRecord], None]" = _silent,
    warn: Callable[[str], None] = _silent,
    progress: Bar = no_bar,
) -> BiasModel:
    """Train a bias model, or take up an earlier call, and gate it: `train` and then `gate`.

    A run that finished before is not trained again, and its gate is read if it has one.

    Raises:
        VtError: as `train.run.train` does.
    """
    from videothinker import store
    from videothinker.train.gate import GATE, GateVerdict
    from videothinker.train.process import is_main

    outcome = train(settings, data, start=start, out=out, rule=rule, report=report, warn=warn, progress=progress)
    if not is_main():
        return BiasModel(outcome, None)
    if outcome.already and (out / GATE).is_file():
        return BiasModel(outcome, store.read_json(out / GATE, GateVerdict))
    return BiasModel(outcome, gate(settings, data, start=start, bias=out, rule=rule, progress=progress))


def gate(
    settings: "StageConfig", data: "Curated", *, start: str, bias: Path, rule: Rule | None = None, progress: Bar = no_bar
) -> "GateVerdict":
    """Diagnose a bias model and the checkpoint it was trained from on the dev split, fed as in training, and judge.

    settings: the bias model's own. rule: whose categories count; None: the curated folder's own. The answers go to gate/ of the
    folder `bias` and are taken up there; the verdict goes to its gate.json.

    Raises:
        VtError: a checkpoint cannot be asked, or gate/ holds answers that were given under other settings.
    """
    from videothinker import store
    from videothinker.diagnose import run, runs
    from videothinker.diagnose.settings import Settings
    from videothinker.train.gate import GATE, judge

    asked = Settings(
        split=data.default_split(),
        prompt=settings.data.prompt,
        n_frames=settings.data.n_frames,
        max_pixels=settings.data.max_pixels,
        max_new_tokens=settings.rollouts.max_new_tokens,
        seed=settings.seed,
    )
    jobs = run.plan({"start": start, "bias": str(bias)}, data, asked, bias / "gate")
    with progress("checking the bias model", sum(len(job.owed) for job in jobs), "questions") as advance:
        run.diagnose(jobs, run.open_answerer, progress=advance)
    before, after = (_measured(each.metrics) for each in runs.load_runs([job.folder for job in jobs], data, rule))
    verdict = judge(before, after, settings.gate, split=asked.split, rule=rule or data.manifest.rule)
    store.write_json(bias / GATE, verdict)
    return verdict


def _measured(metrics: "Metrics") -> "Measured":
    from videothinker.train.gate import Measured

    return Measured(
        observational=metrics.observational.per_question.value,
        inferential=metrics.inferential.per_question.value,
        shortcut_reliance=metrics.shortcut_reliance.value,
        n_observational=metrics.observational.n_questions,
        n_inferential=metrics.inferential.n_questions,
    )
