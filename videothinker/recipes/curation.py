"""From a data set's files to a curated folder with its page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from videothinker import locks, shards, store
from videothinker.curate import question_set
from videothinker.curate.build import check_out, write
from videothinker.curate.datasets import dataset_named
from videothinker.curate.datasets.clevrer import build
from videothinker.curate.datasets.clevrer.annotations import find_annotations, read_scenes
from videothinker.curate.datasets.clevrer.questions import read_questions
from videothinker.curate.datasets.clevrer.settings import Settings
from videothinker.curate.datasets.clevrer.sharded import FILE as SHARD_FILE
from videothinker.curate.datasets.clevrer.sharded import read_back, write_read
from videothinker.errors import VtError
from videothinker.pool import n_cores
from videothinker.progress import Bars, no_bars
from videothinker.records.shard import Done
from videothinker.shards import Shard


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
    settings.check()
    check_out(out, settings.as_json(), build.layout(settings), questions)
    found = find_annotations(annotations)
    release = build.curate(found, questions, videos, out, settings, strict=strict, workers=workers or n_cores(), bars=bars)
    _write_clevrer(release, out, settings, bars)
    return release


def _write_clevrer(release: build.ClevrerCuration, out: Path, settings: Settings, bars: Bars) -> None:
    """Draw the report and write the folder."""
    from videothinker.reports.curation import curation_pages, n_films

    pages = {}
    if release.table.height:
        with bars("drawing the report", n_films(release), "clips") as progress:
            pages = curation_pages(release, out=out, progress=progress)
    with bars("writing the folder", None, "files"):
        write(release.curation, out, build.layout(settings), pages)


class ClevrerCall(msgspec.Struct, frozen=True, kw_only=True):
    """What all shards of a curation of CLEVRER have to be called with alike; their markers hold it."""

    annotations: str
    """Absolute, like the other paths."""
    questions: str
    questions_sha256: str
    videos: str | None
    strict: bool
    settings: Settings

    def as_json(self) -> dict[str, Any]:
        """As a marker holds it."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


def curate_clevrer_shard(
    annotations: Path,
    questions: Path,
    out: Path,
    settings: Settings,
    shard: Shard,
    *,
    videos: Path | None = None,
    strict: bool = False,
    workers: int | None = None,
    bars: Bars = no_bars,
) -> int:
    """Read one share of the scenes into OUT/shards/I-of-N/, for `merge_clevrer`; arguments are those of `curate_clevrer`.

    Returns the number of scenes.

    Raises:
        VtError: as `curate_clevrer`; or other shards were called otherwise, or another process reads this one.
    """
    settings.check()
    shards.check_number(out, shard)
    check_out(out, settings.as_json(), build.layout(settings), questions)
    locks.release(out)  # which is free for the other shards
    started = datetime.now(UTC)
    asked = read_questions(questions)
    call = ClevrerCall(
        annotations=str(annotations.resolve()),
        questions=str(questions.resolve()),
        questions_sha256=asked.sha256,
        videos=None if videos is None else str(videos.resolve()),
        strict=strict,
        settings=settings,
    )
    for other in shards.begun(out):
        if other != shard and (other.folder(out) / shards.DONE).is_file():
            _check_call(other.folder(out), store.read_json(other.folder(out) / shards.DONE, Done), call)
    ours = [index for place, index in enumerate(asked.wanted) if shard.has(place)]
    folder = shard.folder(out)
    with locks.alone(folder):
        (folder / shards.DONE).unlink(missing_ok=True)
        found = find_annotations(annotations)
        with bars("reading annotations", len(ours), "files") as progress:
            write_read(folder, read_scenes(found, ours, workers=workers or n_cores(), progress=progress))
        shards.mark(folder, shard, n_items=len(ours), started=started, call=call.as_json())
    return len(ours)


def _check_call(folder: Path, done: Done, call: ClevrerCall) -> None:
    """Check that the shard in `folder` was called as `call` says."""
    store.check_same(folder, done.call, call.as_json(), what="a shard of a curation", advice=_ADVICE)


_ADVICE = "remove the shards' folder to begin anew, or choose another --out"


def has_shards(out: Path) -> bool:
    """Whether shards of a curation lie in OUT."""
    return any((shard.folder(out) / SHARD_FILE).is_file() for shard in shards.begun(out))


def merge_clevrer(out: Path, *, bars: Bars = no_bars) -> build.ClevrerCuration:
    """Label what finished shards have read, and write OUT as `curate_clevrer` alone would have; only `provenance` differs.

    Raises:
        VtError: a shard is missing or was called otherwise; or as `curate_clevrer`.
    """
    done = shards.finished(out)
    call = msgspec.convert(done[0][1].call, ClevrerCall)
    for folder, each in done:
        _check_call(folder, each, call)
    settings, questions = call.settings, Path(call.questions)
    settings.check()
    check_out(out, settings.as_json(), build.layout(settings), questions)
    asked = read_questions(questions)
    if asked.sha256 != call.questions_sha256:
        raise VtError(f"{questions}: is not the file any more that the shards have read; {_ADVICE}")
    read = read_back([folder for folder, _ in done], asked.wanted)
    videos = None if call.videos is None else Path(call.videos)
    found = find_annotations(Path(call.annotations))
    release = build.curate(found, questions, videos, out, settings, strict=call.strict, read=read, bars=bars)
    release.curation.manifest["provenance"] |= {shards.FOLDER: shards.told((each for _, each in done), "scenes")}
    _write_clevrer(release, out, settings, bars)
    return release


def curate_set(
    source: Path,
    out: Path,
    settings: question_set.Settings,
    *,
    videos: Path | None = None,
    strict: bool = False,
    bars: Bars = no_bars,
) -> question_set.Counted:
    """Curate any other data set into `out`, its report included; `vt curate NAME`.

    source: what the data set needs, as `vt curate list` says. bars: shows the reading of the clips' lengths.

    Raises:
        VtError: the source cannot be used as a whole, or `out` holds something else.
    """
    from videothinker.reports.question_set import question_set_pages

    settings.check()
    layout = question_set.layout(settings)
    check_out(out, settings.as_json(), layout, source)
    dataset = dataset_named(settings.dataset)
    counted = question_set.curate(dataset, source, videos, out, settings, strict=strict, bars=bars)
    write(counted.curation, out, layout, question_set_pages(dataset, counted, out=out))
    return counted
