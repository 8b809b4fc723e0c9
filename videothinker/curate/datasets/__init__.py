"""The data sets that `vt curate NAME` reads: files of a release -> questions.

A data set is one module here with a `DATASET`, and its line in `DATASETS`. CLEVRER has a command and a folder of its own,
because its questions come with scenes and labels.
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
    """The questions of a data set's files, each in one of two lists: questions in the files = `questions` + `unresolved`."""

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
    """How many questions and clips there are and how large they are, for whoever has to fetch them."""
    licence: str
    split: str
    """The one split that all questions fall into unless another is named."""
    read: Callable[[Path], ReadQuestions]
    """Reads --from. Raises VtError if the file as a whole cannot be used."""
    n_published: int | None = None
    """Number of questions that its makers state; None if they state none."""
    benchmark: Benchmark | None = None
    """How the number that it is quoted by is averaged; None if it is not quoted by one."""


def dataset_named(name: str) -> Dataset:
    """The data set of that command."""
    found: Dataset = import_module(DATASETS[name]).DATASET
    return found
