"""`vt --log-level` and `--quiet`: how much is said beside results and errors."""

import logging
import os
from collections.abc import Callable, Sequence
from enum import StrEnum

from videothinker.cli.console import LOG, notes

LEVEL = "VT_LOG_LEVEL"
"""The environment variable that --log-level overrides; processes that a command starts inherit it."""

LIBRARIES: dict[str, Callable[[str], str]] = {
    "TRANSFORMERS_VERBOSITY": str,
    "HF_HUB_VERBOSITY": str,
    "DATASETS_VERBOSITY": str,
    "ACCELERATE_LOG_LEVEL": str.upper,
    "VLLM_LOGGING_LEVEL": str.upper,
}
"""Where libraries look for their level when they are imported, and how they spell it. Setting these imports none of them."""


class Level(StrEnum):
    """What is said at least."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def set_up(level: Level | None, *, quiet: bool) -> None:
    """Say as much as asked for, in this process and in those that it starts.

    level: of our loggers, of transformers' and trl's, and of everything that logs by Python's `logging`. None: everyone's own
    default; our warnings are shown. quiet: no progress and no notes.
    """
    notes.quiet = quiet
    number = logging.WARNING if level is None else logging.getLevelNamesMapping()[level.upper()]
    LOG.setLevel(number)
    if level is None:
        return
    os.environ |= {LEVEL: level.value, **{name: spelt(level.value) for name, spelt in LIBRARIES.items()}}
    handler = logging.StreamHandler()
    handler.addFilter(_unsaid)
    logging.basicConfig(level=number, format="%(levelname)s %(name)s: %(message)s", handlers=[handler], force=True)
    for name in ("transformers", "trl"):  # whose levels may have been set before, where they are imported already
        logging.getLogger(name).setLevel(number)


def _unsaid(record: logging.LogRecord) -> bool:
    """Whether nobody else says this: transformers writes by a handler of its own, and hands it up as well where CI is set."""
    return not logging.getLogger(record.name.partition(".")[0]).handlers


def without_these(arguments: Sequence[str]) -> list[str]:
    """The arguments of `vt` from its command on, behind the options of `vt` itself."""
    rest = list(arguments)
    while rest and (rest[0].startswith("-") or rest[0] in list(Level)):
        del rest[0]
    return rest
