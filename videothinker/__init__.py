"""VideoThinker: does my video-language model reason, or does it just look?

The command line is `vt`; notebooks use:

    from videothinker import load_labels, load_predictions
    labels = load_labels("curated")                      # a polars DataFrame, one row a question
    labels = load_labels("curated", backend="pandas")
"""

from typing import Any

__version__ = "0.1.0"
"""The one place that says it: pyproject.toml reads it from here, so that a source tree on PYTHONPATH needs no metadata."""
__all__ = ["__version__", "load_labels", "load_predictions"]


def __getattr__(name: str) -> Any:
    """`load_labels` and `load_predictions` on first use: `vt --help` has no half second for polars and pandas."""
    if name in ("load_labels", "load_predictions"):
        from videothinker import notebooks

        return getattr(notebooks, name)
    raise AttributeError(f"module 'videothinker' has no attribute {name!r}")
