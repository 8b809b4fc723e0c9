"""The diagnosis report of questions without labels: accuracy against chance, and nothing about categories or an observer."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice
from quiet_page import needs_chromium, quiet_page
from report_factory import make_plain_run, page_data, write_clip

from videothinker import store
from videothinker.curated import Curated, Labels
from videothinker.diagnose.runs import Run, comparisons, references
from videothinker.records import Benchmark, Category, Form, Label, LabelSet, Manifest, Question
from videothinker.reports.diagnosis import diagnosis_pages
from videothinker.reports.page import estimate

BENCHMARK = Benchmark(name="Another", macro_over="domain")


class Reading(HTMLParser):
    """A page's words, its tables as rows of cells, and the names of its controls."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.controls: set[str] = set()
        self._open: list[str] = []
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag in ("script", "style"):
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")
        if tag in ("select", "input"):
            self.controls.add(named.get("name") or "")
        self.words += [text for name in ("alt", "aria-label", "title") if (text := named.get(name))]

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open or not data.strip():
            return
        self.words.append(data.strip())
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data  # an interval is an element of its own


def asked() -> list[Question]:
    """48 questions about 24 clips in two domains: single choices of three and four options, every fourth of yes or no."""
    questions = []
    for number in range(48):
        form = Form.YES_NO if number % 4 == 3 else Form.CHOICE
        one = a_choice(
            str(number),
            gold="ABBA"[number % 4],
            n_options=2 if form is Form.YES_NO else 3 + number % 2,
            form=form,
            group=f"clip-{number // 2}",
            facets={"domain": "Science" if number < 20 else "Arts", "source": "one and the same"},
        )
        questions.append(msgspec.structs.replace(one, options=("yes", "no")) if form is Form.YES_NO else one)
    return questions


@pytest.fixture
def curated(tmp_path: Path) -> Curated:
    """A folder without labels, beside which the clips lie."""
    manifest = Manifest(seed=42, videos_root="../clips", splits={"test": 48}, benchmark=BENCHMARK)
    return Curated(tmp_path / "curated", manifest, tmp_path / "clips")


@pytest.fixture
def runs(curated: Curated) -> list[Run]:
    """Two checkpoints, and the references that a report adds."""
    questions = asked()
    made = [make_plain_run(name, questions, skill=skill, benchmark=BENCHMARK) for name, skill in (("base", 0.4), ("grpo", 0.8))]
    return [*references(made, curated), *made]


@pytest.fixture
def pages(runs: list[Run], curated: Curated, tmp_path: Path) -> dict[str, bytes]:
    return diagnosis_pages(runs, comparisons(runs), curated, out=tmp_path / "runs")


def test_it_says_that_there_are_no_labels_and_speaks_of_no_category(pages: dict[str, bytes]) -> None:
    reading = Reading(pages["report.html"])
    html, markdown = " ".join(reading.words), pages["report.md"].decode()
    assert "These questions have no labels" in " ".join(html.split())
    assert "they have no labels" in markdown
    for text in (html, markdown):
        assert "48 questions of another about 24 clips (split test)" in " ".join(text.split())
        for word in ("None", "nan", "observational", "inferential", "observer", "shortcut", "gap", "counterfactual", "scene"):
            assert not re.search(rf"\b{word}\b", text, re.IGNORECASE), word
    assert not [name for name in pages if "shortcut" in name]


def test_no_table_is_empty_and_none_repeats_the_whole(pages: dict[str, bytes]) -> None:
    reading = Reading(pages["report.html"])
    of_the_browser = [table for table in reading.tables if table[0][0] == "Question"]  # a script fills its list
    assert len(of_the_browser) == 1
    for head, *rows in (table for table in reading.tables if table not in of_the_browser):
        assert rows, head
        assert all(len(row) == len(head) for row in rows), head
        assert all(cell for row in rows for cell in row), head
    firsts = [table[0][1] for table in reading.tables]
    assert "Arts (28 questions)" in firsts
    assert "choice (36 questions)" in firsts
    # Every question has one correct option and one source, so that a table by them would say what the first one says.
    assert not any(re.match(r"(1|one and the same) \(", head) for head in firsts)
    assert not any("Soft" in cell for table in reading.tables for cell in table[0])  # no form here has partial credit


def test_accuracy_stands_beside_chance_and_the_benchmarks_own_number(pages: dict[str, bytes], runs: list[Run]) -> None:
    """Chance: of 48 questions 12 are yes or no (1/2), 24 have 3 options (1/3) and 12 have 4 (1/4): 17/48."""
    table = Reading(pages["report.html"]).tables[0]
    assert table[0] == ["Checkpoint", "Questions", "Right", "Chance", "Another, mean over domain"]
    assert [row[0] for row in table[1:]] == ["base", "grpo", "chance (reference)"]
    for row, run in zip(table[1:3], runs[-2:], strict=True):
        right = run.metrics.all.per_question
        assert row[1:4] == ["48", estimate(right), "35.4\u00a0%"]
    domains = runs[-1].metrics.by_facet["domain"]
    mean = sum(domains[name].per_question.value or 0 for name in ("Science", "Arts")) / 2
    assert table[2][4].startswith(f"{100 * mean:.1f}\u00a0%")
    assert table[3] == ["chance (reference)", "48", "35.4\u00a0%", "35.4\u00a0%", table[3][4]]


def test_the_browser_filters_by_what_there_is(pages: dict[str, bytes]) -> None:
    assert Reading(pages["report.html"]).controls == {
        *("search", "facet:domain", "facet:form", "facet:options"),  # all are of one source, and have one correct option
        *("run:base", "run:grpo", "any", "base", "disagree"),
    }
    assert b"wrong as the observer" not in pages["report.html"]
    data = page_data(pages["report.html"])
    assert (data["rules"], data["rule"], data["scenes"]) == ([], None, {})
    first = data["questions"][0]
    assert (first["clip"], first["observer"], first["happens"], first["why"]) == ("clip-0.mp4", None, None, [])
    assert first["options"] == ["A. event 0", "B. event 1", "C. event 2"]


def test_one_checkpoint_alone_has_nothing_to_compare(runs: list[Run], curated: Curated) -> None:
    pages = diagnosis_pages(runs[:-1], [], curated)
    assert "nothing to compare" in " ".join(Reading(pages["report.html"]).words)
    assert "Changes between" not in pages["report.md"].decode()


def test_a_clip_that_is_there_is_linked(runs: list[Run], curated: Curated, tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "clip-0.mp4", n=8)
    rows = page_data(diagnosis_pages(runs, [], curated, out=tmp_path / "runs")["report.html"])["questions"]
    assert [row["play"] for row in rows[:3]] == [{"strip": None, "clip": "../clips/clip-0.mp4"}] * 2 + [None]


def test_reasons_of_an_observers_labels_are_told_and_others_left_out() -> None:
    """An observer that looked at one frame has labelled the first question alone."""
    questions = asked()[:2]
    row = Label(
        question_id="0",
        observer="one-frame",
        rule="oracle",
        category=Category.INFERENTIAL,
        answer=("B",),
        reason="from one frame it says B",
    )
    labels = Labels([LabelSet("one-frame", "oracle", {"0": row})], None)
    run = make_plain_run("base", questions, skill=1, labels=labels)
    data = page_data(diagnosis_pages([run], [], None)["report.html"])
    assert data["rules"] == ["one-frame/oracle"]
    assert [one["categories"] for one in data["questions"]] == [["inferential"], [None]]
    assert [one["why"] for one in data["questions"]] == [["from one frame it says B"], [None]]


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_quiet_fits_and_filters(runs: list[Run], curated: Curated, tmp_path: Path, width: int) -> None:
    write_clip(tmp_path / "clips" / "clip-0.mp4", n=8)
    pages = diagnosis_pages(runs, comparisons(runs), curated, out=tmp_path / "runs")
    store.write_bytes(tmp_path / "runs" / "report.html", pages["report.html"])
    with quiet_page(tmp_path / "runs" / "report.html", width) as page:
        detail = page.inner_text("#detail")
        assert "What happens in question 0?" in detail
        assert "clip-0.mp4" in detail
        assert "Why it has this label" not in detail
        assert page.locator("#detail video").count() == 1
        page.select_option("[name='run:grpo']", "not-right")
        n_wrong = sum(row.chosen != row.gold for row in runs[-1].predictions)
        assert page.inner_text("#found").startswith(f"{n_wrong} of 48 questions")
