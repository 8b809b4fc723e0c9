"""Finished runs, loaded from their files and scored again; no model is needed.

curated = find_curated([Path("runs")])
runs = load_runs([Path("runs")], curated)
rows = [*references(runs, curated), *runs]
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from videothinker import store
from videothinker.curated import TRAIN, Curated, Labels, open_curated
from videothinker.diagnose import files, metrics, protocols, readings, run, solvers
from videothinker.diagnose.compare import Answers, compare
from videothinker.diagnose.predictions import grade, read_prediction, read_under
from videothinker.diagnose.readings import Readings
from videothinker.errors import VtError
from videothinker.outside import is_name
from videothinker.records import Benchmark, Comparison, Metrics, Prediction, Question, RunRecord, Status
from videothinker.records.run import AskedData
from videothinker.shards import begun


class Run(NamedTuple):
    """One checkpoint's answers to the questions of one split."""

    name: str
    """The run's name, unique in a report."""
    record: RunRecord
    """The content of run.json."""
    questions: list[Question]
    """Parallel to `predictions`."""
    predictions: list[Prediction]
    """In the order of the split's file; empty for the reference "chance", whose metrics are exact expectations."""
    labels: Labels
    """Where categories and observer come from; the own set is the one that the report is drawn under."""
    metrics: Metrics
    folder: Path | None
    """None for a reference, or an import."""

    @property
    def reference(self) -> bool:
        """True for the rows that every report adds: "chance", "prior" and "observer"."""
        return self.record.kind == REFERENCE


REFERENCE = "reference"
"""Kind of the rows that every report adds."""


def read_record(folder: Path) -> RunRecord:
    """Read run.json of a diagnosis.

    Raises:
        VtError: the file is missing, or is not that of a diagnosis.
    """
    record = store.read_json(folder / files.RUN, RunRecord)
    if record.data is None or "data" not in record.provenance:
        raise VtError(
            f"{folder / files.RUN}: does not say which questions were asked; expected a folder that `vt diagnose` wrote"
        )
    if not is_name(record.name):
        raise VtError(f"{folder / files.RUN}: its name is {record.name!a}, expected the name of a folder")
    return record


def find_curated(
    folders: Sequence[Path], data: Path | None = None, videos: Path | None = None, label_files: Sequence[Path] = ()
) -> Curated:
    """The curated folder that runs were asked from: `data` if given, else the one that the first run names.

    Raises:
        VtError: a folder holds no run, or the curated folder is no longer where it was.
    """
    if data is not None:
        return open_curated(data, videos, label_files=label_files)
    first = run_folders(folders)[0]
    recorded = Path(read_record(first).provenance["data"])
    if not recorded.is_dir():
        raise VtError(
            f"{first / files.RUN}: was asked from {recorded}, which is not there any more; say where it is with --data"
        )
    return open_curated(recorded, videos, label_files=label_files)


def run_folders(folders: Iterable[Path]) -> list[Path]:
    """The runs in some folders, each once. A folder with predictions is a run; of any other the runs in it are taken, by name.

    Raises:
        VtError: a folder holds no run.
    """
    found: list[Path] = []
    for folder in folders:
        here = _runs_in(folder)
        sets = [path.name for path in sorted(folder.glob("*/")) if _runs_in(path)]
        if not here and begun(folder):
            raise VtError(f"{folder}: holds shards that are not merged yet; put them together with `vt merge {folder}`")
        if not here and sets:
            raise VtError(
                f"{folder}: holds runs over the data sets {', '.join(sets)}; name one's folder, such as {folder / sets[0]}, "
                f"or give several with --data"
            )
        if not here:
            raise VtError(
                f"{folder}: holds no predictions, itself or one level down; expected a folder that `vt diagnose` wrote"
            )
        found += [path for path in here if path not in found]
    return found


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself, and those in it, as far as they hold a run with predictions."""
    here = (folder, *sorted(folder.glob("*/")))
    return [path for path in here if (path / files.RUN).is_file() and files.prediction_files(path)]


def folders_of_set(folders: Sequence[Path], name: str, *, needed: bool = True) -> list[Path]:
    """Where the runs of the data set called `name` lie in the folders of runs over several.

    Raises:
        VtError: they are needed, and none of the folders holds runs of it.
    """
    found = [folder / name for folder in folders if _runs_in(folder / name)]
    if needed and not folders:
        raise VtError(f"--data {name}: no row of what is imported answers one of its questions; leave it out")
    if needed and not found:
        raise VtError(f"{folders[0] / name}: holds no runs; expected those that `vt diagnose` was asked for with --data {name}")
    return found


def folders_beside(ours: Sequence[Path], out: Path) -> list[Path]:
    """Folders of runs of the same questions, after those of other runs in `out` that were asked them: they share a report."""
    asked = read_record(ours[0]).data
    others = [path for path in run_folders([out]) if path not in ours]
    return [*(path for path in others if _same_questions(read_record(path), asked)), *ours]


def _same_questions(record: RunRecord, asked: AskedData | None) -> bool:
    return record.data is not None and asked is not None and record.data.hash == asked.hash


def load_runs(folders: Iterable[Path], curated: Curated, rule: str | None = None) -> list[Run]:
    """Every run in the folders, scored again from its predictions, with the labels named `rule` (None: as `labels_by` has it).

    Runs of one name are told apart by the folder that they lie in. A run that was killed is loaded as far as it got.

    Raises:
        VtError: a folder holds no run, a file cannot be read, or predictions are not of `curated`.
    """
    paths = run_folders(folders)
    labels = curated.labels_by(rule)
    named = [(path, read_record(path)) for path in paths]
    names = [record.name for _, record in named]
    asked = AskedSplits(curated)
    runs = []
    for path, record in named:
        questions, predictions = asked.answers(path, record)
        record = msgspec.structs.replace(record, partial=run.partial(len(predictions), len(questions)))
        name = record.name if names.count(record.name) == 1 else f"{path.resolve().parent.name}/{record.name}"
        runs.append(scored(name, record, questions, predictions.values(), labels, curated.manifest.benchmark, path))
    check_names(runs)
    return runs


def prompts(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """Every model's name and the prompt that it was asked with, in a few words; none if all were asked alike in our own words.

    Solvers read no words, and of an import nobody knows them.
    """
    asked = [(run.name, _prompt(run.record.settings)) for run in runs if run.record.kind in ("checkpoint", "endpoint")]
    alike = len({told for _, told in asked}) < 2
    return [] if alike and not any(run.record.settings.get("template") for run in runs) else asked


def _prompt(settings: Mapping[str, Any]) -> str:
    style, of_file = settings.get("prompt"), settings.get("template")
    if of_file is not None:
        return f"template {of_file['sha256'][:12]} ({style})"
    return f"{settings.get('protocol', 'ours')}'s own" if style is None else str(style)


class AskedSplits:
    """The questions of a curated folder's splits, read and hashed once for all runs that were asked them."""

    def __init__(self, curated: Curated) -> None:
        self._curated = curated
        self._splits: dict[str, tuple[list[Question], str]] = {}

    def answers(self, path: Path, record: RunRecord) -> tuple[list[Question], dict[str, Prediction]]:
        """All questions of the split that the run in `path` was asked, and its predictions by question id, in their order.

        Raises:
            VtError: the run was asked other questions than its split holds, or its predictions cannot be read.
        """
        assert record.data is not None  # read_record has refused others
        split, curated = record.data.split, self._curated
        if split not in curated.manifest.splits:
            raise VtError(f"{path / files.RUN}: {curated.folder} has no split '{split}', from which it was asked")
        if split not in self._splits:
            questions = curated.questions(split)
            self._splits[split] = (questions, files.data_hash(questions, curated.labels))
        questions, digest = self._splits[split]
        if digest != record.data.hash:
            raise VtError(
                f"{path / files.RUN}: was asked from other questions than split '{split}' of {curated.folder} holds; "
                f"give the folder that it was asked from with --data"
            )
        return questions, files.match(questions, curated.labels, files.read_predictions(path), path)


def scored(
    name: str,
    record: RunRecord,
    questions: Sequence[Question],
    predictions: Iterable[Prediction],
    labels: Labels,
    benchmark: Benchmark | None = None,
    folder: Path | None = None,
) -> Run:
    """A run from predictions of some of the questions, in the order of the questions."""
    rows = list(predictions)
    answered = {row.question_id for row in rows}
    asked = [question for question in questions if question.question_id in answered]
    return Run(name, record, asked, rows, labels, metrics.summarize(asked, rows, labels, benchmark), folder)


def references(runs: Sequence[Run], curated: Curated) -> list[Run]:
    """The rows to read a checkpoint against, on all questions that the runs answered: "chance", "prior" and "observer".

    "prior" is left out where there is no train split to count answers in, "observer" where the labels
    that count hold no answers.
    """
    labels, benchmark = runs[0].labels, curated.manifest.benchmark
    asked = {
        question.question_id: question
        for each in runs
        for question, row in zip(each.questions, each.predictions, strict=True)
        if row.status is not Status.DECODE_ERROR
    }
    questions = list(asked.values())
    guess = RunRecord(name="chance", model="a uniformly random answer of each question's form", kind=REFERENCE)
    found = [Run("chance", guess, [], [], labels, metrics.chance(questions, labels, benchmark), folder=None)]
    known = []
    if TRAIN in curated.manifest.splits:
        known.append(solvers.open_solver("solver:prior", curated=curated, seed=0))
    if any(labels.observer(question.question_id) is not None for question in questions):
        known.append(solvers.observer(labels))
    for solver in known:
        record = RunRecord(name=solver.name, model=solvers.PREFIX + solver.name, kind=REFERENCE)
        replies = solver.answer(questions)
        graded = [grade(question, reply, labels) for question, reply in zip(questions, replies, strict=True)]
        found.append(scored(solver.name, record, questions, graded, labels, benchmark))
    return found


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every pair of the runs on the questions that both answered; references are not compared."""
    return compare([Answers(each.name, each.questions, each.predictions, each.labels) for each in runs if not each.reference])


def read_again(runs: Iterable[Run], benchmark: Benchmark | None = None, protocol: str | None = None) -> list[Run]:
    """The runs with every reply read anew as this version reads it, and scored.

    protocol: who reads them, but for a solver's; None lets the protocol read that the run was asked under.

    Raises:
        VtError: there is no such protocol, or it does not define one of the question sets.
    """
    found = []
    for each in runs:
        rows = _read_again(each, protocol)
        found.append(each._replace(predictions=rows, metrics=metrics.summarize(each.questions, rows, each.labels, benchmark)))
    return found


def n_read_otherwise(runs: Iterable[Run]) -> int:
    """How many replies `read_again` would read otherwise than they were."""
    return sum(
        (now.chosen, now.scored) != (then.chosen, then.scored)
        for each in runs
        for now, then in zip(_read_again(each), each.predictions, strict=True)
    )


def read_by_all(runs: Iterable[Run]) -> list[Readings]:
    """The replies of the runs as every protocol reads them; those of references and solvers are in no evaluator's form."""
    return [
        found
        for each in runs
        if each.record.kind not in (REFERENCE, "solver")
        for found in readings.read_by_all(each.name, each.questions, each.predictions, _seed(each))
    ]


def _read_again(each: Run, protocol: str | None = None) -> list[Prediction]:
    by = read_under(each.record) if protocol is None or each.record.kind == "solver" else protocols.find(protocol)
    pairs = zip(each.questions, each.predictions, strict=True)
    return [read_prediction(by, question, row, _seed(each)) for question, row in pairs]


def _seed(each: Run) -> int:
    """The seed of a protocol's guesses: the run's own, or the default for an import, which has none."""
    return int(each.record.settings.get("seed", 42))


def check_names(runs: Sequence[Run]) -> None:
    """Check that runs can share a report.

    Raises:
        VtError: two runs have one name.
    """
    names = [each.name for each in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VtError(f"two runs are named '{twice}'; rename one of their folders and its `name` in {files.RUN}")
