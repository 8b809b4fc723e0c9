"""Runs with damaged clips: each view of a checkpoint is a run of its own in RUN_DIR/NAME/views/VIEW, and resumed like any run.

They lie one level deeper than where runs are looked for, so nothing takes a view for a checkpoint.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from videothinker import locks
from videothinker.curated import Curated
from videothinker.diagnose import files, runs
from videothinker.diagnose.identity import claim, identity
from videothinker.diagnose.job import Job
from videothinker.diagnose.runs import AskedSplits, Run
from videothinker.diagnose.settings import LATER
from videothinker.diagnose.view_effects import Answered, Asked, evidence_effect, view_effect
from videothinker.diagnose.views import ELSEWHERE, EVIDENCE, MIRRORED, OF_CLIPS, View, shows_the_same
from videothinker.errors import VtError
from videothinker.progress import silent
from videothinker.records import Question, RunRecord
from videothinker.records.views import ViewEffects

FOLDER = "views"
"""Folder in a run's folder that holds its views, each a run by its name."""
_SIDES = re.compile(r"\b(?:left|right|clockwise|counterclockwise|counter-clockwise|anticlockwise)", re.IGNORECASE)
"""Words, or their beginnings, that a mirror changes the truth of."""


def concerns(view: View, question: Question, curated: Curated) -> bool:
    """Whether a question is asked under a view: if that changes what it shows; mirrored unless text or options say a side;
    masked if it has evidence."""
    if shows_the_same(view, question):
        return False
    if view.name == MIRRORED:
        return not any(_SIDES.search(words) for words in (question.text, *question.options))
    return question.question_id in curated.evidence if view.damage is not None and view.damage.is_mask else True


def plan(
    jobs: Sequence[Job],
    views: Sequence[View],
    *,
    resume: bool = True,
    rank: int = 0,
    warn: Callable[[str], None] = silent,
) -> list[Job]:
    """The jobs, each followed by one for every view, so that a checkpoint is loaded once for all of them.

    jobs: as `run.plan` gives them; let go if this fails. warn: told of solvers, which see no clip and are asked once.

    Raises:
        VtError: every job is a solver's, evidence is asked for where no question has any, or as `run.plan` does.
    """
    found: list[Job] = []
    try:
        _check(jobs, views, warn if rank == 0 else silent)
        for job in jobs:
            found.append(job)
            if job.record.kind != "solver":
                found += [_job(job, view, resume=resume, lock=rank == 0) for view in views]
    except VtError:
        for folder in {each.folder for each in (*jobs, *found)}:
            locks.release(folder)
        raise
    return found


def _check(jobs: Sequence[Job], views: Sequence[View], warn: Callable[[str], None]) -> None:
    blind = [job.record.name for job in jobs if job.record.kind == "solver"]
    if len(blind) == len(jobs):
        raise VtError(f"--views {views[0].name}: {blind[0]} is a built-in solver, which sees no clip; name a checkpoint")
    if blind:
        warn(f"{', '.join(dict.fromkeys(blind))}: built-in solvers see no clip, so they are asked without --views")
    if any(view.name == EVIDENCE for view in views):
        for job in jobs:
            if not job.wanted & set(job.curated.evidence):
                raise VtError(
                    f"--views {EVIDENCE},{ELSEWHERE}: {job.curated.folder} has no collision log that shows where the evidence "
                    f"of a question is; leave them out"
                )


def _job(job: Job, view: View, *, resume: bool, lock: bool) -> Job:
    settings = msgspec.structs.replace(job.settings, damage=view.damage)
    record = msgspec.structs.replace(job.record, settings={**job.record.settings, "damage": str(view.damage)})
    folder = job.folder / FOLDER / view.name
    claim(folder, record, replace=not resume, lock=lock)
    try:
        done = files.match(job.questions, job.curated.labels, files.read_predictions(folder), folder) if resume else {}
    except VtError:
        locks.release(folder)
        raise
    asked = {one.question_id for one in job.questions if concerns(view, one, job.curated)}
    return job._replace(
        folder=folder, settings=settings, record=record, wanted=(job.wanted & asked) | set(done), done=done, view=view.name
    )


def effects(loaded: Sequence[Run], curated: Curated, protocol: str | None = None, *, reread: bool = False) -> ViewEffects:
    """What damaged clips did to the answers of those of the runs that were asked with some.

    protocol: whose reading of the replies counts; None leaves them as they were read, or with reread reads them anew as this
    version reads them.

    Raises:
        VtError: a view was asked otherwise than its run, or its files cannot be read.
    """
    found, splits = ViewEffects(), AskedSplits(curated)
    for each in loaded:
        under = _views(each, curated, splits)
        if reread or protocol is not None:
            again = runs.read_again(under.values(), curated.manifest.benchmark, protocol)
            under = dict(zip(under, again, strict=True))
        answered: dict[str, Answered] = {name: {row.question_id: row for row in one.predictions} for name, one in under.items()}
        asked = Asked(each.name, each.questions, each.predictions, each.labels)
        for name, rows in answered.items():
            if name not in (EVIDENCE, ELSEWHERE):
                found.views.append(view_effect(asked, OF_CLIPS[name], rows, _n_not_asked(each, OF_CLIPS[name], curated)))
        if EVIDENCE in answered and ELSEWHERE in answered:
            n_without = _n_not_asked(each, OF_CLIPS[EVIDENCE], curated)
            found.evidence.append(evidence_effect(asked, answered[EVIDENCE], answered[ELSEWHERE], n_without))
    return found


def n_read_otherwise(loaded: Sequence[Run], curated: Curated) -> int:
    """How many replies under the views of the runs `effects` with reread would read otherwise than they were.

    Raises:
        VtError: as `effects` does.
    """
    splits = AskedSplits(curated)
    return sum(runs.n_read_otherwise(_views(each, curated, splits).values()) for each in loaded)


def _n_not_asked(each: Run, view: View, curated: Curated) -> int:
    return sum(not concerns(view, question, curated) for question in each.questions)


def _views(each: Run, curated: Curated, splits: AskedSplits) -> dict[str, Run]:
    """The views that a run was asked, by name, each as a run of its own; none of a run that was not read from a folder."""
    found: dict[str, Run] = {}
    if each.folder is None:
        return found
    for name in OF_CLIPS:
        path = each.folder / FOLDER / name
        if not (path / files.RUN).is_file() or not files.prediction_files(path):
            continue
        record = runs.read_record(path)
        if differ := _differences(each.record, record):
            raise VtError(
                f"{path}: was asked otherwise than {each.folder} ({', '.join(differ)} differ), so the two cannot be compared; "
                f"ask both again with --views and --no-resume, or remove the folder"
            )
        questions, rows = splits.answers(path, record)
        found[name] = runs.scored(name, record, questions, rows.values(), each.labels, curated.manifest.benchmark, path)
    return found


def _differences(normal: RunRecord, view: RunRecord) -> list[str]:
    """Names of what differs between a run and one of its views, but for what is done to the clip."""
    one, other = _compared(normal), _compared(view)
    return [name for name in one | other if one.get(name) != other.get(name)]


def _compared(record: RunRecord) -> dict[str, Any]:
    said = identity(msgspec.structs.replace(record, settings={**LATER, **record.settings}))
    settings = {name: value for name, value in said.pop("settings").items() if name != "damage"}
    return {name: value for name, value in said.items() if name != "name"} | settings
