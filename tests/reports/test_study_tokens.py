"""The figure of accuracy against tokens: whose lines and marks it shows, what it says in words, where names stand."""

from pathlib import Path

import msgspec
import pytest
from study_factory import FILE, make_study

from videothinker.records import Estimate
from videothinker.records.study import Study
from videothinker.records.study_results import Results, Thinking, TokenCurve, TokenPoint
from videothinker.reports.study import study_pages
from videothinker.reports.study_tokens import POOLS, Drawn, Plot, places, tokens_figure

TEXT = (
    FILE.replace('grpo = "grpo.toml"', 'grpo = "grpo.toml", auto = "auto.toml"').split("[arms.bias]")[0]
    + """
[arms.auto]
stage = "auto"
against = ["grpo"]

[ask.stopped]
data = "curated"
options = "--split heldout"
stop_from = "dev"

[ask.full]
data = "curated"
options = "--split heldout"
arms = ["auto"]

[ask.dev]
data = "curated"
options = "--split dev"
arms = ["auto"]
"""
)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path, TEXT)[0]


def thought(ask: str, arm: str, tokens: float | None, right: float) -> Thinking:
    """The same in every pool."""
    return Thinking(
        ask=ask,
        arm=arm,
        n_seeds=4,
        second=dict.fromkeys(POOLS, Estimate(right, None, None)),
        tokens=dict.fromkeys(POOLS, tokens),
    )


def curve(ask: str, begin: float = 10) -> TokenCurve:
    points = [TokenPoint(0.0, 1.0, begin, 0.5), TokenPoint(0.9, 0.5, begin + 12, 0.6), TokenPoint(None, 0.0, begin + 30, 0.65)]
    return TokenCurve(ask=ask, arm="auto", n_seeds=4, points={"all": points, "observational": points[:1], "inferential": []})


def results(study: Study, curves: list[TokenCurve], thinking: list[Thinking]) -> Results:
    rest = {"levels": [], "differences": [], "verdicts": [], "references": {}, "trainings": [], "states": {}, "records": {}}
    return Results(study=study, curves=curves, thinking=thinking, seconds={}, provenance={}, **rest)  # type: ignore[arg-type]


THINKING = [
    thought("stopped", "base", 23, 0.75),
    thought("stopped", "grpo", None, 0.8),
    thought("stopped", "auto", 27.5, 0.625),
    thought("full", "auto", 40, 0.65),
]


def test_lines_and_marks_are_told_in_words(study: Study) -> None:
    """grpo has no mark, for its tokens were not counted; the curve on the split dev is of other questions and not shown."""
    drawing = tokens_figure(results(study, [curve("full"), curve("dev", 90)], THINKING))
    assert drawing is not None
    values = drawing.alt.partition(" Values: ")[2]
    assert values == (
        "all: auto from 10.0 tokens 50.0 % to 40.0 tokens 65.0 %, auto really stopped at 27.5 tokens 62.5 %, "
        "base at 23.0 tokens 75.0 %; "
        "observational: auto from 10.0 tokens 50.0 % to 10.0 tokens 50.0 %, auto really stopped at 27.5 tokens 62.5 %, "
        "base at 23.0 tokens 75.0 %; "
        "inferential: auto really stopped at 27.5 tokens 62.5 %, base at 23.0 tokens 75.0 %."
    )
    assert "Lines: replies asked full," in drawing.caption
    assert (
        "Circles: the same arms really stopped, asked stopped, at thresholds that were chosen on another split (asked dev)"
        in (drawing.caption)
    )
    assert sorted(drawing.files) == [f"figure-tokens{part}" for part in ("-dark.png", "-dark.svg", ".pdf", ".png", ".svg")]


def test_without_a_stop_in_the_first_way_of_asking_no_arm_is_said_to_be_stopped(study: Study) -> None:
    first = msgspec.structs.replace(study.ask["stopped"], stop_from="")
    never = msgspec.structs.replace(study, ask={**study.ask, "stopped": first})
    drawing = tokens_figure(results(never, [curve("stopped"), curve("full", 90)], THINKING))
    assert drawing is not None
    assert "really stopped" not in drawing.alt
    assert "auto from 10.0 tokens" in drawing.alt
    assert "base at 23.0 tokens" in drawing.alt


@pytest.mark.parametrize("curves", [[], [curve("dev")]], ids=["no curve", "of other questions"])
def test_there_is_no_figure_without_curves(study: Study, curves: list[TokenCurve]) -> None:
    assert tokens_figure(results(study, curves, THINKING)) is None


def test_it_stands_in_the_report_before_the_tables_of_thinking(study: Study) -> None:
    found = results(study, [curve("full")], THINKING)
    pages = study_pages(found)
    text = pages["report.md"].decode()
    assert 0 < text.index("(figure-tokens.svg)") < text.index("What thinking is worth and what it takes, asked stopped")
    assert "Circles: the same arms really stopped" in pages["report.html"].decode()
    assert "figure-tokens.pdf" in pages
    # Results of earlier versions have no field for curves.
    raw = msgspec.json.decode(msgspec.json.encode(found))
    del raw["curves"]
    earlier = msgspec.json.decode(msgspec.json.encode(raw), type=Results)
    assert earlier.curves == []
    without = study_pages(earlier)
    assert not any("figure-tokens" in name for name in without)
    assert "figure-tokens" not in without["report.md"].decode()


def test_names_stand_where_nothing_else_does() -> None:
    """A panel of 1 inch for 0 to 100 tokens; "grpo" is about a quarter of an inch wide."""
    panel = Plot(0.0, 1.0, (0, 100), (0, 100))

    def box(x: float, y: float, *others: Drawn) -> tuple[float, float, float, float] | None:
        found = places([Drawn("grpo", {}, {"all": (x, y)}), *others], "all", panel)
        return None if found is None else found["grpo"]

    assert (free := box(50, 50)) is not None
    assert free[0] > 0.5
    assert (edge := box(90, 50)) is not None
    assert edge[2] < 0.9
    beams = [[(30.0, 0.0), (30.0, 100.0)], [(70.0, 0.0), (70.0, 100.0)]]
    walls = [Drawn(f"auto-{side}", {"all": line}, {}) for side, line in enumerate(beams)]
    assert (between := box(50, 50, *walls)) is not None
    assert between[1] > 0.65  # above the mark, which is at half of 1.3 inches
    assert 0.3 < between[0] < between[2] < 0.7
    lids = [Drawn(f"lid-{y}", {"all": [(0.0, y), (100.0, y)]}, {}) for y in (42.0, 58.0)]
    assert box(50, 50, *walls, *lids) is None
