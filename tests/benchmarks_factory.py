"""Tiny releases of the benchmarks under their real layouts, with invented questions; and what their readers make of them.

A release's folder has its questions where its makers put them and its clips beside them, with the names and kinds of file that
they have: mp4, webm, avi, folders of frames. `clips` writes them, one call a clip; without it there are none.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from videothinker.curate.datasets import Dataset, ReadQuestions, Wishes, dataset_named
from videothinker.curate.datasets.sources import open_source

WriteClip = Callable[[Path], object]
"""Writes a clip at a path of which the folder exists; a path without suffix is to become a folder of frames."""
Row = dict[str, Any]


class Release(NamedTuple):
    """What was written."""

    source: Path
    """What --from names."""
    videos: Path
    """The folder that clips are relative to."""


def empty_clip(path: Path) -> None:
    """A file that is there and holds no film, or a folder of one such frame."""
    if path.suffix:
        path.write_bytes(b"no film")
    else:
        path.mkdir()
        (path / "00001.jpg").write_bytes(b"no film")


def read_set(name: str, source: Path, *, variant: str | None = None, columns: Sequence[str] = ()) -> ReadQuestions:
    """What the data set's reader makes of a folder or file."""
    dataset: Dataset = dataset_named(name)
    return dataset.read(open_source(source, dataset).tables, Wishes(variant, tuple(columns)))


def write_json(path: Path, value: Any) -> Path:
    """The value as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
    return path


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    """The rows as a parquet file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def _write_clips(folder: Path, paths: Iterable[str], clips: WriteClip | None) -> Path:
    if clips is not None:
        for path in dict.fromkeys(paths):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            clips(folder / path)
    return folder


def in_video_r1(path: Path, rows: Iterable[Row]) -> Path:
    """A file in Video-R1's form, with `problem_id` from 1."""
    form = {"data_type": "video", "problem_type": "multiple choice", "process": ""}
    return write_json(path, [form | {"problem_id": number} | row for number, row in enumerate(rows, start=1)])


def tagged(letter: str) -> str:
    return f"<answer>{letter}</answer>"


# ---- MMVU ------------------------------------------------------------------------------------------------------------------


def mmvu_row(number: int, subject: str, question: str, options: Sequence[str], answer: str) -> Row:
    """A row of validation.json; an open question has no options."""
    letters = dict(zip("ABCDE", [*options, *[""] * (5 - len(options))], strict=True))
    return {
        "id": f"validation_{number}",
        "video": f"https://example.org/set/main/videos/{subject.replace(' ', '_')}/{number}.mp4",
        "youtube_url": "https://example.org/watch",
        "question_type": "multiple-choice" if options else "open-ended",
        "metadata": {"subject": subject, "textbook": "A Book", "rationale": "It bubbles.", "knowledge": []},
        "question": question,
        "choices": letters,
        "answer": answer,
    }


MMVU_ROWS = [
    mmvu_row(0, "Art", "What is this shot called?", (), "a long shot"),
    mmvu_row(1, "Chemistry", "Which gas leaves the flask?", ("oxygen", "helium", "steam", "argon", "neon"), "C"),
    mmvu_row(2, "Clinical Medicine", "Which pathogen is it?", ("a worm", "a virus", "a fungus", "a mite", "none"), "A"),
    mmvu_row(3, "Computer Science", "Which path is taken?", ("left", "right", "both", "up", "down"), "E"),
]


def write_mmvu(folder: Path, clips: WriteClip | None = None) -> Release:
    """Three single choices and an open question, as yale-nlp/MMVU has them."""
    write_json(folder / "validation.json", MMVU_ROWS)
    paths = [row["video"].split("/videos/")[1] for row in MMVU_ROWS]
    return Release(folder, _write_clips(folder / "videos", paths, clips))


def write_mmvu_in_video_r1(path: Path) -> Path:
    """The three single choices as VideoThinker has them, with "video" for "path"."""
    return in_video_r1(
        path,
        [
            {
                "problem": row["question"].replace("path", "video").replace("Which video is", "Which optical video is"),
                "options": [f"{letter}. {text}" for letter, text in row["choices"].items()],
                "solution": tagged(row["answer"]),
                "video": f"/yale-nlp/MMVU/videos/{row['video'].split('/videos/')[1]}",
                "data_source": row["youtube_url"],
                "original_question_type": row["question_type"],
            }
            for row in MMVU_ROWS[1:]
        ],
    )


# ---- Video-Holmes ----------------------------------------------------------------------------------------------------------

HOLMES_ROWS = [
    {
        "video ID": film,
        "Question ID": number,
        "Question Type": kind,
        "Question": question,
        "Options": dict(zip("ABCDEF", options, strict=True)),
        "Answer": answer,
        "Explanation": "The clock had stopped.",
    }
    for film, number, kind, question, options, answer in (
        ("fAa1", 1, "SR", "Who are they?", ("sisters", "rivals", "friends", "cousins", "strangers", "twins"), "F"),
        ("fAa1", 2, "TA", "In which order?", ("123", "132", "213", "213", "312", "321"), "D"),
        ("gB-_", 3, "CTI", "What is it about?", ("trust", "greed", "luck", "fear", "time", "home"), "A"),
    )
]
"""The second lists the correct option twice."""


def write_video_holmes(folder: Path, clips: WriteClip | None = None) -> Release:
    """Three questions about two films, as TencentARC/Video-Holmes has them."""
    write_json(folder / "test_Video-Holmes.json", HOLMES_ROWS)
    write_json(folder / "train_Video-Holmes.json", HOLMES_ROWS[:1])
    return Release(folder, _write_clips(folder / "videos_cropped", [f"{row['video ID']}.mp4" for row in HOLMES_ROWS], clips))


def write_video_holmes_in_video_r1(path: Path) -> Path:
    """The same as VideoThinker has them: bare options, which the problem lists again."""
    rows: list[Row] = []
    for row in HOLMES_ROWS:
        options: Mapping[str, str] = row["Options"]  # type: ignore[assignment]
        listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
        rows.append(
            {
                "video": f"/Video-Holmes/videos/{row['video ID']}.mp4",
                "question_id": str(row["Question ID"]),
                "question_type": row["Question Type"],
                "question": row["Question"],
                "problem": f"{row['Question']} \n{listed}",
                "options": list(options.values()),
                "solution": tagged(str(row["Answer"])),
            }
        )
    return write_json(path, rows)


# ---- MVBench ---------------------------------------------------------------------------------------------------------------


def mvbench_row(video: str, question: str, candidates: Sequence[str], answer: str, **more: Any) -> Row:
    """A row of a task's file."""
    return {"video": video, "question": question, "candidates": list(candidates), "answer": answer} | more


_TWO = ("yes", "no")
MVBENCH = {
    "action_antonym": ("ssv2_video", [mvbench_row("12.webm", "What is done?", ("Not sure", "opening", "closing"), "closing")]),
    "action_count": ("perception/videos", [mvbench_row("video_5.mp4", "How many times did it fall?", ("2", "3"), "3")]),
    "action_localization": (
        "sta/sta_video",
        [
            mvbench_row(
                "ABCDE.mp4",
                "During which part does it occur?",
                ("At the end.", "Throughout."),
                "Throughout.",
                start=0.0,
                end=15.2,
            )
        ],
    ),
    "action_prediction": (
        "star/Charades_v1_480",
        [
            mvbench_row("FGHIJ.mp4", "What will the person do next?", ("Sit.", "Run."), "Sit.", start=1.5, end=9.0),
            mvbench_row("FGHIJ.mp4", "What will the person do next?", ("Eat.", "Run."), "Eat.", start=9.0, end=12.25),
        ],
    ),
    "action_sequence": (
        "star/Charades_v1_480",
        [mvbench_row("KLMNO.mp4", "What happened after the person sat?", ("Ate.", "Ran."), "Ran.", start=0.5, end=4.0)],
    ),
    "character_order": (
        "perception/videos",
        [mvbench_row("video_6.mp4", "What letter did they write first?", ("b", "a"), "b")],
    ),
    "counterfactual_inference": (
        "clevrer/video_validation",
        [mvbench_row("video_11363.mp4", "What will happen without the cube?", ("A fall", "A hit"), "A hit")],
    ),
    "egocentric_navigation": ("vlnqa", [mvbench_row("left/4_frame5.mp4", "Which way?", ("Turn left", "Stop"), "Turn left")]),
    "episodic_reasoning": (
        "tvqa/frames_fps3_hq",
        [
            mvbench_row(
                "castle_s01e02_seg02_clip_14",
                "Why did he laugh?",
                ("A joke", "A fall", "A cat"),
                "A fall ",
                start=0.0,
                end=38.32,
                fps=3,
                subtitle="Ha.",
            )
        ],
    ),
    "fine_grained_action": (
        "Moments_in_Time_Raw/videos",
        [mvbench_row("validation/bathing/x_0.mp4", "What is the action?", ("bathing", "boiling"), "bathing")],
    ),
    "fine_grained_pose": ("nturgbd", [mvbench_row("S010C002_rgb.avi", "What is the action?", ("drop", "throw"), "drop")]),
    "moving_attribute": (
        "clevrer/video_validation",
        [mvbench_row("video_12.mp4", "What color is it?", ("red", "blue"), "red")],
    ),
    "moving_count": ("clevrer/video_validation", [mvbench_row("video_13.mp4", "How many move?", ("1", "2"), "2")]),
    "moving_direction": (
        "clevrer/video_validation",
        [mvbench_row("video_14.mp4", "What direction is it moving in?", ("Up.", "Down."), "Up.")],
    ),
    "object_existence": (
        "clevrer/video_validation",
        [
            mvbench_row("video_15.mp4", "Are there any cubes?", ("yes", "not sure", "no"), "no"),
            mvbench_row("video_15.mp4", "Are there any cubes?", ("no", "not sure", "yes"), "no"),
        ],
    ),
    "object_interaction": (
        "star/Charades_v1_480",
        [mvbench_row("PQRST.mp4", "Which object was taken?", ("The cup.",), "The cup.", start=2.0, end=3.5)],
    ),
    "object_shuffle": ("perception/videos", [mvbench_row("video_7.mp4", "It is an occlusion game. Where is it?", _TWO, "yes")]),
    "scene_transition": ("scene_qa/video", [mvbench_row("Top1.mp4", "How do the scenes change?", _TWO, "no")]),
    "state_change": ("perception/videos", [mvbench_row("video_8.mp4", "Is the light on at any point?", _TWO, "no")]),
    "unexpected_action": (
        "FunQA_test/test",
        [mvbench_row("test_magic/M_1.mp4", "What is odd?", ("The hat", "The cat"), "The cat")],
    ),
}
"""Folder below video/ and rows of each task: 22 rows in all. Episodic Reasoning's answer ends in a blank, Object Interaction
has one option, the second row of Object Existence repeats the first with its options in another order, and the second of
Action Prediction asks the same about another part of the clip."""


def mvbench_clips() -> list[str]:
    """The clips of the main branch, below video/."""
    return [f"{folder}/{row['video']}" for folder, rows in MVBENCH.values() for row in rows]


def write_mvbench(folder: Path, clips: WriteClip | None = None) -> Release:
    """The main branch: json/*.json and video/."""
    for stem, (_, rows) in MVBENCH.items():
        write_json(folder / "json" / f"{stem}.json", rows)
    return Release(folder, _write_clips(folder / "video", mvbench_clips(), clips))


def write_mvbench_in_video_r1(path: Path) -> Path:
    """The same as VideoThinker has it: no task, clips named as if all were mp4, and the release's names in `ori_video`."""
    rows = []
    for folder, released in MVBENCH.values():
        for row in released:
            letter = "ABC"[[text.strip() for text in row["candidates"]].index(row["answer"].strip())]
            more = {key: row[key] for key in ("start", "end", "fps") if key in row}
            stem = row["video"] if folder.startswith("tvqa") else row["video"].rsplit(".", 1)[0]
            rows.append(
                more
                | {
                    "problem": row["question"],
                    "question": row["question"],
                    "options": [f"{each}. {text}" for each, text in zip("ABC", row["candidates"], strict=False)],
                    "answer": row["answer"],
                    "solution": tagged(letter),
                    "ori_video": row["video"],
                    "video": f"/MVBench/{folder.replace('frames_fps3_hq', 'frames_fps3')}/{stem}.mp4",
                    "data_type": "frame" if folder.startswith("tvqa") else "video",
                    "original_question_type": "",
                }
            )
    return in_video_r1(path, rows)


# ---- TempCompass -----------------------------------------------------------------------------------------------------------

TEMPCOMPASS: dict[str, dict[str, dict[str, list[Row]]]] = {
    "multi-choice": {
        "1034": {
            "action": [
                {"question": "What is done?\nA. dunking\nB. passing\nC. running", "answer": "B. passing"},
                {"question": "Which is it?\nA. running\n B. passing", "answer": "A. running"},
            ]
        },
        "1034_reverse": {"order": [{"question": "What comes first?\nA. a fall\nB. a jump", "answer": "A. a fall"}]},
    },
    "yes_no": {"1034": {"attribute_change": [{"question": "Does it grow?", "answer": "no"}]}},
    "caption_matching": {
        "1034": {
            "action": [
                {
                    "question": "Which description is a more suitable match for the video?\nOption 1: He runs.\n"
                    "Option 2: He dunks.",
                    "answer": "Option 2: He dunks.",
                },
                {
                    "question": "Which sentence better captures the essence of the video?\nSentence A: He dunks.\n"
                    "Sentence B: He runs.",
                    "answer": "Sentence A: He dunks.",
                },
            ]
        }
    },
    "captioning": {
        "1034": {
            "action": [
                {
                    "question": "Write a caption.\nInformation A: {'action': 'running'}\nInformation B: {'action': 'passing'}\n"
                    "Generated Caption:",
                    "answer": "B. passing",
                }
            ]
        }
    },
}
"""Seven rows by file, clip and dimension."""

META_INFO = {
    "1034": {
        "eval_dim": {
            "action": {"subject": "man", "action": "dunking", "type": "fine-grained action"},
            "attribute_change": {"type": "size & shape change"},
            "order": None,
        },
        "content": ["people"],
    },
    "1034_reverse": {"eval_dim": {"action": None, "order": {"first": "fall"}}, "content": ["people"]},
}


def write_tempcompass(folder: Path, clips: WriteClip | None = None) -> Release:
    """As llyx97/TempCompass has it: questions/*.json and meta_info.json."""
    for stem, questions in TEMPCOMPASS.items():
        write_json(folder / "questions" / f"{stem}.json", questions)
    write_json(folder / "meta_info.json", META_INFO)
    return Release(folder, _write_clips(folder / "videos", [f"{clip}.mp4" for clip in META_INFO], clips))


def write_tempcompass_hub(folder: Path) -> Release:
    """As the hub has it: a folder of parquet for each format. Captioning there has the judge's question."""
    for stem, questions in TEMPCOMPASS.items():
        rows: list[Row] = [
            {"video_id": clip, "dim": dimension} | asked
            for clip, by_dimension in questions.items()
            for dimension, group in by_dimension.items()
            for asked in group
        ]
        if stem == "captioning":
            rows = [row | {"mc_question": "What is done?\nA. passing\nB. dunking", "mc_answer": "A. passing"} for row in rows]
        write_parquet(folder / stem / "test-00000-of-00001.parquet", rows)
    return Release(folder, folder / "videos")


# ---- Video-MME -------------------------------------------------------------------------------------------------------------

VIDEOMME_ROWS = [
    {
        "video_id": "001",
        "duration": duration,
        "domain": domain,
        "sub_category": "Finance & Commerce",
        "url": "https://example.org/watch",
        "videoID": video,
        "question_id": f"001-{number}",
        "task_type": task,
        "question": question,
        "options": ["A. One.", "B. Two.", "C. Three.", "D. None of the above."],
        "answer": answer,
    }
    for number, (duration, domain, video, task, question, answer) in enumerate(
        (
            ("short", "Knowledge", "fFjv-_1", "Counting Problem", "How many apples?", "C"),
            ("short", "Knowledge", "fFjv-_1", "OCR Problems", "Which number is written?", "A"),
            ("long", "Multilingual", "5KlS", "Temporal Reasoning", "How many times?", "D"),
        ),
        start=1,
    )
]


def write_videomme(folder: Path, clips: WriteClip | None = None) -> Release:
    """Three questions about two clips, as lmms-lab/Video-MME has them."""
    write_parquet(folder / "videomme" / "test-00000-of-00001.parquet", VIDEOMME_ROWS)
    return Release(folder, _write_clips(folder / "data", [f"{row['videoID']}.mp4" for row in VIDEOMME_ROWS], clips))


def write_videomme_in_video_r1(path: Path) -> Path:
    """The same with Video-R1's fields beside the release's."""
    return in_video_r1(
        path,
        [
            row
            | {
                "problem": row["question"],
                "solution": tagged(str(row["answer"])),
                "video": f"/lmms-lab/Video-MME/data/{row['videoID']}.mp4",
                "original_question_type": row["task_type"],
                "subtitle": "",
            }
            for row in VIDEOMME_ROWS
        ],
    )


# ---- LongVideoBench --------------------------------------------------------------------------------------------------------

LONGVIDEOBENCH_ROWS = [
    {
        "id": f"86Cx_{number}",
        "video_id": "86Cx",
        "video_path": "86Cx.mp4",
        "question": question,
        "candidates": candidates,
        "correct_choice": index,
        "duration_group": group,
        "question_category": kind,
        "topic_category": "NP-News-Programs",
        "subtitle_path": "86Cx_en.json",
        "starting_timestamp_for_subtitles": 0,
        "duration": 12.5,
    }
    for number, (question, candidates, index, group, kind) in enumerate(
        (
            ("Who enters after the tall man?", ["a girl", "a dog", "a boy"], 2, 15, "S2E"),
            ("What lies on the table?", ["a pen", "a cup", "a hat", "a key", "a map"], 0, 3600, "T3O"),
        )
    )
]


def write_longvideobench(folder: Path, clips: WriteClip | None = None) -> Release:
    """Two questions about a clip: lvb_val.json, and lvb_test_wo_gt.json without answers."""
    write_json(folder / "lvb_val.json", LONGVIDEOBENCH_ROWS)
    write_json(folder / "lvb_test_wo_gt.json", [row | {"correct_choice": -1} for row in LONGVIDEOBENCH_ROWS])
    return Release(folder, _write_clips(folder / "videos", ["86Cx.mp4"], clips))


def write_longvideobench_parquet(path: Path) -> Path:
    """The same as the hub's viewer has it: options in columns, "N/A" where there is none."""
    rows = []
    for row in LONGVIDEOBENCH_ROWS:
        candidates: list[str] = row["candidates"]  # type: ignore[assignment]
        options = [*candidates, *["N/A"] * (5 - len(candidates))]
        rows.append(
            {key: value for key, value in row.items() if key != "candidates"}
            | {f"option{index}": text for index, text in enumerate(options)}
        )
    return write_parquet(path, rows)


RELEASES: dict[str, Callable[[Path, WriteClip | None], Release]] = {
    "mmvu": write_mmvu,
    "video-holmes": write_video_holmes,
    "mvbench": write_mvbench,
    "tempcompass": write_tempcompass,
    "videomme": write_videomme,
    "longvideobench": write_longvideobench,
}
"""How the release of each benchmark is written, by the name of its command."""
