"""Flipped labels and the tables of docs/probe.md: the scripts' own arithmetic, and that the page says what was measured."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from curated_factory import labels_of, random_questions

from videothinker.errors import VtError
from videothinker.records import Category

ROOT = Path(__file__).parents[1]
PAGE, REPORTS = ROOT / "docs" / "probe.md", ROOT / "reports" / "probe"


@pytest.fixture
def flipping(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/flipping.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("flipped_labels")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/probe_tables.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("probe_tables")


def test_precision_of_a_pool_after_flips(flipping: ModuleType) -> None:
    """Of 1,000 questions 740 are observational. A tenth flipped, 666 stay so called and 26 others come to them; of the 260
    others 234 stay, and 74 come."""
    left = flipping.precision(0.74, 0.1)
    assert left["observational"] == pytest.approx(666 / 692)
    assert left["inferential"] == pytest.approx(234 / 308)
    assert flipping.precision(0.74, 0.0) == {"observational": 1, "inferential": 1}


def test_flips_are_nested_and_as_many_as_was_said(flipping: ModuleType) -> None:
    ids = [f"{n}-0" for n in range(4000)]
    few, some, many = (flipping.flips(ids, share, seed=5) for share in (0.01, 0.03, 0.1))
    assert few < some < many
    assert abs(len(many) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert flipping.flips(ids, 0.0, seed=5) == set()
    assert many != flipping.flips(ids, 0.1, seed=6)


def test_a_flip_turns_the_category_and_leaves_the_observers_answer(flipping: ModuleType) -> None:
    own = labels_of(random_questions(range(60))).own
    assert own is not None
    found = flipping.flipped(own, 0.2, seed=1)
    wrong = flipping.flips(list(own.by_question), 0.2, seed=1)
    assert 0 < len(wrong) < len(own.by_question)
    for name, was in own.by_question.items():
        now = found.by_question[name]
        assert (now.category is not was.category) == (name in wrong)
        assert (now.answer, now.rule) == (was.answer, was.rule)
        assert now.category is not Category.UNSURE


def measured() -> str:
    """The section that was measured, up to the next one or the end."""
    return re.split(r"^## ", PAGE.read_text().split("## Measured\n")[1], flags=re.MULTILINE)[0]


def written(tables: ModuleType) -> list[str]:
    """The blocks of the page that follow from reports/probe/*.json."""
    worlds = [json.loads((REPORTS / f"{name}.json").read_text()) for name in ("clevrer74", "clevrer")]
    flips = json.loads((REPORTS / "flips.json").read_text())
    return [tables.block(one) for one in (*tables.of_quality(worlds), *tables.of_flips(flips))]


def test_the_pages_tables_are_those_of_the_measurement(tables: ModuleType) -> None:
    assert list(tables.blocks_of(PAGE)) == written(tables)


def test_every_decimal_number_in_the_prose_stands_in_a_table_or_in_a_claim(tables: ModuleType) -> None:
    """What was measured has decimals; counts, bounds and costs are whole numbers, and a command's numbers stand apart."""
    prose = re.sub(r"<!-- table .*?<!-- end of table -->", "", measured(), flags=re.DOTALL)
    prose = re.sub(r"^    .*$|`[^`]*`", "", prose, flags=re.MULTILINE)
    claims = (REPORTS / "claims.md").read_text()
    known = set(re.findall(r"\d*\.\d+", "".join(written(tables)) + claims))
    assert set(re.findall(r"\d*\.\d+", prose)) - known == set()


def test_a_page_that_lacks_a_place_is_refused_by_the_tables_name(tables: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    flips = json.loads((REPORTS / "flips.json").read_text())
    with pytest.raises(VtError, match="has 0 places for the table flips-arithmetic"):
        tables.put_in(page, tables.of_flips(flips))


def test_a_faultless_twin_is_the_observer_unless_an_option_names_what_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Object 0 is taken away. Of the first question's options one is about it, and is in the clip: the observer, who leaves it
    out, is right, and the twin is not. The second is about others, whose collision was seen and would not happen; the third's
    happens in both, and is asked for with "will not"."""

    def trace(options: list[tuple[tuple[int, int], bool, bool]], negated: bool, gold: str, observer: str) -> dict[str, Any]:
        told = [{"object_ids": ids, "in_factual": seen, "in_counterfactual": happens} for ids, seen, happens in options]
        more = {"question_id": "0:0", "scene_index": 0, "factual": [], "counterfactual": [], "obs": "", "cf": ""}
        return {**more, "removed_object": 0, "negated": negated, "options": told, "gold": [*gold], "observer": [*observer]}

    traces = [
        trace([((0, 1), True, False), ((1, 2), True, True)], False, "B", "B"),
        trace([((1, 2), True, False)], False, "", "A"),
        trace([((1, 2), True, True), ((2, 3), False, False)], True, "B", "B"),
        trace([((1, 3), False, True)], True, "", "A"),
    ]
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in traces))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    found = importlib.import_module("probe_quality").exact_twin(file)
    assert found == {"agrees": 3 / 4, "precision_inferential": 2 / 3, "names_removed": 1 / 4}


def test_a_benchmarks_command_names_no_folder_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(
        "sys.argv", ["x/ask.py", "--out", "/a/b.json", "--more", "forms=/a/c/base", "--data", "d/e", "--set", "n=3"]
    )
    told = importlib.import_module("results").provenance()["command"]
    assert told == "python benchmarks/ask.py --out b.json --more forms=base --data d/e --set n=3"
