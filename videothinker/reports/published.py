"""What papers print of benchmarks, to stand beside a run's own rows (published.toml). Nothing is computed from it."""

from functools import cache
from importlib import resources

import msgspec


class PublishedTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a paper."""

    source: str
    """The paper and the table's place in it."""
    note: str
    """What its columns are, as far as their names do not say."""
    rows: dict[str, dict[str, float]]
    """Percentages by model, as the paper calls it, and by data set, as `Question.source` calls it."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tables: tuple[PublishedTable, ...]


@cache
def published() -> tuple[PublishedTable, ...]:
    """All tables of the file."""
    text = resources.files("videothinker.reports").joinpath("published.toml").read_bytes()
    return msgspec.toml.decode(text, type=_File).tables
