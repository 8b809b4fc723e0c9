"""The notebook of the docs still gives the outputs that lie in it, and tells nothing of the machine that it ran on."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks-example.ipynb"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def script(path: str) -> Any:
    """A file of docs/, imported."""
    found = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def outputs(notebook: Any) -> list[list[tuple[str, str]]]:
    """Of every cell its outputs as (kind, text); a picture has no text to compare."""
    found = []
    for cell in notebook["cells"]:
        said = []
        for output in cell.get("outputs", ()):
            data = output.get("data", {"stream": output.get("text", "")})
            kind = next(each for each in ("image/png", "text/plain", "stream") if each in data)
            said.append((kind, "" if kind == "image/png" else "".join(data[kind])))
        found.append(said)
    return found


def same(one: str, other: str) -> bool:
    """Whether two texts have the same words, and the same numbers up to the last digit shown."""
    ours, theirs = ([float(each) for each in NUMBER.findall(text)] for text in (one, other))
    words = [re.findall(r"[^\s]+", NUMBER.sub("#", text)) for text in (one, other)]
    return words[0] == words[1] and ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)


def test_the_notebook_gives_the_outputs_that_lie_in_it() -> None:
    run = script("docs/notebooks_run.py")
    then, now = outputs(run.nbformat.read(NOTEBOOK, as_version=4)), outputs(run.executed())
    assert [[kind for kind, _ in each] for each in then] == [[kind for kind, _ in each] for each in now]
    for place, (before, after) in enumerate(zip(then, now, strict=True)):
        for (_, one), (_, other) in zip(before, after, strict=True):
            assert same(one, other), f"cell {place}: {NOTEBOOK.name} has\n{one}\nand now it is\n{other}\nrun `make notebook`"
    assert sum(kind == "text/plain" for each in then for kind, _ in each) >= 7
    assert ("image/png", "") in [said for each in then for said in each]


def test_texts_are_the_same_up_to_the_last_digit() -> None:
    assert same("a  0.5971\n1e-8", "a 0.5972 1e-8")
    assert not same("a 0.597", "a 0.591")
    assert not same("a 1.000", "b 1.000")
    assert not same("a 1 2", "a 1")


def test_the_notebook_names_no_place_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert sys.prefix not in text
    assert re.findall(r"(?:/tmp|/home|/root|/Users|/work)\b", text) == []
