"""Between the stages: is a checkpoint the shortcut model that CDPO is to be repelled from?

`judge` is pure. `recipes.gate` measures both checkpoints on the dev split and writes the verdict to the bias model's gate.json:

    {"passed": false, "verdict": "no shortcut model", "reasons": ["inferential accuracy fell by 2.1 points (0.4 to 3.8), ...

What counts is how the bias model samples, for CDPO repels from its samples: greedy replies of bias models trained by one recipe
lost 8.7 to 68.0 points on inferential questions, sampled ones 14.4 to 17.6. And a margin is met when the whole interval of a
change lies beyond it: one that reaches across leaves the question open, and says so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Estimate, Rule
from videothinker.records.training import GATE, Changes, GateMargins, GateVerdict, Judged, Measured


def judge(
    start: Measured,
    bias: Measured,
    changes: Changes,
    margins: GateMargins,
    *,
    split: str,
    rule: Rule | None,
    temperature: float,
    fast: bool = False,
) -> GateVerdict:
    """Compare the bias model with the checkpoint it was trained from, on the same questions.

    changes: paired, bias model minus start. temperature: what both were asked at. fast: judge by the values alone, without
    their intervals.
    """
    few = tuple(_too_few(bias, changes, margins, fast=fast))
    refuted, undecided = [], []
    for mark in _marks(changes, margins):
        worse, better = mark.margin(fast=fast) or (0.0, 0.0)  # no questions at all: `few` says so
        if better < 0:
            refuted.append(mark.text(fast=fast))
        elif worse < 0:
            undecided.append(f"{mark.text(fast=fast)}, and that is not shown")
    verdict = Judged.SHORTCUT
    if refuted or undecided or few:
        verdict = Judged.NO_SHORTCUT if refuted and not few else Judged.UNDECIDED
    return GateVerdict(
        passed=verdict is Judged.SHORTCUT,
        verdict=verdict,
        reasons=(*few, *refuted, *undecided),
        start=start,
        bias=bias,
        changes=changes,
        margins=margins,
        split=split,
        rule=rule,
        temperature=temperature,
        fast=fast,
    )


def _too_few(bias: Measured, changes: Changes, margins: GateMargins, *, fast: bool) -> Iterator[str]:
    for name, n in (("observational", bias.n_observational), ("inferential", bias.n_inferential)):
        if n < margins.least_questions:
            yield f"only {n} {name} questions were answered, expected {margins.least_questions} or more"
    if not fast and changes.n_clips < margins.least_clips:
        yield f"a category has questions about only {changes.n_clips} clips, expected {margins.least_clips} or more"


class _Mark(NamedTuple):
    """What a shortcut model shows by one measure."""

    name: str
    change: Estimate
    bound: float
    """The change must be at least this, or at most this."""
    at_least: bool
    expected: str

    def margin(self, *, fast: bool) -> tuple[float, float] | None:
        """How far the ends of the interval are beyond the bound, the worse end first; None if there is nothing to compare."""
        if self.change.value is None:
            return None
        ends = (self.change.value, self.change.value) if fast or self.change.ci95 is None else self.change.ci95
        worse, better = sorted(end - self.bound if self.at_least else self.bound - end for end in ends)
        return worse, better

    def text(self, *, fast: bool) -> str:
        """Such as "inferential accuracy fell by 5.0 points (1.0 to 9.0), expected a loss of 10.0 points or more"."""
        assert self.change.value is not None
        sign = 1 if self.change.value >= 0 else -1
        moved = f"{'rose' if sign > 0 else 'fell'} by {100 * abs(self.change.value):.1f} points"
        if self.change.value == 0:
            moved = "did not change"
        if not fast and self.change.ci95 is not None:
            low, high = sorted(100 * sign * end for end in self.change.ci95)
            moved += f" ({low:.1f} to {high:.1f})"
        return f"{self.name} {moved}, expected {self.expected}"


def _marks(changes: Changes, margins: GateMargins) -> Iterator[_Mark]:
    drop, loss, rise = margins.inferential_drop, margins.observational_loss, margins.reliance_rise
    yield _Mark("inferential accuracy", changes.inferential, -drop, False, f"a loss of {100 * drop:.1f} points or more")
    yield _Mark("observational accuracy", changes.observational, -loss, True, f"a loss of {100 * loss:.1f} points at most")
    yield _Mark("shortcut reliance", changes.shortcut_reliance, rise, True, f"a rise of {100 * rise:.1f} points or more")


def require_pass(bias_model: str) -> GateVerdict:
    """The passed gate in the bias model's folder.

    Raises:
        VtError: there is none, or the bias model did not pass; says how to go on anyway.
    """
    path = Path(bias_model) / GATE
    if not path.is_file():
        raise VtError(
            f"{bias_model}: has no {GATE}, so nothing says that it is a shortcut model; `vt train bias` writes one"
            " (--force goes on)"
        )
    verdict = store.read_json(path, GateVerdict)
    if not verdict.passed:
        judged = verdict.verdict or Judged.NO_SHORTCUT
        raise VtError(f"{path}: {judged.value}: {'; '.join(verdict.reasons)} (--force goes on)")
    return verdict
