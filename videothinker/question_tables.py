"""The tables of a question set: questions.parquet and the files of labels/, as `curate` writes and everybody reads them.

A row is checked when it is read. It needs neither polars nor torch.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from videothinker import answers, tables
from videothinker.errors import VtError
from videothinker.footage import fault
from videothinker.outside import stays_within
from videothinker.records import Category, Clip, Form, Label, LabelSet, Question, label, question

TRAIN = "train"
"""The split that trainings draw from, and in which the blind prior counts answers."""


class Member(NamedTuple):
    """A question and its place in the set."""

    question: Question
    split: str
    in_train_set: bool
    """False for a question of the split "train" that a smaller training set leaves out."""

    @property
    def is_used(self) -> bool:
        """Whether its split has it for training and asking: False only for what the training set leaves out."""
        return self.in_train_set or self.split != TRAIN


def question_table(members: Sequence[Member]) -> bytes:
    """questions.parquet with these questions, in their order; every facet that some question has becomes a column."""
    facets = list(dict.fromkeys(name for one in members for name in one.question.facets))
    if clash := next((name for name in facets if name in question.COLUMNS), None):
        raise ValueError(f"a facet is named '{clash}', which is a column of {question.FILE}")
    rows = [
        {
            "question_id": asked.question_id,
            "group": asked.group,
            "form": asked.form.value,
            "text": asked.text,
            "options": list(asked.options),
            "n_options": len(asked.options),
            "gold": tables.joined(asked.gold),
            "split": split,
            "in_train_set": in_train_set,
            "video": asked.clip.path,
            "start": asked.clip.start,
            "end": asked.clip.end,
            "fps": asked.clip.fps,
            "source": asked.source,
            **asked.facets,
        }
        for asked, split, in_train_set in members
    ]
    return tables.to_bytes(rows, question.COLUMNS | dict.fromkeys(facets, "string"))


def member(path: Path, row: tables.Row) -> Member:
    """A row of questions.parquet, checked to be one.

    Raises:
        VtError: it cannot be asked and graded.
    """
    if (wrong := _fault(row)) is not None:
        raise VtError(f"{path}: question {row['question_id']}: {wrong}")
    asked = Question(
        question_id=row["question_id"],
        text=row["text"],
        options=tuple(row["options"]),
        clip=Clip(path=row["video"], start=row["start"], end=row["end"], fps=row["fps"]),
        gold=tables.parted(row["gold"]) or (),
        form=Form(row["form"]),
        group=row["group"],
        facets={key: str(value) for key, value in row.items() if key not in question.COLUMNS and value is not None},
        source=row["source"],
    )
    return Member(asked, row["split"], row["in_train_set"])


def _fault(row: tables.Row) -> str | None:
    """Why a row of questions.parquet cannot be asked and graded; None if it can."""
    lacking = next((key for key in question.COLUMNS if row[key] is None and key not in ("start", "end", "fps")), None)
    if lacking is not None:
        return f"has no {lacking}"
    if not stays_within(row["video"]):
        return f"its clip is {row['video']!a}, expected a path below the clips' folder"
    if (wrong := fault(row["start"], row["end"], row["fps"])) is not None:
        return wrong
    form, n_options, gold = row["form"], len(row["options"]), tables.parted(row["gold"]) or ()
    if form not in list(Form):
        return f"form is {form!r}, expected one of {', '.join(Form)}"
    if n_options != row["n_options"]:
        return f"has {n_options} options, but its n_options is {row['n_options']}"
    if n_options > len(answers.LETTERS):
        return f"has {n_options} options, more than there are letters"
    wrong = answers.FORMS[Form(form)].fault(gold, n_options)
    return None if wrong is None else f"gold is {','.join(gold) or 'none'}, {wrong}"


def label_table(sets: Iterable[LabelSet]) -> bytes:
    """A file for labels/ with all labels of these sets, one set after the other."""
    rows = [
        msgspec.structs.asdict(one) | {"category": one.category.value, "answer": tables.joined(one.answer)}
        for each in sets
        for one in each.by_question.values()
    ]
    return tables.to_bytes(rows, label.COLUMNS)


def read_label_sets(path: Path) -> list[LabelSet]:
    """The label sets of a label file, in the order in which they first appear.

    Raises:
        VtError: the file is missing, damaged or not a label file, or labels a question twice in one set.
    """
    found: dict[tuple[str, str], dict[str, Label]] = {}
    for one in _labels(path):
        members = found.setdefault((one.observer, one.rule), {})
        if one.question_id in members:
            raise VtError(f"{path}: labels question {one.question_id} twice for {one.observer}, {one.rule}")
        members[one.question_id] = one
    return [LabelSet(observer, rule, members) for (observer, rule), members in found.items()]


def _labels(path: Path) -> Iterator[Label]:
    for row in tables.read(path, label.COLUMNS, more=True):
        category = next((kind for kind in Category if kind == row["category"]), None)
        if category is None:
            raise VtError(
                f"{path}: question {row['question_id']}: category is {row['category']!r}, expected one of {', '.join(Category)}"
            )
        yield Label(
            question_id=row["question_id"],
            observer=row["observer"],
            rule=row["rule"],
            category=category,
            reason=row["reason"],
            answer=tables.parted(row["answer"]),
        )
