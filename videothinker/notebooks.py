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
    """One row a labelled question of a curated folder: the columns of labels.parquet, by scene and qid.

    Sets of letters are strings joined by "," ("" for none); categories are "observational" or "inferential".

    Raises:
        VtError: not a finished curated folder, or another backend than "polars" and "pandas".
    """
    from videothinker.curate.build import read_labels
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
    """One row a model and question of a folder that `vt diagnose` wrote, the models one after the other.

    Columns: `model`, `question_id`, `scene_index`, the categories `category`, `any_option`, `correct_option` and `oracle`,
    `n_options`, `gold`, `observer`, `chosen` (letters joined by ","; "" is an explicit "none", null unreadable), `status`,
    `exact` (is the whole answer right?), `soft` (soft accuracy, 0 to 1) and `reply`. Questions whose clip could not be read
    (status decode_error) have null for `exact` and `soft`: they count nowhere.

    run: the folder given to `vt diagnose --out`, or one model's folder in it.
    data: the curated folder; None: where it was when the model was asked.

    Raises:
        VtError: no run there, or its curated folder is gone or has changed.
    """
    import polars as pl

    from videothinker.diagnose.runs import find_curated, load_runs
    from videothinker.mcq import is_exact, soft_score
    from videothinker.records import Rule, Status

    runs = load_runs([Path(run)], find_curated([Path(run)], None if data is None else Path(data)))
    rows = [
        {
            "model": each.name,
            "question_id": question.question_id,
            "scene_index": question.scene_index,
            "category": question.category.value,
            **{rule.column: getattr(question, rule.column).value for rule in Rule},
            "n_options": len(question.options),
            "gold": ",".join(question.gold),
            "observer": ",".join(question.observer),
            "chosen": None if prediction.chosen is None else ",".join(prediction.chosen),
            "status": prediction.status.value,
            "exact": is_exact(prediction.chosen, question.gold)
            if (asked := prediction.status != Status.DECODE_ERROR)
            else None,
            "soft": soft_score(prediction.chosen, question.gold) if asked else None,
            "reply": prediction.reply,
        }
        for each in runs
        for question, prediction in zip(each.questions, each.predictions, strict=True)
    ]
    schema = {
        "model": pl.String,
        "question_id": pl.String,
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
