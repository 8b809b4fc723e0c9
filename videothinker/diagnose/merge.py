"""Put the finished shards of a run together: RUN_DIR/shards/I-of-N/NAME/ into RUN_DIR/NAME/, as one process would have left it.

Predictions come in the order of the questions and the metrics from them alone, so both files have the bytes of a run of one
process wherever its replies do. In run.json only what counts sessions and seconds differs, and `provenance`, which lists the
shards.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import locks, shards, store
from videothinker.curated import Curated
from videothinker.diagnose import files, run
from videothinker.diagnose.fed import add_fed, joined
from videothinker.diagnose.limit import limited
from videothinker.diagnose.runs import AskedSplits, read_record
from videothinker.errors import VtError
from videothinker.records import Prediction, Question, RunRecord, Status
from videothinker.records.shard import Done
from videothinker.shards import Shard

_ADVICE = "remove the shards' folder and ask them again, or give --shard another --out"
_ALIKE = ("limit", "labels")
"""What has to be the same of all shards' commands, beside what run.json says."""


class Piece(NamedTuple):
    """What one shard has of a run."""

    folder: Path
    record: RunRecord
    done: Done


class Shards(NamedTuple):
    """All finished shards of one run."""

    folder: Path
    """Where they are merged."""
    name: Path
    """The same, below RUN_DIR: NAME, or DATASET/NAME."""
    pieces: list[Piece]
    """In order; of one run."""

    @property
    def record(self) -> RunRecord:
        """run.json of the first shard that knows most: one that had no question does not know what a checkpoint turned out to
        be, and not every server says what it serves."""
        records = [each.record for each in self.pieces]
        return max(records, key=lambda each: (each.settings.get("text_positions") is not None, each.served is not None))

    def called(self, name: str) -> Any:
        """What the shards' commands say of `name`, which is the same for all (`find`)."""
        return self.pieces[0].done.call.get(name)


class Merged(NamedTuple):
    """What became of the shards of one run."""

    name: Path
    n_shards: int
    n_predictions: int
    n_decode_error: int
    is_new: bool
    """False if all was there already, and nothing was written."""
    machines: list[str]
    seconds: float
    """Of all shards together."""
    differ: list[str]
    """Packages that the shards had in different versions, with these."""
    n_unsaid: int
    """Shards whose servers did not say what they serve, while those of others did: nobody has held them beside each other."""


def names(run_dir: Path) -> list[Path]:
    """The runs of which shards lie in RUN_DIR: each NAME, or DATASET/NAME."""
    found = [shard.folder(run_dir) for shard in shards.begun(run_dir)]
    return sorted({path.parent.relative_to(each) for each in found for level in _LEVELS for path in each.glob(level)})


_LEVELS = (f"*/{files.RUN}", f"*/*/{files.RUN}")


def find(run_dir: Path) -> list[Shards]:
    """The runs of which shards lie in RUN_DIR, in the order in which they were asked.

    Raises:
        VtError: there are none, one is missing or not finished, or they are not of one run.
    """
    shards.all_of(run_dir)
    there = names(run_dir)
    if len({len(name.parts) for name in there}) > 1:
        raise VtError(
            f"{run_dir / shards.FOLDER}: holds runs over one data set and over several ({', '.join(map(str, there))}); "
            "remove those that do not count"
        )
    found = [_find(run_dir, name) for name in there]
    if not found:
        raise VtError(f"{run_dir / shards.FOLDER}: holds no run; expected one that `vt diagnose` with {shards.OPTION} wrote")
    return sorted(found, key=lambda each: (each.called("place") or 0, each.name))


def _find(run_dir: Path, name: Path) -> Shards:
    begun = [shard.folder(run_dir) / name for shard in shards.begun(run_dir)]
    first = next(folder for folder in begun if (folder / files.RUN).is_file())
    done = shards.finished(run_dir, name, read_record(first).provenance.get("command"))
    found = Shards(run_dir / name, name, [Piece(folder, read_record(folder), marker) for folder, marker in done])
    for piece in found.pieces:
        check_same(piece.folder, found.record)
        alike = {name: found.called(name) for name in _ALIKE}
        store.check_same(piece.folder, piece.done.call, alike, what="a shard of a run", advice=_ADVICE)
    return found


def check_same(folder: Path, record: RunRecord) -> None:
    """Check that the shard in `folder` is of the run that `record` tells of.

    Raises:
        VtError: it is not; the message says what differs.
    """
    said = run.in_todays_form(store.read_json(folder / files.RUN, dict[str, Any]), record)
    store.check_same(folder, said, _known(run.identity(record)), what="a shard of a run", advice=_ADVICE)


def _known(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a run finds out only once its checkpoint is loaded, while it has not."""
    settings = {name: value for name, value in identity["settings"].items() if name != "text_positions" or value is not None}
    return {**identity, "settings": settings}


def check_beside(jobs: Sequence[run.Job], run_dir: Path, shard: Shard) -> None:
    """Check, before a shard asks anything, that it can be merged: that no other shard was asked otherwise, and that RUN_DIR
    does not hold the same run already, asked by one process.

    Raises:
        VtError: it cannot; the jobs' folders are given up.
    """
    try:
        for job in jobs:
            name = job.folder.relative_to(shard.folder(run_dir))
            check_not_whole(run_dir / name)
            for other in shards.begun(run_dir):
                folder = other.folder(run_dir) / name
                if other != shard and (folder / files.RUN).is_file():
                    check_same(folder, job.record)
    except VtError:
        for job in jobs:
            locks.release(job.folder)
        raise


def check_not_whole(folder: Path) -> None:
    """Check that a run's folder holds nothing, or what shards made.

    Raises:
        VtError: it holds a run that was asked whole.
    """
    if (folder / files.RUN).is_file() and run.MERGED not in read_record(folder).provenance:
        raise VtError(
            f"{folder}: holds a run that was asked without {shards.OPTION}; leave {shards.OPTION} out to go on with it, "
            "or choose another --out for the shards"
        )


def merge(found: Shards, curated: Curated, asked: AskedSplits | None = None) -> Merged:
    """Merge one run's shards; its folder is that of a run that can be reported on and resumed like any other.

    What was merged before is replaced, but for answers to questions whose clips the shards could not read. asked: the splits of
    `curated`, if several runs are merged.

    Raises:
        VtError: a question is missing or is in two shards, they were asked from other data, the folder holds something else, or
            somebody writes there.
    """
    check_not_whole(found.folder)
    record = found.record
    asked = asked or AskedSplits(curated)
    run.claim(found.folder, record)
    try:
        questions, predictions = _together(found, asked)
        earlier = _earlier(found, asked)
        held = {key: row for key, row in earlier.items() if row.status is not Status.DECODE_ERROR}
        predictions = {
            key: held.get(key, row) if row.status is Status.DECODE_ERROR else row for key, row in predictions.items()
        }
        _check_all(found, curated, questions, predictions)
        written = _write(found, record, curated, questions, predictions)
    finally:
        locks.release(found.folder)
    return Merged(
        found.name,
        len(found.pieces),
        len(predictions),
        sum(row.status is Status.DECODE_ERROR for row in predictions.values()),
        written,
        list(dict.fromkeys(each.done.machine for each in found.pieces)),
        sum(each.done.seconds for each in found.pieces),
        _differ([each.record for each in found.pieces]),
        sum(each.record.served is None for each in found.pieces) if record.served is not None else 0,
    )


def _together(found: Shards, asked: AskedSplits) -> tuple[list[Question], dict[str, Prediction]]:
    """All questions of the split, and the shards' predictions in their order."""
    questions: list[Question] = []
    by_id: dict[str, tuple[Prediction, Path]] = {}
    for piece in found.pieces:
        questions, predictions = asked.answers(piece.folder, piece.record)
        for key, row in predictions.items():
            if key in by_id:
                raise VtError(f"{piece.folder}: answers question {key}, which {by_id[key][1]} answers too; {_ADVICE}")
            by_id[key] = row, piece.folder
    return questions, {one.question_id: by_id[one.question_id][0] for one in questions if one.question_id in by_id}


def _earlier(found: Shards, asked: AskedSplits) -> dict[str, Prediction]:
    """What an earlier merge has left."""
    if not (found.folder / files.RUN).is_file():
        return {}
    return asked.answers(found.folder, read_record(found.folder))[1]


def _check_all(found: Shards, curated: Curated, questions: Sequence[Question], predictions: Mapping[str, Prediction]) -> None:
    limit = found.called("limit")
    wanted = (
        {question.question_id for question in questions}
        if limit is None
        else limited(questions, limit, curated.labels, curated.manifest.benchmark, set())
    )
    if missing := sorted(wanted - set(predictions)):
        raise VtError(
            f"{found.folder}: no shard answers question {missing[0]}"
            f"{f' and {len(missing) - 1:,} more' if missing[1:] else ''}, though all are finished; {_ADVICE}"
        )


def _write(
    found: Shards, record: RunRecord, curated: Curated, questions: Sequence[Question], predictions: Mapping[str, Prediction]
) -> bool:
    """Write the run unless it is there already. Returns whether it was written."""
    told = [each.record.fed for each in found.pieces if each.record.fed is not None]
    whole = msgspec.structs.replace(
        record,
        endpoint=joined(each.record.endpoint for each in found.pieces),
        partial=run.partial(len(predictions), len(questions)),
        fed=add_fed(None, told) if told else None,
        sessions=tuple(session for each in found.pieces for session in each.record.sessions),
        provenance=_provenance(found, curated),
    )
    files_ = {
        files.PREDICTIONS: store.jsonl_bytes(predictions.values()),
        files.METRICS: store.json_bytes(run.score(curated, questions, predictions)),
    }
    if _is_there(found.folder, whole, files_):
        return False
    (found.folder / files.METRICS).unlink(missing_ok=True)
    store.write_json(found.folder / files.RUN, whole)  # first: predictions without it are nobody's
    for name, content in files_.items():
        store.write_bytes(found.folder / name, content)
    return True


def _is_there(folder: Path, record: RunRecord, contents: Mapping[str, bytes]) -> bool:
    """Whether the folder holds just this, made of just these sessions of the shards."""
    if not (folder / files.RUN).is_file():
        return False
    held = read_record(folder)
    alike = all(held.provenance.get(name) == record.provenance[name] for name in ("data", run.MERGED))
    same = msgspec.structs.replace(held, provenance={}) == msgspec.structs.replace(record, provenance={})
    there = all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in contents.items())
    return alike and same and there


def _provenance(found: Shards, curated: Curated) -> dict[str, Any]:
    """That of the shards, which asked, with who merged them when."""
    asked, merging = found.pieces[0].record.provenance, store.provenance()
    differ = _differ([each.record for each in found.pieces])
    return {
        **asked,
        **{name: merging[name] for name in ("created", "command")},
        "data": str(curated.folder.resolve()),
        run.MERGED: shards.told([each.done for each in found.pieces], "questions"),
        **({"shards_differ": differ} if differ else {}),
    }


def _differ(records: Sequence[RunRecord]) -> list[str]:
    """Packages of which not all shards had the same version: "torch 2.11.0 and 2.13.0"."""
    each = [record.provenance.get("versions") or {} for record in records]
    packages = list(dict.fromkeys(name for versions in each for name in versions))
    by_package = {name: list(dict.fromkeys(versions.get(name, "none") for versions in each)) for name in packages}
    return [f"{name} {' and '.join(found)}" for name, found in by_package.items() if len(found) > 1]
