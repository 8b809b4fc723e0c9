"""Read CLEVRER's release: annotations and questions with programs become questions, labelled by the collision log."""

from collections.abc import Sequence

from videothinker.curate.datasets import Dataset, ReadQuestions, Table, Wishes
from videothinker.errors import VtError


def _read(tables: Sequence[Table], wishes: Wishes) -> ReadQuestions:
    raise VtError("CLEVRER needs annotations beside its questions; use `vt curate clevrer --annotations ... --questions ...`")


ABOUT = Dataset(
    name="CLEVRER",
    what="what would happen, or would not, if an object were not there; with labels by the collision log",
    needs="--annotations (folder or zip) and --questions (train.json or validation.json) instead of --from",
    origin="clevrer.csail.mit.edu",
    size="18,642 counterfactual questions in train.json; 15,000 clips of 5 s; about 30 GB with validation",
    licence="CC0",
    split="train",
    read=_read,
    n_published=18_642,
)
"""What `vt curate list` says about CLEVRER; its own command reads it."""
