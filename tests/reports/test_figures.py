"""Figures: the same bytes every time, readable size, values in words."""

import io
import re
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from videothinker.records import Estimate
from videothinker.reports import drawing, figures, figures_of_studies, study_tokens
from videothinker.reports.drawing import Drawing
from videothinker.reports.figures import Line, Series, bars
from videothinker.reports.figures_of_studies import Curves, Effect, curves, effects
from videothinker.reports.study_tokens import POOLS, Drawn


def draw() -> Drawing:
    values = [Estimate(0.676, 0.02, (0.637, 0.715)), Estimate(None, None, None)]
    return bars(
        "accuracy",
        "Caption.",
        ["base", "grpo"],
        [Series("observational", "blue", values, chance=[0.06, 0.06], observer=[1.0, None])],
        x_label="right (%)",
        lines=[Line("paper", 0.74)],
    )


def test_the_same_numbers_give_the_same_bytes_without_a_date() -> None:
    first, second = draw(), draw()
    assert first.files == second.files
    assert re.search(rb"<dc:date>|Matplotlib v", first.files["figure-accuracy.svg"]) is None


def test_a_figure_is_one_column_wide_in_print_quality() -> None:
    files = draw().files
    assert sorted(files) == [f"figure-accuracy{part}" for part in ("-dark.png", "-dark.svg", ".pdf", ".png", ".svg")]
    picture = Image.open(io.BytesIO(files["figure-accuracy.png"]))
    assert picture.width == 3.4 * 400
    assert picture.getpixel((0, 0))[:3] == (255, 255, 255)
    assert Image.open(io.BytesIO(files["figure-accuracy-dark.png"])).getpixel((0, 0))[:3] == (22, 24, 28)


def test_the_alternative_text_holds_every_value() -> None:
    alt = draw().alt
    assert "base observational 67.6 %" in alt
    assert "grpo observational nothing to count" in alt
    assert "line 'paper' at 74.0 %" in alt


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure_embeds_as_a_data_uri(theme: str) -> None:
    assert draw().uri(theme).startswith("data:image/svg+xml;base64,")


def test_effects_say_their_values_and_stop_at_20_points() -> None:
    """A collapse by 60 points does not squeeze what differs by one: the axis of the second row is that of the first alone."""
    small = Effect("cdpo", Estimate(0.009, 0.002, (0.005, 0.013)), Estimate(0.009, 0.01, (-0.02, 0.04)), [0.004, 0.014])
    broken = Effect("start", Estimate(-0.6, 0.01, (-0.62, -0.58)), Estimate(-0.6, None, None), [-0.6])
    missing = Effect("none", Estimate(None, None, None), Estimate(None, None, None), [])
    drawing = effects("d", "Caption.", [small, broken, missing], x_label="points")
    assert "cdpo +0.9 [+0.5, +1.3]; start \u221260.0 [\u221262.0, \u221258.0]; none nothing to compare" in drawing.alt
    assert effects("d", "Caption.", [small, broken, missing], x_label="points").files == drawing.files
    deeper = broken._replace(scenes=Estimate(-0.6, 0.01, (-0.9, -0.3)))
    low, high = _limits([small, broken])
    assert (low, high) == _limits([small, deeper])
    assert low == pytest.approx(-20 - 0.08 * 21.4)
    assert high == pytest.approx(1.4 + 0.08 * 21.4)


def _limits(rows: list[Effect]) -> tuple[float, float]:
    figure = figures_of_studies._draw_effects(rows, "points", drawing._THEMES["light"])
    low, high = figure.axes[0].get_xlim()
    return low, high


def test_curves_have_a_row_an_arm_and_name_the_ends() -> None:
    grpo = Curves("grpo", "orange", [{"kl": [], "length": [(1, 20.0), (2, 24.0)]}])
    cdpo = Curves("cdpo", "blue", [{"kl": [(1, 0.1), (2, 0.3)], "length": [(1, 21.0), (2, 22.0)]}] * 2)
    drawing = curves("c", "Caption.", {"kl": "divergence", "length": "tokens"}, [grpo, cdpo])
    assert "grpo: tokens 24; cdpo: divergence 0.3, tokens 22" in drawing.alt
    one = Image.open(io.BytesIO(curves("c", "Caption.", {"kl": "divergence"}, [grpo]).files["figure-c.png"]))
    assert Image.open(io.BytesIO(drawing.files["figure-c.png"])).height > one.height
    assert curves("c", "Caption.", {"kl": "divergence"}, []).files  # nothing was trained yet


def test_a_pdf_holds_its_text_in_true_type_fonts_and_no_date() -> None:
    pdf = draw().files["figure-accuracy.pdf"]
    assert set(re.findall(rb"/Subtype /(Type3|Type1|CIDFontType2)", pdf)) == {b"CIDFontType2"}
    assert b"/CreationDate" not in pdf


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """All words of a figure with the pixels that they take."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # axes put their words into place
    renderer = canvas.get_renderer()
    words = [words for words in figure.findobj(Text) if words.get_text() and words.get_visible()]
    return [(one.get_text(), one.get_window_extent(renderer)) for one in words]


def assert_readable(figure: Figure, values: str) -> None:
    """No words lie on others or reach out of the figure, and no value lies on a mark."""
    found = boxes(figure)
    for (one, box), (other, beside) in combinations(found, 2):
        assert not box.overlaps(beside), (one, other)
    marks = [line for axes in figure.axes for line in axes.lines if len({*line.get_ydata()}) == 1]  # upright ones are rules
    shown = [(words, box) for words, box in found if re.fullmatch(values, words)]
    assert shown
    renderer = FigureCanvasAgg(figure).get_renderer()
    for words, box in shown:
        assert not any(box.overlaps(line.get_window_extent(renderer)) for line in marks), words
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


LONG = "cdpo-share: repelled from the bias model with a fifth of the reward's gradient"


def test_values_stand_beside_their_bars_and_under_no_mark() -> None:
    """Right of a bar lie intervals, seeds and the observer's diamond, of which a value there was taken for."""
    high, low = Estimate(0.955, 0.01, (0.93, 0.98)), Estimate(0.391, 0.1, (0.0, 0.9))
    series = [
        Series("seen", "blue", [high, low], chance=[0.5, 0.39], observer=[0.96, 0.4]),
        Series("not", "orange", [low, Estimate(0.0, 0.0, (0.0, 0.01))], points=[[0.0, 0.9], [0.0, 0.01]]),
    ]
    figure = figures._draw([LONG, "base"], series, "right (%)", (), drawing._THEMES["light"])
    assert_readable(figure, r"\d+\.\d")
    lines = [words for words, _ in boxes(figure)]
    assert "cdpo-share: repelled from the bias model with a fifth" in lines
    assert "of the reward's gradient" in lines


def test_a_legend_takes_as_many_lines_as_it_needs_and_makes_room_for_them() -> None:
    value = Estimate(0.5, 0.1, (0.4, 0.6))
    names = ("observational", "inferential", "observational by the probe", "inferential by the probe")
    colours = ("blue", "orange", "green", "purple")
    series = [
        Series(name, colour, [value], chance=[0.2], observer=[0.8], points=[[0.5]])
        for name, colour in zip(names, colours, strict=True)
    ]
    many = figures._draw(["base"], series, "right (%)", (), drawing._THEMES["light"])
    assert_readable(many, r"\d+\.\d")
    tops = {words: box.y1 for words, box in boxes(many) if words in (*names, "chance", "observer")}
    assert tops["inferential"] == tops["observational"] > tops["inferential by the probe"] == tops["observer"]
    assert all(box.x0 >= 0 and box.x1 <= many.bbox.x1 and box.y1 <= many.bbox.y1 for _, box in boxes(many))
    plain = [one._replace(chance=[], observer=[], points=[]) for one in series[:3]]  # a bar and a line less
    three = figures._draw(["base"], plain, "right (%)", (), drawing._THEMES["light"])
    assert many.get_figheight() - three.get_figheight() == pytest.approx(0.16 + drawing.LEGEND_LINE, abs=0.011)


def test_differences_name_what_is_compared_and_keep_their_values_apart() -> None:
    value = Estimate(-0.123, 0.1, (-0.145, -0.101))
    rows = [
        Effect(LONG, value, value, [-0.12, -0.14], "against grpo"),
        Effect("b", value, value, [], "against a-long-name-of-it"),
    ]
    figure = figures_of_studies._draw_effects(rows, "points", drawing._THEMES["light"])
    assert_readable(figure, r".*\[.*\]")
    assert "against grpo \u221212.3 [\u221214.5, \u221210.1]" in effects("d", "Caption.", rows, x_label="points").alt


def test_names_stand_beside_marks_or_in_the_legend_where_marks_lie_on_each_other() -> None:
    def arm(name: str, x: float, y: float) -> Drawn:
        return Drawn(name, {}, dict.fromkeys(POOLS, (x, y)))

    line = Drawn("auto", {pool: [(10.0, 50.0), (40.0, 70.0)] for pool in POOLS}, dict.fromkeys(POOLS, (25.0, 60.0)))
    arms = [line, arm("think", 12, 66), arm("bias", 41, 52)]
    apart = study_tokens._draw(arms, "stopped", drawing._THEMES["light"])
    assert_readable(apart, "think|bias")
    assert [words for words, _ in boxes(apart)].count("think") == 3
    close = study_tokens._draw([*arms, arm("base", 41, 52.5)], "stopped", drawing._THEMES["light"])
    assert_readable(close, "think|bias|base")
    assert [words for words, _ in boxes(close)].count("think") == 1
    limits = [axes.get_ylim() for axes in study_tokens._draw([arm("a", 5, 100)], "s", drawing._THEMES["light"]).axes]
    assert limits == [(96, 102)] * 3  # 6 points, and hardly more than 100
    empty = study_tokens._draw([Drawn("auto", {"all": [(10.0, 50.0), (40.0, 70.0)]}, {})], "s", drawing._THEMES["light"])
    assert [words for words, _ in boxes(empty)].count("no questions") == 2
