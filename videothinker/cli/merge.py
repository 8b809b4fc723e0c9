"""`vt merge`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from videothinker.cli import options, output
from videothinker.cli.console import duration, progress_bar, warn
from videothinker.cli.console import out as console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from videothinker.diagnose.merge import Merged
    from videothinker.recipes.merging import Against

EPILOG = """[bold]Examples[/bold]

Four machines that share a folder, or one after the other, in any order:

  vt diagnose --data curated --model runs/cdpo --out runs/dev --shard 1/4

  vt diagnose --data curated --model runs/cdpo --out runs/dev --shard 2/4   # and 3/4 and 4/4

  vt merge runs/dev

The same on a cluster, as one Slurm file that also merges:

  vt diagnose --data curated --model runs/cdpo --out runs/dev --print-sbatch 4 > dev.sbatch   # then bash dev.sbatch

How many replies differ from those of one process, where rounding decides:

  vt merge runs/dev --against runs/dev-one
"""


def merge(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Folders that the shards' --out named.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]DIR", help="Curated folder, if it is not where the shards were asked from. Repeatable."),
    ] = None,
    videos: options.Videos = None,
    labels: options.Labels = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also count what differs from the same run in DIR, which one process asked."),
    ] = None,
    baseline: options.Baseline = None,
    report: options.DrawReport = True,
    json: options.Json = False,
) -> None:
    """Put the finished shards of a diagnosis or curation together, as if one process had done all, and draw its report.

    The shards lie in RUN_DIR/shards/I-of-N/. If one is missing, nothing is merged, and what to run is said.
    Merging again changes nothing, unless a shard has answered more since.

    Data, clips and labels are those that the shards were asked with.
    """
    from videothinker.cli.benchmarks_display import show_benchmarks
    from videothinker.cli.curate_display import show_clevrer
    from videothinker.cli.diagnosis_display import show_report
    from videothinker.diagnose import run
    from videothinker.errors import VtError
    from videothinker.recipes import curation, merging
    from videothinker.recipes.diagnosis import Report

    output.choose(json)
    folders = run.data_names(data or [])
    found: list[dict[str, Any]] = []
    for run_dir in run_dirs:
        if curation.has_shards(run_dir):
            if data or videos or labels or against or baseline or not report:
                raise VtError(f"{run_dir}: holds shards of a curation, which takes no options; give its folder alone")
            curated = curation.merge_clevrer(run_dir, bars=progress_bar)
            show_clevrer(curated, run_dir)
            found.append({"folder": run_dir, "manifest": curated.curation.manifest})
            continue
        sets = merging.data_sets_of(run_dir)
        merged = merging.merge_runs(
            run_dir,
            data=_data_of(folders, sets, run_dir),
            videos={name: Path(folder) for name, folder in run.of_each(videos or [], sets or [""], "--videos").items()},
            label_files=run.label_files(labels or [], sets or [""]) or None,
            bars=progress_bar,
        )
        for each in merged.runs:
            _show(each)
        differences = merging.against(run_dir, against) if against is not None else ()
        for difference in differences:
            _show_difference(difference)
        told: dict[str, Any] = {"folder": run_dir, "runs": [_record(each) for each in merged.runs]}
        told["against"] = [each._asdict() for each in differences]
        if report:
            drawn = merging.report(merged, run_dir, baseline=baseline, bars=progress_bar)
            if isinstance(drawn, Report):
                show_report(drawn)
                told["report"] = output.report_record(drawn)
            else:
                show_benchmarks(drawn)
                told["report"] = output.benchmarks_record(drawn)
        found.append(told)
    output.show({"merged": found})


def _record(merged: "Merged") -> dict[str, Any]:
    return {
        "name": str(merged.name),
        "is_new": merged.is_new,
        "n_questions": merged.n_predictions,
        "n_shards": merged.n_shards,
        "n_decode_error": merged.n_decode_error,
        "seconds": merged.seconds,
    }


def _data_of(folders: "Mapping[str, Path]", sets: "Sequence[str]", run_dir: Path) -> "dict[str, Path]":
    """The curated folders that --data names, by data set; the only one is called "".

    Raises:
        VtError: one is of no data set of which shards lie in RUN_DIR.
    """
    from videothinker.errors import VtError

    known = sets or list(folders)[:1]
    if wrong := next((name for name in folders if name not in known), None):
        expected = f"NAME=DIR for {', '.join(sets)}" if sets else "one folder, since its shards are over one data set"
        raise VtError(f"--data {folders[wrong]}: is called '{wrong}'; for {run_dir} expected {expected}")
    return {name if sets else "": folder for name, folder in folders.items()}


def _show(merged: "Merged") -> None:
    machines = f" on {len(merged.machines)} machines" if len(merged.machines) > 1 else ""
    what = "merged" if merged.is_new else "merged already"
    console.print(
        f"[bold]{escape(str(merged.name))}[/bold]: {what}, {merged.n_predictions:,} questions of {merged.n_shards} shards, "
        f"{duration(merged.seconds)}{machines}",
        soft_wrap=True,
    )
    if merged.n_decode_error:
        warn(
            f"{merged.name}: {merged.n_decode_error:,} clips could not be read; run the shards again, or vt diagnose without "
            "--shard, which asks these alone"
        )
    if merged.n_unsaid:
        warn(
            f"{merged.name}: the servers of {merged.n_unsaid} of {merged.n_shards} shards did not say what they serve, so that "
            "only the model's name is known to be the same"
        )
    for each in merged.differ:
        warn(f"{merged.name}: its shards were asked with {each}; replies may differ where rounding decides")


def _show_difference(found: "Against") -> None:
    single = f"; {found.n_single:,} more are in one of the two alone" if found.n_single else ""
    console.print(
        f"{escape(str(found.name))}: {found.n_questions:,} questions are in both runs, {found.n_replies:,} with another reply "
        f"and {found.n_answers:,} with another answer than in {escape(str(found.other))}{single}",
        soft_wrap=True,
    )
