"""`vt report`."""

from pathlib import Path
from typing import Annotated

import typer

from videothinker.cli.console import progress_bar, warn
from videothinker.cli.diagnose import Labels, show_readings, show_report
from videothinker.records import Rule

EPILOG = """[bold]Examples[/bold]

The same replies under the paper's rule, in a page of its own:

  vt report runs --rule any-option --out runs/any-option

Runs of several folders side by side:

  vt report runs/base runs/grpo runs/cdpo --out report

The same replies as lmms-eval reads them, and beside it as everyone else does; nothing is asked again:

  vt report runs/mvbench --protocol lmms-eval --out runs/mvbench-lmms-eval

What the official evaluator of VideoThinker or Video-R1, or lmms-eval, has written:

  vt report --import base=eval_clevrer_greedy_output.json --data curated --out report
"""


def report(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report is written.")],
    run_dirs: Annotated[list[Path] | None, typer.Argument(metavar="RUN_DIR...", help="Folders that vt diagnose wrote.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Curated folder, if it is not where the runs were asked from.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the clips are, if not where curation found them.")
    ] = None,
    rule: Annotated[Rule | None, typer.Option(help="Rule of the categories; default the curated folder's.")] = None,
    labels: Labels = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="NAME=FILE", help="A result file of eval_bench or lmms-eval. Repeat for several."),
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

    Writes report.html, report.md, figures, summary.json (references and paired comparisons)
    and NAME/metrics.json for each run.
    """
    from videothinker.diagnose import run, runs
    from videothinker.errors import VtError
    from videothinker.recipes import diagnosis

    if not run_dirs and not imports:
        raise VtError("nothing to report on; name a folder that `vt diagnose` wrote, or --import NAME=FILE")
    if not run_dirs and data is None:
        raise VtError("--import needs --data: the curated folder whose questions were answered")
    curated = runs.find_curated(run_dirs or [], data, videos, labels or ())
    files = {name: Path(file) for name, file in run.model_names(imports or [], option="--import").items()}
    loaded, n_changed = diagnosis.load(run_dirs or [], curated, rule=rule, imports=files, reread=reread, protocol=protocol)
    if n_changed:
        warn(f"{n_changed:,} replies are read differently by this version of vt; --reread scores them as read now")
    diagnosis.write_metrics(loaded, out)
    drawn = diagnosis.report(loaded, curated, out, protocol=protocol, bars=progress_bar)
    show_report(drawn)
    if protocol:
        show_readings(drawn)
