"""The settings of a curation of CLEVRER: all that changes its data, with bounds and the reason for each default."""

import re
from typing import Any

import msgspec

from videothinker.curate.export import Export
from videothinker.curate.split import DEV
from videothinker.curated import TRAIN
from videothinker.errors import VtError
from videothinker.records import Rule

_TAKEN = frozenset({"manifest", "report"})
"""Names that no split can have, because other files of the folder have them."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What changes the curated data. It is written to the manifest, and curating into the same folder again needs the same."""

    rule: Rule = Rule.ORACLE
    """The rule that `category` follows. Only under the default does watching answer all that is observational."""
    seed: int = 42
    """Seed of every hash: which scenes are "dev", which questions the training set takes first. 42 as in the official code."""
    dev_share: float = 0.1
    """Share of the scenes that becomes "dev", 0 <= share < 1; it has no effect if `split` is set."""
    split: str | None = None
    """Put every scene into this one split; None makes "train" and "dev"."""
    train_size: int | None = None
    """Size of the training set; None takes everything in "train", or as much as `observational_share` allows."""
    observational_share: float | None = None
    """Share of observational questions in the training set, 0 to 1; None leaves it as it comes. The paper's is 0.74."""
    exports: tuple[Export, ...] = ()
    save_dataset: bool = False

    def check(self) -> None:
        """Raise a VtError that lists all values that are out of bounds."""
        wrong = []
        if not 0 <= self.dev_share < 1:
            wrong.append(f"--dev-share {self.dev_share:g} is not in [0, 1)")
        if self.train_size is not None and self.train_size < 1:
            wrong.append(f"--train-size {self.train_size} is not positive")
        if self.observational_share is not None and not 0 <= self.observational_share <= 1:
            wrong.append(f"--observational-share {self.observational_share:g} is not in [0, 1]")
        if self.split is not None and self.split != TRAIN:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", self.split):
                wrong.append(f"--split '{self.split}' is no file name: use letters, digits, _ and -")
            if self.split.startswith("train_") or self.split in _TAKEN:
                wrong.append(f"--split '{self.split}' is the name of another file of the folder")
            if self.train_size is not None or self.observational_share is not None:
                wrong.append(
                    f"--train-size and --observational-share make a training set, and --split {self.split} leaves none"
                )
        if wrong:
            raise VtError("; ".join(wrong))

    def as_json(self) -> dict[str, Any]:
        """The settings as the manifest holds them."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain

    def split_names(self) -> tuple[str, ...]:
        """The splits that scenes may fall into."""
        return (self.split,) if self.split else (TRAIN, DEV)
