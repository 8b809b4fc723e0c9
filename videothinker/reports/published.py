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
    questions: dict[str, tuple[int, ...]]
    """By data set, as `Question.source` calls it, how many questions the numbers can be about."""
    rows: dict[str, dict[str, float]]
    """Percentages by model, as the paper calls it, and by data set, as `Question.source` calls it."""

    def is_about(self, source: str, n_questions: int) -> bool:
        """Whether a set of so many questions can be the one that the numbers are about.

        Another split, a set that was cut or recast, and a generated world have other numbers of questions. Rows that were lost
        and ways of counting come to no more than a hundredth.
        """
        return any(abs(n_questions - n) <= n / 100 for n in self.questions.get(source, ()))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tables: tuple[PublishedTable, ...]


@cache
def published() -> tuple[PublishedTable, ...]:
    """All tables of the file."""
    text = resources.files("videothinker.reports").joinpath("published.toml").read_bytes()
    return msgspec.toml.decode(text, type=_File).tables
