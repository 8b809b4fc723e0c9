"""Asking a checkpoint about the folder of colours, for the tests of this folder."""

from pathlib import Path
from typing import Any

from videothinker.answers import solution
from videothinker.curated import Curated
from videothinker.diagnose.answerer import RawReply
from videothinker.diagnose.checkpoint_answerer import CheckpointAnswerer, open_checkpoint
from videothinker.diagnose.settings import DiagnosisSettings

THOUGHT = "<think>I look.</think>"


def settings(**changes: Any) -> DiagnosisSettings:
    return DiagnosisSettings(**{"split": "dev", "max_new_tokens": 40, "decoder": "pyav", **changes})


def answers(checkpoint: CheckpointAnswerer, curated: Curated) -> dict[str, RawReply]:
    found = list(checkpoint.answer(curated.questions("dev")))
    assert len({answer.question_id for answer in found}) == len(found)
    return {answer.question_id: answer for answer in found}


def replies(ref: Path, curated: Curated, **changes: Any) -> dict[str, str | None]:
    checkpoint = open_checkpoint(str(ref), curated=curated, settings=settings(**changes))
    return {key: answer.reply for key, answer in answers(checkpoint, curated).items()}


def right_replies(curated: Curated) -> dict[str, str]:
    return {question.question_id: THOUGHT + solution(question) for question in curated.questions("dev")}
