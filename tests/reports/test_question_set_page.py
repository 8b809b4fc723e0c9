"""The page of a set without labels: its numbers, worked out by hand."""

from pathlib import Path

from curated_factory import a_choice
from records_factory import write_records
from report_factory import page_data

from videothinker.curate import question_set
from videothinker.curate.datasets import dataset_named
from videothinker.records import Form
from videothinker.reports import question_set as page
from videothinker.reports.page import Table


def cells(table: Table) -> list[tuple[str, ...]]:
    return [tuple(cell.replace("\u00a0", " ") for cell in row) for row in table.rows]


ASKED = [
    a_choice("1", gold="A", n_options=2, group="a", facets={"topic": "x"}),
    a_choice("2", gold="B", n_options=4, group="a", facets={"topic": "x"}),
    a_choice("3", gold="B", n_options=4, group="b"),
    a_choice("4", gold="A", n_options=2, form=Form.YES_NO, group="c", facets={"topic": "y"}),
]


def test_a_facet_has_questions_clips_and_chance() -> None:
    """Topic x: a chance of (1/2 + 1/4) / 2 = 3/8 over one clip. A question without the facet has a row, too."""
    assert cells(page._facet_table("topic", ASKED)) == [
        ("x", "2", "50.0 %", "1", "37.5 %"),
        ("\u2013", "1", "25.0 %", "1", "25.0 %"),
        ("y", "1", "25.0 %", "1", "50.0 %"),
    ]


def test_forms_and_letters() -> None:
    """All: (1/2 + 1/4 + 1/4 + 1/2) / 4 = 3/8. A is correct in 1 of 3, if drawn in (1/2 + 1/4 + 1/4) / 3."""
    assert cells(page._forms_table(ASKED)) == [
        ("choice", "2", "1", "25.0 %", "50.0 %"),
        ("choice", "4", "2", "50.0 %", "25.0 %"),
        ("yes-no", "2", "1", "25.0 %", "50.0 %"),
        ("all", "\u2013", "4", "100.0 %", "37.5 %"),
    ]
    assert cells(page._letters_table(ASKED)) == [
        ("A", "3", "1", "33.3 %", "33.3 %"),
        ("B", "3", "2", "66.7 %", "33.3 %"),
        ("C", "2", "0", "0.0 %", "25.0 %"),
        ("D", "2", "0", "0.0 %", "25.0 %"),
    ]


def test_the_page_can_be_browsed_and_says_what_was_kept_out(tmp_path: Path) -> None:
    source = write_records(tmp_path / "set.json")
    dataset = dataset_named("records")
    settings = question_set.Settings(dataset="records", split="test")
    found = page.question_set_pages(dataset, question_set.curate(dataset, source, None, tmp_path / "out", settings))
    data = page_data(found["report.html"])
    assert [one["id"] for one in data["questions"]] == [str(number) for number in range(1, 10)]
    html, markdown = (found[name].decode() for name in ("report.html", "report.md"))
    for text in (html, markdown):
        assert "needs a form of answer not asked here" in text
        assert "Kitchen" in text
    assert "10 questions were read: 9 can be used, and 1 are kept out" in html
    assert "(correct)" in markdown
