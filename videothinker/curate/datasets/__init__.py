"""The data sets that `vt curate NAME` reads: files of a release -> questions.

A data set is one module here with a `DATASET`, and its line in `DATASETS`. It says where its rows lie (`parts`), and makes
questions of them (`read`); `sources` finds and opens the files, or loads them from a hub, so that a row is a dict wherever it
comes from. CLEVRER has a command and a folder of its own, because its questions come with scenes and labels.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from videothinker.records import Benchmark, Clip, Question, Unresolved

DATASETS = {
    "mmvu": "videothinker.curate.datasets.mmvu",
    "video-holmes": "videothinker.curate.datasets.video_holmes",
    "mvbench": "videothinker.curate.datasets.mvbench",
    "tempcompass": "videothinker.curate.datasets.tempcompass",
    "videomme": "videothinker.curate.datasets.videomme",
    "longvideobench": "videothinker.curate.datasets.longvideobench",
    "records": "videothinker.curate.datasets.records",
}
"""The module of each data set, by the name of its command."""

NEEDS_JUDGE = "needs a judge"
"""Why a question is kept out that a person or a model would have to grade. Nothing is wrong with it, so --strict allows it."""


class Part(NamedTuple):
    """One table of a release, such as a task of MVBench."""

    name: str
    files: tuple[str, ...]
    """Patterns below the release's folder. The first that matches is read, with all files that it matches."""
    hub: tuple[str | None, str] | None
    """Configuration and split on the hub; None for a part that is not there."""


class Table(NamedTuple):
    """Rows as they were found."""

    part: str
    """Name of the `Part`; "" for a file that is none of them, such as one in Video-R1's form."""
    file: str
    """Name of the file for messages, or of the part on a hub."""
    rows: list[Any]
    """A dict each; something else, or a `Damaged`, where the file does not have one."""


class Damaged(NamedTuple):
    """Stands for a row that cannot be read."""

    why: str


class Wishes(NamedTuple):
    """What the user chose about how rows become questions."""

    variant: str | None = None
    """One of the data set's `variants`; None for the set as its makers ask it."""
    columns: tuple[str, ...] = ()
    """For `records`: which column is what, as "question=prompt"."""


class Published(NamedTuple):
    """How many questions the makers state, by facets."""

    facets: tuple[str, ...]
    counts: Mapping[tuple[str, ...], int]
    """Number of usable questions by the facets' values."""


class ReadQuestions(NamedTuple):
    """The questions of a data set's files, each in one of two lists: questions in the files = `questions` + `unresolved`."""

    questions: list[Question]
    """In file order; `clip.path` is relative to the folder of clips."""
    unresolved: list[Unresolved]
    """Those that cannot be used, each with its reason."""
    elsewhere: Mapping[str, tuple[Clip, ...]] = {}
    """By question_id the other places where its clip may lie, in order: converted, cut already, or in another folder."""
    n_published: int | None = None
    """Number of questions that files of this kind have, usable or not; None where nobody states one."""
    published: Sequence[Published] = ()
    """Finer counts of the usable questions, the finest first. Facets that no question has are not compared."""
    notes: Sequence[str] = ()
    """What else is to be told about these files, one sentence each without a full stop."""


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
    read: Callable[[Sequence[Table], Wishes], ReadQuestions]
    """Makes questions of rows. Raises VtError if they cannot be used as a whole."""
    parts: tuple[Part, ...] = ()
    """The tables of its release; () for a set that is always one file."""
    flatten: Callable[[str, dict[str, Any]], list[Any]] | None = None
    """Makes rows of a JSON file that is one object and not a list, given the part's name; None if no file is."""
    clips: tuple[str, ...] = ()
    """Names of the folder that the release's clips lie in, which the questions' clips are relative to."""
    hub: str | None = None
    """Its id on the Hugging Face hub; None if it is not there."""
    variants: Mapping[str, str] = {}
    """Other ways to ask it, by name: what each changes, in one line."""
    n_published: int | None = None
    """Number of questions that its makers state; None if they state none."""
    benchmark: Benchmark | None = None
    """How the number that it is quoted by is averaged; None if it is not quoted by one."""


def dataset_named(name: str) -> Dataset:
    """The data set of that command."""
    found: Dataset = import_module(DATASETS[name]).DATASET
    return found
