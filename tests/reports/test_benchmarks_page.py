"""The page on several data sets: its table with references and published rows, breakdowns, copies of every table."""

import re
from pathlib import Path

import msgspec
import pytest
from curated_factory import a_choice, random_questions, write_curated, write_unlabelled
from quiet_page import needs_chromium, quiet_page
from report_factory import make_plain_run, make_run

from videothinker import store
from videothinker.diagnose.benchmarks import Asked, summarize
from videothinker.diagnose.readings import scores
from videothinker.diagnose.runs import read_by_all, references
from videothinker.records import Benchmark
from videothinker.reports.benchmarks import benchmarks_pages
from videothinker.reports.page import estimate, percent
from videothinker.reports.published import published

TASKS = Benchmark(name="MVBench", macro_over="task")
NAMES = ("base & co", "grpo_50%", "ours")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """CLEVRER with labels, MVBench by two tasks of unequal size, and a set of which no paper has a number."""
    folder = tmp_path_factory.mktemp("sets")
    labelled = {"train": random_questions(range(8), seed=1), "dev": random_questions(range(100, 130), seed=2)}
    clevrer = write_curated(folder / "clevrer", labelled)
    skills = dict(zip(NAMES, (0.3, 0.5, 0.8), strict=True))
    asked = [make_run(name, labelled["dev"], skill=skill, shortcut=0.5) for name, skill in skills.items()]
    found = {"clevrer": Asked(clevrer, asked, references(asked, clevrer))}
    for name, source, benchmark in (("MV bench", "MVBench", TASKS), ("home", "another", None)):
        questions = [
            msgspec.structs.replace(
                a_choice(f"{name}{i}", facets={"task": "order" if i < 30 else "count|x"}, group=f"{i // 2}"), source=source
            )
            for i in range(40)
        ]
        curated = write_unlabelled(folder / name, {"test": questions}, benchmark=benchmark)
        plain = [make_plain_run(each, questions, skill=skill, benchmark=benchmark) for each, skill in skills.items()]
        found[name] = Asked(curated, plain[:2] if name == "home" else plain, references(plain, curated))
    return found


@pytest.fixture(scope="module")
def pages(sets: dict[str, Asked]) -> dict[str, bytes]:
    """The page, where the paper's sets are as large as these: 90 and 40 questions."""
    (table,) = published()
    with pytest.MonkeyPatch.context() as patch:
        small = msgspec.structs.replace(table, questions={"CLEVRER": (90,), "MVBench": (40,)})
        patch.setattr("videothinker.reports.benchmarks.published", lambda: (small,))
        return benchmarks_pages(summarize(sets), sets)


def markdown_rows(pages: dict[str, bytes], head: str) -> list[list[str]]:
    """The rows of the table in report.md whose head begins with `head`."""
    lines = pages["report.md"].decode().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(head))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def test_the_table_has_each_sets_own_mean_and_over_questions_where_they_differ(
    pages: dict[str, bytes], sets: dict[str, Asked]
) -> None:
    head = "| Checkpoint | clevrer | MV bench, mean over task | MV bench, over questions | home | Average |"
    rows = {row[0]: row[1:] for row in markdown_rows(pages, head)}
    run = sets["MV bench"].runs[0]
    assert run.metrics.benchmark is not None
    assert rows[NAMES[0]][1].startswith(f"{percent(run.metrics.benchmark.value)} [")
    assert rows[NAMES[0]][2] == estimate(run.metrics.all.per_question)
    assert rows["chance (reference)"][1:] == ["25.0\u00a0%", "25.0\u00a0%", "25.0\u00a0%", "\u2013"]
    assert rows["observer (reference)"][1:] == ["\u2013"] * 4


def test_the_average_is_there_only_for_those_who_have_all_sets(pages: dict[str, bytes], sets: dict[str, Asked]) -> None:
    rows = {row[0]: row[1:] for row in markdown_rows(pages, "| Checkpoint | clevrer")}
    values = [score.value for score in summarize(sets).checkpoints[NAMES[0]].values()]
    assert rows[NAMES[0]][-1] == percent(sum(value or 0 for value in values) / 3)
    assert rows["ours"][-2:] == ["\u2013", "\u2013"]


def test_published_rows_are_marked_shown_for_their_own_sets_alone_and_counted_nowhere(pages: dict[str, bytes]) -> None:
    rows = {row[0]: row[1:] for row in markdown_rows(pages, "| Checkpoint | clevrer")}
    assert rows["VideoThinker-R1 (3B) (published)"] == ["79.1\u00a0%", "60.9\u00a0%", "\u2013", "\u2013", "\u2013"]
    assert rows["Video-UTR-7B (published)"][:2] == ["\u2013", "58.8\u00a0%"]
    changed = markdown_rows(pages, "| Checkpoint | clevrer | MV bench | home |")
    assert [row[0] for row in changed] == [*NAMES[1:]]
    assert "arXiv 2605.01324" in pages["report.html"].decode()


def test_no_paper_is_shown_beside_sets_that_it_does_not_have(sets: dict[str, Asked]) -> None:
    home = {"home": sets["home"]}
    found = benchmarks_pages(summarize(home), home)["report.md"]
    assert b"published" not in found
    assert b"arXiv" not in found


def test_a_set_of_other_questions_has_no_published_number_whatever_it_is_called(sets: dict[str, Asked]) -> None:
    """A generated world is CLEVRER by name, too."""
    (table,) = published()
    small = msgspec.structs.replace(table, questions={"CLEVRER": (9333,), "MVBench": (40,)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("videothinker.reports.benchmarks.published", lambda: (small,))
        pages = benchmarks_pages(summarize(sets), sets)
    rows = {row[0]: row[1:] for row in markdown_rows(pages, "| Checkpoint | clevrer")}
    assert rows["VideoThinker-R1 (3B) (published)"] == ["\u2013", "60.9\u00a0%", "\u2013", "\u2013", "\u2013"]
    told = "main table: clevrer (90 questions here, about 9,333 of CLEVRER there)."
    assert told in pages["report.md"].decode()
    assert told in pages["report.html"].decode()
    none = benchmarks_pages(summarize({"clevrer": sets["clevrer"]}), {"clevrer": sets["clevrer"]})["report.md"].decode()
    assert "(published)" not in none
    assert "Published:" not in none
    assert told in none


@pytest.mark.parametrize(
    ("n", "is_about"), [(4000, True), (3986, True), (3960, True), (3959, False), (3586, False), (22, False)]
)
def test_a_hundredth_of_the_questions_may_be_missing_beside_a_published_number(n: int, is_about: bool) -> None:
    (table,) = published()
    assert table.is_about("MVBench", n) is is_about
    assert not table.is_about("LongVideoBench", n)


def test_the_published_file_has_the_papers_table() -> None:
    (table,) = published()
    assert len(table.rows) == 5
    assert table.rows["Qwen2.5-VL-GRPO"] == {
        **{"CLEVRER": 64.9, "MMVU": 52.0, "Video-Holmes": 32.3},
        **{"MVBench": 54.9, "TempCompass": 41.4, "Video-MME": 50.3},
    }
    assert set(table.questions) == set(table.rows["Qwen2.5-VL-GRPO"])
    assert set(table.rows["Video-UTR-7B"]) == {"MVBench", "TempCompass", "Video-MME"}


def test_facets_have_their_values_in_rows_and_labels_their_gap(pages: dict[str, bytes], sets: dict[str, Asked]) -> None:
    count, order = markdown_rows(pages, "| Task | Questions | Chance | base & co | grpo_50% | ours |")
    assert (count[:3], order[:3]) == (["count|x", "10", "25.0\u00a0%"], ["order", "30", "25.0\u00a0%"])
    pools = sets["MV bench"].runs[2].metrics.by_facet["task"]
    assert order[5] == estimate(pools["order"].per_question)
    kinds = markdown_rows(pages, "| Category | Questions")
    assert [row[0] for row in kinds] == ["observational", "inferential", "gap"]
    n = sets["clevrer"].runs[0].metrics.observational.n_questions
    assert kinds[0][1] == str(n)


def test_replies_are_shown_as_every_protocol_reads_them(sets: dict[str, Asked]) -> None:
    readings = {name: [row for each in read_by_all(one.runs) for row in scores(each)] for name, one in sets.items()}
    found = benchmarks_pages(summarize(sets, read_by="lmms-eval"), sets, readings=readings)
    rows = {(row[0], row[1]): row[2:] for row in markdown_rows(found, "| Checkpoint | Data set | Questions of | ours |")}
    assert len(rows) == 3 + 3 + 2
    run = sets["MV bench"].runs[1]
    assert rows[run.name, "MV bench"][:2] == ["MVBench", estimate(run.metrics.all.per_question)]
    assert "read by the protocol <strong>lmms-eval</strong>" in found["report.html"].decode()
    assert b"read in different ways" not in benchmarks_pages(summarize(sets), sets)["report.html"]


def test_every_table_has_its_files_and_names_are_those_of_no_path(pages: dict[str, bytes]) -> None:
    stems = {name.removeprefix("tables/").removesuffix(".tex") for name in pages if name.endswith(".tex")}
    assert stems == {
        *("benchmarks", "set-changes", "set-tests", "replies", "clevrer-by-oracle", "clevrer-by-polarity"),
        *("MV-bench-by-task-5fcc798b", "home-by-task"),
    }
    assert {name.removesuffix(".csv") for name in pages if name.endswith(".csv")} == {f"tables/{stem}" for stem in stems}
    latex = pages["tables/benchmarks.tex"].decode()
    assert r"base \& co & " in latex
    assert r"grpo\_50\% & " in latex
    assert latex.count(r"\midrule") == 3  # below the head, above the references and above the published rows


def test_one_checkpoint_has_nothing_to_compare_and_many_have_no_figure(sets: dict[str, Asked]) -> None:
    alone = {"home": sets["home"]._replace(runs=sets["home"].runs[:1])}
    found = benchmarks_pages(summarize(alone), alone)
    assert b"nothing to compare" in found["report.html"]
    assert b"Average" not in found["report.md"]
    assert "figure-benchmarks.svg" in found
    run = sets["home"].runs[0]
    many = {"home": sets["home"]._replace(runs=[run._replace(name=f"{name}") for name in "abcde"])}
    assert not [name for name in benchmarks_pages(summarize(many), many) if name.startswith("figure")]


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_quiet_copies_its_tables_and_keeps_the_names_in_sight(
    pages: dict[str, bytes], tmp_path: Path, width: int
) -> None:
    for name, content in pages.items():
        store.write_bytes(tmp_path / name, content)
    with quiet_page(tmp_path / "report.html", width) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        for number, name in enumerate(("tables/benchmarks.tex", "tables/benchmarks.csv")):
            page.locator(".copies").first.locator("button").nth(number).click()
            page.locator(".copies").first.get_by_text("copied").wait_for()
            copied = page.evaluate("navigator.clipboard.readText()")
            assert copied.split() == pages[name].decode().split()
        if width < 1000:
            names = page.locator(".table-benchmarks tbody th").first
            before = names.bounding_box()
            page.locator(".scroll").first.evaluate("box => { box.scrollLeft = 200; }")
            assert names.bounding_box() == before
            assert page.locator(".scroll").first.evaluate("box => box.scrollLeft") == 200
