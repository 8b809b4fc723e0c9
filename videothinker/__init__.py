"""VideoThinker: does my video-language model reason, or does it just look?

The command line is `vt`; notebooks use:

    from videothinker import compare, estimate, load_questions, load_runs
    frame = load_runs("runs")                            # a polars DataFrame, one row a run and question
    frame = load_runs("runs", backend="pandas")
    estimate(frame, by=["run", "category"])              # accuracies with clustered intervals
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videothinker.curated import open_curated
    from videothinker.errors import VtError
    from videothinker.notebook_statistics import compare, estimate
    from videothinker.notebooks import load_labels, load_predictions, load_questions, load_runs

__version__ = "0.1.0"
"""The one place that says it: pyproject.toml reads it from here, so that a source tree on PYTHONPATH needs no metadata."""
__all__ = [
    "VtError",
    "__version__",
    "compare",
    "estimate",
    "load_labels",
    "load_predictions",
    "load_questions",
    "load_runs",
    "open_curated",
]
_MODULES = {
    "VtError": "errors",
    "compare": "notebook_statistics",
    "estimate": "notebook_statistics",
    "load_labels": "notebooks",
    "load_predictions": "notebooks",
    "load_questions": "notebooks",
    "load_runs": "notebooks",
    "open_curated": "curated",
}
"""Which module a name comes from on first use: `vt --help` has no half second for polars and pandas."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'videothinker' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also what is not imported yet, so that names complete with tab."""
    return sorted({*globals(), *__all__})
