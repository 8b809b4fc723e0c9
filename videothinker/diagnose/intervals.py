"""Temporal grounding as the field reports it: mean IoU, and the share of intervals that overlap by 0.3, 0.5 and 0.7."""

from collections.abc import Mapping, Sequence

import numpy as np

from videothinker.diagnose.estimates import Mask, clustered_share, share
from videothinker.diagnose.grading import Graded
from videothinker.records import Form, Question
from videothinker.records.metrics import IntervalScore

BOUNDS = (0.3, 0.5, 0.7)
"""The overlaps that Charades-STA and ActivityNet Captions are reported at."""


def scores(questions: Sequence[Question], graded: Graded, pools: Mapping[str, Mask]) -> dict[str, IntervalScore]:
    """The scores of each pool that has such questions. `graded` has the questions' answers, in their order."""
    of_form = np.array([one.form is Form.INTERVAL for one in questions], dtype=np.bool_)
    return {name: _score(graded, graded.asked & where & of_form) for name, where in pools.items() if (where & of_form).any()}


def _score(graded: Graded, where: Mask) -> IntervalScore:
    """On some questions, all intervals that were asked; `graded.soft` is their IoU."""
    return IntervalScore(
        n_questions=int(where.sum()),
        n_scenes=len(np.unique(graded.group[where])),
        miou=clustered_share(*share(graded.soft, where), graded.group),
        recall={
            f"{bound:g}": clustered_share(*share((graded.soft >= bound).astype(np.float64), where), graded.group)
            for bound in BOUNDS
        },
    )
