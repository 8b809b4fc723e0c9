"""Between the stages: is a checkpoint the shortcut model that CDPO is to be repelled from?

`judge` is pure. `recipes.gate` measures both checkpoints on the dev split and writes the verdict to the bias model's gate.json:

    {"passed": false, "reasons": ["inferential accuracy fell by 2.1 points, expected 10.0 or more"], "start": {...}, ...}
"""

from collections.abc import Iterator
from pathlib import Path

from videothinker import store
from videothinker.errors import VtError
from videothinker.records import Rule
from videothinker.records.training import GATE, GateMargins, GateVerdict, Measured


def judge(start: Measured, bias: Measured, margins: GateMargins, *, split: str, rule: Rule | None) -> GateVerdict:
    """Compare the bias model with the checkpoint it was trained from, on the same questions."""
    reasons = tuple(_against(start, bias, margins))
    return GateVerdict(passed=not reasons, reasons=reasons, start=start, bias=bias, margins=margins, split=split, rule=rule)


def _against(start: Measured, bias: Measured, margins: GateMargins) -> Iterator[str]:
    for name, n in (("observational", bias.n_observational), ("inferential", bias.n_inferential)):
        if n < margins.least_questions:
            yield f"only {n} {name} questions were answered, expected {margins.least_questions} or more"
    fell = _difference(start.inferential, bias.inferential)
    if fell is not None and fell < margins.inferential_drop:
        yield f"inferential accuracy {_moved(-fell)}, expected a loss of {100 * margins.inferential_drop:.1f} points or more"
    lost = _difference(start.observational, bias.observational)
    if lost is not None and lost > margins.observational_loss:
        most = 100 * margins.observational_loss
        yield f"observational accuracy {_moved(-lost)}, expected a loss of {most:.1f} points at most"
    rose = _difference(bias.shortcut_reliance, start.shortcut_reliance)
    if rose is not None and rose < margins.reliance_rise:
        yield f"shortcut reliance {_moved(rose)}, expected a rise of {100 * margins.reliance_rise:.1f} points or more"


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _moved(by: float) -> str:
    return f"{'rose' if by >= 0 else 'fell'} by {100 * abs(by):.1f} points"


def require_pass(bias_model: str) -> None:
    """Do nothing if the bias model's folder holds a passed gate.

    Raises:
        VtError: it holds none, or a failed one; says how to go on anyway.
    """
    path = Path(bias_model) / GATE
    if not path.is_file():
        raise VtError(
            f"{bias_model}: has no {GATE}, so nothing says that it is a shortcut model; `vt train bias` writes one"
            " (--force goes on)"
        )
    verdict = store.read_json(path, GateVerdict)
    if not verdict.passed:
        raise VtError(f"{path}: {'; '.join(verdict.reasons)}; so it is no shortcut model to be repelled from (--force goes on)")
