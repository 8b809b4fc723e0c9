"""The diagnosis report: does a checkpoint do worse where watching is not enough, and are its errors those of watching?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from videothinker.curated import Curated
from videothinker.diagnose.grading import is_right
from videothinker.diagnose.protocols import OURS
from videothinker.diagnose.readings import Readings
from videothinker.diagnose.runs import Run, prompts
from videothinker.diagnose.verdict import UNLABELLED, verdict
from videothinker.errors import VtError
from videothinker.progress import Progress, no_progress
from videothinker.records import Comparison, Prediction, Question, ViewEffects
from videothinker.reports import page
from videothinker.reports.browser import Films, browser_data, shuffled
from videothinker.reports.diagnosis_figures import accuracy_figure, cluster, reads_log, shortcut_figure
from videothinker.reports.diagnosis_tables import breakdowns_of, tables_of
from videothinker.reports.readings import disagreements_table, readings_table
from videothinker.reports.scored import right_words
from videothinker.reports.view_effects import view_tables
from videothinker.reports.words import Explained, explained


def diagnosis_pages(
    runs: Sequence[Run],
    changes: Sequence[Comparison],
    curated: Curated | None,
    *,
    readings: Sequence[Readings] = (),
    protocol: str | None = None,
    views: ViewEffects | None = None,
    out: Path | None = None,
    above: str | None = None,
    progress: Progress = no_progress,
) -> dict[str, bytes]:
    """report.html, report.md and the figures (PNG and SVG, light and dark) of some runs, by file name.

    runs: checkpoints in the order to show them, and references, which are shown last. changes: the comparisons between
    checkpoints (`runs.comparisons`). curated: where scenes and clips come from; without it there are no collision logs and no
    films. readings: the checkpoints' replies as every protocol reads them. protocol: the one that all were read by; None if
    each run's were by its own. views: what damaged clips did to the answers. out: folder that the page will lie in, for links
    to clips; None means no links. above: address of the page on several data sets that this one belongs to. progress: counts
    the questions whose film strips were looked for, at most all of them.

    Raises:
        VtError: there is no run, or the runs are scored under different rules.
    """
    checkpoints = [run for run in runs if not run.reference]
    runs = [*checkpoints, *(run for run in runs if run.reference)]
    _check_comparable(checkpoints, runs)
    labels = checkpoints[0].labels
    answers = [(run.name, {row.question_id: row for row in run.predictions}) for run in checkpoints]
    asked = _asked(checkpoints)
    questions = [question for _, question in asked]
    known = {} if curated is None else explained(questions, labels, curated.scenes, curated.removed_objects)
    films = Films(None if curated is None else curated.videos_root, out)
    films.embed(_by_interest(known.values(), answers), progress)
    drawings = [accuracy_figure(checkpoints, runs)]
    if labels.own is not None:
        drawings.append(shortcut_figure(checkpoints))
    said = right_words(questions)
    context: dict[str, Any] = {
        **_who_was_asked_what(checkpoints, asked),
        "clevrer": bool(known) or {question.source for question in questions} == {"CLEVRER"},
        "protocol": protocol,
        "drawings": {drawing.name: drawing for drawing in drawings},
        "tables": {
            **tables_of(checkpoints, runs, changes, questions, said),
            "readings": readings_table(readings) if readings else None,
            "disagreements": disagreements_table(readings) if readings else None,
            **view_tables(views or ViewEffects(), said, has_logs_of_clevrer=bool(known)),
        },
        "breakdowns": breakdowns_of(runs, said),
        "films": films,
        "has_scenes": bool(known),
        "above": above,
        "by_score": said.by_score,
    }
    data = browser_data(asked, labels, known, films, runs=answers)
    return {
        **page.report("diagnosis", data=data, **context),
        **{name: content for drawing in drawings for name, content in drawing.files.items()},
    }


def _check_comparable(checkpoints: Sequence[Run], runs: Sequence[Run]) -> None:
    """Check that there is something to report on, and that one report can say it of all.

    Raises:
        VtError: there is no checkpoint, or the runs are scored under different rules.
    """
    if not checkpoints:
        raise VtError("no run to report on: name at least one run folder")
    rules = {run.metrics.rule or "no labels" for run in runs}
    if len(rules) > 1:
        raise VtError(
            f"runs scored under different rules ({', '.join(sorted(rules))}) cannot share a report; choose one with --rule"
        )


def _who_was_asked_what(checkpoints: Sequence[Run], asked: Sequence[tuple[str, Question]]) -> dict[str, Any]:
    """What the page says of its checkpoints, their questions and the labels, in front of all tables.

    asked: every question with its split (`_asked`).
    """
    labels = checkpoints[0].labels
    questions = [question for _, question in asked]
    return {
        "rule": labels.rule,
        "observer": None if reads_log(labels) or labels.own is None else labels.own.observer,
        "unlabelled": UNLABELLED,
        "sources": ", ".join(dict.fromkeys(question.source for question in questions)),
        "n": len(asked),
        "n_groups": len({question.group for question in questions}),
        "cluster": cluster(checkpoints),
        "splits": ", ".join(dict.fromkeys(split for split, _ in asked if split)),
        "checkpoints": [(run, verdict(run.metrics)) for run in checkpoints],
        "asked_by": [(run.name, name) for run in checkpoints if (name := run.record.settings.get("protocol", OURS)) != OURS],
        "prompts": prompts(checkpoints),
        "partial": [(run.name, run.record.partial) for run in checkpoints if run.record.partial],
    }


def _asked(checkpoints: Sequence[Run]) -> list[tuple[str, Question]]:
    """Every question that some checkpoint was asked, once, with its split."""
    found: dict[str, tuple[str, Question]] = {}
    for run in checkpoints:
        split = run.record.settings.get("split", "")
        for question in run.questions:
            found.setdefault(question.question_id, (split, question))
    return list(found.values())


def _by_interest(questions: Iterable[Explained], answers: Sequence[tuple[str, Mapping[str, Prediction]]]) -> list[Explained]:
    """The questions in the order in which they get film strips.

    First come those on which a checkpoint errs as the observer does, then those on which checkpoints disagree, then the others.
    """

    def rank(one: Explained) -> tuple[int, str]:
        name = one.question.question_id
        replies = [found for _, rows in answers if (found := rows.get(name)) is not None]
        right = {is_right(one.question, reply) for reply in replies}
        fooled = one.observer != one.question.gold and any(reply.chosen == one.observer for reply in replies)
        return 0 if fooled else 1 if len(right) > 1 else 2, shuffled(name)

    return sorted(questions, key=rank)
