"""Scenes, questions and replies that agree with each other, made up from a seed; labels are those that the rules give."""

import base64
import json
import re
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import av
import numpy as np
from curated_factory import labels_of, questions_of

from videothinker import answers
from videothinker.answers import LETTERS
from videothinker.curate.build import Curation
from videothinker.curate.datasets.clevrer.build import ClevrerCuration
from videothinker.curate.datasets.clevrer.counts import count_view, score_observer, warn_of_observer
from videothinker.curate.datasets.clevrer.labelled import POLARITY, Labelled, label_table
from videothinker.curate.datasets.clevrer.paper import count_readings
from videothinker.curated import NO_LABELS, Labels, Member
from videothinker.diagnose.runs import REFERENCE, Run, scored
from videothinker.observers import log
from videothinker.records import (
    Benchmark,
    Clip,
    Collision,
    Prediction,
    Question,
    Rule,
    RunRecord,
    Scene,
    SceneObject,
    Status,
    Unresolved,
)
from videothinker.reports.words import object_name

COLORS = ("gray", "brown", "green", "red", "blue", "purple", "yellow", "cyan")


def page_data(html: bytes) -> dict[str, Any]:
    """What a page's browser of questions works on."""
    found = re.search(r'<script type="text/plain" id="data">([\w+/=]*)</script>', html.decode())
    assert found is not None
    data: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(found[1])))
    return data


class Made(NamedTuple):
    scenes: dict[str, Scene]
    """By the `group` of their questions."""
    questions: dict[str, list[Labelled]]
    """By split."""

    @property
    def every(self) -> list[Labelled]:
        """The questions of all splits."""
        return [one for asked in self.questions.values() for one in asked]


def a_scene(index: int, rng: Random, *, hide_first: bool = False) -> Scene:
    looks = rng.sample(
        [(color, material, shape) for color in COLORS for material in ("metal", "rubber") for shape in ("cube", "sphere")], 5
    )
    objects = tuple(SceneObject(i, *look) for i, look in enumerate(looks))
    frames = sorted(rng.sample(range(8, 120), rng.randint(1, 4)))
    pairs = [tuple(sorted(rng.sample(range(5), 2))) for _ in frames]
    hits = tuple(
        Collision(frame, pair, seen=number > 0 or not hide_first)  # type: ignore[arg-type]
        for number, (frame, pair) in enumerate(zip(frames, pairs, strict=True))
    )
    return Scene(index, f"video_{index:05}.mp4", objects, hits)


def a_question(scene: Scene, qid: int, rng: Random) -> Labelled:
    """The log without the object: its own collisions are gone, some others go, too, and some come."""
    removed, negated = rng.randrange(5), rng.random() < 0.3
    hits = frozenset(hit.object_ids for hit in scene.collisions if hit.seen)
    every = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    truth = {pair for pair in hits if removed not in pair and rng.random() < 0.8}
    truth |= {pair for pair in every if removed not in pair and rng.random() < 0.1}
    pairs = tuple(rng.sample([pair for pair in every if pair in hits or rng.random() < 0.6] + every, rng.randint(2, 4)))
    gold = tuple(letter for letter, pair in zip(LETTERS, pairs, strict=False) if (pair in truth) != negated)
    case = log.Case(pairs, gold, removed, negated, hits)
    names = [object_name(thing) for thing in scene.objects]
    asked = Question(
        question_id=f"{scene.scene_index}:{qid}",
        text=f"Without the {names[removed]}, what will {'not ' if negated else ''}happen?",
        options=tuple(f"The {names[a]} and the {names[b]} collide" for a, b in pairs),
        clip=Clip(path=scene.video),
        gold=gold,
        group=str(scene.scene_index),
        facets={POLARITY: "will not" if negated else "will"},
        source="CLEVRER",
    )
    findings = {rule: decide(case) for rule, decide in log.RULES.items()}
    return Labelled(asked, scene.scene_index, qid, removed, negated, log.answer(case), findings, pairs, scene.collisions)


def make(n_scenes: int = 60, per_scene: int = 3, seed: int = 0, *, hide_first: bool = False) -> Made:
    """Scenes 0 to `n_scenes` - 1; every fifth is in dev. hide_first: the first collision of each scene is out of view."""
    rng = Random(seed)
    scenes = {str(index): a_scene(index, rng, hide_first=hide_first) for index in range(n_scenes)}
    questions: dict[str, list[Labelled]] = {"train": [], "dev": []}
    for scene in scenes.values():
        split = "dev" if scene.scene_index % 5 == 4 else "train"
        questions[split] += [a_question(scene, qid, rng) for qid in range(per_scene)]
    return Made(scenes, questions)


def make_curation(
    made: Made, rule: Rule = Rule.ORACLE, videos_root: Path | None = None, unresolved: Sequence[Unresolved] = ()
) -> ClevrerCuration:
    """The questions as a curation of CLEVRER under `rule`; all of "train" is in the training set."""
    in_training_set = frozenset(one.question.question_id for one in made.questions.get("train", []))
    members = [Member(one.question, split, split == "train") for split, asked in made.questions.items() for one in asked]
    warning = warn_of_observer(score_observer(made.every), rule)
    manifest = {
        "rule": rule,
        "videos_root": None,
        "missing_videos": [],
        "view": count_view(made.scenes.values()),
        "readings": count_readings(made.every),
        "paper": None,
        "warnings": [] if warning is None else [warning],
        "settings": {"dev_share": 0.2, "train_size": None},
        "inputs": {"questions_sha256": "0" * 64},
        "provenance": {"created": "2026-01-01T00:00:00+00:00", "versions": {"polars": "1.30.0"}},
    }
    curation = Curation(members, labels_of(made.every, rule), list(unresolved), manifest, videos_root)
    removed_objects = {one.question.question_id: one.removed_object for one in made.every}
    return ClevrerCuration(curation, label_table(made.questions, in_training_set, rule), made.scenes, removed_objects)


def answer(question: Question, observer: tuple[str, ...], rng: Random, *, skill: float, shortcut: float) -> Prediction:
    """Right with probability `skill`, else the observer's answer with probability `shortcut`, else any set; 2 % unreadable."""
    chosen: tuple[str, ...] | None = tuple(letter for letter in LETTERS[: len(question.options)] if rng.random() < 0.5)
    draw = rng.random()
    if draw < skill:
        chosen = question.gold
    elif draw < skill + (1 - skill) * shortcut:
        chosen = observer
    said = answers.form_of(question).solution(chosen)
    status, reply = Status.OK, f"<think>I look at the objects, one by one.</think>{said}"
    if rng.random() < 0.02:
        chosen, status, reply = None, Status.NO_ANSWER, "I am not sure what happens."
    elif rng.random() < 0.02:
        status = Status.TRUNCATED
    return Prediction(
        question_id=question.question_id,
        reply=reply,
        chosen=chosen,
        gold=question.gold,
        observer=observer,
        status=status,
    )


def make_run(
    name: str,
    asked: Sequence[Labelled],
    *,
    skill: float,
    shortcut: float,
    seed: int = 0,
    rule: Rule = Rule.ORACLE,
    reference: bool = False,
) -> Run:
    """A checkpoint's answers to the questions, scored under `rule`."""
    rng = Random(f"{seed} {name}")
    predictions = [answer(one.question, one.observer, rng, skill=skill, shortcut=shortcut) for one in asked]
    record = RunRecord(
        name=name,
        model=f"models/{name}",
        kind=REFERENCE if reference else "checkpoint",
        settings={"split": "dev", "prompt": "cot", "n_frames": 32, "temperature": 0.0, "seed": 42},
        fed={"frames": 32, "height": 252, "width": 364, "video_tokens": 1872},
        provenance={"created": "2026-01-01T00:00:00+00:00"},
    )
    folder = None if reference else Path(name)
    return scored(name, record, questions_of(asked), predictions, labels_of(asked, rule), folder=folder)


def make_plain_run(
    name: str,
    questions: Sequence[Question],
    *,
    skill: float,
    labels: Labels = NO_LABELS,
    benchmark: Benchmark | None = None,
    reference: bool = False,
) -> Run:
    """A checkpoint's answers to questions of any data set: right with probability `skill`, else random."""
    rng = Random(name)
    predictions = []
    for question in questions:
        form, n_options = answers.form_of(question), len(question.options)
        chosen = question.gold if rng.random() < skill else form.random(n_options, rng.getrandbits(64))
        said = Prediction(
            question_id=question.question_id,
            reply=f"<think>I watch the clip.</think>{form.solution(chosen)}",
            chosen=chosen,
            gold=question.gold,
            observer=labels.observer(question.question_id),
            status=Status.OK,
        )
        predictions.append(said)
    record = RunRecord(
        name=name, model=f"models/{name}", kind=REFERENCE if reference else "checkpoint", settings={"split": "test"}
    )
    return scored(name, record, questions, predictions, labels, benchmark, None if reference else Path(name))


def write_clip(path: Path, n: int = 128, *, every: int = 1) -> None:
    """A film of CLEVRER's length, 96 x 64, in which a square wanders from left to right; of which every so many-th frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25, every))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for i in range(0, n, every):
            picture = np.full((64, 96, 3), 150, np.uint8)
            picture[24:44, i // 2 : i // 2 + 20] = (200, 40, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
