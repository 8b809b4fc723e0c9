"""Questions, labels and replies as data frames, for notebooks; `notebook_statistics` has intervals and tests for them.

from videothinker import compare, estimate, load_runs

frame = load_runs("runs")                                # polars; backend="pandas" for pandas
estimate(frame, by=["run", "oracle"])                    # accuracy with intervals clustered by scene
compare(frame.filter(run="base"), frame.filter(run="grpo"), by="oracle")
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from videothinker.errors import VtError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from videothinker.curated import Curated, Labels
    from videothinker.records import Prediction, Question

PathOrName = str | PathLike[str]
Backend = Literal["polars", "pandas"]

__all__ = ["load_labels", "load_predictions", "load_questions", "load_runs"]


@overload
def load_labels(folder: PathOrName, backend: Literal["polars"] = "polars") -> "pl.DataFrame": ...
@overload
def load_labels(folder: PathOrName, backend: Literal["pandas"]) -> "pd.DataFrame": ...
def load_labels(folder: PathOrName, backend: Backend = "polars") -> "pl.DataFrame | pd.DataFrame":
    """One row per labelled question of a curated folder: the columns of labels.parquet, by scene and qid.

    Sets of letters are strings joined by "," ("" for none); categories are "observational" or "inferential". Only
    `vt curate clevrer` writes this file; `load_questions` reads every curated folder.

        >>> labels = load_labels("curated")
        >>> labels.height
        10

    Raises:
        VtError: it is not a finished curated folder, or the backend is neither "polars" nor "pandas".
    """
    from videothinker.curate.datasets.clevrer.labelled import read_labels
    from videothinker.curated import open_curated

    return _in_backend(read_labels(open_curated(Path(folder)).folder), backend)


@overload
def load_questions(
    folder: PathOrName, backend: Literal["polars"] = "polars", *, labels: Sequence[PathOrName] = ()
) -> "pl.DataFrame": ...
@overload
def load_questions(folder: PathOrName, backend: Literal["pandas"], *, labels: Sequence[PathOrName] = ()) -> "pd.DataFrame": ...
def load_questions(
    folder: PathOrName, backend: Backend = "polars", *, labels: Sequence[PathOrName] = ()
) -> "pl.DataFrame | pd.DataFrame":
    """One row per question of a curated folder, whatever its data set and split, in file order.

    The columns, in this order:

    - `question_id`, `source` (the data set), `split`, `in_train_set`, `group` (what intervals cluster by; CLEVRER's scene);
    - `form` ("letters", "choice" or "yes-no"), `text`, `options` (a list of texts), `n_options`, `gold` (letters joined by ",",
      "" if no option is correct);
    - `clip` (path below the folder of clips), `start` and `end` in seconds (null for the file's beginning and end), `fps`;
    - `category` and `observer`: the category and the observer's answer under the folder's own labels, null without any;
    - one column of categories for each label set under its name, such as `oracle` or `still/oracle`;
    - one column for each facet, such as `polarity`. One that has the name of an earlier column is called `facet:NAME`.

    labels: further label files, such as those of `vt curate probe`.

        >>> questions = load_questions("curated")
        >>> questions.select("question_id", "gold", "oracle", "polarity").row(0)
        ('0:7', 'A', 'observational', 'will')

    Raises:
        VtError: it is not a finished curated folder, or a file of labels is none.
    """
    from videothinker.curated import open_curated

    curated = open_curated(Path(folder), label_files=[Path(path) for path in labels])
    columns = _QuestionColumns(curated, curated.labels_by(None))
    return _in_backend(columns.frame(columns.row(one.question) for one in curated.members), backend)


@overload
def load_runs(
    *folders: PathOrName,
    backend: Literal["polars"] = "polars",
    data: PathOrName | None = None,
    labels: Sequence[PathOrName] = (),
) -> "pl.DataFrame": ...
@overload
def load_runs(
    *folders: PathOrName,
    backend: Literal["pandas"],
    data: PathOrName | None = None,
    labels: Sequence[PathOrName] = (),
) -> "pd.DataFrame": ...
def load_runs(
    *folders: PathOrName, backend: Backend = "polars", data: PathOrName | None = None, labels: Sequence[PathOrName] = ()
) -> "pl.DataFrame | pd.DataFrame":
    """One row per run and question of folders that `vt diagnose` wrote, one run after the other.

    The first column is `run`, then come those of `load_questions`, and behind them:

    - `chosen`: the letters that were read, joined by ","; "" is an explicit "none", null means unreadable;
    - `status` ("ok", "no_answer", "truncated" or "decode_error") and `reply`, the full text;
    - `exact` (true if the whole answer is right) and `soft` (soft accuracy, 0 to 1). Both are null where the question counts
      nowhere, because its clip could not be read or the run's protocol leaves it out;
    - `tokens` (written, the last one included) and `logprob` (mean per token, in nats), null where the source does not say.

    folders: as given to `vt diagnose --out` (with several data sets, the folder of one in it), or of single runs; all about one
    curated folder.
    data: that curated folder; None takes the place where it was when the first run was asked.
    labels: further label files, as of `load_questions`.

        >>> frame = load_runs("runs")
        >>> frame.height, frame["run"].unique(maintain_order=True).to_list()
        (20, ['none', 'observer'])
        >>> frame.filter(run="observer").select("gold", "chosen", "exact").row(0)
        ('A', 'A', True)

    Raises:
        VtError: there is no run, or its curated folder is gone or has changed.
    """
    return _in_backend(_load(folders, data, labels).frame, backend)


@overload
def load_predictions(
    run: PathOrName, backend: Literal["polars"] = "polars", *, data: PathOrName | None = None
) -> "pl.DataFrame": ...
@overload
def load_predictions(run: PathOrName, backend: Literal["pandas"], *, data: PathOrName | None = None) -> "pd.DataFrame": ...
def load_predictions(
    run: PathOrName, backend: Backend = "polars", *, data: PathOrName | None = None
) -> "pl.DataFrame | pd.DataFrame":
    """The columns of `load_runs` that say how one folder's models answered, without the questions' texts and clips.

    They are `model` (the run's name), `question_id`, `group`, for CLEVRER `scene_index` and the categories `category`,
    `any_option`, `correct_option` and `oracle`, then `n_options`, `gold`, `observer`, `chosen`, `status`, `exact`, `soft` and
    `reply`.

    run: the folder given to `vt diagnose --out` (with several data sets, the folder of one in it), or one model's folder.
    data: the curated folder; None takes the place where it was when the model was asked.

        >>> load_predictions("runs").height
        20

    Raises:
        VtError: there is no run, or its curated folder is gone or has changed.
    """
    import polars as pl

    from videothinker.records import Rule

    frame, curated = _load([run], data, ())
    sets = {each.name for each in curated.labels.sets}  # label sets of the collision log have the name of their rule
    scene = pl.col("group").cast(pl.Int64) if curated.labels.own is not None else pl.lit(None, pl.Int64)
    rules = [(pl.col(rule) if rule in sets else pl.lit(None, pl.String)).alias(rule.column) for rule in Rule]
    return _in_backend(
        frame.select(
            pl.col("run").alias("model"),
            "question_id",
            "group",
            scene.alias("scene_index"),
            "category",
            *rules,
            *("n_options", "gold", "observer", "chosen", "status", "exact", "soft", "reply"),
        ),
        backend,
    )


class _QuestionColumns:
    """What `load_questions` says of a question, column by column."""

    def __init__(self, curated: "Curated", labels: "Labels") -> None:
        """labels: the own set's categories are those of the column `category`."""
        self._labels = labels
        self._members = {one.question.question_id: one for one in curated.members}
        taken = {*_QUESTION, *_REPLY, "run", *(each.name for each in labels.sets)}
        facets = dict.fromkeys(name for one in curated.members for name in one.question.facets)
        self._facets = {name: f"facet:{name}" if name in taken else name for name in facets}

    def row(self, question: "Question") -> dict[str, Any]:
        from videothinker import tables

        name, labels = question.question_id, self._labels
        found = {each.name: each.by_question.get(name) for each in labels.sets}
        return {
            "question_id": name,
            "source": question.source,
            "split": self._members[name].split,
            "in_train_set": self._members[name].in_train_set,
            "group": question.group,
            "form": question.form.value,
            "text": question.text,
            "options": list(question.options),
            "n_options": len(question.options),
            "gold": tables.joined(question.gold),
            "clip": question.clip.path,
            "start": question.clip.start,
            "end": question.clip.end,
            "fps": question.clip.fps,
            "category": labels.category(name),
            "observer": tables.joined(labels.observer(name)),
            **{each: None if label is None else label.category.value for each, label in found.items()},
            **{column: question.facets.get(facet) for facet, column in self._facets.items()},
        }

    def frame(
        self, rows: Iterable[dict[str, Any]], before: Mapping[str, str] = {}, behind: Mapping[str, str] = {}
    ) -> "pl.DataFrame":
        """Rows as a frame. before, behind: columns that stand on either side of a question's, by type as in `_QUESTION`."""
        import polars as pl

        own = dict.fromkeys([*(each.name for each in self._labels.sets), *self._facets.values()], "String")
        kinds = {"options": pl.List(pl.String)}
        schema = {name: kinds.get(name, getattr(pl, kind)) for name, kind in {**before, **_QUESTION, **own, **behind}.items()}
        return pl.DataFrame(list(rows), schema=schema)


_QUESTION = {
    "question_id": "String",
    "source": "String",
    "split": "String",
    "in_train_set": "Boolean",
    "group": "String",
    "form": "String",
    "text": "String",
    "options": "List",
    "n_options": "Int64",
    "gold": "String",
    "clip": "String",
    "start": "Float64",
    "end": "Float64",
    "fps": "Float64",
    "category": "String",
    "observer": "String",
}
"""Columns that every question has, by the name of their type in polars."""

_REPLY = {
    "chosen": "String",
    "status": "String",
    "exact": "Boolean",
    "soft": "Float64",
    "tokens": "Int64",
    "logprob": "Float64",
    "reply": "String",
}


def _reply(question: "Question", prediction: "Prediction") -> dict[str, Any]:
    from videothinker import tables
    from videothinker.answers import form_of
    from videothinker.diagnose.grading import counts, is_right, said

    return {
        "chosen": tables.joined(prediction.chosen),
        "status": prediction.status.value,
        "exact": is_right(question, prediction) if (asked := counts(prediction)) else None,
        "soft": form_of(question).soft(said(prediction), question.gold) if asked else None,
        "tokens": prediction.tokens,
        "logprob": prediction.logprob,
        "reply": prediction.reply,
    }


class _Loaded(NamedTuple):
    frame: "pl.DataFrame"
    curated: "Curated"


def _load(folders: Sequence[PathOrName], data: PathOrName | None, labels: Sequence[PathOrName]) -> _Loaded:
    from videothinker.diagnose.runs import find_curated, load_runs

    if not folders:
        raise VtError("load_runs: got no folder; give one that `vt diagnose` wrote")
    paths = [Path(folder) for folder in folders]
    curated = find_curated(paths, None if data is None else Path(data), label_files=[Path(path) for path in labels])
    columns = _QuestionColumns(curated, curated.labels_by(None))
    rows = (
        {"run": run.name, **columns.row(question), **_reply(question, prediction)}
        for run in load_runs(paths, curated)
        for question, prediction in zip(run.questions, run.predictions, strict=True)
    )
    return _Loaded(columns.frame(rows, {"run": "String"}, _REPLY), curated)


def _in_backend(frame: "pl.DataFrame", backend: str) -> "pl.DataFrame | pd.DataFrame":
    if backend == "polars":
        return frame
    if backend == "pandas":
        return frame.to_pandas()
    raise VtError(f"backend '{backend}': expected 'polars' or 'pandas'")
