"""Ask checkpoints the questions of a split, and append each reply to a file at once, so that a killed run can go on.

RUN_DIR/NAME/ holds `run.json` (what is asked, of what, how), `predictions.jsonl` (one line per question) and, once every
question is asked, `metrics.json`, computed from the predictions' file alone. `plan` reads what is there and says which
questions are owed; `diagnose` asks those. With several processes (torchrun), each appends to a file of its own, such as
`predictions.rank3.jsonl`, and process 0 puts them together at the end; whatever a killed run of any number of processes left
behind counts as answered.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import UNSET

from videothinker import answers, locks, shards, store
from videothinker.curated import Curated, Labels
from videothinker.diagnose import metrics, protocols, solvers
from videothinker.diagnose.answerer import Answerer, RawReply, check_clips
from videothinker.diagnose.fed import add_fed
from videothinker.diagnose.files import METRICS, PREDICTIONS, RUN, data_hash, match, prediction_files, read_predictions
from videothinker.diagnose.limit import limited
from videothinker.diagnose.openers import OF_LOADING, OPENERS, Opened, Opening, kind_of
from videothinker.diagnose.protocols import ours
from videothinker.diagnose.protocols.base import Protocol
from videothinker.diagnose.readings import read_prediction
from videothinker.diagnose.settings import FREE, LATER, DiagnosisSettings
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.models.text_positions import TextPositions, is_affected, known_rule
from videothinker.progress import Progress, no_progress, silent
from videothinker.prompts import template
from videothinker.records import Metrics, Prediction, Question, RunRecord, Status
from videothinker.records.run import AskedData, Partial
from videothinker.shards import DONE, Shard

MERGED = shards.FOLDER
"""What the provenance of a merged run calls the shards that it was made of; a run without it was asked whole."""
_FED = "fed.*.json"
_TELL_S = 2.0
"""Seconds between two writings of what a session was fed."""


class Part(NamedTuple):
    """One machine's share of a run, by clips."""

    shard: Shard
    call: dict[str, Any]
    """What `vt merge` has to know of the command and run.json does not say."""


class Job(NamedTuple):
    """One checkpoint to ask, with what an earlier, unfinished run of it has left."""

    ref: str
    folder: Path
    curated: Curated
    settings: DiagnosisSettings
    record: RunRecord
    """run.json as far as it is known before anything is asked. A resumed run has to match it, except for `FREE` settings."""
    questions: list[Question]
    """All questions of the split, in file order."""
    wanted: set[str]
    """Ids of the questions to ask: all, or those that `--limit` chose."""
    done: dict[str, Prediction]
    """The predictions that are there already, decode errors among them."""
    part: Part | None = None
    """Which shard of the run this is; None if it is the whole."""
    view: str | None = None
    """Name of the view whose damage is done to the clips (`view_runs`); None for the clips as they are."""

    @property
    def owed(self) -> list[Question]:
        """The questions still to ask, in file order: those without a prediction, and those whose clip could not be read."""
        answered = {key for key, prediction in self.done.items() if prediction.status is not Status.DECODE_ERROR}
        return [
            question
            for question in self.questions
            if question.question_id in self.wanted and question.question_id not in answered
        ]


def plan(
    models: Mapping[str, str],
    curated: Curated,
    settings: DiagnosisSettings,
    out: Path,
    *,
    endpoints: Sequence[str] = (),
    limit: int | None = None,
    resume: bool = True,
    own: Mapping[str, DiagnosisSettings] | None = None,
    rank: int = 0,
    warn: Callable[[str], None] = silent,
    shard: Shard | None = None,
) -> list[Job]:
    """What is to be asked, found out before any model is loaded. The folders are locked until `diagnose` is over.

    models: REF by name. endpoints: URLs of servers, alike, that stand behind the REFs. limit: how many questions to ask, of
    every kind its share (`limit.limited`). resume: with False, what an earlier run left is not looked at, and `diagnose`
    replaces it. own: by name, the settings of models that are asked otherwise than `settings`, on one split and under one
    protocol: by the prompt that each was trained with. rank: this process among those that share the work; the first one
    locks. warn: told in one line of a checkpoint that is asked under another rule of text positions than it was trained with.
    shard: ask its clips alone; `out` is then the shard's folder.

    Raises:
        VtError: another process is at work in a folder, or
            a folder holds a run with other settings or data (names what differs), or predictions that do not belong there.
    """
    if limit is not None and limit < 1:
        raise VtError(f"--limit is {limit}, expected 1 or more")
    questions = curated.questions(settings.split)
    protocol = protocols.find(settings.protocol)
    for question in questions:
        protocol.of(question)  # one that it does not define shows before an hour of asking others
    by_name = {name: (own or {}).get(name, settings) for name in models}
    of_files = {each.template: name for name, each in by_name.items() if each.template is not None}
    for of_file, name in of_files.items():
        template.check(of_file, questions, f"the prompt of {name}")
    labels, benchmark = curated.labels, curated.manifest.benchmark
    data = AskedData(hash=data_hash(questions, labels), split=settings.split, n_questions=len(questions))
    for ref in models.values():
        if ref.startswith(solvers.PREFIX):
            solvers.open_solver(ref, curated=curated, seed=settings.seed)  # a wrong name shows before an hour of asking others
    kinds = {name: kind_of(ref, endpoint=bool(endpoints)) for name, ref in models.items()}
    _check_revision(models, kinds, settings.revision)
    rules = {
        name: _rule(ref, kinds[name], settings, out / name if resume else None, warn if rank == 0 else silent)
        for name, ref in models.items()
    }
    jobs: list[Job] = []
    for name, ref in models.items():
        folder = out / name
        kind = kinds[name]
        weights = fingerprint(Path(ref)) if kind == "checkpoint" else None
        asked = msgspec.structs.replace(by_name[name], text_positions=rules[name])
        record = RunRecord(
            name=name,
            model=ref,
            kind=kind,
            weights=weights,
            endpoint=_addresses(endpoints) if kind == "endpoint" else None,
            settings=msgspec.to_builtins(asked),
            data=data,
        )
        done = {}
        try:
            claim(folder, record, replace=not resume, lock=rank == 0)
            if resume:
                done = match(questions, labels, read_predictions(folder), folder)
        except VtError:
            locks.release(folder)
            _release(jobs)
            raise
        every = {question.question_id for question in questions}
        counted = set(done) if shard is None else set()  # which all shards have to choose alike, whatever each has done
        wanted = every if limit is None else limited(questions, limit, labels, benchmark, counted)
        part = None
        if shard is not None:
            ours = {question.question_id for question in by_clip(questions, shard)}
            wanted = (wanted & ours) | set(done)
            part = Part(shard, {"limit": limit, **_where(curated)})
        jobs.append(Job(ref, folder, curated, asked, record, questions, wanted, done, part))
    return jobs


def _where(curated: Curated) -> dict[str, Any]:
    """Where clips and labels of a curated folder lie, absolute, so that `vt merge` finds them from anywhere."""
    videos = None if curated.videos_root is None else str(curated.videos_root)
    return {"videos": videos, "labels": [str(path.resolve()) for path in curated.label_files]}


class SetToAsk(NamedTuple):
    """One of several data sets that the same checkpoints are asked about."""

    curated: Curated
    settings: DiagnosisSettings
    out: Path
    """Folder of its runs, each in OUT/NAME."""
    own: Mapping[str, DiagnosisSettings] = {}
    """`plan`'s, for this data set."""


def plan_sets(
    models: Mapping[str, str],
    sets: Sequence[SetToAsk],
    *,
    endpoints: Sequence[str] = (),
    limit: int | None = None,
    resume: bool = True,
    rank: int = 0,
    warn: Callable[[str], None] = silent,
    shard: Shard | None = None,
) -> list[Job]:
    """What is to be asked about several data sets; arguments and errors are those of `plan`.

    The jobs come checkpoint by checkpoint, so that each is loaded once. `limit` holds for every data set by itself.
    """
    jobs: list[Job] = []
    for curated, settings, out, own in sets:
        try:
            jobs += plan(
                models,
                curated,
                settings,
                out,
                endpoints=endpoints,
                limit=limit,
                resume=resume,
                own=own,
                rank=rank,
                warn=warn,
                shard=shard,
            )
        except VtError:
            _release(jobs)
            raise
    order = list(models)
    return _numbered(sorted(jobs, key=lambda job: order.index(job.record.name)))


def _numbered(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, of which those that are shards know their place, so that merged runs are reported in this order."""
    return [
        job if job.part is None else job._replace(part=job.part._replace(call={**job.part.call, "place": number}))
        for number, job in enumerate(jobs)
    ]


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
        _release(jobs)


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


def _release(jobs: Sequence[Job]) -> None:
    for job in jobs:
        locks.release(job.folder)


_LoadedAs = tuple[str, str, str, tuple[str, ...]]


class Opener:
    """Opens what answers for a job's REF: a built-in solver, a server's model, or a checkpoint loaded here.

    Jobs in a row that ask one checkpoint about several data sets share what was loaded. It is let go before another is opened.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = (),
        *,
        clip_cache: bool = False,
        trust_remote_code: bool = False,
        warn: Callable[[str], None] = silent,
    ) -> None:
        """endpoints: URLs of servers that stand behind the REFs.

        clip_cache: keep decoded frames on disk. trust_remote_code: run Python that comes with a checkpoint. warn: told in one
        line of what is not as it was meant.
        """
        self._endpoints, self._clip_cache, self._trust_remote_code = endpoints, clip_cache, trust_remote_code
        self._warn = warn
        self._opened: tuple[_LoadedAs, Opened] | None = None

    def has(self, job: Job) -> bool:
        """Whether what the job asks is loaded already."""
        return self._opened is not None and self._opened[0] == _loaded_as(job)

    def __call__(self, job: Job) -> Answerer:
        """What answers the job's questions.

        Raises:
            VtError: there is no such checkpoint, solver or server, or it cannot answer these questions.
        """
        if self._opened is None or not self.has(job):
            self._opened = None  # first: two checkpoints may not fit into memory
            asked = Opening(
                job.ref, job.curated, job.settings, self._endpoints, self._clip_cache, self._trust_remote_code, self._warn
            )
            self._opened = _loaded_as(job), OPENERS[job.record.kind](asked)
        return self._opened[1](job.curated, job.settings)


def _loaded_as(job: Job) -> _LoadedAs:
    """Jobs for which this is equal can share what was loaded."""
    loading = tuple(getattr(job.settings, name) for name in OF_LOADING)
    return job.record.name, job.ref, job.record.kind, loading


def open_answerer(
    job: Job, endpoints: Sequence[str] = (), *, clip_cache: bool = False, trust_remote_code: bool = False
) -> Answerer:
    """What answers for one job's REF, opened for it alone; arguments as for `Opener`."""
    return Opener(endpoints, clip_cache=clip_cache, trust_remote_code=trust_remote_code)(job)


def check_models(jobs: Sequence[Job], *, trust_remote_code: bool = False) -> None:
    """Check every checkpoint that is to be loaded, so that a bad one is refused before hours are spent on those before it.

    Raises:
        VtError: one cannot be loaded, or is to be asked about data without clips or, of a server, about parts of clips that are
            sent whole; what only its weights' numbers tell comes
            when they are loaded.
    """
    owing = [job for job in jobs if job.owed and job.record.kind != "solver"]
    try:
        for job in owing:
            check_clips(job.curated, job.ref)
            if job.record.kind == "endpoint":
                from videothinker.diagnose.endpoint import check_whole

                check_whole(job.curated, job.settings)
            elif job.settings.engine == "vllm":
                from videothinker.diagnose import vllm_answerer

                vllm_answerer.check(job.ref, job.settings)
        for ref in dict.fromkeys(job.ref for job in owing if job.record.kind == "checkpoint"):
            from videothinker.models.load import check

            check(ref, trust_remote_code=trust_remote_code)
    except VtError:
        _release(jobs)
        raise


def grade(question: Question, answer: RawReply, labels: Labels, protocol: Protocol | None = None, seed: int = 0) -> Prediction:
    """The reply read and graded, as a line on disk. labels: the question set's; its observer's answer is kept beside gold.

    protocol: who reads the reply; None reads it as ours. seed: that of the protocol's guesses.
    """
    first = answer.first
    reply = (
        None if answer.reply is None else answer.reply.encode(errors="replace").decode()
    )  # half of a surrogate pair is no UTF-8
    row = Prediction(
        question_id=question.question_id,
        reply=reply or "",
        chosen=None,
        gold=question.gold,
        observer=labels.observer(question.question_id),
        status=Status.DECODE_ERROR if reply is None else Status.TRUNCATED if answer.truncated else Status.OK,
        error=answer.error,
        tokens=answer.n_tokens,
        logprob=None if answer.logprob is None else round(answer.logprob, 6),  # float32 tells no more
        confidence=UNSET if first is None else round(first.confidence, 6),
        first_tokens=UNSET if first is None else first.n_tokens,
        stopped=True if answer.stopped else UNSET,
    )
    return read_prediction(protocol or protocols.find(protocols.OURS), question, row, seed)


def read_under(record: RunRecord) -> Protocol:
    """The protocol that a run's replies are read by. A solver replies in our form, whatever the others are asked in."""
    if record.kind not in ("checkpoint", "endpoint"):
        return protocols.find(protocols.OURS)
    name = record.settings.get("protocol", protocols.OURS)
    if name == protocols.OURS and record.settings.get("prompt") == answers.Style.TWICE:
        return ours.TWICE
    return protocols.find(name)


def by_clip(questions: Sequence[Question], share: Shard) -> list[Question]:
    """One share of the questions: those about every N-th clip, with all of each, so that no clip is read twice."""
    clips = {video: index for index, video in enumerate(dict.fromkeys(question.clip.path for question in questions))}
    return [question for question in questions if share.has(clips[question.clip.path])]


def identity(record: RunRecord) -> dict[str, Any]:
    """The fields that have to be equal for a run to be resumed, or for shards to be of one run."""
    said: dict[str, Any] = msgspec.to_builtins(record)
    settings = {name: value for name, value in said["settings"].items() if name not in FREE}
    if settings.get("template") is not None:
        settings["template"] = {"sha256": settings["template"]["sha256"]}  # which stands for the text, in a message too
    names = ("name", "model", "kind", "weights", "data", *(["endpoint"] if record.endpoint else []))
    return {name: said[name] for name in names} | {"settings": settings}


def _addresses(endpoints: Sequence[str]) -> str:
    """Servers' URLs as run.json tells them, sorted: without user, password, query and a slash at the end."""
    return ", ".join(sorted(_address(each) for each in endpoints))


def _address(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def _check_revision(models: Mapping[str, str], kinds: Mapping[str, str], revision: str | None) -> None:
    """Check that a revision, if one is asked for, is of something on the hub, and of one thing alone.

    Raises:
        VtError: it is not.
    """
    if revision is None:
        return
    for name, ref in models.items():
        if kinds[name] == "endpoint" or (kinds[name] == "checkpoint" and Path(ref).is_dir()):
            what = "a folder here" if kinds[name] == "checkpoint" else "what a server has loaded"
            raise VtError(
                f"--revision {revision}: {ref} is {what}, and only a checkpoint on the hub has revisions; leave it out"
            )
    if len(found := [ref for name, ref in models.items() if kinds[name] == "checkpoint"]) > 1:
        raise VtError(f"--revision {revision}: is of one checkpoint, and there are {', '.join(found)}; ask each in its own run")


def _rule(
    ref: str, kind: str, settings: DiagnosisSettings, before: Path | None, warn: Callable[[str], None]
) -> TextPositions | None:
    """The rule by which the text behind a clip goes on when `ref` is asked; None where it is not known yet, or never will be.

    before: the run's folder; what an earlier session found out about a checkpoint that is not on this machine holds.

    Raises:
        VtError: a server is to be asked, and the checkpoint's folder, which is at hand, says that it is of the rule which
            servers do not have.
    """
    chosen = settings.text_positions
    if kind == "solver" or (kind == "endpoint" and not Path(ref).is_dir()):
        return None if kind == "solver" else chosen
    own = known_rule(ref, settings.revision)
    differ = is_affected(ref)
    if chosen is not None and own is not None and chosen is not own and differ:
        warn(f"{ref}: was trained with text positions '{own}', and is asked under '{chosen}' as --text-positions says")
    if kind == "endpoint":
        if chosen is None and own is TextPositions.TRANSFORMERS and differ:
            raise VtError(
                f"{ref}: was trained with text positions '{own}', and servers such as vLLM have 'original'; leave out"
                f" --endpoint, or say with --text-positions which the server has (`transformers serve`: {own})"
            )
        return chosen
    if chosen is None and own is None and before is not None and (before / RUN).is_file():
        said = _todays_settings(store.read_json(before / RUN, dict[str, Any]), None).get("text_positions")
        return TextPositions(said) if said in list(TextPositions) else None
    return chosen or own


def _todays_settings(said: Mapping[str, Any], record: RunRecord | None) -> dict[str, Any]:
    """The settings in a run.json with those that earlier versions did not have, at the values that they worked with.

    Frames that were chosen here went to servers as images. Before there were rules of text positions, checkpoints were asked as
    transformers has them. Where a run does not know its rule, which is so for one of an architecture that all rules treat
    alike, it is that of `record`.
    """
    held = said.get("settings")
    if not isinstance(held, dict):
        return {}
    filled: dict[str, Any] = {**LATER, **held}
    if "send" not in held and said.get("kind") == "endpoint" and (held.get("n_frames") or held.get("frame_rule")):
        filled["send"] = "images"
    if "text_positions" not in held and said.get("kind") == "checkpoint" and is_affected(str(said.get("model"))):
        filled["text_positions"] = TextPositions.TRANSFORMERS.value
    elif filled["text_positions"] is None and record is not None:
        filled["text_positions"] = record.settings["text_positions"]
    return filled


def _as_loaded(job: Job, answerer: Answerer) -> Job:
    """The job with the rule of text positions that its checkpoint turned out to have."""
    found = answerer.describe().get("text_positions") if job.record.kind == "checkpoint" else None
    if found is None or job.settings.text_positions is not None:
        return job
    record = msgspec.structs.replace(job.record, settings={**job.record.settings, "text_positions": str(found)})
    return job._replace(record=record)


def claim(folder: Path, record: RunRecord, *, replace: bool = False, lock: bool = True) -> None:
    """Check that the folder is free, or holds this same diagnosis; with `replace` any other diagnosis may be there."""
    store.claim(
        folder,
        RUN,
        identity(record),
        what="a diagnosis",
        advice="choose another --out or NAME=REF, or start over with --no-resume",
        may_hold=lambda name: not name.startswith("predictions"),  # without run.json nobody knows how they were made
        replace=replace,
        in_todays_form=lambda said: in_todays_form(said, record),
        lock=lock,
    )


def in_todays_form(said: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """The content of a run.json as this version would have written it, to be compared with `record`'s `identity`."""
    return {**said, "settings": _todays_settings(said, record)}


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
    record = msgspec.structs.replace(
        job.record,
        partial=partial(n_asked, len(job.questions)),
        fed=None if earlier is None else earlier.fed,
        sessions=() if earlier is None else earlier.sessions,
        provenance={**store.provenance(), "data": str(job.curated.folder.resolve()), **merged},
    )
    store.write_json(job.folder / RUN, record)


def partial(n_asked: int, n_questions: int) -> Partial | None:
    """The field `partial` of run.json, which is None when all questions of the split were asked."""
    return None if n_asked == n_questions else Partial(asked=n_asked, of=n_questions)


def model_names(models: Sequence[str]) -> dict[str, str]:
    """REF by name from `--model [NAME=]REF` options, in order.

    The default name is a solver's name or the last part of a path or hub id. What stands before "=" is a name unless it looks
    like a path, or the whole names an existing folder.

    Raises:
        VtError: two checkpoints of one name, or a name that cannot be that of a folder.
    """
    return _named(models, "--model", _model_name, "checkpoints")


def data_names(data: Sequence[str]) -> dict[str, Path]:
    """Curated folder by name from `--data [NAME=]DIR` options, in order; the default name is the folder's.

    Raises:
        VtError: two data sets of one name, or a name that cannot be that of a folder.
    """
    return {name: Path(folder) for name, folder in _named(data, "--data", _folder_name, "data sets").items()}


def import_files(values: Sequence[str]) -> dict[str, list[Path]]:
    """Files by checkpoint from `--import [NAME=]FILE` options, in order; those of one name are of one checkpoint.

    Raises:
        VtError: a name cannot be that of a folder.
    """
    found: dict[str, list[Path]] = {}
    for given in values:
        ((name, file),) = _named([given], "--import", _last_part, "checkpoints").items()
        found.setdefault(name, []).append(Path(file))
    return found


def _named(values: Sequence[str], option: str, name_of: Callable[[str], str], what: str) -> dict[str, str]:
    """Values by name from options NAME=VALUE; without a name it is that of `name_of`. what: the noun for messages."""
    named: dict[str, str] = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            name, value = name_of(given), given
        if not value:
            raise VtError(f"{option} {given}: names nothing; expected NAME=VALUE")
        if not re.fullmatch(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*", name) or name == shards.FOLDER:
            raise VtError(f"{option} {given}: '{name}' cannot be the name of a folder; give one as NAME={value}")
        if name in named:
            raise VtError(
                f"two {what} are named '{name}': {named[name]} and {value}; tell them apart with {option} NAME={value}"
            )
        named[name] = value
    return named


def of_each(values: Sequence[str], names: Sequence[str], option: str) -> dict[str, str]:
    """What an option that may be given as NAME=VALUE for single data sets says for each of `names`; VALUE alone is for all.

    Raises:
        VtError: a NAME is none of the data sets.
    """
    found: dict[str, str] = {}
    for given in values:
        name, equals, value = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            found |= dict.fromkeys(names, given)
        elif name not in names:
            raise VtError(f"{option} {given}: there is no data set '{name}'; there are {', '.join(names)}")
        else:
            found[name] = value
    return found


def label_files(values: Sequence[str], names: Sequence[str]) -> dict[str, list[Path]]:
    """Files of `--labels [NAME=]FILE` by data set, in order; which of several data sets a file is of has to be said.

    Raises:
        VtError: it is not said which of several data sets a file is of, or a NAME is none of them.
    """
    found: dict[str, list[Path]] = {}
    for given in values:
        name, equals, file = given.partition("=")
        if not equals or "/" in name or Path(given).exists():
            if len(names) > 1:
                raise VtError(f"--labels {given}: of which data set? write NAME={given}, with NAME one of {', '.join(names)}")
            name, file = names[0], given
        if name not in names:
            raise VtError(f"--labels {given}: there is no data set '{name}'; there are {', '.join(names)}")
        found.setdefault(name, []).append(Path(file))
    return found


def _model_name(ref: str) -> str:
    """A solver's name, or the last part of a path or hub id."""
    return ref.removeprefix(solvers.PREFIX) if ref.startswith(solvers.PREFIX) else _last_part(ref)


def _folder_name(folder: str) -> str:
    return Path(folder).resolve().name


def _last_part(ref: str) -> str:
    path = Path(ref)
    return path.resolve().name if path.exists() else path.name
