"""One checkpoint that is to be asked, and what of it is there already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from videothinker import locks
from videothinker.curated import Curated
from videothinker.diagnose.settings import DiagnosisSettings
from videothinker.records import Prediction, Question, RunRecord, Status
from videothinker.shards import Shard


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


def by_clip(questions: Sequence[Question], share: Shard) -> list[Question]:
    """One share of the questions: those about every N-th clip, with all of each, so that no clip is read twice."""
    clips = {video: index for index, video in enumerate(dict.fromkeys(question.path for question in questions))}
    return [question for question in questions if share.has(clips[question.path])]


def release(jobs: Sequence[Job]) -> None:
    """Let the folders go, which planning has locked."""
    for job in jobs:
        locks.release(job.folder)
