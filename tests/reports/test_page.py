"""How numbers and tables are written."""

import json

import pytest

from videothinker.records import Estimate
from videothinker.reports import page
from videothinker.reports.tables import Table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Estimate(0.7402, 0.01, (0.7206, 0.7598)), "74.0\u00a0% [72.1, 76.0]"),
        (Estimate(0.01, 0.02, (-0.0292, 0.0492)), "1.0\u00a0% [0.0, 4.9]"),
        (Estimate(0.98, 0.02, (0.9408, 1.0192)), "98.0\u00a0% [94.1, 100.0]"),
        (Estimate(0.5, None, None), "50.0\u00a0%"),
        (Estimate(None, None, None), "\u2013"),
    ],
)
def test_an_estimate_shows_its_interval_or_a_dash(value: Estimate, text: str) -> None:
    assert page.estimate(value) == text


def test_differences_are_signed_points() -> None:
    assert page.points(Estimate(-0.0472, 0.01, (-0.0668, 0.0001))) == "\u22124.7 [\u22126.7, 0.0]"
    assert page.points(Estimate(None, None, None)) == "\u2013"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "< 0.001"), (0.0123, "0.012"), (0.6, "0.60"), (1.0, "1.00"), (None, "\u2013")]
)
def test_p_values_show_the_digits_that_matter(p: float | None, text: str) -> None:
    assert page.p_value(p) == text


def test_no_answer_is_not_none_of_them() -> None:
    assert page.letters(None) == "unreadable"
    assert page.letters(()) == "none"
    assert page.ticked(()) == "no option"
    assert page.ticked(("A", "B", "D")) == "A, B and D"


def test_a_table_in_markdown_escapes_bars_and_sets_numbers_right() -> None:
    table = Table("t", "Caption.", ("Name", "Score", "Note"), [("a|b", "74.0\u00a0% [72.1, 76.0]", "x"), ("c", "\u2013", "1")])
    assert table.is_numeric == (False, True, False)
    assert table.markdown().splitlines()[2:] == [
        "| Name | Score | Note |",
        "| :--- | ---: | :--- |",
        "| a\\|b | 74.0\u00a0% [72.1, 76.0] | x |",
        "| c | \u2013 | 1 |",
    ]


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = page.script_json({"reply": "</script><script>alert(1)</script><!--"})
    assert "<" not in text
    assert json.loads(text)["reply"].startswith("</script>")


def test_nested_settings_become_rows() -> None:
    settings = {"seed": 42, "data": {"split": "dev", "none": None}, "long": list(range(30)), "empty": {}}
    rows = [(key, page.value_text(value)) for key, value in page.leaves(settings)]
    assert rows == [("seed", "42"), ("data.split", "dev"), ("data.none", "\u2013"), ("long", "30 entries"), ("empty", "\u2013")]
    claims = {"claims": [{"text": "a"}, {"text": "b", "holds": ["x < y", "x < z"]}], "none": [{}, {"a": None}]}
    assert list(page.leaves(claims)) == [
        ("claims.1.text", "a"),
        ("claims.2.text", "b"),
        ("claims.2.holds", ["x < y", "x < z"]),
        ("none.1", {}),
        ("none.2.a", None),
    ]
