"""The page of `vt demo`: a study's checkpoints asked about a few fresh scenes, beside what the whole study found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from videothinker import store
from videothinker.diagnose.runs import Run
from videothinker.records import Estimate
from videothinker.records.study import RESULTS, Results
from videothinker.reports import page
from videothinker.reports.diagnosis import accuracy_figure
from videothinker.reports.drawing import Drawing
from videothinker.reports.page import count, estimate, percent
from videothinker.reports.tables import DASH, Table

MEASURES = {"observational": "Observational", "inferential": "Inferential", "shortcut_reliance": "Shortcut reliance"}
FIGURE = "figure-accuracy.svg", "figure-accuracy-dark.svg"


class StudyFindings(NamedTuple):
    """What a finished study says, read from its folder."""

    title: str
    seeds: tuple[int, ...]
    n_questions: int
    """How many questions every checkpoint was asked."""
    levels: dict[str, dict[str, Estimate]]
    """Estimates by arm and measure, over all seeds."""
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
    levels = [level for level in results.levels if (level.ask, level.rule) == (asked, results.study.rule)]
    n_questions = max((level.n_questions["all"] for level in levels), default=0)
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
        levels={level.arm: {name: value.scenes for name, value in level.measures.items()} for level in levels},
        verdicts=[(one.claim.text, one.decision) for one in results.verdicts],
        figure=Drawing("accuracy", caption, f"Bar chart. {caption} The table below has the values.", files),
    )


def demo_table(runs: Sequence[Run], study: StudyFindings | None) -> Table:
    """Accuracy by category and shortcut reliance, here and in the study, with one line per checkpoint in `runs`."""

    def row(run: Run) -> tuple[str, ...]:
        by, there = run.metrics, {} if study is None else study.levels.get(run.name, {})
        here = (by.observational.per_question, by.inferential.per_question, by.shortcut_reliance)
        cells = [estimate(value) for value in here]
        if study is None:
            return (run.name, *cells)
        beside = [percent(there[name].value) if name in there else DASH for name in MEASURES]
        return (run.name, *(cell for pair in zip(cells, beside, strict=True) for cell in pair))

    heads = [head for name in MEASURES.values() for head in ((name,) if study is None else (f"{name}, here", "study"))]
    return Table(
        "beside",
        "Questions answered exactly right, and inferential answers that are the observer's. Brackets are 95 % intervals, "
        "clustered by scene.",
        ("Checkpoint", *heads),
        [row(run) for run in runs if not run.reference],
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
        table=demo_table(checkpoints, study),
        links=links,
    )
