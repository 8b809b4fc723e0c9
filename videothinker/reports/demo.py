"""The page of `vt demo`: a study's checkpoints asked about a few fresh scenes, beside what the whole study found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker import store
from videothinker.diagnose.runs import Run
from videothinker.records import Estimate
from videothinker.records.study_results import RESULTS, Results
from videothinker.reports import page
from videothinker.reports.diagnosis_figures import accuracy_figure
from videothinker.reports.drawing import Drawing
from videothinker.reports.page import count, estimate
from videothinker.reports.tables import Table

MEASURES = ("Observational", "Inferential", "Shortcut reliance")
FIGURE = "figure-accuracy.svg", "figure-accuracy-dark.svg"


class StudyFindings(NamedTuple):
    """What a finished study says, read from its folder."""

    title: str
    seeds: tuple[int, ...]
    n_questions: int
    """How many questions every checkpoint was asked."""
    verdicts: list[tuple[str, str]]
    """(claim, decision)"""
    figure: Drawing


def read_study(folder: Path) -> StudyFindings | None:
    """The study whose report lies in `folder`; None if none does.

    Raises:
        VtError: its results.json cannot be read as results of a study.
    """
    if not all((folder / name).is_file() for name in (RESULTS, *FIGURE)):
        return None
    results = store.read_json(folder / RESULTS, Results)
    asked = next(iter(results.study.ask), None)
    n_questions = max((level.n_questions["all"] for level in results.levels if level.ask == asked), default=0)
    seeds = results.study.seeds
    caption = (
        f"The study: {count(n_questions)} questions about scenes that no training saw, means over {len(seeds)} seeds with "
        f"95 % intervals; each dot is one seed."
    )
    files = {name: (folder / name).read_bytes() for name in FIGURE}
    return StudyFindings(
        title=results.study.title,
        seeds=seeds,
        n_questions=n_questions,
        verdicts=[(one.claim.text, one.decision) for one in results.verdicts],
        figure=Drawing("accuracy", caption, f"Bar chart. {caption} The table below has the values.", files),
    )


def measures(run: Run) -> tuple[Estimate, Estimate, Estimate]:
    """The values that `MEASURES` names."""
    by = run.metrics
    return by.observational.per_question, by.inferential.per_question, by.shortcut_reliance


def demo_table(runs: Sequence[Run]) -> Table:
    """Accuracy by category and shortcut reliance, with one line per checkpoint in `runs`."""
    return Table(
        "beside",
        "Questions answered exactly right, and inferential answers that are the observer's. Brackets are 95 % intervals, "
        "clustered by scene.",
        ("Checkpoint", *MEASURES),
        [(run.name, *map(estimate, measures(run))) for run in runs if not run.reference],
    )


def sample_words(runs: Sequence[Run]) -> str:
    """How little was asked, in words: "small sample: 288 questions of 144 scenes"."""
    asked = {question.question_id: question.group for run in runs for question in run.questions}
    return f"small sample: {count(len(asked))} questions of {count(len(set(asked.values())))} scenes"


def demo_page(runs: Sequence[Run], study: StudyFindings | None, *, source: str, links: Mapping[str, str]) -> bytes:
    """The page as HTML.

    runs: checkpoints and references. source: a sentence on where the checkpoints are from. links: addresses by label, relative
    to the page.
    """
    checkpoints = [run for run in runs if not run.reference]
    figure = accuracy_figure(checkpoints, runs)
    return page.render(
        "demo.html",
        sample=sample_words(checkpoints),
        rule=checkpoints[0].metrics.rule,
        source=source,
        study=study,
        figure=figure._replace(caption=f"Asked here just now ({sample_words(checkpoints)}). {figure.caption}"),
        table=demo_table(checkpoints),
        links=links,
    )
