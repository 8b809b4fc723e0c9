"""Question sets in Video-R1's form for tests, typed by hand; nothing of the package writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def choice(number: int, clip: str, answer: str = "A", **changes: Any) -> Row:
    """A multiple choice of two options; a change to None takes the field away."""
    row = {
        "problem_id": number,
        "problem": f"What falls first in clip {clip}?",
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": ["A. the cup", "B. the ball"],
        "solution": f"<answer>{answer}</answer>",
        "path": f"./clips/{clip}.mp4",
    }
    return {key: value for key, value in (row | changes).items() if value is not None}


FOUR = ["A. the cup", "B. the ball", "C. the book", "D. the lamp"]

ROWS = [
    choice(1, "a", "A", data_source="Kitchen"),
    choice(2, "a", "B", data_source="Kitchen"),
    choice(3, "b", "A", data_source="Kitchen"),
    choice(4, "b", "A", data_source="Garden"),
    choice(5, "c", "D", options=FOUR, data_source="Garden"),
    choice(6, "d", "C", options=FOUR, data_source="Garden"),
    choice(7, "d", "B", options=FOUR, data_source="Garden"),
    choice(8, "e", "Yes", options=None, problem_type="regression", data_source="Garden"),
    choice(9, "f", "no", options=None, data_source="Garden"),
    choice(10, "f", "about 3", problem_type="free-form", options=None, data_source="Garden"),
]
"""Nine usable questions about the clips a to f: four single choices of two options, three of four, two of yes or no. The last
row wants an answer of another form."""


def write_records(path: Path, rows: Sequence[Any] = ROWS) -> Path:
    """The rows as a JSON list, or as JSON Lines if the file is called so."""
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(list(rows), indent=1))
    return path
