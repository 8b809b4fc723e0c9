"""Answer sheets: what every run of a study answered, in letters, one row per question and one column per run.

    answers/greedy.parquet     question_id, scene, gold, observer, any_option, correct_option, oracle, base, grpo/1, grpo/2, ...

A sheet is all that a study's numbers rest on, in a few hundred kB: `collect` computes them from sheets, whether they come from
the folders of the cells or from a file that somebody committed (`recompute`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from videothinker import tables
from videothinker.curated import Labels
from videothinker.diagnose import grading
from videothinker.diagnose.twice import sure_from
from videothinker.errors import VtError
from videothinker.records import Category, Prediction, Question, Rule, label
from videothinker.records.study_results import ANSWERS, LOST, SHEET_COLUMNS, UNREAD, Results
from videothinker.study.scores import Floats, Mask, Scored
from videothinker.study.sheet_columns import BESIDE, TOKENS, column_of, runs_in

Words = NDArray[np.object_]
"""Answers in words, of shape (n_questions,): letters joined by ",", "" for an explicit none, `UNREAD`, `LOST`, or None where
the run was not asked the question."""


class Beside(NamedTuple):
    """What a reply says beside its answer, in words; each (n_questions,), None for a question that was not asked."""

    first: Words | None
    """The first answer; `UNREAD` where there is none. None, as the next, for a run that does not answer twice."""
    thinks: Words | None
    """"yes" or "no"."""
    tokens: Words
    """How many tokens it has; "" where they were not counted."""
    sure: Words | None = None
    """How sure the first answer was, with 5 decimals; "" where there is none to stop behind. None, as the next, for a run that
    does not answer twice or may have been stopped, and on sheets that were written before these two were kept."""
    first_tokens: Words | None = None
    """How many tokens it has up to the end of the first answer; "" where there is none to stop behind."""


class Sheet:
    """The questions of one way of asking, and the answers of each run."""

    def __init__(
        self, ids: Sequence[str], scenes: Sequence[int], gold: Words, observer: Words, observational: Mapping[Rule, Mask]
    ) -> None:
        """gold, observer: answers in words. observational: True for such questions, under each rule of the collision log."""
        self.ids = np.array(ids)
        self.scenes = np.array(scenes, dtype=np.int64)
        self.gold = gold
        self.observer = observer
        self.observational = dict(observational)
        self.answers: dict[tuple[str, int], Words] = {}
        """Of each run, by arm and seed; "base" has `NO_SEED`."""
        self.beside: dict[tuple[str, int], Beside] = {}
        """In a study with arms that answer twice, of each run."""

    def add(
        self, arm: str, seed: int, predictions: Mapping[str, Prediction], *, beside: bool = False, whole: bool = False
    ) -> None:
        """The answers of a run, by question_id; it need not have been asked all questions.

        beside: whether to keep what the replies say beside their answers. whole: whether they were asked without a stop, so
        that they tell what any stop would have come to, and what tells it is kept too.
        """
        rows = [predictions.get(name) for name in self.ids]
        self.answers[arm, seed] = _words(map(_said, rows))
        if beside:
            twice = any(row is not None and row.first is not UNSET for row in rows)
            # Whatever the study's file says, a reply that was cut does not tell how it would have gone on.
            whole = whole and twice and not any(row is not None and row.stopped is True for row in rows)
            self.beside[arm, seed] = Beside(
                first=_words(map(_first, rows)) if twice else None,
                thinks=_words(map(_thinks, rows)) if twice else None,
                tokens=_words(map(_tokens, rows)),
                sure=_words(map(_sure, rows)) if whole else None,
                first_tokens=_words(map(_first_tokens, rows)) if whole else None,
            )

    def arms(self, order: Sequence[str]) -> dict[str, dict[int, Scored]]:
        """The runs of every arm that has some, by seed, with the arms in this order."""
        found: dict[str, dict[int, Scored]] = {arm: {} for arm in order}
        for (arm, seed), said in self.answers.items():
            if arm in found:
                found[arm][seed] = self._scored(said, self.beside.get((arm, seed)))
        return {arm: runs for arm, runs in found.items() if runs}

    def _scored(self, said: Words, beside: Beside | None) -> Scored:
        rows = np.flatnonzero(np.array([one is not None for one in said], dtype=np.bool_))
        return Scored(
            ids=self.ids,
            scene=self.scenes,
            exact=(said == self.gold).astype(np.float64),
            like_observer=(said == self.observer).astype(np.float64),
            asked=said != LOST,
            observational=self.observational,
            first=None if beside is None or beside.first is None else (beside.first == self.gold).astype(np.float64),
            thinks=None if beside is None or beside.thinks is None else (beside.thinks == "yes").astype(np.float64),
            tokens=None if beside is None else _numbers(beside.tokens, np.nan),
            sure=None if beside is None else _numbers(beside.sure, -1),
            first_tokens=None if beside is None else _numbers(beside.first_tokens, np.nan),
        ).take(rows)


def sheet_of(questions: Sequence[Question], labels: Labels) -> Sheet:
    """A sheet without answers. labels: those of the collision log, under all rules.

    An observer without an answer counts as one that ticks nothing.

    Raises:
        VtError: a rule of the log labels none of them.
    """
    by_rule = {each.rule: each.by_question for each in labels.sets if each.observer == label.LOG}
    if missing := [rule for rule in Rule if rule not in by_rule]:
        raise VtError(
            f"the questions that a study asks have no labels by the rule {', '.join(missing)}: a study is judged by all rules"
            " of a collision log, which `vt curate clevrer` writes; compare other sets with `vt diagnose`"
        )
    return Sheet(
        ids=[one.question_id for one in questions],
        scenes=[int(one.group) for one in questions],
        gold=_words(tables.joined(one.gold) for one in questions),
        observer=_words(tables.joined(labels.observer(one.question_id) or ()) for one in questions),
        observational={
            rule: np.array(
                [by_rule[rule][one.question_id].category is Category.OBSERVATIONAL for one in questions], dtype=np.bool_
            )
            for rule in Rule
        },
    )


def to_bytes(sheet: Sheet) -> bytes:
    """The sheet as a parquet file; the same sheet gives the same bytes."""
    columns: dict[str, Any] = {
        "question_id": sheet.ids.tolist(),
        "scene": sheet.scenes.tolist(),
        "gold": sheet.gold,
        "observer": sheet.observer,
        **{rule.column: [_category(one) for one in mask] for rule, mask in sheet.observational.items()},
        **{column_of(arm, seed): said for (arm, seed), said in sheet.answers.items()},
        **{
            f"{column_of(arm, seed)} {what}": said
            for (arm, seed), beside in sheet.beside.items()
            for what, said in zip(BESIDE, beside, strict=True)
            if said is not None
        },
    }
    kinds = {name: SHEET_COLUMNS.get(name, "string") for name in columns}
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return tables.to_bytes(rows, kinds)


def sheet_files(folder: Path, results: Results, lacking: str) -> dict[str, Path]:
    """The sheets that lie beside the results of a study's report in `folder`, by way of asking.

    lacking: what it means that one is not there on which numbers of the results rest; the message ends with it.

    Raises:
        VtError: one of those is not there.
    """
    paths = {name: folder / ANSWERS / f"{name}.parquet" for name in results.study.ask}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if lost := sorted({level.ask for level in results.levels} - found.keys()):
        raise VtError(f"{folder}: has no {ANSWERS}/{lost[0]}.parquet, {lacking}")
    return found


def read_sheet(path: Path) -> Sheet:
    """The sheet of a file that `to_bytes` made.

    Raises:
        VtError: it cannot be read, has no rows, or a field is not as expected; names the question and the column.
    """
    rows = tables.read(path, SHEET_COLUMNS, more=True)
    if not rows:
        raise VtError(f"{path}: has no rows, expected one for each question that was asked; put the study's own sheet back")
    columns = dict(zip(rows[0], zip(*(row.values() for row in rows), strict=True), strict=True))
    runs = runs_in(path, columns)
    sheet = Sheet(
        ids=columns["question_id"],
        scenes=columns["scene"],
        gold=_words(columns["gold"]),
        observer=_words(columns["observer"]),
        observational={
            rule: np.array([one == Category.OBSERVATIONAL for one in columns[rule.column]], dtype=np.bool_) for rule in Rule
        },
    )
    for name, run in runs.items():
        sheet.answers[run] = _words(columns[name])
        if f"{name} {TOKENS}" in columns:  # the one of them that every run has
            beside = [columns.get(f"{name} {each}") for each in BESIDE]
            found = [None if words is None else _words(words) for words in beside]
            sheet.beside[run] = Beside(*found)  # type: ignore[arg-type]  # tokens are there
    return sheet


def _said(prediction: Prediction | None) -> str | None:
    if prediction is None:
        return None
    if not grading.counts(prediction):
        return LOST
    answer = grading.said(prediction)
    return UNREAD if answer is None else tables.joined(answer)


def _first(row: Prediction | None) -> str | None:
    if row is None:
        return None
    return UNREAD if row.first is None or row.first is UNSET else tables.joined(row.first)


def _thinks(row: Prediction | None) -> str | None:
    return None if row is None else "yes" if "<think>" in row.reply.lower() else "no"


def _tokens(row: Prediction | None) -> str | None:
    return None if row is None else "" if row.tokens is None else str(row.tokens)


def _sure(row: Prediction | None) -> str | None:
    return None if row is None else "" if (known := sure_from(row)) is None else f"{known[0]:.5f}"


def _first_tokens(row: Prediction | None) -> str | None:
    return None if row is None else "" if (known := sure_from(row)) is None else str(known[1])


def _words(values: Iterable[str | None]) -> Words:
    return np.array([*values, None], dtype=np.object_)[:-1]  # the None keeps numpy from an array of text


def _numbers(words: Words | None, otherwise: float) -> Floats | None:
    """The words as numbers; `otherwise` in place of "" and of questions that were not asked."""
    return None if words is None else np.array([float(one) if one else otherwise for one in words], np.float64)


def _category(is_observational: bool) -> str:
    return (Category.OBSERVATIONAL if is_observational else Category.INFERENTIAL).value
