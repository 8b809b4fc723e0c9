"""Several data sets side by side: every checkpoint's score on each, their average, and what changed from one checkpoint.

Each data set is scored by itself (`runs`); here the numbers that stand in one table are put together. Pure arithmetic.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from videothinker.curated import Curated
from videothinker.diagnose.compare import Answers, compare_means
from videothinker.diagnose.grading import counts
from videothinker.diagnose.runs import Run
from videothinker.diagnose.significance import holm
from videothinker.errors import VtError
from videothinker.records import Benchmark, Metrics, RunRecord
from videothinker.records.benchmarks import Benchmarks, DataSet, Score, SetChange

PROTOCOL = "ours"
"""The protocol of runs whose settings name none."""


class Asked(NamedTuple):
    """One data set, and what was asked of it."""

    curated: Curated
    runs: list[Run]
    """The checkpoints; at least one."""
    references: list[Run]
    """Chance, the blind prior and the observer, where the data set has them."""


def summarize(sets: Mapping[str, Asked], baseline: str | None = None, *, read_by: str | None = None) -> Benchmarks:
    """The table of all checkpoints on all data sets, both in the order in which they are given.

    baseline: the checkpoint that the others are compared with; None for the first. read_by: the protocol that
    read all replies; None if each run's were read by the protocol that it was asked under.

    Raises:
        VtError: there is no such checkpoint, or one name stands for different checkpoints on different data sets.
    """
    first = check_baseline(sets, baseline)
    names = checkpoint_names(sets)
    checkpoints = {name: _scores(name, sets) for name in names}
    added = dict.fromkeys(run.name for asked in sets.values() for run in asked.references)
    return Benchmarks(
        baseline=first,
        read_by=read_by,
        datasets={name: _data_set(asked) for name, asked in sets.items()},
        checkpoints=checkpoints,
        averages={name: mean for name, scores in checkpoints.items() if (mean := average(scores, len(sets))) is not None},
        references={name: _scores(name, sets, reference=True) for name in added},
        changes=changes(sets, first),
    )


def check_baseline(sets: Mapping[str, Asked], baseline: str | None) -> str:
    """The name of the checkpoint that the others are compared with: `baseline`, or the first.

    Raises:
        VtError: there is no such checkpoint, or one name stands for different checkpoints on different data sets.
    """
    names = checkpoint_names(sets)
    if baseline is not None and baseline not in names:
        raise VtError(f"--baseline {baseline}: there is no such checkpoint; there are {', '.join(names)}")
    return names[0] if baseline is None else baseline


def checkpoint_names(sets: Mapping[str, Asked]) -> list[str]:
    """The checkpoints of all data sets, in the order in which they first appear.

    Raises:
        VtError: one name stands for different checkpoints on different data sets.
    """
    found: dict[str, tuple[str, RunRecord]] = {}
    for name, asked in sets.items():
        for run in asked.runs:
            before, record = found.setdefault(run.name, (name, run.record))
            if (record.model, record.weights) != (run.record.model, run.record.weights):
                raise VtError(
                    f"'{run.name}' is {record.model} on {before} and {run.record.model} on {name}"
                    f"{', with other weights' if record.model == run.record.model else ''}; ask them under two names"
                )
    return list(found)


def _scores(name: str, sets: Mapping[str, Asked], *, reference: bool = False) -> dict[str, Score]:
    """The scores of one checkpoint or reference, by data set."""
    return {
        each: score(run, asked.curated.manifest.benchmark)
        for each, asked in sets.items()
        for run in (asked.references if reference else asked.runs)
        if run.name == name
    }


def score(run: Run, benchmark: Benchmark | None) -> Score:
    """What one checkpoint's answers to one data set come to, averaged as the benchmark says."""
    pool, quoted = run.metrics.all, run.metrics.benchmark
    own = pool.per_question if quoted is None else quoted
    return Score(
        value=own.value,
        ci95=own.ci95,
        n=pool.n_questions,
        chance=_chance(run.metrics, facet_of(benchmark)),
        protocol=None if run.reference else str(run.record.settings.get("protocol") or PROTOCOL),
        over_questions=pool.per_question,
        n_unparsed=pool.n_unparsed,
        n_truncated=pool.n_truncated,
        n_decode_error=pool.n_decode_error,
        partial=run.record.partial,
    )


def _chance(found: Metrics, facet: str | None) -> float | None:
    if facet is None:
        return found.all.chance
    levels = [pool.chance for pool in found.by_facet.get(facet, {}).values() if pool.chance is not None]
    return sum(levels) / len(levels) if levels else None


def facet_of(benchmark: Benchmark | None) -> str | None:
    """The facet over whose values a data set is averaged; None if it is averaged over questions."""
    return None if benchmark is None else benchmark.macro_over


def mean_of(benchmark: Benchmark | None) -> str:
    """How a data set is averaged, in words."""
    facet = facet_of(benchmark)
    return "over questions" if facet is None else f"mean over {facet}"


def average(scores: Mapping[str, Score], n_sets: int) -> float | None:
    """The unweighted mean of a checkpoint's values; None unless there is one for each of `n_sets` data sets."""
    values = [one.value for one in scores.values() if one.value is not None]
    return sum(values) / n_sets if n_sets and len(values) == n_sets else None


def changes(sets: Mapping[str, Asked], baseline: str) -> list[SetChange]:
    """What changes from the baseline to every other checkpoint on each data set, p-values corrected by Holm for all of them."""
    found = []
    for name, asked in sets.items():
        benchmark = asked.curated.manifest.benchmark
        before = next((run for run in asked.runs if run.name == baseline), None)
        for after in asked.runs:
            if before is not None and after is not before:
                row = compare_means(_answers(before), _answers(after), facet_of(benchmark), mean_of(benchmark))
                found.append(SetChange(dataset=name, **msgspec.structs.asdict(row)))
    corrected = holm([row.p_value for row in found])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(found, corrected, strict=True)]


def _answers(run: Run) -> Answers:
    return Answers(run.name, run.questions, run.predictions, run.labels)


def _data_set(asked: Asked) -> DataSet:
    questions = {
        question.question_id: question
        for run in asked.runs
        for question, row in zip(run.questions, run.predictions, strict=True)
        if counts(row)
    }
    return DataSet(
        mean=mean_of(asked.curated.manifest.benchmark),
        sources=list(dict.fromkeys(question.source for question in questions.values())),
        splits=list(dict.fromkeys(str(run.record.settings["split"]) for run in asked.runs if "split" in run.record.settings)),
        n_questions=len(questions),
        n_groups=len({question.group for question in questions.values()}),
        rule=asked.runs[0].labels.rule,
    )
