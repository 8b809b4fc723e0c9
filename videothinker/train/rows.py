"""How the questions of a training reach its trainer: in which batches, and announced ahead."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import Sampler

from videothinker.train.data import TrainingRow


class Rows(Sequence[TrainingRow]):
    """A batch that is no list, in which accelerate would look through every row for tensors to move."""

    def __init__(self, rows: list[TrainingRow]) -> None:
        self._rows = rows

    def __getitem__(self, i: Any) -> Any:
        return self._rows[i]

    def __len__(self) -> int:
        return len(self._rows)


class Announced(Sampler[int]):
    """A sampler's indices, two batches of `n_rows` told to `announce` when the first of them begins."""

    def __init__(self, sampler: Any, announce: Callable[[list[int]], None], n_rows: int) -> None:
        self._sampler, self._announce, self._n_rows = sampler, announce, n_rows

    def __iter__(self) -> Iterator[int]:
        order = list(self._sampler)
        for start in range(0, len(order), self._n_rows):
            self._announce(order[start : start + 2 * self._n_rows])
            yield from order[start : start + self._n_rows]

    def __len__(self) -> int:
        return len(self._sampler)
