"""Train a stage; train a bias model and gate it.

    settings, data = load_stage(Stage.BIAS, Path("configs/bias-3b.toml")), open_curated(Path("curated"))
    made = training.train_bias(settings, data, start="Qwen/Qwen2.5-VL-3B-Instruct", out=Path("runs/bias"))
    made.verdict.reasons  # what speaks against it as a bias model

`train` and `diagnose` do not import each other; this is where they meet.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from videothinker import store
from videothinker.answers import Style, form_of, read_twice
from videothinker.answers.tally import Answered, Tally, tally
from videothinker.curate.where import matching
from videothinker.curated import Curated
from videothinker.diagnose import run, runs
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.progress import Bars, no_bars, once_begun, silent
from videothinker.recipes.curves import CURVES, draw_own
from videothinker.recipes.diagnosis import ask
from videothinker.records import Comparison, Metrics, Question, Rule
from videothinker.records.training import GATE, Changes, Completion, GateVerdict, Matched, Measured, StepRecord
from videothinker.train.gate import judge
from videothinker.train.process import is_main
from videothinker.train.stages import StageConfig

if TYPE_CHECKING:
    from videothinker.train.run import Outcome


def train(
    settings: StageConfig,
    data: Curated,
    *,
    start: str,
    out: Path,
    bias: str | None = None,
    rule: Rule | None = None,
    dry_run: bool = False,
    report: Callable[[StepRecord], None] = silent,
    warn: Callable[[str], None] = silent,
    matched: Callable[[Matched], None] = silent,
    tell: Callable[[str], None] = silent,
    bars: Bars = no_bars,
) -> "Outcome":
    """`train.run.train` on the questions that `data.where` lets through, told to `bars` step by step.

    OUT/curves.html, the page of what the steps measured, is drawn at every save and at the end.
    matched: told what it lets through, if there is a condition.
    """
    from videothinker.train import run as training

    _check_split(settings, data)
    found = None
    if (condition := settings.data.where) is not None:
        found = matching(data, settings.data.split, condition, rule)
        matched(found)
    n_steps = 1 if dry_run else settings.optimizer.steps
    name = settings.stage.value
    with once_begun(bars, f"loading, and the first step of {name}", f"training {name}", n_steps, "steps") as advance:
        done = 0

        def told(step: StepRecord) -> None:
            nonlocal done
            advance(step.step - done)  # a resumed run begins where the earlier one was
            done = step.step
            report(step)
            if not dry_run and step.step % settings.saving.save_every == 0:
                draw_own(out, warn)

        outcome = training.train(
            settings,
            data=data,
            start=start,
            out=out,
            bias=bias,
            rule=rule,
            matched=found,
            dry_run=dry_run,
            report=told,
            warn=warn,
            tell=tell,
        )
    if is_main() and not dry_run and not (outcome.already and (out / CURVES).is_file()):
        draw_own(out, warn)
    return outcome


class AnsweredRow(NamedTuple):
    """What the replies to some questions answered."""

    questions: str
    """A category, or "all"."""
    shares: Tally
    n_tokens: float | None
    """Mean tokens per reply; None if an earlier version wrote one of them."""


class AnsweredTwice(NamedTuple):
    """What the last replies of a training in the style "twice" answered."""

    first_step: int
    last_step: int
    rows: tuple[AnsweredRow, ...]


def answered_twice(out: Path, settings: StageConfig, data: Curated, rule: Rule | None = None) -> AnsweredTwice | None:
    """First and second answers of a training's last steps, as many as `alarms.window`, by category and over all.

    None if no reply was kept, or the settings ask for another style. Replies to questions without a label are in "all" alone.
    """
    from videothinker.train.record import COMPLETIONS, read_completions

    if settings.data.prompt is not Style.TWICE or not (out / COMPLETIONS).is_file():
        return None
    written = read_completions(out / COMPLETIONS)
    if not written:
        return None
    last = max(one.step for one in written)
    shown = [one for one in written if one.step > last - settings.alarms.window]
    questions = {question.question_id: question for question in data.questions(settings.data.split)}
    labels = data.labels_by(rule)
    by_category: dict[str, list[Completion]] = {"all": shown}
    for one in shown:
        if (category := labels.category(one.question_id)) is not None:
            by_category.setdefault(category.value, []).append(one)
    rows = [
        AnsweredRow(name, tally(_answered(one, questions[one.question_id]) for one in some), _mean_tokens(some))
        for name, some in sorted(by_category.items())
    ]
    return AnsweredTwice(min(one.step for one in shown), last, tuple(rows))


def _answered(one: Completion, question: Question) -> Answered:
    form = form_of(question)
    return Answered(read_twice(form, one.reply, len(question.options)), question.gold, form)


def _mean_tokens(replies: Sequence[Completion]) -> float | None:
    counts = [one.n_tokens for one in replies if one.n_tokens is not None]
    return sum(counts) / len(counts) if len(counts) == len(replies) > 0 else None


def _check_split(settings: StageConfig, data: Curated) -> None:
    """Check that there is the split to train on: a set of one's own has only "test", unless its curation says otherwise.

    Raises:
        VtError: there is none of that name.
    """
    wanted, there = settings.data.split, list(data.manifest.splits)
    if wanted not in there:
        named = f"; or name the split with --set data.split={there[0]}" if there else ""
        raise VtError(
            f"{data.folder}: has no split '{wanted}' to train on; its splits are {', '.join(there) or 'none'}. Curate it with"
            f" --split {wanted}, or with --dev-share 0.1, which makes train and dev{named}"
        )


class BiasModel(NamedTuple):
    """What `train_bias` came to."""

    outcome: "Outcome"
    verdict: GateVerdict | None
    """May it serve as a bias model? None in all processes but the main one, which alone asks."""


def train_bias(
    settings: StageConfig,
    data: Curated,
    *,
    start: str,
    out: Path,
    rule: Rule | None = None,
    report: Callable[[StepRecord], None] = silent,
    warn: Callable[[str], None] = silent,
    matched: Callable[[Matched], None] = silent,
    tell: Callable[[str], None] = silent,
    bars: Bars = no_bars,
    fast: bool = False,
) -> BiasModel:
    """Train a bias model, or take up an earlier call, and gate it: `train` and then `gate`.

    A run that finished before is not trained again, and its gate is read if it has one of this kind, fast or not.

    Raises:
        VtError: as `train.run.train` does.
    """
    outcome = train(
        settings, data, start=start, out=out, rule=rule, report=report, warn=warn, matched=matched, tell=tell, bars=bars
    )
    if not is_main():
        return BiasModel(outcome, None)
    if outcome.already and (out / GATE).is_file():
        earlier = store.read_json(out / GATE, GateVerdict)
        if earlier.fast == fast:
            return BiasModel(outcome, earlier)
    return BiasModel(outcome, gate(settings, data, start=start, bias=out, rule=rule, bars=bars, fast=fast))


def gate(
    settings: StageConfig,
    data: Curated,
    *,
    start: str,
    bias: Path,
    rule: Rule | None = None,
    bars: Bars = no_bars,
    fast: bool = False,
) -> GateVerdict:
    """Diagnose a bias model and the checkpoint it was trained from on the dev split, fed and sampled as in training, and judge.

    settings: the bias model's own. rule: whose categories count; None: the curated folder's own. fast: ask greedily and judge
    by the values alone. The answers go to gate/sampled/ or gate/greedy/ of the folder `bias` and are taken up there; the
    verdict goes to its gate.json.

    Raises:
        VtError: a checkpoint cannot be asked, or the folder holds answers that were given under other settings.
    """
    temperature = 0.0 if fast else settings.rollouts.temperature
    asked = DiagnosisSettings(
        split=data.default_split(),
        prompt=settings.data.prompt,
        template=settings.data.template,
        n_frames=settings.data.n_frames,
        max_pixels=settings.data.max_pixels,
        max_new_tokens=settings.rollouts.max_new_tokens,
        temperature=temperature,
        seed=settings.seed,
        text_positions=settings.model.text_positions,
    )
    jobs = run.plan({"start": start, "bias": str(bias)}, data, asked, bias / "gate" / ("greedy" if fast else "sampled"))
    ask(jobs, what="checking the bias model", bars=bars)
    asked_both = runs.load_runs([job.folder for job in jobs], data, rule)
    named = rule or (None if data.label_files else data.manifest.rule)
    verdict = judge_runs(asked_both, settings, split=asked.split, rule=named, temperature=temperature, fast=fast)
    store.write_json(bias / GATE, verdict)
    return verdict


def judge_runs(
    asked_both: Sequence[runs.Run], settings: StageConfig, *, split: str, rule: Rule | None, temperature: float, fast: bool
) -> GateVerdict:
    """`judge` the answers of a start and of its bias model, in this order, by the labels that the runs carry.

    settings: the bias model's own, for its margins. The others are told in the verdict.
    """
    before, after = (_measured(each.metrics) for each in asked_both)
    return judge(
        before,
        after,
        _changes(runs.comparisons(asked_both)),
        settings.gate,
        split=split,
        rule=rule,
        temperature=temperature,
        fast=fast,
    )


def _changes(compared: Sequence[Comparison]) -> Changes:
    by_measure = {row.measure: row for row in compared}
    seen, needed = by_measure["observational"], by_measure["inferential"]
    return Changes(
        observational=seen.difference,
        inferential=needed.difference,
        shortcut_reliance=by_measure["shortcut_reliance"].difference,
        n_clips=min(seen.n_scenes, needed.n_scenes),
    )


def _measured(metrics: Metrics) -> Measured:
    return Measured(
        observational=metrics.observational.per_question.value,
        inferential=metrics.inferential.per_question.value,
        shortcut_reliance=metrics.shortcut_reliance.value,
        n_observational=metrics.observational.n_questions,
        n_inferential=metrics.inferential.n_questions,
    )
