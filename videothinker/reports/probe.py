"""The page of a probe, as HTML and as Markdown, and its tables, which the command prints."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from videothinker.records import DECIDED, Category, Estimate, ProbeSummary
from videothinker.reports.browser import shuffled
from videothinker.reports.page import count, estimate, leaves, letters, percent, render, value_text
from videothinker.reports.tables import DASH, MINUS, Table
from videothinker.tables import parted


class Grid(NamedTuple):
    """A small table: a caption, headings and cells."""

    caption: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


N_LISTED = 200
"""Most questions on the page; all are in the label file."""


def grids(summary: ProbeSummary) -> list[Grid]:
    """The tables of a probe: views, labels and, where there is a log, how the labels agree with it."""
    return [*_views(summary), _labels(summary), *_against(summary)]


def _views(summary: ProbeSummary) -> list[Grid]:
    replies = Grid(
        "Share of right replies by view, mean over questions, with its 95 % interval clustered by clip",
        ("view", "axis", "questions", "replies", "unread", "clip lost", "right"),
        [
            (
                one.view,
                one.axis,
                *(count(n) for n in (one.n_questions, one.n_replies, one.n_unread, one.n_lost)),
                estimate(one.pass_rate),
            )
            for one in summary.views
        ],
    )
    return [replies, *_margins(summary)]


def _labels(summary: ProbeSummary) -> Grid:
    n_all = summary.n_asked
    return Grid(
        f"Labels by {summary.decides}: observational from {summary.observational_from:g} right, inferential from "
        f"{1 - summary.inferential_up_to:g} wrong",
        ("label", "questions", "share"),
        [
            *((kind, count(n), percent(n / n_all)) for kind, n in summary.categories.items()),
            *((f"none: {reason}", count(n), percent(n / n_all)) for reason, n in summary.unlabelled.items()),
        ],
    )


def _against(summary: ProbeSummary) -> list[Grid]:
    """What a log says of the labels; nothing where there is none."""
    if not summary.against:
        return []
    return [_precision(summary), *(_confusion(summary, i) for i in range(len(summary.against)))]


def _margins(summary: ProbeSummary) -> list[Grid]:
    """The table of margins; none where nothing has one."""
    shown = [one for one in summary.views if one.n_margins]
    if not shown:
        return []
    caption = (
        "Margin of the gold answer over the likeliest other, asked for at once, in nats, mean over questions; gold "
        "likeliest: the share with a margin above 0"
    )
    rows = [
        (one.view, count(one.n_margins), _optional(one.likeliest, estimate), _nats(one.margin), _nats(one.margin_change))
        for one in shown
    ]
    return [Grid(caption, ("view", "questions", "gold likeliest", "margin", "change from normal"), rows)]


def said(summary: ProbeSummary) -> list[str]:
    """What stands under the tables, a sentence each."""
    lines = []
    if summary.halves is None:
        lines.append("With one sample nothing says how stable the labels are; --samples 4 does.")
    else:
        lines.append(f"Even and odd samples put {estimate(summary.halves)} of the questions into the same category.")
    if summary.no_margins is not None:
        lines.append(f"There are no margins: {summary.no_margins}.")
    lines += [f"{count(n)} questions have no margin: {reason}." for reason, n in summary.without_margin.items()]
    if not summary.against:
        lines.append("There is no collision log here, so no precision was measured; `vt curate audit` measures it by eye.")
    return lines


def probe_page(summary: ProbeSummary) -> str:
    """LABELS.md."""
    put = f", prompt {summary.asked['prompt']}" if summary.asked else ""
    parts = [f"# {summary.observer}", f"{count(summary.n_asked)} questions, {summary.samples} samples of each view{put}."]
    for grid in grids(summary):
        parts += [f"{grid.caption}:", _table(grid)]
    return "\n\n".join([*parts, *said(summary)]) + "\n"


def probe_html(summary: ProbeSummary, texts: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """LABELS.html. texts: the questions' by question_id. rows: those of the label file."""
    drawn = sorted(rows, key=lambda row: shuffled(row["question_id"]))[:N_LISTED]
    settings = {**summary.asked, **summary.provenance}
    return render(
        "probe.html",
        summary=summary,
        n_unlabelled=sum(summary.unlabelled.values()),
        said=said(summary),
        views=_tables("views", _views(summary)),
        labels=_tables("labels", [_labels(summary)])[0],
        against=_tables("against", _against(summary)),
        questions=_questions(summary, texts, drawn),
        n_shown=len(drawn),
        n_labels=len(rows),
        settings=Table(
            "settings", "Settings and provenance", ("", ""), [(key, value_text(value)) for key, value in leaves(settings)]
        ),
    )


def _tables(name: str, found: Sequence[Grid]) -> list[Table]:
    return [Table(f"{name}-{i}", grid.caption, grid.headings, grid.rows) for i, grid in enumerate(found)]


def _questions(summary: ProbeSummary, texts: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Table:
    views = [one.view for one in summary.views]
    scored = [one.view for one in summary.views if one.n_margins]
    return Table(
        "questions",
        "Labelled questions, with what was replied under each view",
        ("question", "text", "label", "answer", *views, *(f"margin {view}" for view in scored)),
        [
            (
                row["question_id"],
                texts[row["question_id"]],
                row["category"],
                letters(parted(row["answer"])),
                *(DASH if row[view] is None else f"{row[view]:.2f}" for view in views),
                *(_nats_of(row[f"margin_{view}"]) for view in scored),
            )
            for row in rows
        ],
    )


def _nats_of(margin: float | None) -> str:
    return DASH if margin is None else f"{margin:+.2f}".replace("-", MINUS)


def _precision(summary: ProbeSummary) -> Grid:
    """One column a rule of the log, one row a measure."""
    by_rule = summary.against
    rows = [("questions", *(count(one.n_questions) for one in by_rule))]
    for kind in DECIDED:
        rows.append((f"precision {kind}", *(estimate(one.precision[kind]) for one in by_rule)))
        rows.append((f"recall {kind}", *(estimate(one.recall[kind]) for one in by_rule)))
    rows.append(("AUC", *(_auc(one.auc) for one in by_rule)))
    if any(one.auc_without_gold is not None for one in by_rule):
        rows.append(("AUC without gold", *(_auc(one.auc_without_gold) for one in by_rule)))
    if any(one.auc_margin is not None for one in by_rule):
        rows.append(("AUC of the margin", *(_auc(one.auc_margin) for one in by_rule)))
    if any(one.one_sample is not None for one in by_rule):
        once = [one.one_sample for one in by_rule]
        rows.append(("one sample: AUC of the reply", *(_auc(one.reply if one else None) for one in once)))
        rows.append(("one sample: AUC of the margin", *(_auc(one.margin if one else None) for one in once)))
        rows.append(("one sample: margin minus reply", *(number(one.gain if one else None, "+.3f") for one in once)))
    return Grid("Against the collision log, by its rule", ("", *(one.rule for one in by_rule)), rows)


def _confusion(summary: ProbeSummary, index: int) -> Grid:
    one = summary.against[index]
    return Grid(
        f"Questions by the probe's label and the log's, rule {one.rule}",
        ("probe", *(f"log: {kind}" for kind in DECIDED)),
        [(kind, *(count(one.confusion[kind][each]) for each in DECIDED)) for kind in Category],
    )


def _auc(found: Estimate | None) -> str:
    return number(found, ".3f")


def _nats(found: Estimate | None) -> str:
    return number(found, "+.2f")


def number(found: Estimate | None, form: str) -> str:
    """An estimate that is no share, such as "0.12 [0.03, 0.27]"; a dash where there is none. form: as for Python's `format`."""
    if found is None or found.value is None:
        return DASH
    middle, *ends = (format(value, form).replace("-", MINUS) for value in (found.value, *(found.ci95 or ())))
    return f"{middle} [{', '.join(ends)}]" if ends else middle


def _optional(found: Estimate | None, as_text: Callable[[Estimate], str]) -> str:
    return DASH if found is None else as_text(found)


def _table(grid: Grid) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(grid.headings), line(["---"] * len(grid.headings)), *map(line, grid.rows)])
