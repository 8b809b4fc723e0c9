"""Ask checkpoints and report on what they answered."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from videothinker import locks, store
from videothinker.curated import Curated
from videothinker.diagnose import files, run, runs, view_runs
from videothinker.diagnose.answerer import Answerer
from videothinker.diagnose.openers import kind_of
from videothinker.diagnose.prompts import SHOWS, chats, put_by
from videothinker.diagnose.readings import scores
from videothinker.diagnose.runs import Run
from videothinker.diagnose.served import said_of
from videothinker.diagnose.server import check_address
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.diagnose.views import View
from videothinker.diagnose.workers import ALONE, Worker
from videothinker.errors import VtError
from videothinker.progress import Bars, Progress, no_bars, no_progress, once_begun, silent
from videothinker.records import Comparison, ReadBy, Summary, ViewEffects
from videothinker.records.twice import SWEEP_FILE, StopSweep
from videothinker.shards import Shard

SUMMARY = "summary.json"


class Report(NamedTuple):
    """What a report shows, and where it lies."""

    runs: list[Run]
    """The checkpoints."""
    references: list[Run]
    """Chance, the blind prior and the observer, on the same questions."""
    comparisons: list[Comparison]
    readings: list[ReadBy]
    """The same replies, by checkpoint, question set and protocol."""
    folder: Path
    views: ViewEffects = ViewEffects()
    """What damaged clips did to the answers of those that were asked with some."""


class Reread(NamedTuple):
    """Runs that were loaded from their files."""

    runs: list[Run]
    n_read_otherwise: int
    """Replies that this version reads otherwise than they were read; 0 where they were read again."""


def ask(
    jobs: Sequence[run.Job],
    *,
    endpoints: Sequence[str] = (),
    clip_cache: bool = True,
    trust_remote_code: bool = False,
    worker: Worker = ALONE,
    what: str = "asking",
    bars: Bars = no_bars,
    warn: Callable[[str], None] = silent,
) -> None:
    """Ask every checkpoint what it still owes (`diagnose.run.plan`); its answers lie in OUT/NAME.

    endpoints: URLs of servers that stand behind the REFs. worker: this process among those that share the work, as
    `diagnose.workers.worker` gives it. what: the word before each checkpoint's
    name in its progress. warn: told in one line of what is not as it was meant.

    Raises:
        VtError: a checkpoint cannot be asked.
    """
    for url in endpoints:
        check_address(url)  # before any run.json holds the command
    run.check_models(jobs, trust_remote_code=trust_remote_code)
    opener = run.Opener(endpoints, clip_cache=clip_cache, trust_remote_code=trust_remote_code, warn=warn)
    numbers = {job.folder: number for number, job in enumerate(jobs, start=1)}
    of_several = len({job.curated.folder for job in jobs}) > 1
    with ExitStack() as shown:
        part: list[Progress] = [no_progress]

        def open_answerer(job: run.Job) -> Answerer:
            shown.close()  # what was shown of the checkpoint before
            n_owed = len(run.by_clip(job.owed, Shard(worker.rank + 1, worker.world_size)))
            with ExitStack() if opener.has(job) else bars(f"loading {job.record.name}", None, "checkpoints"):
                answerer = opener(job)
            then = f"{what} {job.record.name}" + (f", {job.view}" if job.view else "")
            folder = job.folder.parents[1] if job.view else job.folder
            if of_several:
                then += f" about {folder.parent.name} ({numbers[job.folder]} of {len(jobs)})"
            first = f"{then}: reading clips, and the first replies"
            part[0] = shown.enter_context(once_begun(bars, first, then, n_owed, "questions"))
            return answerer

        run.diagnose(
            jobs,
            open_answerer,
            rank=worker.rank,
            world_size=worker.world_size,
            barrier=worker.barrier,
            progress=lambda n: part[0](n),
        )


class ShownPrompt(NamedTuple):
    """One question as a model gets it."""

    name: str
    told: str
    """Which question it is, and what the text below is."""
    text: str


def shown_prompts(models: Mapping[str, str], asked: run.SetToAsk, *, served: bool = False) -> list[ShownPrompt]:
    """The first question of a split as each model gets it; solvers, which read no words, are left out.

    models: REF by name. served: servers stand behind them. A checkpoint's own chat template is filled in, for which its
    processor is loaded and nothing else. A server fills in its own, so of those the messages are shown.

    Raises:
        VtError: a prompt cannot put one of the questions, or a checkpoint has no processor.
    """
    from videothinker.prompts import template

    questions = asked.curated.questions(asked.settings.split)
    shown = []
    shows = SHOWS[questions[0].kind]
    what = {"video": "clip", "image": "image", None: ""}[shows]
    for name, ref in models.items():
        kind = kind_of(ref, endpoint=served)
        settings = asked.own.get(name, asked.settings)
        if kind == "solver":
            continue
        if settings.template is not None:
            template.check(settings.template, questions)
        prompt = put_by(settings)(questions[0])
        which = f"question {questions[0].question_id} of {asked.curated.folder.name}"
        if kind == "endpoint":
            user = f"[the {what}]\n{prompt.user}" if what else prompt.user
            parts = {"system": prompt.system, "user": user, "assistant begins": prompt.prefill or None}
            text = "\n".join(f"{role}: {words}" for role, words in parts.items() if words is not None)
            shown.append(ShownPrompt(name, f"{which}, as the messages that its server puts into a chat template:", text))
            continue
        from videothinker.models.load import load_processor

        processor = load_processor(ref, settings.revision)
        (text,) = chats(processor, questions[:1], put_by(settings), shows)
        place = getattr(processor, f"{shows}_token", None)
        where = f"{which}, the {what} stands at {place}" if place else which
        told = where + (f", and the reply is made to begin with {prompt.prefill!r}" if prompt.prefill else "") + ":"
        shown.append(ShownPrompt(name, told, text))
    return shown


def load(
    run_dirs: Sequence[Path],
    curated: Curated,
    *,
    rule: str | None = None,
    imported: Sequence[Run] = (),
    reread: bool = False,
    protocol: str | None = None,
) -> Reread:
    """Saved runs, scored under the labels named `rule` (None: the folder's own), and behind them those of `recipes.imports`.

    reread: read every saved reply anew, as this version reads it. protocol: the same, as that protocol reads it, whatever the
    reply was asked under.

    Raises:
        VtError: there is no run, two have one name, or they were asked other questions.
    """
    loaded = runs.load_runs(run_dirs, curated, rule) if run_dirs else []
    loaded += imported
    if not loaded:
        raise VtError("nothing to report on; name a folder that `vt diagnose` wrote, or --import NAME=FILE")
    runs.check_names(loaded)
    if reread or protocol is not None:
        return Reread(runs.read_again(loaded, curated.manifest.benchmark, protocol), 0)
    return Reread(loaded, runs.n_read_otherwise(loaded) + view_runs.n_read_otherwise(loaded, curated))


def report(
    loaded: Sequence[Run],
    curated: Curated,
    out: Path,
    *,
    protocol: str | None = None,
    reread: bool = False,
    dataset: str | None = None,
    bars: Bars = no_bars,
) -> Report:
    """Draw the runs' report into `out`: report.html, report.md, figures, tables and summary.json.

    dataset: name of the data set if it is one of several, whose common page lies above `out`.

    protocol: who read all replies; None if each run's were read by the protocol that it was asked under.
    reread: the runs' replies were read anew by this version, and those under their views are to be.

    Raises:
        VtError: there is no run, or they are scored under different labels.
    """
    from videothinker.reports.diagnosis import diagnosis_pages

    references, changes = runs.references(loaded, curated), runs.comparisons(loaded)
    read = runs.read_by_all(loaded)
    by = [score for each in read for score in scores(each)]
    views = view_runs.effects(loaded, curated, protocol, reread=reread)
    above = None if dataset is None else "../report.html"
    what = "drawing" if dataset is None else f"drawing {dataset}"
    with bars(what, sum(len(each.questions) for each in loaded), "questions") as progress:
        pages = diagnosis_pages(
            [*references, *loaded],
            changes,
            curated,
            readings=read,
            protocol=protocol,
            views=views,
            out=out,
            above=above,
            progress=progress,
        )
    added = {each.name: each.metrics for each in references}
    with locks.alone(out):
        store.write_report(out, pages)
        rule = loaded[0].labels.rule
        summary = Summary(rule=rule, protocol=protocol, references=added, comparisons=changes, readings=by, views=views)
        store.write_json(out / SUMMARY, summary)
    return Report(list(loaded), references, changes, by, out, views)


def diagnose(
    models: Mapping[str, str],
    curated: Curated,
    settings: DiagnosisSettings,
    out: Path,
    *,
    endpoints: Sequence[str] = (),
    limit: int | None = None,
    views: Sequence[View] = (),
    bars: Bars = no_bars,
) -> Report:
    """Ask checkpoints, REF by name, and report on them beside what else in `out` was asked the same; `vt diagnose`.

    views: how else the clips are shown to every checkpoint (`diagnose.views.damaging_views`).

    Raises:
        VtError: a folder holds a run with other settings or data, or a checkpoint cannot be asked.
    """
    said = said_of(endpoints, models.values())
    jobs = run.plan(models, curated, settings, out, endpoints=endpoints, served=said, limit=limit)
    ask(view_runs.plan(jobs, views) if views else jobs, endpoints=endpoints, bars=bars)
    return report(runs.load_runs(runs.folders_beside([job.folder for job in jobs], out), curated), curated, out, bars=bars)


def write_metrics(loaded: Sequence[Run], out: Path) -> None:
    """OUT/NAME/metrics.json of every run, for runs that are scored anew."""
    for each in loaded:
        with locks.alone(out / each.name):
            store.write_json(out / each.name / files.METRICS, each.metrics)


def write_sweeps(sweeps: Sequence[StopSweep], out: Path) -> None:
    """OUT/NAME/stop-sweep.md of every run, with its figure, table and stop-sweep.json: what any `--stop-at` would come to."""
    from videothinker.reports.twice import sweep_files

    for each in sweeps:
        with locks.alone(out / each.run):
            store.write_report(out / each.run, sweep_files(each))
            store.write_json(out / each.run / SWEEP_FILE, each)
