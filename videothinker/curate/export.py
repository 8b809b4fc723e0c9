"""Questions as the rows that other programs read, with the cot prompt of evaluation (`answers.render`).

A clip's path stays relative to the manifest's `videos_root`, so that rows are the same on every machine; TRL, ms-swift and
EasyR1 can each be given a root folder, and docs/scale.md has the lines that put it before the paths for verl.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from videothinker import answers
from videothinker.curated import Labels
from videothinker.errors import VtError, missing_extra
from videothinker.records import Form, Question
from videothinker.records.video_r1 import ClevrerRow, VideoR1Row

Row = dict[str, Any]


def video_r1_row(question: Question, labels: Labels) -> VideoR1Row:
    """The question as a Video-R1 row. `problem_id` is 0, because rows are numbered when they are written."""
    clip = question.clip
    return VideoR1Row(
        problem_id=0,
        problem=question.text,
        data_type="video" if clip.fps is None else "frame",
        problem_type=_PROBLEM_TYPES.get(question.form, "multiple choice"),
        options=tuple(answers.option_line(index, text) for index, text in enumerate(question.options)),
        solution=answers.solution(question),
        video=clip.path,
        path=clip.path,
        start=_set(clip.start),
        end=_set(clip.end),
        fps=_set(clip.fps),
        data_source=question.source,
        question_id=question.question_id,
        category=labels.category(question.question_id),
        observer=labels.observer(question.question_id),
        gold=question.gold,
    )


_PROBLEM_TYPES = {Form.NUMBER: "numerical", Form.ESTIMATE: "regression", Form.INTERVAL: "temporal grounding"}
"""Video-R1's words for forms without options; `vt curate records` reads them again."""


def _set(value: float | None) -> float | msgspec.UnsetType:
    return msgspec.UNSET if value is None else value


class Export(StrEnum):
    """A trainer whose rows can be written beside the records."""

    TRL = "trl"
    MS_SWIFT = "ms-swift"
    EASYR1 = "easyr1"
    VERL = "verl"

    def file_name(self, split: str) -> str:
        """Where a split's rows go: train.trl.jsonl."""
        return f"{split}.{self.value}.jsonl"

    def row(self, question: Question, labels: Labels) -> Row:
        """One question in this trainer's format.

        Raises:
            VtError: its clip cannot be told in that format.
        """
        self.check(question)
        return _ROWS[self](question, labels)

    def check(self, question: Question) -> None:
        """Check that the format can tell what the question is about.

        Raises:
            VtError: it is about a part of a clip, or about a folder of frames; these formats name a file and show all of it.
        """
        clip = question.clip
        if clip.fps is not None or clip.start is not None or clip.end is not None:
            what = "a folder of frames" if clip.fps is not None else "a part of its clip"
            raise VtError(
                f"--export {self.value}: question {question.question_id} is about {what} ({clip.path}), and these rows can only"
                " name a file that is shown whole; leave --export out, or cut the clips into files and curate those"
            )


def trl_row(question: Question, labels: Labels) -> Row:
    """A conversational prompt, and beside it what a reward function needs."""
    video = {"type": "video", "video": question.clip.path}
    text = {"type": "text", "text": _prompt(question)}
    prompt = [{"role": "user", "content": [video, text]}]
    return {"prompt": prompt, **_answer(question, labels)}


def ms_swift_row(question: Question, labels: Labels) -> Row:
    """One message with a <video> tag, and the clip that the tag stands for."""
    message = {"role": "user", "content": f"<video>{_prompt(question)}"}
    return {"messages": [message], "videos": [question.clip.path], **_answer(question, labels)}


def easyr1_row(question: Question, labels: Labels) -> Row:
    """A problem with a <video> tag, and its answer without tags: letters, or "none" if no option is correct.

    Leave EasyR1's `format_prompt` unset, because the problem already says how to answer.
    """
    return {
        "problem": f"<video>{_prompt(question)}",
        "answer": answers.solution(question).removeprefix("<answer>").removesuffix("</answer>"),
        "videos": [question.clip.path],
        "question_id": question.question_id,
        "category": labels.category(question.question_id),
    }


def verl_row(question: Question, labels: Labels) -> Row:
    """A message with a <video> tag, its clip, and what verl's reward functions get: the answer and how replies are read."""
    return {
        "data_source": question.source,
        "prompt": [{"role": "user", "content": f"<video>{_prompt(question)}"}],
        "videos": [{"type": "video", "video": question.clip.path}],
        "ability": "video",
        "reward_model": {"style": "rule", "ground_truth": answers.solution(question)},
        "extra_info": _answer(question, labels),
    }


_ROWS: dict[Export, Callable[[Question, Labels], Row]] = {
    Export.TRL: trl_row,
    Export.MS_SWIFT: ms_swift_row,
    Export.EASYR1: easyr1_row,
    Export.VERL: verl_row,
}


def _prompt(question: Question) -> str:
    return answers.render(question, answers.Style.COT)


def _answer(question: Question, labels: Labels) -> Row:
    """What a reward function needs: the right answer, and how a reply is read (`answers.read`)."""
    return {
        "form": question.form.value,
        "n_options": len(question.options),
        "solution": answers.solution(question),
        "gold": question.gold,
        "observer": labels.observer(question.question_id),
        "question_id": question.question_id,
        "category": labels.category(question.question_id),
    }


def save_dataset(splits: Mapping[str, Iterable[VideoR1Row | ClevrerRow]], folder: Path) -> None:
    """Save Video-R1 rows, all of one kind, as a `datasets.DatasetDict`, to be read with `datasets.load_from_disk`.

    Raises:
        VtError: the package `datasets` is not installed.
    """
    require_datasets()
    from datasets import Dataset, DatasetDict, Features, Sequence, Value, disable_progress_bars

    words: Any = {int: Value("int64"), bool: Value("bool")}
    letters = (tuple[str, ...], tuple[str, ...] | None)
    disable_progress_bars()
    saved = {}
    for split, rows in splits.items():
        rows = list(rows)
        fields = msgspec.structs.fields(rows[0])
        # Types are named and not inferred: if no question of a split has a correct option, `gold` would become a list of nulls.
        features = Features(
            {
                field.name: Sequence(Value("string")) if field.type in letters else words.get(field.type, Value("string"))
                for field in fields
                if field.default is not msgspec.UNSET
            }
        )
        saved[split] = Dataset.from_list([msgspec.to_builtins(row) for row in rows], features=features)
    DatasetDict(saved).save_to_disk(folder)


def require_datasets() -> None:
    """Check, before work starts, that `save_dataset` can do its part.

    Raises:
        VtError: the package `datasets` is not installed.
    """
    from importlib.util import find_spec

    if find_spec("datasets") is None:
        raise missing_extra("datasets", "train", "--save-dataset")
