"""`vt report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videothinker.cli import options, output
from videothinker.cli.console import out as console
from videothinker.cli.console import progress_bar, warn
from videothinker.cli.diagnosis_display import show_readings, show_report
from videothinker.records import Rule

if TYPE_CHECKING:
    from videothinker.curated import Curated
    from videothinker.diagnose.imports import Imported

EPILOG = """[bold]Examples[/bold]

The same replies under the paper's rule, in a page of its own:

  vt report runs --rule any-option --out runs/any-option

Runs of several folders side by side:

  vt report runs/base runs/grpo runs/cdpo --out report

A run over several data sets, with the changes counted from another checkpoint:

  vt report runs/table --baseline grpo --out report

The same replies as lmms-eval reads them, and beside it as everyone else does; nothing is asked again:

  vt report runs/mvbench --protocol lmms-eval --out runs/mvbench-lmms-eval

Where a checkpoint that answers twice could stop behind its first answer, and what that would cost:

  vt report runs/twice --stop-sweep --out runs/twice-swept

What other evaluators have written: eval_bench, lmms-eval, VLMEvalKit, inspect_ai, or plain CSV and JSONL:

  vt report --import base=eval_clevrer_greedy_output.json --data curated --out report

One checkpoint's files about several data sets; each answers the questions that it matches:

  vt report --import base=mmvu.xlsx --import base=samples_mvbench.jsonl --data mmvu --data mvbench --out table
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
    imported: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="NAME=FILE",
            help="Another evaluator's replies: of eval_bench, lmms-eval, VLMEvalKit or inspect_ai, or plain CSV or JSONL. "
            "Repeat for other checkpoints, and with the same NAME for more files of one.",
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]SPLIT", help="Whose questions count where --import answers several splits of a data set."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict/--no-strict", help="End with exit code 2 if a row of --import answers no question.")
    ] = False,
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
    stop_sweep: Annotated[
        bool,
        typer.Option(
            "--stop-sweep",
            help="Of replies in the style twice that were never stopped: accuracy against tokens for every --stop-at, in "
            "NAME/stop-sweep.md, and which is best.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Score saved predictions again, under any rule, and draw them anew. No model is loaded.

    Writes report.html, report.md, figures, tables, summary.json (references and paired comparisons)
    and NAME/metrics.json for each run; of a run over several data sets the table of all, and the same
    for each in DATASET/.
    """
    from videothinker.diagnose import run, runs
    from videothinker.diagnose.stop_sweep import sweep
    from videothinker.errors import VtError
    from videothinker.recipes import benchmarks, diagnosis, imports
    from videothinker.reports.twice import sweep_told

    output.choose(json)
    if not run_dirs and not imported:
        raise VtError("nothing to report on; name a folder that `vt diagnose` wrote, or --import NAME=FILE")
    if not run_dirs and not data:
        raise VtError("--import needs --data: the curated folder whose questions were answered")
    folders = run.data_names(data or [])
    named = list(folders) or list(dict.fromkeys(name for each in run_dirs or [] for name in benchmarks.data_sets_of(each)))
    several = len(folders) > 1 or (bool(run_dirs) and all(benchmarks.data_sets_of(each) for each in run_dirs or []))
    clips = {name: Path(folder) for name, folder in run.of_each(videos or [], named or [""], "--videos").items()}
    label_files = run.label_files(labels or [], named or [""])
    benchmarks.check_out(out, several=several)
    if split and not imported:
        raise VtError("--split is for --import: a run that vt diagnose wrote says itself which split it was asked")
    if baseline is not None and not several:
        raise VtError(f"--baseline {baseline}: is for several data sets; with one, the report compares all pairs")
    if several:
        sets = benchmarks.find_sets(run_dirs or [], folders, clips, label_files)
    else:
        folder, clips_folder = (next(iter(each.values()), None) for each in (folders, clips))
        curated = runs.find_curated(run_dirs or [], folder, clips_folder, next(iter(label_files.values()), ()))
        sets = {next(iter(named), ""): curated}
    if several and stop_sweep:
        raise VtError("--stop-sweep: is for runs over one data set; name the folder of one, such as OUT/DATASET")
    splits = run.of_each(split or [], list(sets), "--split")
    found = imports.read(run.import_files(imported or []), sets, rule=rule, splits=splits, strict=strict)
    if several:
        _report_several(run_dirs or [], sets, out, found, rule=rule, reread=reread, protocol=protocol, baseline=baseline)
        return
    theirs = [each for runs_by_set in imports.by_set(found, sets).values() for each in runs_by_set]
    loaded, n_changed = diagnosis.load(run_dirs or [], curated, rule=rule, imported=theirs, reread=reread, protocol=protocol)
    imports.check_folders(found, dict.fromkeys(sets, out))
    sweeps = [sweep(each) for each in loaded] if stop_sweep else []
    drawn = diagnosis.report(loaded, curated, out, protocol=protocol, reread=reread, bars=progress_bar)  # the last to refuse
    imports.write(found, out, dict.fromkeys(sets, out))
    _show_imported(found, out)
    _warn_of_changed(n_changed)
    diagnosis.write_metrics(loaded, out)
    diagnosis.write_sweeps(sweeps, out)
    show_report(drawn)
    if protocol:
        show_readings(drawn)
    for each in sweeps:
        console.print(f"{each.run}: {sweep_told(each)}", markup=False, soft_wrap=True, highlight=False)
        console.print(f"  confirm it on other questions: {each.confirm}", markup=False, soft_wrap=True, highlight=False)
    output.show(output.report_record(drawn))


def _report_several(
    run_dirs: list[Path],
    sets: "dict[str, Curated]",
    out: Path,
    imported: "list[Imported]",
    *,
    rule: Rule | None,
    reread: bool,
    protocol: str | None,
    baseline: str | None,
) -> None:
    """Report on a run over several data sets."""
    from videothinker.cli.benchmarks_display import show_benchmarks
    from videothinker.recipes import benchmarks, imports

    if run_dirs and baseline is None:
        baseline = benchmarks.earlier_report(run_dirs[0]).baseline
    theirs = imports.by_set(imported, sets)
    read = benchmarks.load(run_dirs, sets, rule=rule, imported=theirs, reread=reread, protocol=protocol)
    folders = {name: out / name for name in sets}
    imports.check_folders(imported, folders)
    loaded = {name: each.runs for name, each in read.items()}
    table = benchmarks.report(loaded, sets, out, baseline=baseline, protocol=protocol, reread=reread, bars=progress_bar)
    imports.write(imported, out, folders)
    _show_imported(imported, out)
    _warn_of_changed(sum(each.n_read_otherwise for each in read.values()))
    benchmarks.write_metrics(loaded, out)
    show_benchmarks(table)
    output.show(output.benchmarks_record(table))


def _show_imported(imported: "list[Imported]", out: Path) -> None:
    """Print what became of the rows of each file, and warn of those that answer no question."""
    from collections import Counter

    from videothinker.recipes.imports import UNMATCHED

    for each in imported:
        for by_set in zip(*each.files.values(), strict=True):
            first = by_set[0]
            console.print(f"{each.name}: {first.file} ({first.format}, {first.n_rows:,} rows)", markup=False, soft_wrap=True)
            for name, counts in zip(each.files, by_set, strict=True):
                n_matched = counts.n_by_id + counts.n_by_words
                told = f"{n_matched:,} matched: {counts.n_by_id:,} by id, {counts.n_by_words:,} by words"
                elsewhere = f"; {counts.n_elsewhere:,} of other data sets" if counts.n_elsewhere else ""
                console.print(f"  {name}: {told}{elsewhere}", markup=False, soft_wrap=True)
        if each.unmatched:
            first_row = each.unmatched[0]
            kinds = ", ".join(f"{n:,} {why}" for why, n in Counter(row.why.value for row in each.unmatched).items())
            warn(
                f"{each.name}: {len(each.unmatched):,} rows answer no question ({kinds}), such as {first_row.file}: "
                f"{first_row.place} {first_row.reason}; all of them are in {out / UNMATCHED}"
            )


def _warn_of_changed(n_changed: int) -> None:
    if n_changed:
        warn(f"{n_changed:,} replies are read differently by this version of vt; --reread scores them as read now")
