"""Merge the finished shards of a diagnosis, and report on them as `vt diagnose` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker.curated import Curated, open_curated
from videothinker.diagnose import files, merge, runs
from videothinker.diagnose.merge import Merged, Shards
from videothinker.diagnose.runs import AskedSplits
from videothinker.errors import VtError
from videothinker.progress import Bars, no_bars
from videothinker.recipes import benchmarks, diagnosis


class MergedRuns(NamedTuple):
    """What was merged, by data set."""

    runs: list[Merged]
    folders: dict[str, list[Path]]
    """The merged runs by data set; the only one is called ""."""
    curated: dict[str, Curated]

    @property
    def several(self) -> bool:
        return "" not in self.folders


def data_sets_of(run_dir: Path) -> list[str]:
    """Names of the data sets of which shards lie in RUN_DIR; [] if they are of one that has no name."""
    return list(dict.fromkeys(name.parts[0] for name in merge.names(run_dir) if len(name.parts) > 1))


def merge_runs(
    run_dir: Path,
    *,
    data: Mapping[str, Path] | None = None,
    videos: Mapping[str, Path] | None = None,
    label_files: Mapping[str, Sequence[Path]] | None = None,
    bars: Bars = no_bars,
) -> MergedRuns:
    """Merge all runs of which shards lie in RUN_DIR; nothing is drawn.

    data, videos, label_files: by data set ("" for the only one), if they are not where the shards were asked with them.

    Raises:
        VtError: a shard is missing, they are not of one run, or were asked from other data; nothing of that run is written.
    """
    found = merge.find(run_dir)
    sets: dict[str, list[Shards]] = {}
    for each in found:
        sets.setdefault("" if len(each.name.parts) == 1 else each.name.parts[0], []).append(each)
    benchmarks.check_out(run_dir, several="" not in sets)
    curated = {
        name: _open(each[0], (data or {}).get(name), (videos or {}).get(name), (label_files or {}).get(name))
        for name, each in sets.items()
    }
    merged = []
    with bars("merging", sum(len(each.pieces) for each in found), "shards") as progress:
        asked = {name: AskedSplits(one) for name, one in curated.items()}
        for name, ours in sets.items():
            for each in ours:
                merged.append(merge.merge(each, curated[name], asked[name]))
                progress(len(each.pieces))
    return MergedRuns(merged, {name: [each.folder for each in ours] for name, ours in sets.items()}, curated)


def _open(of: Shards, data: Path | None, videos: Path | None, label_files: Sequence[Path] | None) -> Curated:
    """The curated folder that shards were asked from, with the clips and labels that they were asked with."""
    recorded = Path(of.record.provenance["data"])
    if data is None and not recorded.is_dir():
        raise VtError(f"{of.pieces[0].folder}: was asked from {recorded}, which is not there; say where it is with --data")
    if videos is None and of.called("videos") and Path(of.called("videos")).is_dir():
        videos = Path(of.called("videos"))
    labels = [Path(path) for path in of.called("labels") or ()] if label_files is None else label_files
    if gone := next((path for path in labels if not path.is_file()), None):
        raise VtError(
            f"{of.pieces[0].folder}: was asked with --labels {gone}, which is not there; say where it is with --labels"
        )
    return open_curated(data or recorded, videos, label_files=labels)


class Against(NamedTuple):
    """How a merged run differs from one that one process asked."""

    name: Path
    other: Path
    n_questions: int
    """Questions that both have; the counts below are among them."""
    n_replies: int
    """Replies that differ."""
    n_answers: int
    """Answers, as they were read, that differ."""
    n_single: int
    """Questions that only one of the two has."""


def against(run_dir: Path, other: Path) -> list[Against]:
    """What differs between the merged runs in RUN_DIR and those of the same names in `other`.

    Raises:
        VtError: `other` lacks a run, or holds one with other settings or data.
    """
    found = []
    for each in merge.find(run_dir):
        folder = other / each.name
        merge.check_same(folder, each.record)
        ours, theirs = files.read_predictions(each.folder), files.read_predictions(folder)
        both = [(row, theirs[key]) for key, row in ours.items() if key in theirs]
        found.append(
            Against(
                each.name,
                folder,
                len(both),
                sum(one.reply != two.reply for one, two in both),
                sum(one.chosen != two.chosen for one, two in both),
                len(ours.keys() ^ theirs.keys()),
            )
        )
    return found


def report(
    merged: MergedRuns, run_dir: Path, *, baseline: str | None = None, bars: Bars = no_bars
) -> diagnosis.Report | benchmarks.BenchmarksReport:
    """Draw the report on merged runs and what else in RUN_DIR was asked the same, as `vt diagnose` does.

    Raises:
        VtError: there is no such baseline, or it is for several data sets and there is one.
    """
    if merged.several:
        beside = {
            name: runs.load_runs(runs.folders_beside(folders, run_dir / name), merged.curated[name])
            for name, folders in merged.folders.items()
        }
        return benchmarks.report(beside, merged.curated, run_dir, baseline=baseline, bars=bars)
    if baseline is not None:
        raise VtError(f"--baseline {baseline}: is for several data sets; with one, the report compares all pairs")
    (folders,), (curated,) = merged.folders.values(), merged.curated.values()
    return diagnosis.report(runs.load_runs(runs.folders_beside(folders, run_dir), curated), curated, run_dir, bars=bars)
