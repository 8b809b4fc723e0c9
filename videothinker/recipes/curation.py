"""From a data set's files to a curated folder with its page."""

import os
from pathlib import Path

from videothinker.curate import question_set
from videothinker.curate.build import check_out, write
from videothinker.curate.datasets import dataset_named
from videothinker.curate.datasets.clevrer import build
from videothinker.curate.datasets.clevrer.annotations import find_annotations
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.progress import Bars, no_bars


def curate_clevrer(
    annotations: Path,
    questions: Path,
    out: Path,
    settings: Settings,
    *,
    videos: Path | None = None,
    strict: bool = False,
    workers: int | None = None,
    bars: Bars = no_bars,
) -> build.ClevrerCuration:
    """Curate CLEVRER's release into `out`, its report included; `vt curate clevrer`.

    bars: shows reading, labelling, drawing and writing.
    annotations: a folder or the released zip. workers: processes that read it; None: one per core. Else as
    `curate.datasets.clevrer.build.curate`.

    Raises:
        VtError: an input cannot be used as a whole, the settings do not fit it, or `out` holds something else.
    """
    from videothinker.reports.curation import curation_pages, n_films

    settings.check()
    layout = build.layout(settings)
    check_out(out, settings.as_json(), layout, questions)
    found = find_annotations(annotations)
    release = build.curate(
        found, questions, videos, out, settings, strict=strict, workers=workers or os.cpu_count() or 1, bars=bars
    )
    pages = {}
    if release.table.height:
        with bars("drawing the report", n_films(release), "clips") as progress:
            pages = curation_pages(release, out=out, progress=progress)
    with bars("writing the folder", None, "files"):
        write(release.curation, out, layout, pages)
    return release


def curate_set(
    source: Path, out: Path, settings: question_set.Settings, *, videos: Path | None = None, strict: bool = False
) -> question_set.Counted:
    """Curate any other data set into `out`, its report included; `vt curate NAME`.

    source: what the data set needs, as `vt curate list` says.

    Raises:
        VtError: the source cannot be used as a whole, or `out` holds something else.
    """
    from videothinker.reports.question_set import question_set_pages

    settings.check()
    layout = question_set.layout(settings)
    check_out(out, settings.as_json(), layout, source)
    dataset = dataset_named(settings.dataset)
    counted = question_set.curate(dataset, source, videos, out, settings, strict=strict)
    write(counted.curation, out, layout, question_set_pages(dataset, counted, out=out))
    return counted
