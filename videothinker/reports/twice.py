"""What a report shows of replies that answer twice: what thinking is worth by category, and what stopping before it saves."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from msgspec import UNSET

from videothinker.diagnose.runs import Run
from videothinker.diagnose.stop_saved import Pair, Saved, pairs, saved, seconds_of_writing
from videothinker.records.metrics import TwiceScore
from videothinker.records.twice import StopPoint, StopSweep
from videothinker.reports.drawing import WIDTH, Drawing, percent_text, themed
from videothinker.reports.page import count, estimate, p_value, percent, points, signed
from videothinker.reports.tables import DASH, Table, markdown_text, table_files


def twice_tables(runs: Sequence[Run], cluster: str) -> list[Table]:
    """Both answers by category, and what the replies took, of the runs that answer twice; no tables where none does.

    cluster: the word for what intervals cluster by.
    """
    asked = [run for run in runs if run.metrics.twice is not UNSET]
    if not asked:
        return []
    beside = pairs(asked)
    return [_answers_table(asked, cluster), _cost_table(asked), *([_saved_table(beside, cluster)] if beside else [])]


def _answers_table(runs: Sequence[Run], cluster: str) -> Table:
    rows: list[tuple[str, ...]] = []
    parts: list[int] = []
    for run in runs:
        parts.append(len(rows))
        rows += [_answers_row(run.name, name, score) for name, score in _scores(run).items()]
    return Table(
        "twice",
        f"The answer before thinking and the one behind it, with 95 % intervals clustered by {cluster}. Thinking helps: second "
        "minus first, in percentage points, paired by question; p from swapping the two answers "
        f"{cluster} by {cluster}, not corrected for the number of rows. Fixed: of the first answers that are wrong, those "
        "whose second is right; broken: of those that are right, those whose second is not. A reply that was stopped behind "
        "its first answer has that as its second too.",
        ("Checkpoint", "Of", "Questions", "First", "Second", "Thinking helps", "p", "Fixed", "Broken", "Think"),
        rows,
        tuple(parts[1:]),
    )


def _answers_row(run: str, kind: str, score: TwiceScore) -> tuple[str, ...]:
    return (
        run,
        kind,
        count(score.n_questions),
        estimate(score.first),
        estimate(score.second),
        points(score.think_helps),
        p_value(score.p_value),
        estimate(score.fix_rate),
        estimate(score.break_rate),
        estimate(score.thinking_ratio),
    )


def _cost_table(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        by = _scores(run)
        stop = run.record.settings.get("stop_at")
        seconds = seconds_of_writing(run)
        n = by["all"].n_questions
        rows.append(
            (
                run.name,
                DASH if stop is None else f"{stop:g}",
                percent(by["all"].stopped.value),
                percent(by["all"].thinking_ratio.value),
                *(_tokens(by[kind].mean_tokens) if kind in by else DASH for kind in ("all", "observational", "inferential")),
                DASH if not seconds else f"{seconds:,.1f}",
                DASH if not seconds else f"{n / seconds:.2f}",
            )
        )
    return Table(
        "twice-cost",
        "What these replies took: the confidence from which they end behind the first answer, the share that did and the share "
        "that thinks, tokens written per reply, and the seconds of writing, of all sessions and processes together. Compare "
        "seconds only between runs on the same device, with the same batch.",
        ("Checkpoint", "Stop at", "Stopped", "Think", "Tokens", "Tokens, observational", "Tokens, inferential", "Seconds",
         "Questions per second"),
        rows,
    )  # fmt: skip


def _scores(run: Run) -> dict[str, TwiceScore]:
    assert run.metrics.twice is not UNSET  # `twice_tables` has chosen such runs
    return run.metrics.twice


def _saved_table(found: Sequence[Pair], cluster: str) -> Table:
    rows: list[tuple[str, ...]] = []
    parts: list[int] = []
    for pair in found:
        parts.append(len(rows))
        rows += [_saved_row(pair, kind, each) for kind, each in saved(pair).items()]
    return Table(
        "twice-saved",
        "With and without the stop: the same checkpoint, asked the same. Change: with minus without, in percentage points, "
        f"paired by question; 95 % intervals are clustered by {cluster}. Faster: the seconds of writing without the stop over "
        "those with it, and questions a second without and with it; a dash where the two were not asked on the same device "
        "with the same engine and batch.",
        ("Checkpoint", "Beside", "Of", "Questions", "Without the stop", "With it", "Change", "Tokens", "Faster",
         "Questions per second"),
        rows,
        tuple(parts[1:]),
    )  # fmt: skip


def _saved_row(pair: Pair, kind: str, each: Saved) -> tuple[str, ...]:
    seconds = pair.seconds if kind == "all" else None  # nobody knows how they divide among categories
    timed = seconds is not None and min(seconds) > 0
    tokens = each.tokens
    return (
        pair.stopped.name,
        pair.whole.name,
        kind,
        count(each.n_questions),
        estimate(each.whole),
        estimate(each.stopped),
        points(each.change),
        DASH if tokens is None else f"{tokens[0]:,.1f} to {tokens[1]:,.1f} ({signed(tokens[1] / tokens[0] - 1)} %)",
        f"{seconds[0] / seconds[1]:.2f} x" if seconds and timed else DASH,
        f"{each.n_questions / seconds[0]:.2f} to {each.n_questions / seconds[1]:.2f}" if seconds and timed else DASH,
    )


def _tokens(mean: float | None) -> str:
    return DASH if mean is None else f"{mean:,.1f}"


# ---- the sweep ---------------------------------------------------------------------------------------------------------


def sweep_files(found: StopSweep) -> dict[str, bytes]:
    """The page of a sweep by file name: stop-sweep.md, its figure (PNG, SVG and PDF, light and dark) and its table."""
    drawing, table = sweep_drawing(found), sweep_table(found)
    lines = [
        f"# Stopping behind the first answer: {markdown_text(found.run)}",
        f"{count(found.n_questions)} questions of the split {markdown_text(found.split)}, whose replies were all written to "
        f"their ends. {sweep_told(found)}",
        f"![{markdown_text(drawing.alt)}](figure-{drawing.name}.svg)",
        markdown_text(drawing.caption),
        str(table.markdown()),
        "The threshold was chosen on these questions, so its accuracy here flatters it. This confirms it on others, with a run "
        "that really stops:",
        f"```\n{found.confirm}\n```",
    ]
    return {"stop-sweep.md": ("\n\n".join(lines) + "\n").encode(), **drawing.files, **table_files([table])}


def sweep_told(found: StopSweep) -> str:
    """The best threshold in a sentence or two."""
    best, never = found.best, next(one for one in found.points if one.stop_at is None)
    rule = "the fewest tokens whose accuracy is within one standard error of the highest"
    if best.stop_at is None:
        return f"Never stopping is best ({rule}): {_point_told(best, found)}."
    return (
        f"Best is --stop-at {best.stop_at:g} ({rule}): {_point_told(best, found)}. Never stopping: {_point_told(never, found)}."
    )


def _point_told(one: StopPoint, found: StopSweep) -> str:
    value = estimate(one.accuracy)
    what = f"a mean score of {value}" if found.by_score else f"{value} right"
    return f"{what} at {_tokens(one.mean_tokens)} tokens, {percent(one.stopped)} of the replies stopped"


def sweep_table(found: StopSweep) -> Table:
    """Always stopping, the best threshold, and never stopping, by category."""
    words = ("always", "best", "never")
    rows = [
        (
            kind,
            word if one.stop_at is None or word != "best" else f"best, {one.stop_at:g}",
            percent(one.stopped),
            _tokens(one.mean_tokens),
            estimate(one.accuracy),
        )
        for kind, each in found.by_category.items()
        for word, one in zip(words, each, strict=True)
    ]
    return Table(
        "stop-sweep",
        f"What {found.run} would have come to if it had stopped behind every first answer, behind those sure enough, or never. "
        "95 % intervals are clustered by group.",
        ("Questions", "Stop", "Stopped", "Tokens", "Score" if found.by_score else "Right"),
        rows,
        tuple(range(3, len(rows), 3)),
    )


def sweep_drawing(found: StopSweep) -> Drawing:
    """Accuracy against mean tokens for every threshold, with the best one marked."""
    caption = (
        f"{'Mean score' if found.by_score else 'Accuracy'} of {found.run} against the tokens of its replies, for every "
        "confidence from which they end behind the first answer; shaded: 95 % intervals. Left: nearly all stop; right: none "
        "does."
    )
    values = [
        f"{_tokens(one.mean_tokens)} tokens {percent_text(one.accuracy.value)}"
        for one in (found.points[0], found.best, found.points[-1])
    ]
    alt = f"Line chart. {caption} Fewest tokens, best and never stopping: {'; '.join(values)}."
    return themed("stop-sweep", caption, alt, lambda colours: _draw(found, colours))


def _draw(found: StopSweep, colours: dict[str, str]) -> Figure:
    figure = Figure(figsize=(WIDTH, 2.3), facecolor=colours["ground"])
    axes = figure.add_axes((0.13, 0.17, 0.83, 0.78), facecolor=colours["ground"])
    shown = [one for one in found.points if one.accuracy.value is not None]
    tokens = [one.mean_tokens for one in shown]
    right = [100 * (one.accuracy.value or 0.0) for one in shown]
    ends = [one.accuracy.ci95 or (one.accuracy.value or 0.0,) * 2 for one in shown]
    axes.fill_between(tokens, [100 * low for low, _ in ends], [100 * high for _, high in ends], color=colours["grid"], lw=0)
    axes.plot(tokens, right, color=colours["blue"], linewidth=1.2, marker=".", markersize=3)
    best = found.best
    if best.accuracy.value is not None:
        _mark(axes, best, colours)
    axes.set_xlabel("tokens written per reply", fontsize=7, color=colours["faint"])
    axes.set_ylabel("mean score (%)" if found.by_score else "right (%)", fontsize=7, color=colours["faint"])
    axes.tick_params(labelsize=7, labelcolor=colours["faint"], length=0)
    axes.grid(color=colours["grid"], linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure


def _mark(axes: Any, best: StopPoint, colours: dict[str, str]) -> None:
    """Mark the best threshold, with its label on the side that has room."""
    x, y = best.mean_tokens, 100 * (best.accuracy.value or 0.0)
    axes.plot([x], [y], marker="o", markersize=5, color=colours["orange"], linestyle="")
    low, high = axes.get_xlim()
    on_left = x > (low + high) / 2
    axes.annotate(
        "never stop" if best.stop_at is None else f"stop at {best.stop_at:.3g}",
        (x, y),
        (-5 if on_left else 5, -9),
        textcoords="offset points",
        ha="right" if on_left else "left",
        fontsize=7,
        color=colours["ink"],
    )
