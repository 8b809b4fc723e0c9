"""What is to be asked, of whom, and what an earlier, unfinished run has left: found out before any model is loaded."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import locks
from videothinker.curated import Curated
from videothinker.diagnose import protocols, solvers
from videothinker.diagnose.answerer import check_clips
from videothinker.diagnose.files import data_hash, match, read_predictions
from videothinker.diagnose.identity import addresses, claim
from videothinker.diagnose.job import Job, Part, by_clip, release
from videothinker.diagnose.limit import limited
from videothinker.diagnose.openers import kind_of
from videothinker.diagnose.refs import check_revision, text_positions_of
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.errors import VtError
from videothinker.fingerprint import fingerprint
from videothinker.progress import silent
from videothinker.prompts import template
from videothinker.records import Prediction, Question, RunRecord, Served
from videothinker.records.run import AskedData
from videothinker.shards import Shard


class SetToAsk(NamedTuple):
    """One of several data sets that the same checkpoints are asked about."""

    curated: Curated
    settings: DiagnosisSettings
    out: Path
    """Folder of its runs, each in OUT/NAME."""
    own: Mapping[str, DiagnosisSettings] = {}
    """`plan`'s, for this data set."""


def plan(
    models: Mapping[str, str],
    curated: Curated,
    settings: DiagnosisSettings,
    out: Path,
    *,
    endpoints: Sequence[str] = (),
    served: Mapping[str, Served] = {},
    limit: int | None = None,
    resume: bool = True,
    own: Mapping[str, DiagnosisSettings] | None = None,
    rank: int = 0,
    warn: Callable[[str], None] = silent,
    shard: Shard | None = None,
) -> list[Job]:
    """What is to be asked, found out before any model is loaded. The folders are locked until `diagnose` is over.

    models: REF by name. endpoints: URLs of servers, alike, that stand behind the REFs. served: by REF, what those say of it
    (`served.said_of`). limit: how many questions to ask, of
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
    by_name = {name: (own or {}).get(name, settings) for name in models}
    kinds = {name: kind_of(ref, endpoint=bool(endpoints)) for name, ref in models.items()}
    _check_prompts(questions, by_name)
    _check_solvers(models, curated, settings)
    check_revision(models, kinds, settings.revision)
    rules = {
        name: text_positions_of(ref, kinds[name], settings, out / name if resume else None, warn if rank == 0 else silent)
        for name, ref in models.items()
    }
    data = AskedData(hash=data_hash(questions, curated.labels), split=settings.split, n_questions=len(questions))
    jobs: list[Job] = []
    for name, ref in models.items():
        asked = msgspec.structs.replace(by_name[name], text_positions=rules[name])
        record = RunRecord(
            name=name,
            model=ref,
            kind=kinds[name],
            weights=fingerprint(Path(ref)) if kinds[name] == "checkpoint" else None,
            endpoint=addresses(endpoints) if kinds[name] == "endpoint" else None,
            served=served.get(ref) if kinds[name] == "endpoint" else None,
            settings=msgspec.to_builtins(asked),
            data=data,
        )
        try:
            done = _taken(out / name, record, curated, questions, resume=resume, lock=rank == 0)
        except VtError:
            release(jobs)
            raise
        wanted = _wanted(questions, curated, set(done), limit, shard)
        part = None if shard is None else Part(shard, {"limit": limit, **_where(curated)})
        jobs.append(Job(ref, out / name, curated, asked, record, questions, wanted, done, part))
    return jobs


def _check_prompts(questions: Sequence[Question], by_name: Mapping[str, DiagnosisSettings]) -> None:
    """Check that every question can be put as the settings say, so that one that cannot shows before an hour of asking others.

    Raises:
        VtError: a protocol does not define a question, or the prompt of a file cannot put one.
    """
    for protocol in map(protocols.find, dict.fromkeys(each.protocol for each in by_name.values())):
        for question in questions:
            protocol.of(question)
    of_files = {each.template: name for name, each in by_name.items() if each.template is not None}
    for of_file, name in of_files.items():
        template.check(of_file, questions, f"the prompt of {name}")


def _check_solvers(models: Mapping[str, str], curated: Curated, settings: DiagnosisSettings) -> None:
    """Check that there are such solvers, since a wrong name should show before an hour of asking others."""
    for ref in models.values():
        if ref.startswith(solvers.PREFIX):
            solvers.open_solver(ref, curated=curated, seed=settings.seed)


def _taken(
    folder: Path, record: RunRecord, curated: Curated, questions: Sequence[Question], *, resume: bool, lock: bool
) -> dict[str, Prediction]:
    """The predictions that a run's folder holds already, which is now locked; none of them with `resume` False.

    Raises:
        VtError: the folder is not this run's, or they are not answers to these questions. It is not locked then.
    """
    try:
        claim(folder, record, replace=not resume, lock=lock)
        return match(questions, curated.labels, read_predictions(folder), folder) if resume else {}
    except VtError:
        locks.release(folder)
        raise


def _wanted(
    questions: Sequence[Question], curated: Curated, done: set[str], limit: int | None, shard: Shard | None
) -> set[str]:
    """Ids of the questions to ask: those that `limit` leaves, of a shard's clips. done: what is answered stays among them."""
    if limit is None:
        wanted = {question.question_id for question in questions}
    else:
        counted = done if shard is None else set()  # which all shards have to choose alike, whatever each has done
        wanted = limited(questions, limit, curated.labels, curated.manifest.benchmark, counted)
    if shard is None:
        return wanted
    return wanted & {question.question_id for question in by_clip(questions, shard)} | done


def plan_sets(
    models: Mapping[str, str],
    sets: Sequence[SetToAsk],
    *,
    endpoints: Sequence[str] = (),
    served: Mapping[str, Served] = {},
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
                served=served,
                limit=limit,
                resume=resume,
                own=own,
                rank=rank,
                warn=warn,
                shard=shard,
            )
        except VtError:
            release(jobs)
            raise
    order = list(models)
    return _numbered(sorted(jobs, key=lambda job: order.index(job.record.name)))


def _numbered(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, of which those that are shards know their place, so that merged runs are reported in this order."""
    return [
        job if job.part is None else job._replace(part=job.part._replace(call={**job.part.call, "place": number}))
        for number, job in enumerate(jobs)
    ]


def _where(curated: Curated) -> dict[str, Any]:
    """Where clips and labels of a curated folder lie, absolute, so that `vt merge` finds them from anywhere."""
    videos = None if curated.videos_root is None else str(curated.videos_root)
    return {"videos": videos, "labels": [str(path.resolve()) for path in curated.label_files]}


def check_models(jobs: Sequence[Job], *, trust_remote_code: bool = False) -> None:
    """Check every checkpoint that is to be loaded, so that a bad one is refused before hours are spent on those before it.

    Raises:
        VtError: one cannot be loaded, or is to be asked about data without clips or, of a server, about parts of clips that are
            sent whole; what only its weights' numbers tell comes when they are loaded.
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
        release(jobs)
        raise
