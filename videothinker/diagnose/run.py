"""Ask checkpoints the questions of a split, and append each reply to a file at once, so that a killed run can go on.

RUN_DIR/NAME/ holds `run.json` (what is asked, of what, how), `predictions.jsonl` (one line per question) and, once every
question is asked, `metrics.json`, computed from the predictions' file alone. `plan` reads what is there and says which
questions are owed; `diagnose` asks those. With several processes (torchrun), each appends to a file of its own, such as
`predictions.rank3.jsonl`, and process 0 puts them together at the end; whatever a killed run of any number of processes left
behind counts as answered.

    jobs = run.plan(run.model_names(["base=REF"]), curated, settings, out)
    run.diagnose(jobs, run.Opener())

Whoever asks needs the names in `__all__` alone; they are at home in the modules that are imported here.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from videothinker import shards, store
from videothinker.curated import Curated
from videothinker.diagnose import metrics
from videothinker.diagnose.answerer import Answerer
from videothinker.diagnose.fed import add_fed, joined
from videothinker.diagnose.files import METRICS, PREDICTIONS, RUN, match, prediction_files, read_predictions
from videothinker.diagnose.identity import claim, identity, in_todays_form
from videothinker.diagnose.job import Job, by_clip, release
from videothinker.diagnose.named import data_names, import_files, label_files, model_names, of_each
from videothinker.diagnose.openers import Opener, open_answerer
from videothinker.diagnose.planning import SetToAsk, check_models, plan, plan_sets
from videothinker.diagnose.predictions import grade, read_under
from videothinker.progress import Progress, no_progress
from videothinker.records import Metrics, Prediction, Question, RunRecord
from videothinker.records.run import Partial
from videothinker.shards import DONE, Shard

# fmt: off
__all__ = [
    "METRICS", "PREDICTIONS", "RUN",
    "Job", "Opener", "SetToAsk",
    "by_clip", "check_models", "claim", "data_names", "diagnose", "grade", "identity", "import_files", "in_todays_form",
    "label_files", "model_names", "of_each", "open_answerer", "partial", "plan", "plan_sets", "read_under", "release", "score",
]
# fmt: on

MERGED = shards.FOLDER
"""What the provenance of a merged run calls the shards that it was made of; a run without it was asked whole."""
_FED = "fed.*.json"


_TELL_S = 2.0
"""Seconds between two writings of what a session was fed."""


def diagnose(
    jobs: Sequence[Job],
    open_answerer: Callable[[Job], Answerer],
    *,
    rank: int = 0,
    world_size: int = 1,
    barrier: Callable[[], object] = lambda: None,
    progress: Progress = no_progress,
) -> None:
    """Ask what is owed and write the run folders. A model is opened only if it owes answers; an `Opener` lets it go before the
    next one.

    rank, world_size, barrier: this process among those that share the work; each asks the questions of its own clips.
    """
    try:
        for job in jobs:
            _diagnose(job, open_answerer, rank, world_size, barrier, progress)
    finally:
        release(jobs)


def _diagnose(
    job: Job,
    open_answerer: Callable[[Job], Answerer],
    rank: int,
    world_size: int,
    barrier: Callable[[], object],
    progress: Progress,
) -> None:
    began = datetime.now(UTC)
    answerer = open_answerer(job) if job.owed else None  # first: a model that cannot be loaded leaves no empty run
    if answerer is not None:
        job = _as_loaded(job, answerer)
    if rank == 0:
        _start(job)
    barrier()
    if answerer is not None:
        _ask(job, answerer, rank, world_size, progress)
    del answerer
    barrier()
    if rank == 0:
        _finish(job, began)


def _as_loaded(job: Job, answerer: Answerer) -> Job:
    """The job with the rule of text positions that its checkpoint turned out to have."""
    found = answerer.describe().get("text_positions") if job.record.kind == "checkpoint" else None
    if found is None or job.settings.text_positions is not None:
        return job
    record = msgspec.structs.replace(job.record, settings={**job.record.settings, "text_positions": str(found)})
    return job._replace(record=record)


def _start(job: Job) -> None:
    if not job.done:  # nothing that is kept: a first run, or one that replaces another
        for path in (*prediction_files(job.folder), *job.folder.glob(_FED), job.folder / METRICS):
            path.unlink(missing_ok=True)
    if job.owed or not job.done:  # a shard may have no question at all, and says so
        (job.folder / DONE).unlink(missing_ok=True)
        (job.folder / METRICS).unlink(missing_ok=True)
        _write_record(job, _record_before(job) if job.done else None)


def _ask(job: Job, answerer: Answerer, rank: int, world_size: int, progress: Progress) -> None:
    """Ask one process's share, and append each prediction at once; beside it lies what the answerer says it was fed."""
    owed = {question.question_id: question for question in by_clip(job.owed, Shard(rank + 1, world_size))}
    name = PREDICTIONS if world_size == 1 else f"predictions.rank{rank}.jsonl"
    session = _session(rank)
    told = time.monotonic()
    protocol = read_under(job.record)
    with store.JsonlAppender(job.folder / name) as file:
        for answer in answerer.answer(list(owed.values())):
            question = owed.pop(answer.question_id)
            file.append(grade(question, answer, job.curated.labels, protocol, job.settings.seed))
            progress(1)
            if time.monotonic() - told > _TELL_S:
                _tell(job, session, answerer)
                told = time.monotonic()
    if owed:
        raise RuntimeError(f"{job.ref} left {len(owed)} questions unanswered, {next(iter(owed))} among them")
    _tell(job, session, answerer)


def _session(rank: int) -> str:
    """A name for one process's part of one call: `fed` says which it has taken in, so that none counts twice."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{rank}"


def _tell(job: Job, session: str, answerer: Answerer) -> None:
    """Say what this session was fed so far; a killed one is missing at most the last `_TELL_S` seconds."""
    store.write_json(job.folder / f"fed.{session}.json", answerer.describe())


def _record_before(job: Job) -> RunRecord | None:
    """run.json of earlier sessions; None if there were none."""
    path = job.folder / RUN
    return store.read_json(path, RunRecord) if path.is_file() else None


def _finish(job: Job, began: datetime) -> None:
    """Write one file of predictions in the order of the questions, run.json with what was fed, the metrics, and last the marker
    of a shard."""
    labels = job.curated.labels
    predictions = match(job.questions, labels, read_predictions(job.folder), job.folder)
    store.write_jsonl(job.folder / PREDICTIONS, predictions.values())
    for path in prediction_files(job.folder)[1:]:
        path.unlink()
    if sessions := sorted(job.folder.glob(_FED)):
        earlier = store.read_json(job.folder / RUN, RunRecord)
        # A kill between writing run.json and removing these files must not let them count twice.
        new = {name: path for path in sessions if (name := path.name.split(".")[1]) not in earlier.sessions}
        fed = add_fed(earlier.fed, [store.read_json(path, dict[str, Any]) for path in new.values()])
        told = msgspec.structs.replace(earlier, fed=fed, sessions=(*earlier.sessions, *new))
        _write_record(job, told, n_asked=len(predictions))
        for path in sessions:
            path.unlink()
    store.write_json(job.folder / METRICS, score(job.curated, job.questions, predictions))
    if job.part is not None and not (job.folder / DONE).is_file():
        shards.mark(job.folder, job.part.shard, n_items=len(predictions), started=began, call=job.part.call)


def score(curated: Curated, questions: Sequence[Question], predictions: Mapping[str, Prediction]) -> Metrics:
    """The metrics of the questions that have a prediction, by the labels that count (`Curated.labels_by`).

    predictions: by question_id, in the order of `questions`.
    """
    asked = [question for question in questions if question.question_id in predictions]
    return metrics.summarize(asked, list(predictions.values()), curated.labels_by(None), curated.manifest.benchmark)


def _write_record(job: Job, earlier: RunRecord | None, *, n_asked: int | None = None) -> None:
    """Write run.json. earlier: what it said of sessions whose answers are kept."""
    n_asked = len(job.wanted | set(job.done)) if n_asked is None else n_asked
    merged = {} if earlier is None else {key: earlier.provenance[key] for key in (MERGED,) if key in earlier.provenance}
    known = [job.record] if earlier is None else [job.record, earlier]
    record = msgspec.structs.replace(
        job.record,
        endpoint=joined(each.endpoint for each in known),
        served=next((each.served for each in known if each.served is not None), None),
        partial=partial(n_asked, len(job.questions)),
        fed=None if earlier is None else earlier.fed,
        sessions=() if earlier is None else earlier.sessions,
        provenance={**store.provenance(), "data": str(job.curated.folder.resolve()), **merged},
    )
    store.write_json(job.folder / RUN, record)


def partial(n_asked: int, n_questions: int) -> Partial | None:
    """The field `partial` of run.json, which is None when all questions of the split were asked."""
    return None if n_asked == n_questions else Partial(asked=n_asked, of=n_questions)
