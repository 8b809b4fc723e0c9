"""Scenes, questions and replies that agree with each other, made up from a seed; labels are those that the rules give."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import av
import numpy as np
import polars as pl

from videothinker import mcq
from videothinker.curate import label
from videothinker.curate.build import Curation, Unresolved
from videothinker.curate.manifest import score_observer, warn_of_observer
from videothinker.diagnose.metrics import summarize
from videothinker.diagnose.runs import Run
from videothinker.records import Collision, CuratedQuestion, Prediction, Rule, Scene, SceneObject, Status
from videothinker.reports.words import object_name

COLORS = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")


def page_data(html: bytes) -> dict[str, Any]:
    """What a page's browser of questions works on."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html.decode(), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


class Made(NamedTuple):
    scenes: dict[int, Scene]
    questions: dict[str, list[CuratedQuestion]]


def a_scene(index: int, rng: Random) -> Scene:
    looks = rng.sample(
        [(color, material, shape) for color in COLORS for material in ("metal", "rubber") for shape in ("cube", "sphere")], 5
    )
    objects = tuple(SceneObject(i, *look) for i, look in enumerate(looks))
    frames = sorted(rng.sample(range(8, 120), rng.randint(1, 4)))
    hits = tuple(Collision(frame, tuple(sorted(rng.sample(range(5), 2)))) for frame in frames)  # type: ignore[arg-type]
    return Scene(index, f"video_{index:05}.mp4", objects, hits)


def a_question(scene: Scene, qid: int, rng: Random, rule: Rule) -> CuratedQuestion:
    """The log without the object: its own collisions are gone, some others go, too, and some come."""
    removed, negated = rng.randrange(5), rng.random() < 0.3
    log = frozenset(hit.object_ids for hit in scene.collisions)
    every = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    truth = {pair for pair in log if removed not in pair and rng.random() < 0.8}
    truth |= {pair for pair in every if removed not in pair and rng.random() < 0.1}
    pairs = tuple(rng.sample([pair for pair in every if pair in log or rng.random() < 0.6] + every, rng.randint(2, 4)))
    gold = tuple(letter for letter, pair in zip(mcq.LETTERS, pairs, strict=False) if (pair in truth) != negated)
    case = label.Case(pairs, gold, removed, negated, log)
    names = [object_name(thing) for thing in scene.objects]
    kinds = {each: judge(case) for each, judge in label.RULES.items()}
    return CuratedQuestion(
        problem_id=1,
        problem=f"Without the {names[removed]}, what will {'not ' if negated else ''}happen?",
        options=tuple(mcq.option_line(i, f"The {names[a]} and the {names[b]} collide") for i, (a, b) in enumerate(pairs)),
        solution=mcq.solution(gold),
        video=scene.video,
        path=scene.video,
        question_id=f"{scene.scene_index}:{qid}",
        scene_index=scene.scene_index,
        category=kinds[rule],
        observer=label.observer(case),
        gold=gold,
        removed_object=removed,
        negated=negated,
        any_option=kinds[Rule.ANY_OPTION],
        correct_option=kinds[Rule.CORRECT_OPTION],
        oracle=kinds[Rule.ORACLE],
    )


def make(n_scenes: int = 60, per_scene: int = 3, seed: int = 0, rule: Rule = Rule.ORACLE) -> Made:
    """Scenes 0 to `n_scenes` - 1; every fifth is in dev."""
    rng = Random(seed)
    scenes = {index: a_scene(index, rng) for index in range(n_scenes)}
    questions: dict[str, list[CuratedQuestion]] = {"train": [], "dev": []}
    for index, scene in scenes.items():
        questions["dev" if index % 5 == 4 else "train"] += [a_question(scene, qid, rng, rule) for qid in range(per_scene)]
    return Made(scenes, questions)


def make_curation(
    made: Made, rule: Rule = Rule.ORACLE, videos_root: Path | None = None, unresolved: Sequence[Unresolved] = ()
) -> Curation:
    rows = [
        {
            "question_id": one.question_id,
            "scene_index": one.scene_index,
            "qid": int(one.question_id.split(":")[1]),
            "video": one.video,
            "removed_object": one.removed_object,
            "negated": one.negated,
            "n_choices": len(one.options),
            "n_correct": len(one.gold),
            **{each.column: str(getattr(one, each.column)) for each in Rule},
            "category": str(one.category),
            "split": split,
            "in_train_set": split == "train",
            "gold": ",".join(one.gold),
            "observer": ",".join(one.observer),
        }
        for split, questions in made.questions.items()
        for one in questions
    ]
    warning = warn_of_observer(score_observer([one for questions in made.questions.values() for one in questions]), rule)
    manifest = {
        "rule": rule,
        "videos_root": None,
        "missing_videos": [],
        "paper": None,
        "warnings": [] if warning is None else [warning],
        "settings": {"dev_share": 0.2, "train_size": None},
        "inputs": {"questions_sha256": "0" * 64},
        "provenance": {"created": "2026-01-01T00:00:00+00:00", "versions": {"polars": "1.30.0"}},
    }
    return Curation(pl.DataFrame(rows), made.questions, made.scenes, list(unresolved), manifest, videos_root)


def answer(question: CuratedQuestion, rng: Random, *, skill: float, shortcut: float) -> Prediction:
    """Right with probability `skill`, else the observer's answer with probability `shortcut`, else any set; 2 % unreadable."""
    options = mcq.LETTERS[: len(question.options)]
    chosen: tuple[str, ...] | None = tuple(letter for letter in options if rng.random() < 0.5)
    draw = rng.random()
    if draw < skill:
        chosen = question.gold
    elif draw < skill + (1 - skill) * shortcut:
        chosen = question.observer
    status, reply = Status.OK, f"<think>I look at the objects, one by one.</think>{mcq.solution(chosen)}"
    if rng.random() < 0.02:
        chosen, status, reply = None, Status.NO_ANSWER, "I am not sure what happens."
    elif rng.random() < 0.02:
        status = Status.TRUNCATED
    return Prediction(
        question_id=question.question_id,
        reply=reply,
        chosen=chosen,
        gold=question.gold,
        observer=question.observer,
        status=status,
    )


def make_run(
    name: str, questions: Sequence[CuratedQuestion], *, skill: float, shortcut: float, seed: int = 0, reference: bool = False
) -> Run:
    rng = Random(f"{seed} {name}")
    predictions = [answer(question, rng, skill=skill, shortcut=shortcut) for question in questions]
    settings: dict[str, Any] = {
        "name": name,
        "model": f"models/{name}",
        "settings": {"split": "dev", "prompt": "cot", "n_frames": 32, "temperature": 0.0, "seed": 42},
        "fed": {"frames": 32, "height": 252, "width": 364, "video_tokens": 1872},
        "provenance": {"created": "2026-01-01T00:00:00+00:00"},
    }
    metrics = summarize(questions, predictions, Rule.ORACLE)
    return Run(name, settings, list(questions), predictions, metrics, None if reference else Path(name), reference)


def write_clip(path: Path, n: int = 128) -> None:
    """A film of CLEVRER's length, 96 x 64, in which a square wanders from left to right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(n):
            picture = np.full((64, 96, 3), 150, np.uint8)
            picture[24:44, i // 2 : i // 2 + 20] = (200, 40, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
