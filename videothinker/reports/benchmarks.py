"""The report on several data sets: checkpoints x benchmarks, with what chance, looking and papers come to beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from videothinker.diagnose.benchmarks import Asked
from videothinker.diagnose.runs import Run
from videothinker.diagnose.verdict import verdict
from videothinker.records import Estimate, Metrics, Pool, ReadBy
from videothinker.records.benchmarks import Benchmarks, DataSet, Score, SetChange
from videothinker.reports import page
from videothinker.reports.drawing import Drawing
from videothinker.reports.figures import Series, bars
from videothinker.reports.page import SIGNIFICANT, asterisk, count, estimate, p_value, percent, points
from videothinker.reports.published import PublishedTable, published
from videothinker.reports.scored import WordsOfSets, words_of_sets
from videothinker.reports.tables import DASH, Table, name_by_facet

_COLOURS = ("blue", "orange", "green", "purple")
"""As many checkpoints as can be told apart in the figure."""
_CLUSTERED = "95 % intervals, clustered by clip"


class Breakdown(NamedTuple):
    """All that is told of one data set by itself."""

    name: str
    link: str
    """Address of its own page, relative to this one."""
    data: DataSet
    chance: float | None
    verdicts: list[tuple[str, str]]
    """For each checkpoint what its metrics show; empty without labels."""
    tables: list[Table]


class Paper(NamedTuple):
    """A paper's table, and the data sets that it has."""

    table: PublishedTable
    columns: dict[str, str]
    """By data set of the run the name under which the paper's table has it."""
    others: list[str]
    """In words, data sets of the name of one of the paper's with another number of questions: no number stands beside them."""


class Shown(NamedTuple):
    """One column of the main table."""

    dataset: str
    head: str
    over_questions: bool
    """Whether it shows the mean over questions of a data set whose own mean is another."""


def benchmarks_pages(
    summary: Benchmarks, sets: Mapping[str, Asked], *, readings: Mapping[str, Sequence[ReadBy]] | None = None
) -> dict[str, bytes]:
    """report.html, report.md, the tables' files and the figure of a run over several data sets, by file name.

    sets: the runs that the summary was made from, by data set. readings: the same replies as every protocol reads them, by data
    set. The page links DATASET/report.html, each data set's own page.
    """
    papers = [_matched(table, summary, sets) for table in published()]
    beside = [one for one in papers if one.columns]
    said = words_of_sets({name: asked.runs for name, asked in sets.items()})
    drawing = _figure(summary, said)
    context: dict[str, Any] = {
        "baseline": summary.baseline,
        "checkpoints": list(summary.checkpoints),
        "partial": [
            (name, dataset, score.partial)
            for name, scores in summary.checkpoints.items()
            for dataset, score in scores.items()
            if score.partial
        ],
        "breakdowns": [_breakdown(name, asked, summary) for name, asked in sets.items()],
        "drawing": drawing,
        "published": [one for one in papers if one.columns or one.others],
        "read_by": summary.read_by,
        "tables": {
            "main": _main_table(summary, beside, said),
            "changes": _changes_table(summary),
            "tests": _tests_table(summary.changes, said),
            "replies": _replies_table(summary),
            "readings": _readings_table(readings or {}),
        },
    }
    return page.report("benchmarks", **context) | (drawing.files if drawing else {})


def _matched(table: PublishedTable, summary: Benchmarks, sets: Mapping[str, Asked]) -> Paper:
    """Which of the data sets a paper's numbers are about, and which only have the same name."""
    columns, others = {}, []
    for name, data in summary.datasets.items():
        source = data.sources[0] if len(data.sources) == 1 else None
        if source is None or not any(source in row for row in table.rows.values()):
            continue
        n = sum(sets[name].curated.manifest.splits[split] for split in data.splits)
        if table.is_about(source, n):
            columns[name] = source
        else:
            expected = " or ".join(map(count, table.questions.get(source, ())))
            others.append(f"{name} ({count(n)} questions here, about {expected} of {source} there)")
    return Paper(table, columns, others)


def _figure(summary: Benchmarks, said: WordsOfSets) -> Drawing | None:
    """The main table as bars; None with more checkpoints than there are colours."""
    if len(summary.checkpoints) > len(_COLOURS):
        return None

    def series(name: str, scores: Mapping[str, Score], colour: str) -> Series:
        found = [scores.get(each) for each in summary.datasets]
        values = [Estimate(None, None, None) if one is None else _estimate(one) for one in found]
        return Series(name, colour, values, chance=[None if one is None else one.chance for one in found])

    return bars(
        "benchmarks",
        f"What each checkpoint comes to on each data set, with {_CLUSTERED}.",
        list(summary.datasets),
        [series(*item, colour) for item, colour in zip(summary.checkpoints.items(), _COLOURS, strict=False)],
        x_label=f"{said.axis}, as each data set is averaged (%)",
    )


# ---- tables ------------------------------------------------------------------------------------------------------------


def _columns(summary: Benchmarks) -> list[Shown]:
    found = []
    for name, data in summary.datasets.items():
        if all(
            name not in scores or scores[name].value == scores[name].over_questions.value
            for scores in summary.checkpoints.values()
        ):
            found.append(Shown(name, name, over_questions=False))
        else:
            found += [Shown(name, f"{name}, {data.mean}", over_questions=False), Shown(name, f"{name}, over questions", True)]
    return found


def _estimate(score: Score) -> Estimate:
    return Estimate(score.value, None, score.ci95)


def _main_table(summary: Benchmarks, beside: Sequence[Paper], said: WordsOfSets) -> Table:
    columns = _columns(summary)
    averaged = bool(summary.averages) and len(summary.datasets) > 1

    def row(name: str, scores: Mapping[str, Score], mean: float | None) -> tuple[str, ...]:
        found = [(scores.get(column.dataset), column.over_questions) for column in columns]
        cells = [DASH if one is None else estimate(one.over_questions if over else _estimate(one)) for one, over in found]
        return (name, *cells, *([percent(mean)] if averaged else []))

    def printed(name: str, values: Mapping[str, float], paper: Paper) -> tuple[str, ...]:
        known = [None if one.over_questions else paper.columns.get(one.dataset) for one in columns]
        shares = [None if one is None or one not in values else values[one] / 100 for one in known]
        return (f"{name} (published)", *map(percent, shares), *([DASH] if averaged else []))

    own = [row(name, scores, summary.averages.get(name)) for name, scores in summary.checkpoints.items()]
    added = [row(f"{name} (reference)", scores, None) for name, scores in summary.references.items()]
    papers = [printed(name, values, paper) for paper in beside for name, values in paper.table.rows.items()]
    papers = [one for one in papers if any(cell != DASH for cell in one[1:])]
    average = " The average is the unweighted mean over data sets, for checkpoints that have all of them." if averaged else ""
    rows = (
        " Published rows are as papers print them, on the releases' own questions and with other prompts, frames and readings; "
        "they are in no other number here."
    )
    return Table(
        "benchmarks",
        f"{said.what}, with {_CLUSTERED}.{average}{rows if papers else ''}",
        ("Checkpoint", *(column.head for column in columns), *(["Average"] if averaged else [])),
        [*own, *added, *papers],
        tuple(start for start, part in ((len(own), added), (len(own) + len(added), papers)) if part),
    )


def _changes_table(summary: Benchmarks) -> Table:
    cells: dict[str, dict[str, str]] = {}
    for one in summary.changes:
        cells.setdefault(one.after, {})[one.dataset] = points(one.difference) + asterisk(one.p_holm)
    return Table(
        "set-changes",
        f"Changes from {summary.baseline} in percentage points, with {_CLUSTERED}, paired by question. An asterisk marks "
        f"p < {SIGNIFICANT} after Holm's correction for all tests of this table.",
        ("Checkpoint", *summary.datasets),
        [(name, *(row.get(dataset, DASH) for dataset in summary.datasets)) for name, row in cells.items()],
    )


def _tests_table(changes: Sequence[SetChange], said: WordsOfSets) -> Table:
    return Table(
        "set-tests",
        f"The tests behind these changes. Gained and lost: {said.gained}. p: "
        "two-sided and exact, from swapping the two checkpoints clip by clip; Holm: corrected for all rows.",
        ("Data set", "From", "To", "Mean", "Questions", "Gained", "Lost", "Change", "p", "p (Holm)"),
        [
            (
                *(one.dataset, one.before, one.after, one.measure),
                *map(count, (one.n_questions, one.n_gained, one.n_lost)),
                *(points(one.difference), p_value(one.p_value), p_value(one.p_holm)),
            )
            for one in changes
        ],
    )


def _replies_table(summary: Benchmarks) -> Table:
    def row(name: str, dataset: str, score: Score) -> tuple[str, ...]:
        numbers = (score.n, score.n_unparsed, score.n_truncated, score.n_decode_error)
        return (name, dataset, score.protocol or DASH, percent(score.chance), *map(count, numbers))

    return Table(
        "replies",
        "What became of the questions. A reply without a readable answer counts as wrong; one that was cut at the token limit "
        "is graded if an answer can be read; a question whose clip could not be read leaves every denominator. Chance is what "
        "a random answer of each question's form comes to.",
        (
            *("Checkpoint", "Data set", "Protocol", "Chance", "Answered"),
            *("No readable answer", "Cut at the token limit", "Clip not readable"),
        ),
        [
            row(name, dataset, score)
            for name, scores in summary.checkpoints.items()
            for dataset in summary.datasets
            if (score := scores.get(dataset)) is not None
        ],
    )


def _readings_table(readings: Mapping[str, Sequence[ReadBy]]) -> Table:
    """The same replies as every protocol reads them, protocols in columns."""
    protocols = list(dict.fromkeys(one.protocol for each in readings.values() for one in each))
    found: dict[tuple[str, str, str], dict[str, ReadBy]] = {}
    for dataset, each in readings.items():
        for one in each:
            found.setdefault((one.run, dataset, one.source), {})[one.protocol] = one
    return Table(
        "set-readings",
        f"One set of replies, read as each protocol reads it, over questions, with {_CLUSTERED}; nothing was asked again. A "
        "dash: the protocol does not define the data set. Each data set's own page says what a protocol guessed and left out.",
        ("Checkpoint", "Data set", "Questions of", *protocols),
        [
            (*who, *(estimate(by[protocol].per_question) if protocol in by else DASH for protocol in protocols))
            for who, by in found.items()
        ],
    )


def _breakdown(name: str, asked: Asked, summary: Benchmarks) -> Breakdown:
    labels = asked.runs[0].labels
    rules = {one.name for one in labels.sets} - {labels.rule}
    facets = dict.fromkeys(facet for run in asked.runs for facet in run.metrics.by_facet if facet not in rules)
    ordered = sorted(facets, key=lambda facet: facet != labels.rule)  # the categories first
    tables = [_facet_table(name, facet, asked.runs, is_category=facet == labels.rule) for facet in ordered]
    reference = summary.references.get("chance", {}).get(name)
    return Breakdown(
        name=name,
        link=f"{quote(name)}/report.html",
        data=summary.datasets[name],
        chance=None if reference is None else reference.value,
        verdicts=[(run.name, verdict(run.metrics)) for run in asked.runs] if labels.own is not None else [],
        tables=[table for table in tables if len(table.rows) > 1],  # one value says what the whole says
    )


def _facet_table(dataset: str, facet: str, runs: Sequence[Run], *, is_category: bool) -> Table:
    """The values of a facet as rows; under the set's own labels the categories, and the gap between them."""
    pools = [run.metrics.by_facet.get(facet, {}) for run in runs]
    values = dict.fromkeys(value for by in pools for value in by)

    def row(value: str) -> tuple[str, ...]:
        found = [by.get(value) for by in pools]
        largest = max((pool for pool in found if pool is not None), key=lambda pool: pool.n_questions)
        return (value, count(largest.n_questions), percent(largest.chance), *map(_right, found))

    rows = [row(value) for value in values]
    if is_category:
        gaps: list[Metrics] = [run.metrics for run in runs]
        rows.append(("gap", DASH, DASH, *(points(one.gap) for one in gaps)))
    return Table(
        name_by_facet(facet, dataset),
        f"{dataset} by category, rule {facet}; the gap in percentage points." if is_category else f"{dataset} by {facet}.",
        ("Category" if is_category else facet.capitalize(), "Questions", "Chance", *(run.name for run in runs)),
        rows,
    )


def _right(pool: Pool | None) -> str:
    return DASH if pool is None else estimate(pool.per_question)
