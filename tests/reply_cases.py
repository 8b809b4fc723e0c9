"""The hand-written replies of data/replies.json by form of answer, and a source of random ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from videothinker.answers import FORMS
from videothinker.records import Form

Case = dict[str, Any]
_CASES: list[Case] = json.loads((Path(__file__).parent / "data" / "replies.json").read_text())

PIECES = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            [
                "<think>",
                "</think>",
                "<answer>",
                "</answer>",
                "\\boxed{",
                "}",
                "A",
                "c",
                "E.",
                ", ",
                " and ",
                "none",
                "yes",
                "No.",
                "\n",
                "The answer is ",
            ]
        ),
    ),
    max_size=12,
).map("".join)
"""Texts of what replies are made of, in any order."""


def cases(form: Form) -> pytest.MarkDecorator:
    """Parametrizes a test by the cases of one form; those that name none are about sets of letters."""
    found = [case for case in _CASES if case.get("form", Form.LETTERS) == form]
    return pytest.mark.parametrize("case", found, ids=lambda case: repr(case["reply"]))


def check(form: Form, case: Case) -> None:
    """The reply is read as the case says."""
    expected = None if case["answer"] is None else tuple(case["answer"])
    assert FORMS[form].parse(case["reply"], case["n_options"]) == expected, case["why"]
