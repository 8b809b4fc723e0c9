"""The demo's page: a few answers beside a study's, each with what it rests on."""

from pathlib import Path

import pytest
from quiet_page import needs_chromium, quiet_page
from report_factory import make, make_run
from study_factory import FILE, finish, make_study

from videothinker import store
from videothinker.diagnose.runs import Run
from videothinker.errors import VtError
from videothinker.records.study_results import Results
from videothinker.reports.demo import StudyFindings, demo_page, demo_table, read_study, sample_words
from videothinker.reports.page import estimate
from videothinker.reports.study import study_pages
from videothinker.study.cells import read_records, state_of
from videothinker.study.collect import collect

LINKS = {"The diagnosis": "runs/report.html"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("study")
    study, plan = make_study(folder, FILE)
    questions = make(40, 3).questions["train"]
    for cell in plan:
        finish(cell, folder / "out", questions)
    records = read_records(plan, folder / "out")
    return collect(
        study, plan, folder / "out", {c.name: state_of(c, records[c.name], folder / "out") for c in plan}, records
    ).results


@pytest.fixture(scope="module")
def committed(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report folder as `vt study` writes it."""
    folder = tmp_path_factory.mktemp("committed")
    for name, content in study_pages(results).items():
        store.write_bytes(folder / name, content)
    store.write_json(folder / "results.json", results)
    return folder


@pytest.fixture(scope="module")
def study(committed: Path) -> StudyFindings:
    found = read_study(committed)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    questions = make(20, 2).questions["train"]
    skills = {"base": 0.8, "grpo": 0.7, "bias": 0.3, "cdpo": 0.75, "mine": 0.5}
    made = [make_run(name, questions, skill=skill, shortcut=0.5) for name, skill in skills.items()]
    return [make_run("observer", questions, skill=0, shortcut=1, reference=True), *made]


def test_what_is_told_of_the_study_is_of_its_first_way_of_asking(study: StudyFindings, results: Results) -> None:
    assert results.levels[0].ask == results.study.first_ask
    assert study.n_questions == results.levels[0].n_questions["all"]
    assert [words for _, words in study.verdicts] == [one.decision for one in results.verdicts]


def test_a_line_a_checkpoint_and_none_for_a_reference(runs: list[Run]) -> None:
    table = demo_table(runs)
    assert [row[0] for row in table.rows] == ["base", "grpo", "bias", "cdpo", "mine"]
    for row, run in zip(table.rows, runs[1:], strict=True):
        pools = run.metrics.observational.per_question, run.metrics.inferential.per_question
        assert row[1:] == (*map(estimate, pools), estimate(run.metrics.shortcut_reliance))


def test_the_page_says_how_small_the_sample_is_and_what_the_study_concludes(runs: list[Run], study: StudyFindings) -> None:
    assert sample_words(runs) == "small sample: 32 questions of 16 scenes"  # each once, however many runs were asked it
    page = demo_page(runs, study, source="Made up.", links=LINKS).decode()
    assert "Small sample: 32 questions of 16 scenes" in page
    assert f"asked {study.n_questions:,} questions of 4 seeds" in page
    assert page.count('<img class="light"') == 2
    for text, decision in study.verdicts:
        assert text in page
        assert decision in page
    alone = demo_page(runs, None, source="Made up.", links=LINKS).decode()
    assert alone.count('<img class="light"') == 1
    assert "study" not in alone


def test_no_study_no_figure_and_a_broken_one_is_said(committed: Path, tmp_path: Path) -> None:
    assert read_study(tmp_path) is None
    for path in filter(Path.is_file, committed.iterdir()):
        store.write_bytes(tmp_path / path.name, path.read_bytes())
    store.write_text(tmp_path / "results.json", "{}")
    with pytest.raises(VtError, match=r"results\.json: not as expected"):
        read_study(tmp_path)


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_quiet_and_fits(runs: list[Run], study: StudyFindings, tmp_path: Path, width: int) -> None:
    store.write_bytes(tmp_path / "report.html", demo_page(runs, study, source="Made up.", links=LINKS))
    with quiet_page(tmp_path / "report.html", width) as page:
        figures = page.locator(".beside figure:visible")
        tops = [figures.nth(index).bounding_box()["y"] for index in range(2)]
        assert (tops[0] == tops[1]) is (width == 1280)  # beside one another where there is room
