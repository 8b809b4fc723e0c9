"""Draw what trainings logged: `vt train curves`, and what every training draws of itself.

curves.draw([Path("runs/grpo"), Path("runs/cdpo")], Path("curves.html"))
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from videothinker import store
from videothinker.errors import VtError
from videothinker.records.training import METRICS, RUN, TrainRecord
from videothinker.steps import read_steps

CURVES = "curves.html"


def draw(folders: Sequence[Path], to: Path, *, window: int | None = None) -> None:
    """Write the page of the trainings in `folders`, finished or not, to the file `to`.

    window: logged steps that the moving average is over; None leaves that to the page.

    Raises:
        VtError: a folder holds no step of a training, or its run.json is damaged; the page cannot be written.
    """
    from videothinker.reports.training import Trained, training_page

    runs = []
    for name, folder in zip(_names(folders), folders, strict=True):
        if not (steps := read_steps(folder / METRICS)):
            raise VtError(
                f"{folder}: no step of a training has been logged there ({METRICS} is missing or empty); give a folder that"
                " vt train writes to, once its first step is done"
            )
        record = store.read_json(folder / RUN, TrainRecord) if (folder / RUN).is_file() else None
        runs.append(Trained(name, steps, record))
    store.write_bytes(to, training_page(runs, window=window), durable=False)


def draw_own(out: Path, warn: Callable[[str], None]) -> None:
    """Write OUT/curves.html of the training in `out`. Where that fails it warns: no training ends for a picture."""
    try:
        draw([out], out / CURVES)
    except VtError as error:
        warn(f"no curves are drawn: {error}")


def _names(folders: Sequence[Path]) -> list[str]:
    """For each folder its own name, with as many of the folders above as tell it from the others.

    Raises:
        VtError: a folder is given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    for index, one in enumerate(parts):
        if one in parts[:index]:
            raise VtError(f"{folders[index]}: this training is given twice; give each once")
    longest = max(len(one) for one in parts)
    for n in range(1, longest + 1):
        names = ["/".join(one[-n:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
