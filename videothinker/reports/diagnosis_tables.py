"""The tables of the diagnosis page that follow from the runs and their comparisons alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from videothinker.diagnose.runs import Run
from videothinker.records import DECIDED, Comparison, Estimate, Form, Pool, Question, Status
from videothinker.reports import page
from videothinker.reports.diagnosis_figures import cluster
from videothinker.reports.page import SIGNIFICANT, asterisk, count, estimate, p_value, percent, points
from videothinker.reports.scored import RightWords, intervals_table
from videothinker.reports.tables import DASH, Table, name_by_facet
from videothinker.reports.twice import twice_tables

_FACETS = {"polarity": 'By form of the question: "what will happen" and "what will not"', "form": "By form of the answer"}
"""Captions of breakdowns for which the facet's name is not enough."""
_MEASURES = {
    "all": "all questions",
    "observational": "observational",
    "inferential": "inferential",
    "gap": "gap",
    "shortcut_reliance": "shortcut reliance",
}


def tables_of(
    checkpoints: Sequence[Run],
    runs: Sequence[Run],
    changes: Sequence[Comparison],
    questions: Sequence[Question],
    said: RightWords,
) -> dict[str, Table | list[Table] | None]:
    """The tables by name, None for one that has nothing to say: without labels there is nothing by category.

    checkpoints: at least one. runs: the same, and behind them the references. changes: the comparisons between checkpoints.
    questions: all that some checkpoint was asked. said: how accuracy is called.
    """
    labelled = checkpoints[0].labels.own is not None
    measures = _MEASURES if labelled else {"all": _MEASURES["all"]}
    has_sets = any(question.form is Form.LETTERS for question in questions)
    by = cluster(checkpoints)
    return {
        "accuracy": _accuracy_table(runs, said) if labelled else _overall_table(runs, said),
        "scores": _scores_table(runs, list(DECIDED) if labelled else ["all"]) if has_sets else None,
        "changes": _changes_table(changes, measures, by),
        "tests": _tests_table(changes, measures, by, said),
        "shortcut": _shortcut_table(runs) if labelled else None,
        "intervals": intervals_table(checkpoints, by),
        "twice": twice_tables(checkpoints, by),
        "replies": _replies_table(checkpoints),
        "rules": _rules_table(runs),
        "letters": _letters_table(checkpoints),
        "settings": _settings_table(checkpoints),
    }


def breakdowns_of(runs: Sequence[Run], said: RightWords) -> list[Table]:
    """Accuracy by number of options and of correct ones, and by each facet; without those that part nothing."""
    facets = dict.fromkeys(name for run in runs for name in run.metrics.by_facet if name not in run.metrics.by_rule)
    found = [
        _pools_table("options", "By number of options", runs, [run.metrics.by_n_options for run in runs], said),
        _pools_table("correct", "By number of correct options", runs, [run.metrics.by_n_correct for run in runs], said),
        *(_facet_table(name, runs, said) for name in facets),
    ]
    return [one for one in found if len(one.columns) > 2]  # a breakdown by one value says nothing new


def _named(run: Run) -> str:
    return f"{run.name} (reference)" if run.reference else run.name


def _overall_table(runs: Sequence[Run], said: RightWords) -> Table:
    """Accuracy without labels: on all questions, and as the benchmark averages it."""
    benchmark = next((run.metrics.benchmark for run in runs if run.metrics.benchmark), None)

    def row(run: Run) -> tuple[str, ...]:
        pool, quoted = run.metrics.all, run.metrics.benchmark
        cells = [_named(run), count(pool.n_questions), estimate(pool.per_question), percent(pool.chance)]
        if benchmark is not None:
            cells.append(DASH if quoted is None else estimate(Estimate(quoted.value, None, quoted.ci95)))
        return tuple(cells)

    return Table(
        "accuracy",
        f"{said.what}, with 95 % intervals clustered by clip; chance is what a random answer of each question's form is worth"
        f"{', and 0 for numbers and intervals, which cannot be listed' if said.by_score else ''}.",
        ("Checkpoint", "Questions", said.column, "Chance", *([benchmark.name] if benchmark else ())),
        [row(run) for run in runs],
    )


def _accuracy_table(runs: Sequence[Run], said: RightWords) -> Table:
    def row(run: Run) -> tuple[str, ...]:
        by = run.metrics
        pools = [by.all, by.observational, by.inferential]
        unsure = [_share(by.unsure)] if has_unsure else []
        shares = (estimate(pool.per_question) for pool in pools)
        return (_named(run), count(by.all.n_questions), *shares, *unsure, points(by.gap))

    has_unsure = any(run.metrics.unsure is not None for run in runs)

    return Table(
        "accuracy",
        f"{said.what}, with 95 % intervals clustered by {cluster(runs)}. The gap is observational "
        "minus inferential accuracy, in percentage points.",
        ("Checkpoint", "Questions", "All", "Observational", "Inferential", *(["Unsure"] if has_unsure else []), "Gap"),
        [row(run) for run in runs],
    )


def _scores_table(runs: Sequence[Run], kinds: Sequence[str]) -> Table:
    def row(run: Run) -> tuple[str, ...]:
        pools: list[Pool] = [getattr(run.metrics, kind) for kind in kinds]
        return (_named(run), *(estimate(pool.per_option) for pool in pools), *(estimate(pool.soft) for pool in pools))

    return Table(
        "scores",
        "Two milder scores: the share of options judged right, and the paper's soft score, by which an incomplete answer "
        "without a wrong letter earns its share.",
        ("Checkpoint", *(f"{score}, {kind}" for score in ("Options", "Soft") for kind in kinds)),
        [row(run) for run in runs],
    )


def _changes_table(changes: Sequence[Comparison], measures: Mapping[str, str], cluster: str) -> Table:
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for row in changes:
        pairs.setdefault((row.before, row.after), {})[row.measure] = points(row.difference) + asterisk(row.p_holm)
    return Table(
        "changes",
        "Changes from one checkpoint to another on the same questions, in percentage points, with 95 % intervals, paired by "
        f"question and clustered by {cluster}. An asterisk marks p < {SIGNIFICANT} after Holm's correction for all tests of "
        "this report.",
        ("From", "To", *(name.capitalize() for name in measures.values())),
        [(before, after, *(cells[measure] for measure in measures)) for (before, after), cells in pairs.items()],
    )


def _tests_table(changes: Sequence[Comparison], measures: Mapping[str, str], cluster: str, said: RightWords) -> Table:
    also = " (for shortcut reliance: answers as the observer)" if "shortcut_reliance" in measures else ""
    return Table(
        "tests",
        f"The tests behind these changes. Gained and lost: {said.gained}{also}. "
        f"p: two-sided and exact, from swapping the two checkpoints {cluster} by {cluster}; Holm: corrected for all rows.",
        ("From", "To", "Measure", "Questions", "Gained", "Lost", "p", "p (Holm)"),
        [
            (
                row.before,
                row.after,
                measures[row.measure],
                count(row.n_questions),
                count(row.n_gained),
                count(row.n_lost),
                p_value(row.p_value),
                p_value(row.p_holm),
            )
            for row in changes
            if row.measure in measures
        ],
    )


def _shortcut_table(runs: Sequence[Run]) -> Table:
    def row(run: Run) -> tuple[str, ...]:
        reliance, errors = run.metrics.shortcut_reliance, run.metrics.shortcut_error_share
        return (_named(run), estimate(reliance), percent(reliance.chance), estimate(errors), percent(errors.chance))

    return Table(
        "shortcut",
        "On inferential questions, shortcut reliance is the share of answers that are the observer's, and shortcut error share "
        "is the share of wrong options on which the observer is wrong the same way. Chance is what random sets of options, and "
        "errors that fall evenly on the options, would give.",
        ("Checkpoint", "Shortcut reliance", "Chance", "Shortcut error share", "Chance"),
        [row(run) for run in runs],
    )


def _replies_table(checkpoints: Sequence[Run]) -> Table:
    def row(run: Run) -> tuple[str, ...]:
        n = run.metrics.all
        given = sum(prediction.status is Status.OK for prediction in run.predictions)
        return (run.name, *map(count, (n.n_questions, given, n.n_unparsed, n.n_truncated, n.n_decode_error)))

    return Table(
        "replies",
        "Replies by how they ended. A reply without a readable answer counts as wrong. One that was cut at the token limit is "
        "graded if an answer can be read. A question whose clip could not be read leaves every denominator.",
        ("Checkpoint", "Answered", "Ended with an answer", "No readable answer", "Cut at the token limit", "Clip not readable"),
        [row(run) for run in checkpoints],
    )


def _rules_table(runs: Sequence[Run]) -> Table:
    rows = []
    has_unsure = any(by.unsure is not None for run in runs for by in run.metrics.by_rule.values())
    for run in runs:
        for rule, by in run.metrics.by_rule.items():
            sizes = [count(by.observational.n_questions), count(by.inferential.n_questions)]
            shares = [estimate(by.observational.per_question), estimate(by.inferential.per_question)]
            if has_unsure:
                sizes.append(count(0 if by.unsure is None else by.unsure.n_questions))
                shares.append(_share(by.unsure))
            rows.append((_named(run), rule, *sizes, *shares, points(by.gap)))
    kinds = ["Observational", "Inferential", *(["Unsure"] if has_unsure else [])]
    return Table(
        "rules",
        "The same replies, with categories by each rule.",
        ("Checkpoint", "Rule", *(f"{kind} questions" for kind in kinds), *kinds, "Gap"),
        rows,
    )


def _share(pool: Pool | None) -> str:
    """What a pool's questions come to, right or by score; a dash where there is no such pool."""
    return DASH if pool is None else estimate(pool.per_question)


def _pools_table(name: str, what: str, runs: Sequence[Run], pools: Sequence[Mapping[Any, Pool]], said: RightWords) -> Table:
    keys = list(dict.fromkeys(key for by in pools for key in by))
    sizes = {key: max(by[key].n_questions for by in pools if key in by) for key in keys}
    return Table(
        name,
        f"{what}, {'the mean score' if said.by_score else 'the share of questions answered exactly right'}.",
        ("Checkpoint", *(f"{key} ({count(n)} question{'' if n == 1 else 's'})" for key, n in sizes.items())),
        [
            (_named(run), *(estimate(by[key].per_question) if key in by else DASH for key in keys))
            for run, by in zip(runs, pools, strict=True)
        ],
    )


def _facet_table(name: str, runs: Sequence[Run], said: RightWords) -> Table:
    pools = [run.metrics.by_facet.get(name, {}) for run in runs]
    return _pools_table(name_by_facet(name), _FACETS.get(name, f"By {name}"), runs, pools, said)


def _letters_table(checkpoints: Sequence[Run]) -> Table:
    rows = [
        (run.name, letter, count(one.n_options), percent(one.correct), estimate(one.chosen), estimate(one.per_option))
        for run in checkpoints
        for letter, one in run.metrics.by_letter.items()
    ]
    return Table(
        "letters",
        "By position of the option, how often its letter is correct, chosen, and judged right.",
        ("Checkpoint", "Letter", "Questions with it", "Correct", "Chosen", "Judged right"),
        rows,
    )


def _settings_table(checkpoints: Sequence[Run]) -> Table:
    """One column per checkpoint, so that what differs between two of them stands side by side."""
    columns = [dict(page.leaves(msgspec.to_builtins(run.record))) for run in checkpoints]
    keys = dict.fromkeys(key for column in columns for key in column if key != "name")
    return Table(
        "settings",
        "Settings, what each checkpoint was fed in fact, data hashes and provenance.",
        ("Setting", *(run.name for run in checkpoints)),
        [(key, *(page.value_text(column.get(key)) for column in columns)) for key in keys],
    )
