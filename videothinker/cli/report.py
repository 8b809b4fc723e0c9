"""`vt report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videothinker.cli import options
from videothinker.cli.console import progress_bar, warn
from videothinker.cli.diagnosis_display import show_readings, show_report
from videothinker.records import Rule

if TYPE_CHECKING:
    from videothinker.curated import Curated

EPILOG = """[bold]Examples[/bold]

The same replies under the paper's rule, in a page of its own:

  vt report runs --rule any-option --out runs/any-option

Runs of several folders side by side:

  vt report runs/base runs/grpo runs/cdpo --out report

A run over several data sets, with the changes counted from another checkpoint:

  vt report runs/table --baseline grpo --out report

The same replies as lmms-eval reads them, and beside it as everyone else does; nothing is asked again:

  vt report runs/mvbench --protocol lmms-eval --out runs/mvbench-lmms-eval

What the official evaluator of VideoThinker or Video-R1, or lmms-eval, has written:

  vt report --import base=eval_clevrer_greedy_output.json --data curated --out report
"""


def report(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report is written.")],
    run_dirs: Annotated[list[Path] | None, typer.Argument(metavar="RUN_DIR...", help="Folders that vt diagnose wrote.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR", help="Curated folder, if it is not where the runs were asked from. Repeat for several."
        ),
    ] = None,
    videos: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Where the clips are, of all sets or one, if not where curation found them."),
    ] = None,
    rule: Annotated[Rule | None, typer.Option(help="Rule of the categories; default the curated folder's.")] = None,
    labels: options.Labels = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="NAME=FILE", help="A result file of eval_bench or lmms-eval. Repeat for several."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With several data sets: what changes count from; default as in RUN_DIR."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Read every saved reply anew, as this protocol does; vt diagnose --list-protocols has them.",
        ),
    ] = None,
    reread: Annotated[bool, typer.Option("--reread", help="Read every saved reply anew, as this version reads it.")] = False,
) -> None:
    """Score saved predictions again, under any rule, and draw them anew. No model is loaded.

    Writes report.html, report.md, figures, tables, summary.json (references and paired comparisons)
    and NAME/metrics.json for each run; of a run over several data sets the table of all, and the same
    for each in DATASET/.
    """
    from videothinker.diagnose import run, runs
    from videothinker.errors import VtError
    from videothinker.recipes import benchmarks, diagnosis

    if not run_dirs and not imports:
        raise VtError("nothing to report on; name a folder that `vt diagnose` wrote, or --import NAME=FILE")
    if not run_dirs and not data:
        raise VtError("--import needs --data: the curated folder whose questions were answered")
    folders = run.data_names(data or [])
    named = list(folders) or list(dict.fromkeys(name for each in run_dirs or [] for name in benchmarks.data_sets_of(each)))
    several = len(folders) > 1 or (bool(run_dirs) and all(benchmarks.data_sets_of(each) for each in run_dirs or []))
    clips = {name: Path(folder) for name, folder in run.of_each(videos or [], named or [""], "--videos").items()}
    label_files = run.label_files(labels or [], named or [""])
    benchmarks.check_out(out, several=several)
    if several:
        if imports:
            raise VtError("--import needs one --data: a result file answers the questions of one data set")
        sets = benchmarks.find_sets(run_dirs or [], folders, clips, label_files)
        _report_several(run_dirs or [], sets, out, rule=rule, reread=reread, protocol=protocol, baseline=baseline)
        return
    if baseline is not None:
        raise VtError(f"--baseline {baseline}: is for several data sets; with one, the report compares all pairs")
    folder, clips_folder = (next(iter(each.values()), None) for each in (folders, clips))
    curated = runs.find_curated(run_dirs or [], folder, clips_folder, next(iter(label_files.values()), ()))
    files = {name: Path(file) for name, file in run.model_names(imports or [], option="--import").items()}
    loaded, n_changed = diagnosis.load(run_dirs or [], curated, rule=rule, imports=files, reread=reread, protocol=protocol)
    _warn_of_changed(n_changed)
    diagnosis.write_metrics(loaded, out)
    drawn = diagnosis.report(loaded, curated, out, protocol=protocol, bars=progress_bar)
    show_report(drawn)
    if protocol:
        show_readings(drawn)


def _report_several(
    run_dirs: list[Path],
    sets: "dict[str, Curated]",
    out: Path,
    *,
    rule: Rule | None,
    reread: bool,
    protocol: str | None,
    baseline: str | None,
) -> None:
    """Report on a run over several data sets."""
    from videothinker.cli.benchmarks_display import show_benchmarks
    from videothinker.recipes import benchmarks

    baseline = baseline or benchmarks.earlier_report(run_dirs[0]).baseline
    read = benchmarks.load(run_dirs, sets, rule=rule, reread=reread, protocol=protocol)
    _warn_of_changed(sum(each.n_read_otherwise for each in read.values()))
    loaded = {name: each.runs for name, each in read.items()}
    benchmarks.write_metrics(loaded, out)
    show_benchmarks(benchmarks.report(loaded, sets, out, baseline=baseline, protocol=protocol, bars=progress_bar))


def _warn_of_changed(n_changed: int) -> None:
    if n_changed:
        warn(f"{n_changed:,} replies are read differently by this version of vt; --reread scores them as read now")
