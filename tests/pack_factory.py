"""Studies whose trainings have tiny weights, to be packed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from report_factory import make
from safetensors.torch import save_file
from study_factory import FILE, finish, make_study

from videothinker import store
from videothinker.records.study import Study
from videothinker.records.study_cells import State
from videothinker.study.cells import read_records, states_of
from videothinker.study.plan import Cell, Kind, cell_folder

SMALL = FILE.replace("seeds = [1, 2, 3, 4]", "seeds = [1, 2]")


def weights(number: float) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.full((8, 4), number, dtype=torch.bfloat16), "b.weight": torch.ones(3, dtype=torch.bfloat16)}


def checkpoint(folder: Path, number: float) -> None:
    store.write_json(folder / "config.json", {"model_type": "made-up"})
    save_file(weights(number), folder / "model.safetensors", metadata={"format": "pt"})


def made_study(folder: Path, unfinished: Sequence[str] = ()) -> tuple[Study, tuple[Cell, ...]]:
    """All cells finished but some, trainings with weights, in folder/out; the start model in folder/base."""
    study, plan = make_study(folder, SMALL.replace('model = "lab/tiny"', f'model = "{folder}/base"'))
    checkpoint(folder / "base", 0.5)
    questions = make(60, 3).questions["train"]
    for number, cell in enumerate(plan):
        if cell.name not in unfinished:
            finish(cell, folder / "out", questions)
            if cell.kind is Kind.TRAIN:
                checkpoint(cell_folder(folder / "out", cell.name), 0.5 + number / 64)
    return study, plan


def look(plan: tuple[Cell, ...], folder: Path) -> dict[str, State]:
    return states_of(plan, read_records(plan, folder), folder)
