"""The figures of the diagnosis page: accuracy by category, and the shortcut on inferential questions."""

from collections.abc import Sequence

from videothinker.curated import Labels
from videothinker.diagnose.runs import Run
from videothinker.records import AgainstChance, Category, Pool
from videothinker.records.label import LOG
from videothinker.reports.drawing import Drawing
from videothinker.reports.figures import Series, bars
from videothinker.reports.scored import right_words

OBSERVER = "solver:observer"
"""Model of the run that the figure's observer marks come from, whether it is a reference or not."""


def accuracy_figure(checkpoints: Sequence[Run], runs: Sequence[Run]) -> Drawing:
    """The main figure: accuracy of the checkpoints by category, with chance, and the observer if it is among the runs.

    An observer that is not the one that the labels go by is left out.

    Without labels it shows the accuracy on all questions.
    """
    observers = [run.metrics for run in runs if run.record.model == OBSERVER and reads_log(checkpoints[0].labels)]
    watched = next(iter(observers), None)
    labelled = checkpoints[0].labels.own is not None
    said = right_words(question for run in checkpoints for question in run.questions)

    def series(kind: str, colour: str) -> Series:
        pools: list[Pool] = [getattr(run.metrics, kind) for run in checkpoints]
        observer = [] if watched is None else [getattr(watched, kind).per_question.value] * len(pools)
        return Series(
            kind,
            colour,
            [pool.per_question for pool in pools],
            chance=[pool.chance for pool in pools],
            observer=observer,
        )

    shown = {Category.OBSERVATIONAL: "blue", Category.INFERENTIAL: "orange"} if labelled else {"all": "blue"}
    return bars(
        "accuracy",
        f"{said.figure}{', by category' if labelled else ''}, with 95 % intervals clustered by {cluster(checkpoints)}.",
        [run.name for run in checkpoints],
        [series(kind, colour) for kind, colour in shown.items()],
        x_label=said.axis,
    )


def shortcut_figure(checkpoints: Sequence[Run]) -> Drawing:
    def series(name: str, colour: str, values: Sequence[AgainstChance]) -> Series:
        return Series(name, colour, values, chance=[value.chance for value in values])

    return bars(
        "shortcut",
        "The shortcut on inferential questions: answers that are the observer's, and wrong options on which the observer is "
        f"wrong the same way, with 95 % intervals clustered by {cluster(checkpoints)}.",
        [run.name for run in checkpoints],
        [
            series("answers", "green", [run.metrics.shortcut_reliance for run in checkpoints]),
            series("wrong options", "purple", [run.metrics.shortcut_error_share for run in checkpoints]),
        ],
        x_label="the same as the observer's (%)",
    )


def cluster(checkpoints: Sequence[Run]) -> str:
    """The word for what intervals cluster by: groups are scenes for CLEVRER's questions, and clips for others."""
    return "scene" if {question.source for run in checkpoints for question in run.questions} <= {"CLEVRER"} else "clip"


def reads_log(labels: Labels) -> bool:
    """Is the labels' observer the one who reads the collision log, as `solver:observer` does?"""
    return labels.own is not None and labels.own.observer == LOG
