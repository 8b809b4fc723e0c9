"""The page of curves: averages, axes and marks with numbers worked out by hand, and the page in a browser."""

import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from quiet_page import needs_chromium, quiet_page
from trained import a_train_record
from vt_command import vt

from videothinker import store
from videothinker.errors import VtError
from videothinker.recipes import curves
from videothinker.records.training import StepRecord
from videothinker.reports.charts import Line, chart, moving_average, number, tick_text, ticks
from videothinker.reports.training import Trained, alarms_of, training_page
from videothinker.steps import write_steps

STEPS = [
    StepRecord(step=1, reward=1.0, rewards={"accuracy": 0.25, "format": 0.75}, kl=None, seconds=2.0),
    StepRecord(step=2, reward=1.5, rewards={"accuracy": 0.5, "format": 1.0}, kl=0.5, seconds=4.0, alarms=("grown to 90",)),
    StepRecord(step=3, reward=1.25, rewards={"accuracy": 0.25, "format": 1.0}, kl=1.5, seconds=3.0, alarms=("grown to 99",)),
]


def test_the_average_is_over_the_last_values_and_over_fewer_at_the_beginning() -> None:
    points = [(1, 2.0), (2, 4.0), (4, 9.0), (5, 2.0)]
    assert moving_average(points, 3) == [(1, 2.0), (2, 3.0), (4, 5.0), (5, 5.0)]
    assert moving_average(points, 1) == points


def test_lines_stand_where_their_values_are() -> None:
    """Steps 1 to 3 span 52 to 402; the axis holds 0 to 10 with 6 % of air above: 10.6 is at 12, 0 at 184."""
    (stroke,) = chart("T", [Line("run", 0, [(1, 0.0), (2, 10.0), (3, 5.0)])], window=2, steps=(1, 3)).strokes
    assert stroke.raw == "M52.0,184.0L227.0,21.7L402.0,102.9"
    assert stroke.mean == "M52.0,184.0L227.0,102.9L402.0,62.3"  # 0, 5, 7.5
    assert stroke.end == (402.0, 62.3)


def test_values_are_said_where_the_pointer_is_and_named_where_there_are_several_runs() -> None:
    first, second = Line("a", 0, [(1, 2.0), (2, 4.0)]), Line("b", 1, [(2, -1.0)], [(2, 2, "oh")])
    assert [spot.words for spot in chart("T", [first], window=2, steps=(1, 2)).spots] == [
        "step 1\n2, average 2",
        "step 2\n4, average 3",
    ]
    both = chart("T", [first, second], window=2, steps=(1, 2))
    assert both.spots[1].words == "step 2\na: 4, average 3\nb: \u22121, average \u22121"
    assert [area.words for area in both.alarms] == ["b, step 2: oh"]
    assert both.alt == "T by step, 1 to 2. Moving average at the end: a 3, b \u22121."


def test_a_long_run_stays_small_and_still_says_its_last_step() -> None:
    long = chart("T", [Line("a", 0, [(step, float(step)) for step in range(1, 10_001)])], window=5, steps=(1, 10_000))
    assert long.strokes[0].raw.count(",") == 1000
    assert len(long.spots) <= 151
    assert long.spots[-1].words.startswith("step 10,000\n10,000, ")
    edges = [(spot.x, spot.x + spot.width) for spot in long.spots]
    assert all(abs(end - begin) < 0.2 for (_, end), (begin, _) in pairwise(edges))


@pytest.mark.parametrize(
    ("low", "high", "n", "whole", "expected"),
    [
        (0, 1, 4, False, [0, 0.5, 1]),
        (-0.03, 0.11, 4, False, [0, 0.05, 0.1]),
        (1, 3, 5, True, [1, 2, 3]),
        (1, 400, 5, True, [100, 200, 300, 400]),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, n: int, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, n, whole=whole) == expected


def test_numbers_are_short() -> None:
    assert [tick_text(value) for value in (0.25, -2.0, 1500.0, 2e-05)] == ["0.25", "\u22122", "1,500", "2e\u221205"]
    assert [number(value) for value in (0.012345, 18473.0, -0.5)] == ["0.01235", "18,470", "\u22120.5"]


def test_an_alarm_that_goes_on_is_told_once() -> None:
    again = StepRecord(step=5, alarms=("grown to 80",))
    assert alarms_of([*STEPS, StepRecord(step=4), again]) == [(2, 3, "grown to 90"), (5, 5, "grown to 80")]


def test_what_was_measured_has_a_chart_and_nothing_else_has() -> None:
    page = training_page([Trained("mine", STEPS, None)], window=2).decode()
    titles = re.findall(r"<figcaption><strong>(.*?)</strong>", page)
    assert titles == ["Reward", "Reward: accuracy", "Reward: format", "Divergence from the reference", "Time of a step"]
    assert "grown to 90" in page
    assert page.count('class="alarm"') == len(titles)
    assert "not finished" not in page


def test_an_unfinished_run_says_how_far_it_is() -> None:
    record = a_train_record("cdpo", finished=False)
    record = msgspec.structs.replace(record, settings={**record.settings, "optimizer": {"steps": 40}})
    page = training_page([Trained("mine", STEPS, record)]).decode()
    assert "up to step 3 of 40." in page
    assert "3 of 40, not finished" in page


def write_run(folder: Path) -> Path:
    store.write_json(folder / "run.json", a_train_record("grpo"))
    write_steps(folder / "metrics.jsonl", STEPS)
    return folder


def test_the_command_draws_one_training_beside_it_and_several_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write_run(tmp_path / "a" / "grpo"), write_run(tmp_path / "b" / "grpo")
    assert vt("train", "curves", one) == 0
    assert str(one / "curves.html") in capsys.readouterr().out
    assert vt("train", "curves", one, two, "--out", tmp_path / "both.html", "--window", 2) == 0
    both = (tmp_path / "both.html").read_text()
    assert "a/grpo" in both
    assert "b/grpo" in both
    assert "the last 2 logged steps" in both


def test_folders_without_steps_are_refused_and_cost_no_training(tmp_path: Path) -> None:
    with pytest.raises(VtError, match=r"no step of a training has been logged there"):
        curves.draw([tmp_path], tmp_path / "curves.html")
    one = write_run(tmp_path / "run")
    with pytest.raises(VtError, match="given twice"):
        curves.draw([one, one], tmp_path / "curves.html")
    warned: list[str] = []
    curves.draw_own(tmp_path, warned.append)
    assert len(warned) == 1
    assert warned[0].startswith("no curves are drawn: ")


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280, 1440])
def test_the_page_is_quiet_and_fits(tmp_path: Path, width: int) -> None:
    runs = [Trained(f"run {index}", STEPS, a_train_record("cdpo")) for index in range(7)]
    store.write_bytes(tmp_path / "curves.html", training_page(runs))
    with quiet_page(tmp_path / "curves.html", width) as page:
        charts = page.locator("#reward .chart svg")
        boxes = [charts.nth(index).bounding_box() for index in range(3)]
        assert len({box["y"] for box in boxes}) == (3 if width == 390 else 1)
        assert all(box["width"] >= 300 for box in boxes)
        clip = page.locator(".run-0.again .mean").first  # the seventh run has the first one's colour, broken
        assert clip.evaluate("one => getComputedStyle(one).strokeDasharray") == "5px, 3px"
