"""Curated folders and their parts for tests, written by hand in the form of records.py and curated.py; nothing is curated."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from videothinker import mcq, store
from videothinker.curated import MANIFEST, SCENES, Curated, open_curated
from videothinker.records import (
    Category,
    Collision,
    CuratedQuestion,
    Prediction,
    Rule,
    Scene,
    SceneObject,
    Status,
)

COLORS = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")


def letters(text: str) -> tuple[str, ...]:
    """ "AC" -> ("A", "C"); "" -> ()."""
    return tuple(sorted(text))


def a_question(
    question_id: str = "0:0",
    *,
    n_options: int = 4,
    gold: str = "A",
    observer: str = "A",
    negated: bool = False,
    category: Category | None = None,
    any_option: Category = Category.OBSERVATIONAL,
    correct_option: Category = Category.OBSERVATIONAL,
    problem_id: int = 1,
) -> CuratedQuestion:
    """A question whose `oracle` label follows from gold and observer, and whose `category` is that unless given."""
    scene, qid = (int(part) for part in question_id.split(":"))
    oracle = Category.OBSERVATIONAL if set(gold) == set(observer) else Category.INFERENTIAL
    video = f"video_{scene:05}.mp4"
    return CuratedQuestion(
        problem_id=problem_id,
        problem=f"Without the {COLORS[qid % 8]} cube, what will {'not ' if negated else ''}happen?",
        options=tuple(mcq.option_line(i, f"The {COLORS[i]} cube and the metal sphere collide") for i in range(n_options)),
        solution=mcq.solution(letters(gold)),
        video=video,
        path=video,
        question_id=question_id,
        scene_index=scene,
        category=category or oracle,
        observer=letters(observer),
        gold=letters(gold),
        removed_object=0,
        negated=negated,
        any_option=any_option,
        correct_option=correct_option,
        oracle=oracle,
    )


def a_prediction(question: CuratedQuestion, chosen: str | None, status: Status | None = None) -> Prediction:
    """The prediction that `chosen` ("AC", "" for none, None for unreadable) gives."""
    read = None if chosen is None else letters(chosen)
    if status is None:
        status = Status.NO_ANSWER if read is None else Status.OK
    reply = "I cannot tell." if read is None else mcq.solution(read)
    return Prediction(
        question_id=question.question_id,
        reply="" if status is Status.DECODE_ERROR else reply,
        chosen=read,
        gold=question.gold,
        observer=question.observer,
        status=status,
        error="clip is missing" if status is Status.DECODE_ERROR else None,
    )


def a_scene(scene_index: int, n_objects: int = 5) -> Scene:
    """Objects of different colours, in a chain of collisions."""
    objects = tuple(SceneObject(i, COLORS[i], "metal" if i % 2 else "rubber", "cube") for i in range(n_objects))
    collisions = tuple(Collision(20 * i + 10, (i, i + 1)) for i in range(n_objects - 1))
    return Scene(scene_index, f"video_{scene_index:05}.mp4", objects, collisions)


def random_questions(
    scenes: Sequence[int], *, per_scene: int = 3, seed: int = 0, rule: Rule = Rule.ORACLE
) -> list[CuratedQuestion]:
    """Questions of 2 to 4 options, about half of which the observer has right; gold is sometimes none."""
    rng = np.random.default_rng(seed)
    found = []
    for scene in scenes:
        for qid in range(per_scene):
            n_options = int(rng.integers(2, 5))
            gold = "".join(letter for letter in mcq.LETTERS[:n_options] if rng.random() < 0.4)
            flip = mcq.LETTERS[int(rng.integers(n_options))] if rng.random() < 0.5 else ""
            kinds = [Category.OBSERVATIONAL if rng.random() < 0.7 else Category.INFERENTIAL for _ in range(2)]
            question = a_question(
                f"{scene}:{qid}",
                n_options=n_options,
                gold=gold,
                observer="".join(set(gold) ^ set(flip)),
                negated=bool(rng.random() < 0.3),
                any_option=kinds[0],
                correct_option=kinds[1],
                problem_id=len(found) + 1,
            )
            found.append(with_category(question, rule))
    return found


def with_category(question: CuratedQuestion, rule: Rule) -> CuratedQuestion:
    """The question as a folder curated under `rule` holds it."""

    return msgspec.structs.replace(question, category=getattr(question, rule.column))


def write_curated(
    folder: Path,
    questions: dict[str, list[CuratedQuestion]] | None = None,
    *,
    rule: Rule = Rule.ORACLE,
    videos_root: str | None = None,
) -> Curated:
    """A finished curated folder; `questions` by split, by default 8 scenes of train and 6 of dev."""
    if questions is None:
        questions = {
            "train": random_questions(range(8), seed=1, rule=rule),
            "dev": random_questions(range(100, 106), seed=2, rule=rule),
        }
    for split, rows in questions.items():
        store.write_json(folder / f"{split}.json", rows)
    scenes = sorted({question.scene_index for rows in questions.values() for question in rows})
    store.write_jsonl(folder / SCENES, [a_scene(index) for index in scenes])
    manifest = {
        "rule": rule,
        "seed": 42,
        "videos_root": videos_root,
        "splits": {split: len(rows) for split, rows in questions.items()},
        "missing_videos": [],
    }
    store.write_json(folder / MANIFEST, manifest)
    return open_curated(folder)
