"""Curated folders and their parts for tests, written by hand; nothing is read from a release, and no rule decides a label.

One question with all that is said about it is a `Labelled`, as the curation of CLEVRER makes them: `a_question` builds one,
`questions_of` and `labels_of` take a list of them apart, and `write_curated` puts them into a folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from videothinker import answers, curated, store, tables
from videothinker.answers import LETTERS
from videothinker.curate.datasets.clevrer.labelled import POLARITY, Labelled, clevrer_row, label_sets, label_table
from videothinker.curated import Curated, Labels, Member, open_curated
from videothinker.observers.log import Finding
from videothinker.records import (
    Benchmark,
    Category,
    Clip,
    Collision,
    Form,
    Manifest,
    Prediction,
    Question,
    Rule,
    Scene,
    SceneObject,
    Status,
    clevrer,
    label,
    manifest,
    question,
    scene,
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
    any_option: Category = Category.OBSERVATIONAL,
    correct_option: Category = Category.OBSERVATIONAL,
    oracle: Category | None = None,
    text: str | None = None,
    options: Sequence[str] | None = None,
    video: str | None = None,
) -> Labelled:
    """A question with its labels; that of the rule `oracle` follows from gold and observer where it is not given.

    text, options, video: made up from the question's id where they are not given.
    """
    scene_index, qid = (int(part) for part in question_id.split(":"))
    asked = Question(
        question_id=question_id,
        text=text or f"Without the {COLORS[qid % 8]} cube, what will {'not ' if negated else ''}happen?",
        options=tuple(options or (f"The {COLORS[i]} cube and the metal sphere collide" for i in range(n_options))),
        clip=Clip(path=video or f"video_{scene_index:05}.mp4"),
        gold=letters(gold),
        group=str(scene_index),
        facets={POLARITY: "will not" if negated else "will"},
        source="CLEVRER",
    )
    if oracle is None:
        oracle = Category.OBSERVATIONAL if set(gold) == set(observer) else Category.INFERENTIAL
    kinds = {Rule.ANY_OPTION: any_option, Rule.CORRECT_OPTION: correct_option, Rule.ORACLE: oracle}
    findings = {rule: Finding(kind, "a test says so") for rule, kind in kinds.items()}
    return Labelled(asked, scene_index, qid, 0, negated, letters(observer), findings, pairs=(), collisions=())


def a_choice(
    question_id: str,
    *,
    gold: str = "A",
    n_options: int = 4,
    form: Form = Form.CHOICE,
    group: str | None = None,
    facets: Mapping[str, str] | None = None,
) -> Question:
    """A single choice of some other data set, which nobody has labelled. group: by default a clip of its own."""
    return Question(
        question_id=question_id,
        text=f"What happens in question {question_id}?",
        options=tuple(f"event {number}" for number in range(n_options)),
        clip=Clip(path=f"{group or question_id}.mp4"),
        gold=letters(gold),
        form=form,
        group=group or question_id,
        facets=dict(facets or {}),
        source="another",
    )


def questions_of(asked: Iterable[Labelled]) -> list[Question]:
    """The questions alone, in the same order."""
    return [one.question for one in asked]


def labels_of(asked: Iterable[Labelled], rule: Rule = Rule.ORACLE) -> Labels:
    """The collision log's labels of the questions, with those of `rule` as the own ones."""
    return label_sets(asked, rule)


def a_prediction(asked: Labelled, chosen: str | None, status: Status | None = None) -> Prediction:
    """The prediction that `chosen` ("AC", "" for none, None for unreadable) gives."""
    read = None if chosen is None else letters(chosen)
    if status is None:
        status = Status.NO_ANSWER if read is None else Status.OK
    reply = "I cannot tell." if read is None else answers.form_of(asked.question).solution(read)
    return Prediction(
        question_id=asked.question.question_id,
        reply="" if status is Status.DECODE_ERROR else reply,
        chosen=read,
        gold=asked.question.gold,
        observer=asked.observer,
        status=status,
        error="clip is missing" if status is Status.DECODE_ERROR else None,
    )


def a_scene(scene_index: int, n_objects: int = 5) -> Scene:
    """Objects of different colours, in a chain of collisions."""
    objects = tuple(SceneObject(i, COLORS[i], "metal" if i % 2 else "rubber", "cube") for i in range(n_objects))
    collisions = tuple(Collision(20 * i + 10, (i, i + 1)) for i in range(n_objects - 1))
    return Scene(scene_index, f"video_{scene_index:05}.mp4", objects, collisions)


def random_questions(scenes: Sequence[int], *, per_scene: int = 3, seed: int = 0) -> list[Labelled]:
    """Questions of 2 to 4 options, about half of which the observer has right; gold is sometimes none."""
    rng = np.random.default_rng(seed)
    found = []
    for scene_index in scenes:
        for qid in range(per_scene):
            n_options = int(rng.integers(2, 5))
            gold = "".join(letter for letter in LETTERS[:n_options] if rng.random() < 0.4)
            flip = LETTERS[int(rng.integers(n_options))] if rng.random() < 0.5 else ""
            kinds = [Category.OBSERVATIONAL if rng.random() < 0.7 else Category.INFERENTIAL for _ in range(2)]
            found.append(
                a_question(
                    f"{scene_index}:{qid}",
                    n_options=n_options,
                    gold=gold,
                    observer="".join(set(gold) ^ set(flip)),
                    negated=bool(rng.random() < 0.3),
                    any_option=kinds[0],
                    correct_option=kinds[1],
                )
            )
    return found


def write_curated(
    folder: Path,
    questions: Mapping[str, Sequence[Labelled]] | None = None,
    *,
    rule: Rule = Rule.ORACLE,
    videos_root: str | None = None,
    scenes: Iterable[Scene] | None = None,
) -> Curated:
    """A finished curated folder of CLEVRER; `questions` by split, by default 8 scenes of train and 6 of dev.

    scenes: by default `a_scene` for each that is asked about.
    """
    if questions is None:
        questions = {"train": random_questions(range(8), seed=1), "dev": random_questions(range(100, 106), seed=2)}
    if scenes is None:
        scenes = [a_scene(index) for index in sorted({one.scene_index for asked in questions.values() for one in asked})]
    every = [one for asked in questions.values() for one in asked]
    members = [Member(one.question, split, True) for split, asked in questions.items() for one in asked]
    store.write_bytes(folder / question.FILE, curated.question_table(members))
    store.write_bytes(folder / label.FOLDER / "log.parquet", curated.label_table(labels_of(every, rule).sets))
    store.write_jsonl(folder / scene.FILE, scenes)
    ids = frozenset(one.question.question_id for one in every)
    table = label_table({split: list(asked) for split, asked in questions.items()}, ids, rule)
    store.write_bytes(folder / clevrer.FILE, tables.to_bytes(table.iter_rows(named=True), clevrer.COLUMNS))
    for split, asked in questions.items():
        rows = [clevrer_row(one, rule) for one in asked]
        numbered = [msgspec.structs.replace(row, problem_id=number) for number, row in enumerate(rows, start=1)]
        store.write_json(folder / f"{split}.json", numbered)
    splits = {split: len(asked) for split, asked in questions.items()}
    store.write_json(folder / manifest.FILE, Manifest(rule=rule, seed=42, videos_root=videos_root, splits=splits))
    return open_curated(folder)


def write_labels(path: Path, observer: str, categories: Mapping[str, str], **scores: Mapping[str, Any]) -> Path:
    """A label file under the rule "twin", without answers: categories by question_id, scores by column and question_id."""
    rows = [
        {"question_id": name, "observer": observer, "rule": "twin", "category": category}
        | {column: values.get(name) for column, values in scores.items()}
        for name, category in categories.items()
    ]
    store.write_bytes(path, tables.to_bytes(rows, label.COLUMNS | dict.fromkeys(scores, "double")))
    return path


def write_unlabelled(
    folder: Path, questions: Mapping[str, Sequence[Question]], *, benchmark: Benchmark | None = None
) -> Curated:
    """A finished curated folder of a data set that nobody has labelled; `questions` by split."""
    members = [Member(one, split, True) for split, asked in questions.items() for one in asked]
    store.write_bytes(folder / question.FILE, curated.question_table(members))
    splits = {split: len(asked) for split, asked in questions.items()}
    found = Manifest(rule=None, seed=42, videos_root=None, splits=splits, benchmark=benchmark)
    store.write_json(folder / manifest.FILE, found)
    return open_curated(folder)
