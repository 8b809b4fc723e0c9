"""Execute docs/notebooks-example.ipynb afresh and write it with its outputs; `make notebook`.

    .venv/bin/python docs/notebooks_run.py

It runs in an empty folder beside a link to data/, and keeps nothing that depends on the machine or the time.
"""

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebooks-example.ipynb"
_SECONDS = 120
"""Limit for one cell."""


def executed() -> Any:
    """The notebook with the outputs of a fresh kernel.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data").symlink_to(ROOT / "data")
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=_SECONDS, kernel_name="python3", resources=resources, record_timing=False).execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(), NOTEBOOK)
