"""MVBench (OpenGVLab): 20 tasks of 200 questions each about clips of eleven older data sets, 1,000 of them about CLEVRER's.

The release's main branch has the clips as they were, with `start` and `end` in the rows of five tasks; another branch has them
cut and converted. Questions name the main branch's clips, and `elsewhere` knows where the others would lie.

Files in Video-R1's form do not say which task a row is of. It follows from the folder of the clip and, where tasks share a
folder, from how the question is put; on the 4,000 rows of such a file, which come task by task, it is right for every row.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from videothinker.curate.datasets import Dataset, Part, Published, ReadQuestions, Table, Wishes, rows, video_r1
from videothinker.curate.datasets.rows import Row, UnusableError
from videothinker.footage import parts_of
from videothinker.records import Benchmark, Clip, Question


class Task(NamedTuple):
    """One of the 20."""

    folder: str
    """Where the main branch has its clips, below video/."""
    asks: str = ""
    """Regular expression of its questions, among the tasks of the same folder before the ones listed behind it."""


_STAR, _PERCEPTION, _CLEVRER = "star/Charades_v1_480", "perception/videos", "clevrer/video_validation"
TASKS = {
    "Action Antonym": Task("ssv2_video"),
    "Action Localization": Task("sta/sta_video"),
    "Egocentric Navigation": Task("vlnqa"),
    "Episodic Reasoning": Task("tvqa/frames_fps3_hq"),
    "Fine-grained Action": Task("Moments_in_Time_Raw/videos"),
    "Fine-grained Pose": Task("nturgbd"),
    "Scene Transition": Task("scene_qa/video"),
    "Unexpected Action": Task("FunQA_test/test"),
    "Action Sequence": Task(_STAR, r"What happened (after|before)"),
    "Action Prediction": Task(_STAR, r"What will the person do"),
    "Object Interaction": Task(_STAR, r"Which object was"),
    "Object Shuffle": Task(_PERCEPTION, r"occlusion game"),
    "Action Count": Task(_PERCEPTION, r"^(How many times|The person makes)"),
    "Character Order": Task(_PERCEPTION, r"letter|order"),
    "State Change": Task(_PERCEPTION),
    "Object Existence": Task(_CLEVRER, r"^Are there"),
    "Moving Count": Task(_CLEVRER, r"^How many"),
    "Moving Direction": Task(_CLEVRER, r"direction"),
    "Moving Attribute": Task(_CLEVRER, r"^What (is|material|shape|color)"),
    "Counterfactual Inference": Task(_CLEVRER),
}
_TOPS = {task.folder.split("/")[0] for task in TASKS.values()}
N_PER_TASK = 200
N_PUBLISHED = N_PER_TASK * len(TASKS)

FRAMES_PER_SECOND = 3.0
"""Of the folders of frames that Episodic Reasoning is about."""

_CUT = {
    _STAR: "star/Charades_segment",
    "sta/sta_video": "sta/sta_video_segment",
    "tvqa/frames_fps3_hq": "tvqa/video_fps3_hq_segment",
}
"""Where the other branch has clips that it has cut, as NAME_START_END.mp4."""
_CONVERTED = {"ssv2_video": "ssv2_video_mp4", "nturgbd": "nturgbd_convert"}
"""Where it has those that it has converted to mp4."""
_LATER = "data0613"
"""The main branch's folder of clips of STAR and CLEVRER that questions were later replaced by."""


def _file_name(task: str) -> str:
    return task.lower().replace(" ", "_").replace("-", "_")


def _named(stem: str) -> str | None:
    """The task whose table has that name."""
    return next((task for task in TASKS if _file_name(task) == stem), None)


def read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    """The questions of the release's 20 files, or some of them, or of a file in Video-R1's form."""
    in_video_r1 = video_r1.is_video_r1(tables)
    elsewhere: dict[str, tuple[Clip, ...]] = {}
    blanks: list[str] = []

    def question(row: Row, name: str) -> Question:
        made, others = _question_of_video_r1(row, name) if in_video_r1 else _question(row, name)
        elsewhere[name] = others
        answer = row.fields.get("answer")
        if isinstance(answer, str) and answer != answer.strip():
            blanks.append(name)
        return made

    read = rows.sort_rows(tables, video_r1.row_id if in_video_r1 else lambda row: f"{row.part}:{row.number}", question)
    rows.refuse_strangers(read.questions, tables, "task", DATASET.name)
    notes = []
    if blanks:
        notes.append(
            f"{rows.how_many(len(blanks), 'answer')} with a blank at the end that the option lacks; read as that option"
        )
    if unknown := sum("task" not in one.facets for one in read.questions):
        notes.append(f"{rows.how_many(unknown, 'question')} of no known task")
    return ReadQuestions(
        read.questions,
        read.unresolved,
        elsewhere=elsewhere,
        n_published=N_PUBLISHED,
        published=[Published(("task",), {(task,): N_PER_TASK for task in sorted(TASKS)})],
        notes=notes,
    )


def _question(row: Row, name: str) -> tuple[Question, tuple[Clip, ...]]:
    """A row of the release, whose answer is the text of an option."""
    task = _named(PurePosixPath(row.part).stem)
    if task is None:
        raise UnusableError("is in no file that is called as one of the 20 tasks, so nobody knows where its clip lies")
    options = rows.plain(row.fields.get("candidates"), "candidates")
    gold = rows.by_text(row.text("answer"), options)
    path = f"{TASKS[task].folder}/{row.text('video').strip('/')}"
    return _made(row, name, row.text("question"), options, gold, path, task, None)


def _question_of_video_r1(row: Row, name: str) -> tuple[Question, tuple[Clip, ...]]:
    """A row in Video-R1's form. Its clip is named as the release has it, where the row keeps that name."""
    found = video_r1.parse_choice(row, data_types=("video", "frame"))
    path = _below_video(found.path)
    task = _task_of(path, found.text)
    original = row.word("ori_video") or (row.word("video") if row.word("path") else None)
    released = path if task is None or original is None else f"{TASKS[task].folder}/{original.strip('/')}"
    return _made(row, name, found.text, found.options, found.gold, released, task, path)


def _below_video(path: str) -> str:
    """The path below the folder of clips, which begins with the folder of one of the older sets."""
    parts = parts_of(path)
    top = next((index for index, part in enumerate(parts) if part in _TOPS), 0)
    return "/".join(parts[top:])


def _task_of(path: str, text: str) -> str | None:
    """The task of a question about the clip at `path`; None if it is of none."""
    for name, task in TASKS.items():
        # Converted frames lie in tvqa/frames_fps3, so the first folder alone decides.
        if path.split("/")[0] == task.folder.split("/")[0] and re.search(task.asks, text):
            return name
    return None


def _made(
    row: Row,
    name: str,
    text: str,
    options: tuple[str, ...],
    gold: tuple[str, ...],
    path: str,
    task: str | None,
    as_given: str | None,
) -> tuple[Question, tuple[Clip, ...]]:
    """The question, and where else its clip may lie. as_given: the clip as a file in Video-R1's form has it."""
    start, end = row.seconds("start"), row.seconds("end")
    fps = row.seconds("fps") or (None if rows.is_file(path) else FRAMES_PER_SECOND)
    clip = rows.clip(path, start, end, fps)
    facets = {} if task is None else {"task": task}
    if path.startswith(_CLEVRER):
        facets["in_domain"] = "CLEVRER"
    made = rows.question(name, text, options, gold, clip, facets, DATASET.name)
    return made, tuple(_elsewhere(clip, None if task is None else TASKS[task].folder, as_given))


def _elsewhere(clip: Clip, folder: str | None, as_given: str | None) -> list[Clip]:
    """Where the clip may lie if it is not where the main branch has it."""
    found = []
    if as_given is not None and as_given != clip.path:
        found.append(rows.clip(as_given, clip.start, clip.end))
    if folder is None:
        return found
    name = clip.path.removeprefix(f"{folder}/")
    stem = name.rsplit(".", 1)[0] if rows.is_file(name) else name
    if folder in (_STAR, _CLEVRER):
        found.append(rows.clip(f"{_LATER}/{clip.path}", clip.start, clip.end))
    if folder in _CONVERTED:
        found.append(rows.clip(f"{_CONVERTED[folder]}/{stem}.mp4", clip.start, clip.end))
    if folder in _CUT and clip.start is not None and clip.end is not None:
        found.append(rows.clip(f"{_CUT[folder]}/{stem}_{clip.start}_{clip.end}.mp4"))  # already cut, so it is shown whole
    return found


DATASET = Dataset(
    name="MVBench",
    what="20 tasks about actions, objects, counts, directions and more; 1,000 questions are about CLEVRER's clips",
    needs="the release's folder (json/*.json), one of its task files, or a Video-R1-style file of it (eval_mvbench.json)",
    origin="OpenGVLab/MVBench on the Hugging Face hub",
    size="4,000 questions, 200 of each task; clips in video/*.zip, perception.zip alone 11 GB; NTU's were withdrawn",
    licence="see the release; the clips keep those of the eleven sets that they come from",
    split="test",
    read=read,
    parts=tuple(Part(stem, (f"json/{stem}.json", f"{stem}.json"), (stem, "train")) for stem in map(_file_name, sorted(TASKS))),
    clips=("video", "."),
    hub="OpenGVLab/MVBench",
    n_published=N_PUBLISHED,
    benchmark=Benchmark(name="MVBench", macro_over="task"),
)
