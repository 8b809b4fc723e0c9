"""The page of a study: claims and verdicts, failed and diverged runs as rows, the same bytes twice, quiet in Chromium."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from quiet_page import needs_chromium, quiet_page
from report_factory import make
from study_factory import FILE, finish, make_study
from trained import a_gate

from videothinker import store
from videothinker.records.study_cells import Record, State
from videothinker.records.study_results import Results
from videothinker.reports.study import study_pages
from videothinker.study.cells import read_records, state_of
from videothinker.study.collect import collect
from videothinker.study.plan import cell_folder

ROOT = Path(__file__).parents[2]
ATTACK = "<img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All cells finished but for attract-s2, which has failed, and what stands on it."""
    folder = tmp_path_factory.mktemp("study")
    study, plan = make_study(folder, FILE)
    out = folder / "out"
    questions = make(60, 3).questions["train"]
    for cell in plan:
        if "attract-s2" not in cell.name:
            finish(cell, out, questions)
    cells = {cell.name: cell for cell in plan}
    store.write_json(cell_folder(out, "bias-s3") / "gate.json", a_gate("it reasons"))
    failed = Record(identity=cells["attract-s2"].identity, state=State.FAILED, command="vt train cdpo", returncode=1)
    records = {**read_records(plan, out), "attract-s2": msgspec.structs.replace(failed, tail=("Traceback", ATTACK))}
    states = {cell.name: state_of(cell, records.get(cell.name), out) for cell in plan}
    states |= {"greedy.attract-s2": State.BLOCKED, "sampled.attract-s2": State.BLOCKED}
    return collect(study, plan, out, states, records).results


@pytest.fixture(scope="module")
def pages(results: Results) -> Mapping[str, bytes]:
    """The study's files, drawn once: they are what takes the time of these tests."""
    return MappingProxyType(study_pages(results))


def test_every_run_and_every_claim_has_its_place(results: Results, pages: Mapping[str, bytes]) -> None:
    markdown = pages["report.md"].decode()
    for claim in results.verdicts:
        assert f"**{claim.claim.text}: {claim.decision}.**" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    by_run = {row.split(" | ")[0].strip("| "): row for row in rows}
    assert {one.name for one in results.trainings} <= by_run.keys()
    assert "| diverged |" in by_run["repel-start-s2"]
    assert "| failed |" in by_run["attract-s2"]
    assert "gate not passed" in by_run["bias-s3"]
    assert "**bias-s3** did not pass its gate: it reasons" in markdown
    assert "replies have grown from 24 to 41 tokens" in markdown
    assert "attract (seed 2) was not trained: failed" in markdown
    assert {f"figure-{name}.svg" for name in ("accuracy", "differences", "shortcut", "curves")} <= pages.keys()


def test_an_interval_over_seeds_is_shown_only_where_there_are_two(pages: Mapping[str, bytes]) -> None:
    markdown = pages["report.md"].decode()
    part = markdown[markdown.index("Differences in percentage points") :]
    row = next(line for line in part.splitlines() if line.startswith("| attract \u2212 cdpo"))
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert cells[1] == "1"
    assert cells[3] == cells[5] == cells[7] == "\u2013"
    assert "\u00b1" in next(line for line in part.splitlines() if line.startswith("| cdpo \u2212 grpo"))


def test_a_sweep_stands_in_the_order_of_its_numbers_with_the_values_of_its_arms(
    results: Results, pages: Mapping[str, bytes]
) -> None:
    assert {"figure-sweep-1.svg", "figure-sweep-1-dark.png"} <= pages.keys()
    said = next(line for line in pages["report.md"].decode().splitlines() if "(figure-sweep-1.svg)" in line)
    levels = {level.arm: level for level in results.levels if level.ask == "greedy" and level.rule == results.study.rule}
    shares = [levels[arm].measures["inferential"].seeds.value for arm in ("grpo", "cdpo", "repulsion-03")]
    words = [f"{100 * share:.1f} % at {x}" for share, x in zip(shares, ("0", "0.01", "0.03"), strict=True) if share is not None]
    assert len(words) == 3
    assert f"inferential (%): {', '.join(words)};" in said


def test_what_a_process_printed_stays_text(pages: Mapping[str, bytes]) -> None:
    page = pages["report.html"].decode()
    assert ATTACK not in page
    assert "&lt;img src=x" in page


def test_the_same_results_give_the_same_bytes(results: Results, pages: Mapping[str, bytes]) -> None:
    assert study_pages(results) == pages


def test_a_study_of_which_nothing_has_run_has_a_page(tmp_path: Path) -> None:
    study, plan = make_study(tmp_path)
    nothing = collect(study, plan, tmp_path / "out", dict.fromkeys((cell.name for cell in plan), State.WAITING), {}).results
    page = study_pages(nothing)["report.html"].decode()
    assert "was not measured" in page
    assert "undecided" in page


@pytest.fixture
def page_file(pages: Mapping[str, bytes], tmp_path: Path) -> Path:
    store.write_bytes(tmp_path / "report.html", pages["report.html"])
    return tmp_path / "report.html"


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_quiet_and_fits(page_file: Path, width: int) -> None:
    with quiet_page(page_file, width) as page:
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert page.evaluate("window.hacked") is None


def test_answers_to_another_question_never_stand_under_the_verdicts(results: Results) -> None:
    """Where the first way of asking has no answers yet, those of the second stay in their own section."""
    later = msgspec.structs.replace(
        results,
        levels=[level for level in results.levels if level.ask == "sampled"],
        differences=[one for one in results.differences if one.ask == "sampled"],
        references={},
    )
    markdown = study_pages(later)["report.md"].decode()
    assert "Questions answered exactly right, asked" not in markdown
    assert "Asked sampled (temperature 1), rule oracle" in markdown


def test_a_committed_study_is_drawn_again_under_its_own_rule_and_with_what_its_steps_gave(tmp_path: Path) -> None:
    """Its results.json has no steps and no intervals over scenes and seeds at once, by which verdicts are given today."""
    shutil.copytree(ROOT / "reports" / "study-world", tmp_path / "study")
    before = {path.name: path.read_bytes() for path in (tmp_path / "study").rglob("*") if path.is_file()}
    subprocess.run([sys.executable, ROOT / "reports" / "redraw.py", tmp_path / "study"], check=True, cwd=ROOT)
    after = {path.name: path.read_bytes() for path in (tmp_path / "study").rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert {name for name in after if "curves" in name and after[name] != before[name]} == set()
    assert after["results.json"] == before["results.json"]
    was, text = before["report.md"].decode().splitlines(), after["report.md"].decode()
    for run, reward in (("cdpo-s3", "0.871"), ("hold-s4", "0.845")):
        (row,) = [line for line in was if line.startswith(f"| {run} | finished")]
        assert f"| 200 | {reward} |" in row
        assert row in text.splitlines()
    assert "| train cdpo | 32.5 | 66.9\u00a0% | 90.6\u00a0% | 503 |" in text
    assert "both of its 95 % intervals, over scenes (all seeds pooled) and over seeds (t)" in text
    assert "with 95 % intervals over scenes, all seeds pooled." in text


def test_a_study_of_today_states_the_rule_of_today(pages: Mapping[str, bytes]) -> None:
    text = pages["report.md"].decode()
    assert "earlier version" not in text
    assert "its 95 % interval over scenes and seeds at once" in text
