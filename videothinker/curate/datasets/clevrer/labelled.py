"""A labelled counterfactual question of CLEVRER, and how it is kept: in label sets, Video-R1 rows and labels.parquet."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from videothinker import answers
from videothinker.curate.datasets.clevrer.questions import ReleaseQuestion
from videothinker.curate.datasets.clevrer.resolve import resolve_case
from videothinker.curated import Labels
from videothinker.errors import VtError
from videothinker.observers import log
from videothinker.records import Category, Clip, Collision, Label, LabelSet, Question, Rule, Scene, clevrer, label
from videothinker.records.video_r1 import ClevrerRow

POLARITY = "polarity"
"""Facet of every counterfactual question: "will" or "will not"."""


class Labelled(NamedTuple):
    """One counterfactual question with all that its scene says about it."""

    question: Question
    scene_index: int
    qid: int
    removed_object: int
    """object_id of the object taken away."""
    negated: bool
    """True for "what will not happen"."""
    observer: tuple[str, ...]
    """Letters that the observer answers, who only saw the clip."""
    findings: dict[Rule, log.Finding]
    """What every rule finds."""
    pairs: tuple[log.Pair, ...]
    """The collision that each option names."""
    collisions: tuple[Collision, ...]
    """The scene's collision log, including what cannot be seen."""

    def category(self, rule: Rule) -> Category:
        """The question's category under one of the rules."""
        return self.findings[rule].category


def label_question(question: ReleaseQuestion, scene: Scene, video: str) -> Labelled:
    """The question's record, with the observer's answer and what every rule finds.

    video: the clip's path relative to the folder of clips.

    Raises:
        ProgramError: what the question or an option names cannot be resolved to objects and collisions of the scene.
    """
    case = resolve_case(question.program, question.choice_programs, question.gold, scene)
    record = Question(
        question_id=f"{question.scene_index}:{question.qid}",
        text=question.problem,
        options=question.options,
        clip=Clip(path=video),
        gold=question.gold,
        group=str(question.scene_index),
        facets={POLARITY: "will not" if case.negated else "will"},
        source="CLEVRER",
    )
    findings = {rule: decide(case) for rule, decide in log.RULES.items()}
    return Labelled(
        record,
        question.scene_index,
        question.qid,
        case.removed,
        case.negated,
        log.answer(case),
        findings,
        case.pairs,
        scene.collisions,
    )


def label_sets(labelled: Iterable[Labelled], rule: Rule) -> Labels:
    """The collision log's labels under every rule; the folder's own set is that of `rule`."""
    by_rule: dict[Rule, dict[str, Label]] = {each: {} for each in Rule}
    for one in labelled:
        for each, (category, reason) in one.findings.items():
            name = one.question.question_id
            by_rule[each][name] = Label(
                question_id=name, observer=label.LOG, rule=each, category=category, reason=reason, answer=one.observer
            )
    sets = {each: LabelSet(label.LOG, each, members) for each, members in by_rule.items()}
    return Labels(sets.values(), sets[rule])


def clevrer_row(one: Labelled, rule: Rule) -> ClevrerRow:
    """The question as a Video-R1 row with its labels. `problem_id` is 0, because rows are numbered when they are written."""
    asked = one.question
    return ClevrerRow(
        problem_id=0,
        problem=asked.text,
        options=tuple(answers.option_line(index, text) for index, text in enumerate(asked.options)),
        solution=answers.solution(asked),
        video=asked.path,
        path=asked.path,
        question_id=asked.question_id,
        scene_index=one.scene_index,
        category=one.category(rule),
        observer=one.observer,
        gold=asked.gold,
        removed_object=one.removed_object,
        negated=one.negated,
        **{each.column: one.category(each) for each in Rule},
    )


def label_table(splits: Mapping[str, list[Labelled]], in_training_set: frozenset[str], rule: Rule) -> pl.DataFrame:
    """labels.parquet of these questions, by scene and qid."""
    rows = [
        {
            "question_id": one.question.question_id,
            "scene_index": one.scene_index,
            "qid": one.qid,
            "video": one.question.path,
            "removed_object": one.removed_object,
            "negated": one.negated,
            "n_choices": len(one.question.options),
            "n_correct": len(one.question.gold),
            **{each.column: one.category(each).value for each in Rule},
            "category": one.category(rule).value,
            "split": split,
            "in_train_set": one.question.question_id in in_training_set,
            "gold": ",".join(one.question.gold),
            "observer": ",".join(one.observer),
        }
        for split, members in splits.items()
        for one in members
    ]
    return pl.DataFrame(rows, schema=LABEL_COLUMNS).sort("scene_index", "qid")


_POLARS = {"string": pl.String, "int64": pl.Int64, "bool": pl.Boolean}
LABEL_COLUMNS = pl.Schema({name: _POLARS[kind] for name, kind in clevrer.COLUMNS.items()})
"""Columns of labels.parquet by polars type."""


def read_labels(folder: Path) -> pl.DataFrame:
    """labels.parquet of a folder that holds CLEVRER.

    Raises:
        VtError: the file is missing, damaged, or has other columns.
    """
    path = folder / clevrer.FILE
    try:
        labels = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise VtError(f"{path}: cannot be read: {error}") from error
    if labels.schema != LABEL_COLUMNS:
        raise VtError(f"{path}: has the columns {', '.join(labels.columns)}, expected {', '.join(LABEL_COLUMNS)}")
    return labels
