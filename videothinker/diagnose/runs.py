"""Finished runs, loaded from their files and scored again; no model is needed.

curated = find_curated([Path("runs")])
runs = load_runs([Path("runs")], curated)
rows = [*references(runs, curated), *runs]
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import mcq, store
from videothinker.curated import Curated, open_curated
from videothinker.diagnose import files, metrics, run, solvers
from videothinker.diagnose.metrics import Comparison, Metrics
from videothinker.errors import VtError
from videothinker.records import CuratedQuestion, Prediction, Rule, Status


class Run(NamedTuple):
    """One checkpoint's answers to the questions of one split."""

    name: str
    """Unique in a report."""
    settings: dict[str, Any]
    """run.json: `name`, `model`, `kind`, `weights`, `settings`, `data`, `partial`, `fed`, `provenance`; a reference has the
    first two."""
    questions: list[CuratedQuestion]
    """Parallel to `predictions`; `category` follows the rule that the report is drawn under."""
    predictions: list[Prediction]
    """In the order of the split's file; empty for the reference "chance", whose metrics are exact expectations."""
    metrics: Metrics
    folder: Path | None
    """None for a reference, or an import."""
    reference: bool = False
    """True for the rows that every report adds: "chance", "prior" and "observer"."""


class _Data(msgspec.Struct):
    hash: str
    split: str


class _Provenance(msgspec.Struct):
    data: str


class _Record(msgspec.Struct):
    """The part of run.json that loading relies on."""

    name: str
    model: str
    data: _Data
    provenance: _Provenance


def find_curated(folders: Sequence[Path], data: Path | None = None, videos: Path | None = None) -> Curated:
    """The curated folder that runs were asked from: `data` if given, else the one that the first run names.

    Raises:
        VtError: no run in a folder, or the curated folder is no longer where it was.
    """
    if data is not None:
        return open_curated(data, videos)
    first = run_folders(folders)[0]
    recorded = Path(store.read_json(first / files.RUN, _Record).provenance.data)
    if not recorded.is_dir():
        raise VtError(
            f"{first / files.RUN}: was asked from {recorded}, which is not there any more; say where it is with --data"
        )
    return open_curated(recorded, videos)


def run_folders(folders: Iterable[Path]) -> list[Path]:
    """The runs in some folders, each once: a folder with predictions is a run, any other holds runs, taken by name.

    Raises:
        VtError: a folder without any run.
    """
    found: list[Path] = []
    for folder in folders:
        here = [
            path
            for path in (folder, *sorted(folder.glob("*/")))
            if (path / files.RUN).is_file() and files.prediction_files(path)
        ]
        if not here:
            raise VtError(
                f"{folder}: holds no predictions, itself or one level down; expected a folder that `vt diagnose` wrote"
            )
        found += [path for path in here if path not in found]
    return found


def folders_beside(jobs: Sequence[run.Job], out: Path) -> list[Path]:
    """The jobs' folders, after those of other runs in `out` that were asked the same questions: they share a report."""
    ours = [job.folder for job in jobs]
    asked = jobs[0].identity["data"]["hash"]
    others = [path for path in run_folders([out]) if path not in ours]
    return [*(path for path in others if store.read_json(path / files.RUN, _Record).data.hash == asked), *ours]


def load_runs(folders: Iterable[Path], curated: Curated, rule: Rule | None = None) -> list[Run]:
    """Every run in the folders, scored again from its predictions, with the categories of `rule` (None: the folder's own).

    Runs of one name are told apart by the folder that they lie in. A run that was killed is loaded as far as it got.

    Raises:
        VtError: no run in a folder, a file that cannot be read, or predictions that are not of `curated`.
    """
    paths = run_folders(folders)
    rule = rule or curated.manifest.rule
    named = [(path, store.read_json(path / files.RUN, _Record)) for path in paths]
    names = [record.name for _, record in named]
    splits: dict[str, list[CuratedQuestion]] = {}
    runs = []
    for path, record in named:
        split = record.data.split
        if split not in splits:
            splits[split] = curated.questions(split)
        if files.data_hash(splits[split]) != record.data.hash:
            raise VtError(
                f"{path / files.RUN}: was asked from other questions than {curated.split_file(split)} holds; "
                f"give the folder that it was asked from with --data"
            )
        predictions = files.match(splits[split], files.read_predictions(path), path)
        settings = store.read_json(path / files.RUN, dict[str, Any])
        settings["partial"] = run.partial(len(predictions), len(splits[split]))
        name = record.name if names.count(record.name) == 1 else f"{path.resolve().parent.name}/{record.name}"
        runs.append(scored(name, settings, splits[split], predictions.values(), rule, path))
    check_names(runs)
    return runs


def scored(
    name: str,
    settings: dict[str, Any],
    questions: Sequence[CuratedQuestion],
    predictions: Iterable[Prediction],
    rule: Rule,
    folder: Path | None = None,
    *,
    reference: bool = False,
) -> Run:
    """A run from predictions of some of the questions, in the order of the questions."""
    rows = list(predictions)
    answered = {row.question_id for row in rows}
    asked = under_rule([question for question in questions if question.question_id in answered], rule)
    return Run(name, settings, asked, rows, metrics.summarize(asked, rows, rule), folder, reference)


def under_rule(questions: Iterable[CuratedQuestion], rule: Rule) -> list[CuratedQuestion]:
    """The questions with the `category` that `rule` gives them."""
    return [msgspec.structs.replace(question, category=getattr(question, rule.column)) for question in questions]


def references(runs: Sequence[Run], curated: Curated, rule: Rule | None = None) -> list[Run]:
    """The rows to read a checkpoint against, on all questions that the runs answered: "chance", "prior" and "observer".

    "prior" is left out where there is no train split to count answers in.
    """
    rule = rule or curated.manifest.rule
    asked = {
        question.question_id: question
        for each in runs
        for question, row in zip(each.questions, each.predictions, strict=True)
        if row.status is not Status.DECODE_ERROR
    }
    questions = under_rule(asked.values(), rule)
    guessing = {"name": "chance", "model": "each option with probability 1/2"}
    found = [Run("chance", guessing, [], [], metrics.chance(questions, rule), folder=None, reference=True)]
    for name in ("prior", "observer"):
        ref = solvers.PREFIX + name
        if name == "prior" and solvers.TRAIN not in curated.manifest.splits:
            continue
        answers = solvers.open_solver(ref, curated=curated, seed=0).answer(questions)
        graded = [run.grade(question, answer) for question, answer in zip(questions, answers, strict=True)]
        found.append(scored(name, {"name": name, "model": ref}, questions, graded, rule, reference=True))
    return found


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every pair of the runs on the questions that both answered; references are not compared."""
    return metrics.compare(
        [metrics.Answers(each.name, each.questions, each.predictions) for each in runs if not each.reference]
    )


def read_again(runs: Iterable[Run]) -> list[Run]:
    """The runs with every reply read anew by this version's `mcq`, and scored."""
    found = []
    for each in runs:
        rows = [_read_again(question, row) for question, row in zip(each.questions, each.predictions, strict=True)]
        found.append(each._replace(predictions=rows, metrics=metrics.summarize(each.questions, rows, each.metrics.rule)))
    return found


def n_read_otherwise(runs: Iterable[Run]) -> int:
    """How many replies `read_again` would read otherwise than they were."""
    return sum(
        _read_again(question, row).chosen != row.chosen
        for each in runs
        for question, row in zip(each.questions, each.predictions, strict=True)
    )


def _read_again(question: CuratedQuestion, row: Prediction) -> Prediction:
    if row.status is Status.DECODE_ERROR:
        return row
    chosen = mcq.parse_reply(row.reply, len(question.options))
    status = row.status if row.status is Status.TRUNCATED else Status.NO_ANSWER if chosen is None else Status.OK
    return msgspec.structs.replace(row, chosen=chosen, status=status)


def check_names(runs: Sequence[Run]) -> None:
    """
    Raises:
        VtError: two runs have one name.
    """
    names = [each.name for each in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VtError(f"two runs are named '{twice}'; rename one of their folders and its `name` in {files.RUN}")
