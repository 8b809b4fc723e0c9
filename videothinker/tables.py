"""Parquet files whose columns a record declares: written by the declared types, and checked against them when read."""

from collections import Counter
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from videothinker.errors import VtError
from videothinker.outside import TABLE_BYTES, TooLargeError

Row = dict[str, Any]

_BATCH = 1024
"""Rows that are read at a time."""


def to_bytes(rows: Iterable[Row], columns: Mapping[str, str]) -> bytes:
    """The rows as a parquet file; the same rows give the same bytes. columns: Arrow type by name, as records/ declare them."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in columns.items()])
    buffer = BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, write_page_checksum=True)
    return buffer.getvalue()


def read(path: Path, columns: Mapping[str, str], *, more: bool = False) -> list[Row]:
    """The rows of a parquet file; missing values are None.

    more: allow further columns, whatever their type, and return them too.

    Raises:
        VtError: the file is missing, damaged, does not have the columns, or has two of one name; names the file and the
            columns.
    """
    import pyarrow as pa

    try:
        table = _table(path)
    except (OSError, pa.ArrowException, UnicodeDecodeError, OverflowError, TooLargeError) as error:
        raise VtError(f"{path}: cannot be read as parquet: {(str(error).splitlines() or ['it is damaged'])[0]}") from error
    lacking = [name for name in columns if name not in table.column_names]
    others = [name for name in table.column_names if name not in columns]
    if lacking or (others and not more):
        raise VtError(f"{path}: has the columns {', '.join(table.column_names)}, expected {', '.join(columns)}")
    if twice := next((name for name, n in Counter(table.column_names).items() if n > 1), None):
        raise VtError(
            f"{path}: has {table.column_names.count(twice)} columns named {twice!a}, expected one; take the others out"
        )
    for name, kind in columns.items():
        if _plain(found := table.schema.field(name).type) not in (_arrow_type(kind), pa.null()):
            raise VtError(f"{path}: column {name} is of type {found}, expected {kind}")
    try:
        rows: list[Row] = table.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:  # text that is not UTF-8, dates that Python does not have
        raise VtError(f"{path}: cannot be read as parquet: {error}") from error
    return rows


def _table(path: Path) -> Any:
    """The file's columns. They are read piece by piece, because a value that is kept once may stand in any number of rows."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        # A row with no columns, or with nulls alone, takes no bytes of its own; in a list of dicts it takes some hundred.
        if max(sum(group.total_byte_size for group in groups), 100 * file.metadata.num_rows) > TABLE_BYTES:
            raise TooLargeError(f"it holds more than {TABLE_BYTES:,} bytes")
        batches = []
        size = 0
        for batch in file.iter_batches(_BATCH):
            columns = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in batch.columns]
            batch = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
            size += batch.nbytes
            if size > TABLE_BYTES:
                raise TooLargeError(f"it holds more than {TABLE_BYTES:,} bytes")
            batches.append(batch)
        return pa.Table.from_batches(batches) if batches else file.schema_arrow.empty_table()


def joined(letters: tuple[str, ...] | None) -> str | None:
    """("A", "C") -> "A,C"; () -> ""; None stays None. This is how a table holds an answer."""
    return None if letters is None else ",".join(letters)


def parted(text: str | None) -> tuple[str, ...] | None:
    """The answer that `joined` made into `text`."""
    return None if text is None else tuple(text.split(",")) if text else ()


def _plain(kind: Any) -> Any:
    """The type as this module writes it: polars and others write the same values as large strings and large lists."""
    import pyarrow as pa

    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    if kind.startswith("list<"):
        return pa.list_(_arrow_type(kind.removeprefix("list<").removesuffix(">")))
    return {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}[kind]
