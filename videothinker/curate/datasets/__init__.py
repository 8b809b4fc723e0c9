"""The data sets that `vt curate NAME` reads: files of a release -> questions.

A data set is one module here with a `DATASET`, and its line in `DATASETS`. CLEVRER has a command and a folder of its own, for
its questions come with scenes and labels.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from videothinker.records import Benchmark, Question, Unresolved

DATASETS = {
    "records": "videothinker.curate.datasets.video_r1",
}
"""The module of each data set, by the name of its command."""


class ReadQuestions(NamedTuple):
    """What a data set's files ask. Questions in the files = `questions` + `unresolved`."""

    questions: list[Question]
    """In file order; `clip.path` is relative to the folder of clips."""
    unresolved: list[Unresolved]
    """Those that cannot be used, each with its reason."""
    inputs: dict[str, Any]
    """Identity of what was read, such as hashes of the files."""


class Dataset(NamedTuple):
    """What a data set is, and how its files are read."""

    name: str
    """What `Question.source` and reports call it."""
    what: str
    """One line: what it asks about."""
    needs: str
    """What --from has to be."""
    origin: str
    """Where it comes from."""
    size: str
    """Of the questions and of the clips, for who has to fetch them."""
    licence: str
    split: str
    """The one split that all questions fall into, where none is named."""
    read: Callable[[Path], ReadQuestions]
    """Reads --from. Raises VtError where the file as a whole cannot be used."""
    n_published: int | None = None
    """Questions that its makers count; None where nobody counts them."""
    benchmark: Benchmark | None = None
    """How its one number is averaged, where it is a benchmark."""


def dataset_named(name: str) -> Dataset:
    """The data set of that command."""
    found: Dataset = import_module(DATASETS[name]).DATASET
    return found
