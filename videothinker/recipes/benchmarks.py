"""Several data sets in one run and one report: OUT/DATASET/NAME/ for each checkpoint, and above them one table of all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from videothinker import locks, store
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import benchmarks, files, run, runs
from videothinker.diagnose.runs import Run
from videothinker.diagnose.served import said_of
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.progress import Bars, no_bars
from videothinker.recipes import diagnosis
from videothinker.records.benchmarks import Benchmarks


class BenchmarksReport(NamedTuple):
    """What a report on several data sets shows, and where it lies."""

    sets: dict[str, diagnosis.Report]
    """The reports on single data sets, by name."""
    summary: Benchmarks
    folder: Path


def check_out(out: Path, *, several: bool) -> None:
    """Check that `out` holds no report of the other kind: its files have the same names.

    Raises:
        VtError: it holds a report on several data sets where one is meant, or the other way round.
    """
    held = data_sets_of(out)
    if held and not several:
        names = ", ".join(held)
        raise VtError(f"{out}: holds a run over several data sets ({names}); name them with --data, or choose another --out")
    if several and not held and (out / diagnosis.SUMMARY).is_file():
        raise VtError(f"{out}: holds the report of a run over one data set; choose another --out for several")


def check_baseline(out: Path, baseline: str, models: Sequence[str]) -> None:
    """Check, before anything is asked, that the report will have the checkpoint that changes are to count from.

    models: names of the checkpoints that are asked now; others may lie in `out`.

    Raises:
        VtError: there is no such checkpoint.
    """
    there = dict.fromkeys([*models, *(path.parent.name for path in sorted(out.glob(f"*/*/{files.RUN}")))])
    if baseline not in there:
        raise VtError(f"--baseline {baseline}: there is no such checkpoint; there are {', '.join(there)}")


class EarlierReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a later report takes over from the summary.json of a run over several data sets: all of it in its order."""

    datasets: dict[str, Any] = {}
    checkpoints: dict[str, Any] = {}
    baseline: str | None = None


def earlier_report(folder: Path) -> EarlierReport:
    """The report on several data sets that lies in `folder`; one of no data sets if none does."""
    path = folder / diagnosis.SUMMARY
    return store.read_json(path, EarlierReport) if path.is_file() else EarlierReport()


def data_sets_of(folder: Path) -> list[str]:
    """Names of the data sets of the report on several that lies in `folder`, in its order; [] if there is none."""
    return list(earlier_report(folder).datasets)


def find_sets(
    run_dirs: Sequence[Path],
    data: Mapping[str, Path],
    videos: Mapping[str, Path] | None = None,
    label_files: Mapping[str, Sequence[Path]] = MappingProxyType({}),
) -> dict[str, Curated]:
    """The data sets of runs over several, by name: those of `data` or, without any, those that the folders' reports name.

    Raises:
        VtError: a data set has no runs in any of the folders that should tell where its curated folder is, or that folder is no
            longer where it was.
    """
    names = list(data) or list(dict.fromkeys(name for folder in run_dirs for name in data_sets_of(folder)))
    known = videos or {}
    return {
        name: open_curated(data[name], known.get(name), label_files=label_files.get(name, ()))
        if name in data
        else runs.find_curated(runs.folders_of_set(run_dirs, name), None, known.get(name), label_files.get(name, ()))
        for name in names
    }


def load(
    run_dirs: Sequence[Path],
    sets: Mapping[str, Curated],
    *,
    rule: str | None = None,
    imported: Mapping[str, Sequence[Run]] = MappingProxyType({}),
    reread: bool = False,
    protocol: str | None = None,
) -> dict[str, diagnosis.Reread]:
    """Saved runs over several data sets, by data set, scored again, and those that `recipes.imports` made.

    rule: the labels to score under, for data sets that have any. reread: read every saved reply anew, as this version reads it.
    protocol: the same, as that protocol reads it.
    The checkpoints are in the order of the folders' own reports, others behind them by name.

    Raises:
        VtError: no data set has labels where a rule is given, one has others, or as `diagnosis.load` does.
    """
    if rule is not None and not any(curated.labels.sets for curated in sets.values()):
        raise VtError(f"--rule {rule}: none of the data sets has labels; leave it out")
    order = list(dict.fromkeys(name for folder in run_dirs for name in earlier_report(folder).checkpoints))
    found = {}
    for name, curated in sets.items():
        here = rule if curated.labels.sets else None
        others = imported.get(name, ())
        folders = runs.folders_of_set(run_dirs, name, needed=not others)
        read = diagnosis.load(folders, curated, rule=here, imported=others, reread=reread, protocol=protocol)
        ranked = sorted(read.runs, key=lambda one: order.index(one.name) if one.name in order else len(order))
        found[name] = read._replace(runs=ranked)
    return found


def report(
    loaded: Mapping[str, Sequence[Run]],
    sets: Mapping[str, Curated],
    out: Path,
    *,
    baseline: str | None = None,
    protocol: str | None = None,
    reread: bool = False,
    bars: Bars = no_bars,
) -> BenchmarksReport:
    """Draw the reports into `out`: OUT/DATASET/report.html for each data set, and above them the table of all.

    loaded: the runs by data set. baseline: the checkpoint that the others are compared with; None for the first.
    protocol: who read all replies; None if each run's were read by the protocol that it was asked under.
    reread: as in `diagnosis.report`.

    Raises:
        VtError: there is no such checkpoint, one name stands for two, or as `diagnosis.report` does.
    """
    from videothinker.reports.benchmarks import benchmarks_pages

    benchmarks.check_baseline({name: benchmarks.Asked(sets[name], list(each), []) for name, each in loaded.items()}, baseline)
    reports = {
        name: diagnosis.report(each, sets[name], out / name, protocol=protocol, reread=reread, dataset=name, bars=bars)
        for name, each in loaded.items()
    }
    asked = {name: benchmarks.Asked(sets[name], one.runs, one.references) for name, one in reports.items()}
    summary = benchmarks.summarize(asked, baseline, read_by=protocol)
    pages = benchmarks_pages(summary, asked, readings={name: one.readings for name, one in reports.items()})
    with locks.alone(out):
        store.write_report(out, pages)
        store.write_json(out / diagnosis.SUMMARY, summary)
    return BenchmarksReport(reports, summary, out)


def diagnose(
    models: Mapping[str, str],
    sets: Mapping[str, tuple[Curated, DiagnosisSettings]],
    out: Path,
    *,
    endpoints: Sequence[str] = (),
    limit: int | None = None,
    baseline: str | None = None,
    bars: Bars = no_bars,
) -> BenchmarksReport:
    """Ask checkpoints, REF by name, about several data sets and report on them; `vt diagnose` with several --data.

    Raises:
        VtError: a folder holds a run with other settings or data, or a checkpoint cannot be asked.
    """
    check_out(out, several=True)
    asked = [run.SetToAsk(curated, settings, out / name) for name, (curated, settings) in sets.items()]
    said = said_of(endpoints, models.values())
    jobs = run.plan_sets(models, asked, endpoints=endpoints, served=said, limit=limit)
    diagnosis.ask(jobs, endpoints=endpoints, bars=bars)
    curated = {name: one for name, (one, _) in sets.items()}
    return report(load_beside(jobs, curated, out), curated, out, baseline=baseline, bars=bars)


def load_beside(jobs: Sequence[run.Job], sets: Mapping[str, Curated], out: Path) -> dict[str, list[Run]]:
    """The runs of the jobs by data set, with those of other checkpoints in `out` that were asked the same questions."""
    found = {}
    for name, curated in sets.items():
        ours = [job.folder for job in jobs if job.folder.parent == out / name]
        found[name] = runs.load_runs(runs.folders_beside(ours, out / name), curated)
    return found


def write_metrics(loaded: Mapping[str, Sequence[Run]], out: Path) -> None:
    """OUT/DATASET/NAME/metrics.json of every run, for runs that are scored anew."""
    for name, each in loaded.items():
        diagnosis.write_metrics(each, out / name)
