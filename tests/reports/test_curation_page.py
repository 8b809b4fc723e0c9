"""The curation report says what the labels say, and chooses its examples well."""

import re
from pathlib import Path

import pytest
from report_factory import Made, make, make_curation, page_data, write_clip

from videothinker.records import Category, Rule, Unresolved
from videothinker.reports.curation import curation_pages, n_films


@pytest.fixture(scope="module")
def made() -> Made:
    return make(60)


@pytest.fixture(scope="module")
def pages(made: Made) -> dict[str, bytes]:
    unresolved = [Unresolved(question_id="9:3", scene_index=9, qid=3, file="annotation_00009.json", reason="no <i>objects</i>")]
    return curation_pages(make_curation(made, unresolved=unresolved))


def test_the_pages_and_figures_are_all_there(pages: dict[str, bytes]) -> None:
    kinds = (".png", ".svg", ".pdf", "-dark.png", "-dark.svg")
    figures = {f"figure-{name}{kind}" for name in ("share", "observer") for kind in kinds}
    assert {name for name in pages if not name.startswith("tables/")} == {"report.html", "report.md"} | figures
    assert {f"tables/{name}.{kind}" for name in ("rules", "letters") for kind in ("tex", "csv")} < set(pages)


def test_the_same_curation_gives_the_same_bytes(made: Made, pages: dict[str, bytes]) -> None:
    again = curation_pages(make_curation(made))
    assert again["report.md"] != pages["report.md"]  # without the unresolved question
    assert again == curation_pages(make_curation(made))


def test_shares_and_counts_are_those_of_the_labels(made: Made, pages: dict[str, bytes]) -> None:
    markdown = pages["report.md"].decode()
    for rule in Rule:
        n = sum(one.category(rule) is Category.OBSERVATIONAL for one in made.every)
        row = next(line for line in markdown.splitlines() if line.startswith(f"| {rule} |"))
        assert f"| {n} | {len(made.every) - n} | {100 * n / len(made.every):.1f}\u00a0% [" in row
    assert "181 counterfactual questions were read: 180 are labelled, and 1 could not be." in markdown


def test_the_overlap_of_the_rules_has_every_question_once(made: Made, pages: dict[str, bytes]) -> None:
    rows = [
        line.split(" | ")
        for line in pages["report.md"].decode().splitlines()
        if line.count("ational | ") + line.count("ferential | ") == 3
    ]
    assert len(rows) == 6
    assert sum(int(row[4]) for row in rows) == 180


def test_the_readings_stand_in_a_table_with_what_is_out_of_view() -> None:
    """Every first collision of a scene is hidden: 60 of them, and labels as the film shows them."""
    made = make(60, hide_first=True)
    curation = make_curation(made)
    pages = curation_pages(curation)
    row = next(
        line for line in pages["report.md"].decode().split("Which reading")[1].splitlines() if line.startswith("| oracle")
    )
    answerable = [one for one in made.every if one.question.gold]
    seen = sum(one.category(Rule.ORACLE) is Category.OBSERVATIONAL for one in answerable)
    logged = curation.curation.manifest["readings"]["observational"]["oracle"]["as_logged"]["with_a_correct_option"]["all"]
    assert row.startswith(f"| oracle | {seen} | {logged} | {100 * seen / len(answerable):.1f}\u00a0% |")
    assert seen != logged
    n_logged = sum(len(scene.collisions) for scene in made.scenes.values())
    assert f"60 of {n_logged} logged collisions are out of view" in pages["report.html"].decode()
    assert "These are other clips" in pages["report.html"].decode()


@pytest.mark.parametrize(
    ("matches", "told"),
    [
        ([], "no reading gives exactly the paper's number"),
        (
            [{"reading": "correct-option", "log": "seen", "questions": "with_a_correct_option"}],
            "exactly the paper's number comes from correct-option by what can be seen of the questions with a correct option",
        ),
    ],
)
def test_the_train_split_says_which_reading_is_the_papers(made: Made, matches: list[dict[str, str]], told: str) -> None:
    curation = make_curation(made)
    curation.curation.manifest["paper"] = {"matches_paper": matches}
    pages = curation_pages(curation)
    assert told in pages["report.md"].decode()
    assert told in pages["report.html"].decode()


def test_the_examples_are_clear_cases(made: Made, pages: dict[str, bytes]) -> None:
    chosen = re.findall(r'data-question="([^"]+)"', pages["report.html"].decode())
    by_id = {one.question.question_id: one for one in made.every}
    seen, needed = (by_id[identity] for identity in chosen)
    assert {seen.category(rule) for rule in Rule} == {Category.OBSERVATIONAL}
    assert seen.observer == seen.question.gold != ()
    assert needed.category(Rule.ORACLE) is Category.INFERENTIAL
    assert not set(needed.observer) <= set(needed.question.gold)  # something was seen that does not happen without the object
    assert set(chosen) <= {question["id"] for question in page_data(pages["report.html"])["questions"]}


def test_the_observer_below_ninety_percent_is_warned_of() -> None:
    weak = curation_pages(make_curation(make(60), Rule.ANY_OPTION))
    strong = curation_pages(make_curation(make(60)))
    assert b"--rule oracle" in weak["report.html"]
    assert b"--rule oracle" in weak["report.md"]
    assert b"--rule oracle" not in strong["report.html"]


def test_the_blind_answer_comes_from_the_train_split_alone() -> None:
    made = make(60)
    twisted = make_curation(made)
    train_only = make_curation(Made(made.scenes, {"train": made.questions["train"]}))

    def blind(pages: dict[str, bytes]) -> str:
        return pages["report.md"].decode().split("**What guessing without any film")[1].split("**Questions by number")[0]

    assert "train split" in blind(curation_pages(twisted))
    dev_only = curation_pages(make_curation(Made(made.scenes, {"dev": made.questions["dev"]})))
    assert "same questions" in blind(dev_only)
    assert blind(curation_pages(twisted)) != blind(curation_pages(train_only))


def test_what_comes_from_files_is_escaped(pages: dict[str, bytes]) -> None:
    assert b"no &lt;i&gt;objects&lt;/i&gt;" in pages["report.html"]
    assert b"no <i>objects" not in pages["report.html"]


def test_clips_are_linked_from_where_the_page_lies(tmp_path: Path, made: Made) -> None:
    question = made.questions["train"][0].question
    write_clip(tmp_path / "clips" / question.clip.path)
    counts: list[int] = []
    curation = make_curation(made, videos_root=tmp_path / "clips")
    html = curation_pages(curation, out=tmp_path / "curated", progress=counts.append)["report.html"]
    data = page_data(html)
    film = data["scenes"][question.group]["film"]
    assert film["clip"] == f"../clips/{question.clip.path}"
    assert len(film["strip"]) == len(data["scenes"][question.group]["captions"])
    assert [scene["film"] for scene in data["scenes"].values()].count(None) == len(data["scenes"]) - 1
    assert b"Film strips of 1 clips" in html
    assert sum(counts) <= n_films(curation)


def test_every_table_can_be_copied(pages: dict[str, bytes]) -> None:
    """Also those with dots, and of what was left out, which are files beside the page too."""
    html = pages["report.html"].decode()
    for name in ("overlap", "unresolved"):
        assert [f'aria-label="Copy {name} as {kind}"' in html for kind in ("LaTeX", "CSV", "Markdown")] == [True] * 3
        assert f"tables/{name}.csv" in pages
    assert html.count("<table") - html.count('id="questions"') == html.count('<div class="copies">')
    assert "9:3,annotation_00009.json,no <i>objects</i>" in pages["tables/unresolved.csv"].decode()
