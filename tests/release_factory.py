"""Small CLEVRER releases for tests, typed by hand from the release's README; nothing of the package writes them.

Every scene has the same five objects and collision log:

    0 gray metal cube   1 red rubber sphere   2 blue metal cylinder   3 green rubber cube   4 red metal sphere
    frame 20: 0 and 1      frame 50: 2 and 0      frame 70: 1 and 0, again

so "cube", "sphere" and "metal object" are ambiguous, "blue object" and "gray cube" are not.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

OBJECTS = [
    {"object_id": 0, "color": "gray", "material": "metal", "shape": "cube"},
    {"object_id": 1, "color": "red", "material": "rubber", "shape": "sphere"},
    {"object_id": 2, "color": "blue", "material": "metal", "shape": "cylinder"},
    {"object_id": 3, "color": "green", "material": "rubber", "shape": "cube"},
    {"object_id": 4, "color": "red", "material": "metal", "shape": "sphere"},
]

# One way to name each object, by as few words as single it out.
REFER = {
    0: "objects gray filter_color unique",
    1: "objects rubber filter_material sphere filter_shape unique",
    2: "objects cylinder filter_shape unique",
    3: "objects green filter_color cube filter_shape unique",
    4: "objects red filter_color metal filter_material sphere filter_shape unique",
}

DIALECTS = ("all_events, filter_counterfact", "events, counterfact_events")


def annotation(index: int, **changes: Any) -> Json:
    """One annotation file's content, in the release's order of keys."""
    state = {"location": [1.5, -2.25, 0.2], "orientation": [0.0, 0.0, 0.3], "velocity": [0.1, 0.0, 0.0]}
    frames = [  # of the clip's 128 those with a collision, and one before anything has come into view
        {"frame_id": f, "objects": [{"object_id": i, **state, "inside_camera_view": f > 9} for i in range(5)]}
        for f in (0, 20, 50, 70)
    ]
    return {
        "scene_index": index,
        "video_filename": f"video_{index:05d}.mp4",
        "object_property": OBJECTS,
        "motion_trajectory": frames,
        "collision": [
            {"frame_id": 20, "object_ids": [0, 1], "location": [0.1, 0.2, 0.2]},
            {"frame_id": 50, "object_ids": [2, 0], "location": [1.1, 0.2, 0.2]},
            {"frame_id": 70, "object_ids": [1, 0], "location": [0.4, 0.5, 0.2]},
        ],
        **changes,
    }


def trajectory(*hidden: tuple[int, range]) -> list[Json]:
    """All 128 frames, in which everything is in view but what `hidden` names: (object_id, frames) each."""
    return [
        {
            "frame_id": frame,
            "objects": [
                {"object_id": i, "inside_camera_view": not any(i == who and frame in when for who, when in hidden)}
                for i in range(5)
            ],
        }
        for frame in range(128)
    ]


def collision(a: int, b: int, dialect: str = DIALECTS[0]) -> str:
    """The program of an option about a collision; the second dialect leaves out the final `unique`."""
    if dialect == DIALECTS[0]:
        return f"all_events {REFER[a]} filter_collision {REFER[b]} filter_collision unique"
    return f"events {REFER[a]} filter_collision {REFER[b]} filter_collision"


def removal(removed: int, *, negated: bool = False, dialect: str = DIALECTS[0]) -> str:
    """The program of a counterfactual question."""
    if dialect == DIALECTS[0]:
        program = f"all_events {REFER[removed]} filter_counterfact belong_to"
    else:
        program = f"{REFER[removed]} counterfact_events belong_to"
    return f"{program} negate" if negated else program


def question(
    qid: int = 0,
    removed: int = 2,
    options: Sequence[tuple[int, int]] = ((0, 1), (0, 3)),
    correct: str = "A",
    *,
    negated: bool = False,
    dialect: str = DIALECTS[0],
) -> Json:
    """A counterfactual question; `correct`: letters of the correct options."""
    return {
        "question_id": qid,
        "question": f"Without object {removed}, what will {'not ' if negated else ''}happen?",
        "question_type": "counterfactual",
        "program": removal(removed, negated=negated, dialect=dialect).split(),
        "choices": [
            {
                "choice_id": number,
                "choice": f"Object {a} and object {b} collide",
                "program": collision(a, b, dialect).split(),
                "answer": "correct" if chr(ord("A") + number) in correct else "wrong",
            }
            for number, (a, b) in enumerate(options)
        ],
    }


DESCRIPTIVE = {
    "question_id": 90,
    "question": "What color is the object that the gray cube collides with?",
    "question_type": "descriptive",
    "program": ["events", "objects", "gray", "filter_color", "unique", "filter_collision", "unique", "query_color"],
    "answer": "red",
}
EXPLANATORY = {
    "question_id": 91,
    "question": "Which of the following is responsible for the collision of the gray object and the cylinder?",
    "question_type": "explanatory",
    "program": f"events {collision(0, 2, DIALECTS[1])} unique filter_ancestor belong_to".split(),
    "choices": [
        {"choice_id": 0, "choice": "The gray cube enters", "program": ["events", "objects", "filter_in"], "answer": "wrong"},
        {"choice_id": 1, "choice": "the presence of the cylinder", "program": REFER[2].split(), "answer": "correct"},
    ],
}


def entry(index: int, *questions: Json) -> Json:
    """What a questions file says of one scene; questions of the other types stand around the counterfactual ones."""
    return {
        "scene_index": index,
        "video_filename": f"video_{index:05d}.mp4",
        "questions": [DESCRIPTIVE, *questions, EXPLANATORY],
    }


# Three questions for a scene, worked out in tests/curate/datasets/clevrer/test_resolve.py.
# Under (any-option, correct-option, oracle):
STAYS = question(4, 2, [(0, 1), (0, 3)], "A")  # obs obs obs
PREVENTED = question(5, 2, [(0, 1), (1, 3)], "", dialect=DIALECTS[1])  # obs inf inf, gold is none
NEW = question(11, 2, [(1, 3), (3, 4)], "A", negated=True)  # inf inf inf, the observer says A,B


def nested(index: int) -> str:
    start = index // 1000 * 1000
    return f"annotation_{start:05d}-{start + 1000:05d}/annotation_{index:05d}.json"


def write_release(folder: Path, entries: Sequence[Json], annotations: Mapping[int, Json | bytes | None] | None = None) -> Path:
    """`folder`/train.json and `folder`/annotation_train, nested; a scene's annotation can be given, or left out with None."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotation_train").mkdir()
    (folder / "train.json").write_text(json.dumps(entries))
    contents = {each["scene_index"]: annotation(each["scene_index"]) for each in entries} | dict(annotations or {})
    for index, content in contents.items():
        if content is not None:
            path = folder / "annotation_train" / nested(index)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def zip_of(folder: Path, archive: Path, prefix: str = "") -> Path:
    """The files below a folder as a zip."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.json")):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive
