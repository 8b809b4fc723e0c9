"""Labels and predictions as data frames, for notebooks.

from videothinker import load_labels, load_predictions
labels = load_labels("curated")                          # polars; backend="pandas" for pandas
replies = load_predictions("runs/qwen")
labels.group_by("oracle").len()
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from videothinker.errors import VtError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@overload
def load_labels(folder: str | PathLike[str], backend: Literal["polars"] = "polars") -> "pl.DataFrame": ...
@overload
def load_labels(folder: str | PathLike[str], backend: Literal["pandas"]) -> "pd.DataFrame": ...
def load_labels(folder: str | PathLike[str], backend: Literal["polars", "pandas"] = "polars") -> "pl.DataFrame | pd.DataFrame":
    """One row per labelled question of a curated folder: the columns of labels.parquet, by scene and qid.

    Sets of letters are strings joined by "," ("" for none); categories are "observational" or "inferential".

    Raises:
        VtError: it is not a finished curated folder, or the backend is neither "polars" nor "pandas".
    """
    from videothinker.curate.datasets.clevrer.labelled import read_labels
    from videothinker.curated import open_curated

    return _in_backend(read_labels(open_curated(Path(folder)).folder), backend)


@overload
def load_predictions(
    run: str | PathLike[str], backend: Literal["polars"] = "polars", *, data: str | PathLike[str] | None = None
) -> "pl.DataFrame": ...
@overload
def load_predictions(
    run: str | PathLike[str], backend: Literal["pandas"], *, data: str | PathLike[str] | None = None
) -> "pd.DataFrame": ...
def load_predictions(
    run: str | PathLike[str],
    backend: Literal["polars", "pandas"] = "polars",
    *,
    data: str | PathLike[str] | None = None,
) -> "pl.DataFrame | pd.DataFrame":
    """One row per model and question of a folder that `vt diagnose` wrote, one model after the other.

    The columns are `model`, `question_id`, `group` (what intervals cluster by), for CLEVRER `scene_index` and the categories
    `category`, `any_option`, `correct_option` and `oracle`, then `n_options`, `gold`, `observer`, `chosen` (letters joined by
    ","; "" is an explicit "none", null means unreadable), `status`, `exact` (true if the whole answer is right), `soft` (soft
    accuracy, 0 to 1) and `reply`. Questions whose clip could not be read (status decode_error) have null for `exact` and
    `soft`, because they count nowhere.

    run: the folder given to `vt diagnose --out` (with several data sets, the folder of one in it), or one model's folder.
    data: the curated folder; None takes the place where it was when the model was asked.

    Raises:
        VtError: there is no run, or its curated folder is gone or has changed.
    """
    import polars as pl

    from videothinker import tables
    from videothinker.answers import form_of
    from videothinker.diagnose.grading import counts, is_right, said
    from videothinker.diagnose.runs import find_curated, load_runs
    from videothinker.records import Rule

    curated = find_curated([Path(run)], None if data is None else Path(data))
    runs = load_runs([Path(run)], curated)
    is_clevrer = curated.labels.own is not None
    sets = {each.name: each for each in curated.labels.sets}  # label sets of the collision log have the name of their rule

    def category(rule: Rule, question_id: str) -> str | None:
        label = sets[rule].by_question.get(question_id) if rule in sets else None
        return None if label is None else label.category.value

    rows = [
        {
            "model": each.name,
            "question_id": question.question_id,
            "group": question.group,
            "scene_index": int(question.group) if is_clevrer else None,
            "category": curated.labels.category(question.question_id),
            **{rule.column: category(rule, question.question_id) for rule in Rule},
            "n_options": len(question.options),
            "gold": ",".join(question.gold),
            "observer": tables.joined(curated.labels.observer(question.question_id)),
            "chosen": tables.joined(prediction.chosen),
            "status": prediction.status.value,
            "exact": is_right(prediction) if (asked := counts(prediction)) else None,
            "soft": form_of(question).soft(said(prediction), question.gold) if asked else None,
            "reply": prediction.reply,
        }
        for each in runs
        for question, prediction in zip(each.questions, each.predictions, strict=True)
    ]
    schema = {
        "model": pl.String,
        "question_id": pl.String,
        "group": pl.String,
        "scene_index": pl.Int64,
        "category": pl.String,
        **{rule.column: pl.String for rule in Rule},
        "n_options": pl.Int64,
        "gold": pl.String,
        "observer": pl.String,
        "chosen": pl.String,
        "status": pl.String,
        "exact": pl.Boolean,
        "soft": pl.Float64,
        "reply": pl.String,
    }
    return _in_backend(pl.DataFrame(rows, schema=schema), backend)


def _in_backend(frame: "pl.DataFrame", backend: str) -> "pl.DataFrame | pd.DataFrame":
    if backend == "polars":
        return frame
    if backend == "pandas":
        return frame.to_pandas()
    raise VtError(f"backend '{backend}': expected 'polars' or 'pandas'")
