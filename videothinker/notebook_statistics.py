"""Accuracies and paired changes of data frames, with the intervals and tests of the reports, for notebooks.

from videothinker import compare, estimate, load_runs

frame = load_runs("runs")
estimate(frame, by=["run", "oracle"])
compare(frame.filter(run="base"), frame.filter(run="grpo"), by="oracle")
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from videothinker.diagnose.estimates import Codes, Floats, Mask, clustered_change, clustered_share, share
from videothinker.diagnose.significance import holm, sign_flip_p, sums_by_group
from videothinker.errors import VtError
from videothinker.records import Estimate

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Frame = TypeVar("Frame", "pl.DataFrame", "pd.DataFrame")

__all__ = ["compare", "estimate"]


def estimate(frame: Frame, by: str | Sequence[str] = (), *, of: str = "exact") -> Frame:
    """Accuracy with its clustered uncertainty for each combination of values, as the reports compute it (docs/metrics.md).

    frame: of `load_runs` or `load_predictions`, polars or pandas, with columns of your own if you like. Its columns `group` and
    `of` are used.
    by: columns to break down by, such as ["run", "oracle"]; none for one row. A null in one of them is a value too.
    of: the column that is averaged, true and false or numbers from 0 to 1, such as "soft". Where it is null a row counts
    nowhere.

    Returns a frame of the same library, (n_combinations, len(by) + 7), in order of first appearance, with the columns of `by`
    and `n` (answers), `n_left_out` (rows whose `of` is null), `n_scenes` (groups), `accuracy`, `stderr` (clustered by group,
    null for fewer than two), `low` and `high` (95 % interval). All but the counts are fractions from 0 to 1. Intervals cluster
    over the whole frame: two runs' answers about one scene are not independent.

        >>> estimate(load_runs("runs"), by="run").select("run", "n", "n_scenes", "accuracy")
        shape: (2, 4)
        ┌──────────┬─────┬──────────┬──────────┐
        │ run      ┆ n   ┆ n_scenes ┆ accuracy │
        │ ---      ┆ --- ┆ ---      ┆ ---      │
        │ str      ┆ i64 ┆ i64      ┆ f64      │
        ╞══════════╪═════╪══════════╪══════════╡
        │ none     ┆ 10  ┆ 5        ┆ 0.0      │
        │ observer ┆ 10  ┆ 5        ┆ 0.6      │
        └──────────┴─────┴──────────┴──────────┘

    Raises:
        VtError: a column is missing, or the one that is averaged holds something else than shares.
    """
    keys: list[str] = _keys(by)
    table = _polars(frame, "frame", [*keys, "group", of])
    values, asked = _shares(table, "frame", of)
    cluster = _codes(table, "frame")
    rows = []
    for key, where in _parts(table, "frame", keys):
        counted = asked & where
        found = clustered_share(*share(values, counted), cluster)
        counts = {"n": int(counted.sum()), "n_left_out": int((where & ~asked).sum())}
        n_scenes = len(np.unique(cluster[counted]))
        rows.append(key | counts | {"n_scenes": n_scenes} | _columns("accuracy", found))
    return _like(frame, _frame(rows, table, keys, _ESTIMATE))


def compare(a: Frame, b: Frame, by: str | Sequence[str] = (), *, of: str = "exact") -> Frame:
    """What run `b` has right more often than run `a`, paired by question, as the reports compute it (docs/metrics.md).

    a, b: frames of `load_runs` or `load_predictions` with the rows of one run each, about the same questions in any order.
    Questions for which `of` is null in one of them are left out of both, and counted.
    by: columns of `a` to break down by, such as "oracle"; none for one row.
    of: a column of true and false.

    Returns a frame of `a`'s library, (n_combinations, len(by) + 11), in order of first appearance, with the columns of `by` and
    `n` (questions), `n_left_out`, `n_scenes` (groups), `n_gained` (only `b` is right), `n_lost` (only `a` is right),
    `difference` (accuracy of `b` minus that of `a`, -1 to 1), `stderr`, `low` and `high` (95 % interval), all clustered by
    group, `p_value` of the exact test that swaps the two group by group (null for fewer than two groups), and `p_holm`, the
    same after Holm's correction for this frame's rows. Whoever makes several frames corrects for all their rows with
    `videothinker.diagnose.significance.holm`.

        >>> frame = load_runs("runs")
        >>> change = compare(frame.filter(run="none"), frame.filter(run="observer"))
        >>> change.select("n", "n_gained", "n_lost", "p_value").row(0)
        (10, 6, 0, 0.125)

    Raises:
        VtError: a column is missing, a frame holds a question twice, or the two do not hold the same questions.
    """
    import polars as pl

    keys: list[str] = _keys(by)
    before = _polars(a, "a", [*keys, "group", of])
    after = _polars(b, "b", [of])
    after = after[_places(a, b)]
    for name, table in (("a", before), ("b", after)):
        if table.schema[of] != pl.Boolean:
            raise VtError(f"{name}: column '{of}' is {table.schema[of]}, expected true and false; `estimate` takes shares")
    (old, old_asked), (new, new_asked) = _shares(before, "a", of), _shares(after, "b", of)
    change, both, cluster = new - old, old_asked & new_asked, _codes(before, "a")
    rows: list[dict[str, Any]] = []
    for key, where in _parts(before, "a", keys):
        counted = both & where
        counts = {"n": int(counted.sum()), "n_left_out": int((where & ~both).sum())}
        counts["n_scenes"] = len(np.unique(cluster[counted]))
        moved = {"n_gained": int((change[counted] > 0).sum()), "n_lost": int((change[counted] < 0).sum())}
        found = clustered_change(*share(change, counted), cluster)
        p_value = sign_flip_p(sums_by_group(change, counted, cluster))
        rows.append(key | counts | moved | _columns("difference", found) | {"p_value": p_value})
    for row, p_holm in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_holm"] = p_holm
    return _like(a, _frame(rows, before, keys, _COMPARISON))


def _keys(by: str | Sequence[str]) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def _polars(frame: Any, name: str, columns: Sequence[str]) -> "pl.DataFrame":
    """Some columns of a frame of either library. name: what a message calls the frame."""
    import pandas as pd
    import polars as pl

    if not isinstance(frame, pl.DataFrame | pd.DataFrame):
        raise VtError(f"{name}: is a {type(frame).__name__}, expected a DataFrame of polars or pandas")
    wanted = list(dict.fromkeys(columns))
    if lacking := next((column for column in wanted if column not in frame.columns), None):
        raise VtError(f"{name}: has no column '{lacking}'; its columns are {', '.join(map(str, frame.columns))}")
    return frame.select(wanted) if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame[wanted])


def _like(frame: Frame, found: "pl.DataFrame") -> Frame:
    """`found` in the library of `frame`."""
    import polars as pl

    return found if isinstance(frame, pl.DataFrame) else found.to_pandas()


_ESTIMATE = ("n", "n_left_out", "n_scenes", "accuracy", "stderr", "low", "high")
_COMPARISON = (
    *("n", "n_left_out", "n_scenes", "n_gained", "n_lost"),
    *("difference", "stderr", "low", "high", "p_value", "p_holm"),
)


def _frame(
    rows: Sequence[dict[str, Any]], table: "pl.DataFrame", keys: Sequence[str], columns: Sequence[str]
) -> "pl.DataFrame":
    """Rows as a frame: the columns `keys` of `table`, then counts, whose names begin with "n", and fractions."""
    import polars as pl

    own: dict[str, Any] = {name: table.schema[name] for name in keys}
    numbers: dict[str, Any] = {name: pl.Int64() if name.startswith("n") else pl.Float64() for name in columns}
    return pl.DataFrame(rows, schema=own | numbers)


def _shares(table: "pl.DataFrame", name: str, of: str) -> tuple[Floats, Mask]:
    """A column's values, (n_rows,), 0 where it is null, and where it is not."""
    import polars as pl

    kind = table.schema[of]
    if not (kind == pl.Boolean or kind.is_numeric() or kind == pl.Null):
        raise VtError(f"{name}: column '{of}' is {kind}, expected true and false or numbers from 0 to 1")
    column = table[of].cast(pl.Float64).fill_nan(None)
    values = column.fill_null(0).to_numpy().astype(np.float64)
    if len(values) and not 0 <= values.min() <= values.max() <= 1:
        raise VtError(f"{name}: column '{of}' goes from {values.min():g} to {values.max():g}, expected numbers from 0 to 1")
    return values, column.is_not_null().to_numpy()


def _codes(table: "pl.DataFrame", name: str) -> Codes:
    """The code of each row's group, as `diagnose.grading` numbers them."""
    import polars as pl

    if table["group"].null_count():
        raise VtError(f"{name}: column 'group' has nulls; every row needs what intervals cluster by")
    _, codes = np.unique(np.array(table["group"].cast(pl.String).to_list(), dtype=np.str_), return_inverse=True)
    return codes


def _parts(table: "pl.DataFrame", name: str, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], Mask]]:
    """Every combination of values in the columns `keys`, and the rows that have it, in order of first appearance."""
    if clash := next((key for key in keys if key in (*_ESTIMATE, *_COMPARISON)), None):
        raise VtError(f"{name}: column '{clash}' has the name of one of the results; rename it to break down by it")
    if nested := next((key for key in keys if table.schema[key].is_nested()), None):
        raise VtError(f"{name}: column '{nested}' holds lists, expected single values to break down by")
    if not keys:
        yield {}, np.ones(table.height, dtype=np.bool_)
        return
    rows = table.select(keys).rows()
    number = {row: place for place, row in enumerate(dict.fromkeys(rows))}
    codes = np.array([number[row] for row in rows], dtype=np.int64)
    for row, place in number.items():
        yield dict(zip(keys, row, strict=True)), codes == place


def _columns(name: str, found: Estimate) -> dict[str, float | None]:
    low, high = (None, None) if found.ci95 is None else found.ci95
    return {name: found.value, "stderr": found.stderr, "low": low, "high": high}


def _places(a: Any, b: Any) -> list[int]:
    """For each row of `a` the row of `b` with the same question.

    Raises:
        VtError: they do not hold the same questions, each once.
    """
    content = [column for column in ("gold", "options", "text") if column in a.columns and column in b.columns]
    tables = {name: _polars(frame, name, ["question_id", *content]) for name, frame in (("a", a), ("b", b))}
    ids = {name: table["question_id"].to_list() for name, table in tables.items()}
    places = {name: {each: place for place, each in enumerate(found)} for name, found in ids.items()}
    for name, found in ids.items():
        if len(places[name]) < len(found):
            twice = next(each for place, each in enumerate(found) if places[name][each] != place)
            raise VtError(f"{name}: holds question {twice} more than once; give the rows of one run")
    if places["a"].keys() != places["b"].keys():
        only = [[each for each in ids[one] if each not in places[other]] for one, other in (("a", "b"), ("b", "a"))]
        told = [f"{len(some)} only in {name} (such as {some[0]})" for name, some in zip("ab", only, strict=True) if some]
        raise VtError(
            f"a and b do not hold the same questions: {' and '.join(told)}; keep those of both, "
            "such as a.join(b, on='question_id', how='semi') in polars"
        )
    order = [places["b"][each] for each in ids["a"]]
    for column in content:
        pairs = zip(ids["a"], tables["a"][column].to_list(), tables["b"][order][column].to_list(), strict=True)
        if (other := next((each for each, one, two in pairs if one != two), None)) is not None:
            raise VtError(f"a and b have another {column} for question {other}; they are not about the same data set")
    return order
