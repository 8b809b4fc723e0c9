"""Figures: the same bytes every time, readable size, values in words."""

import io
import re

import pytest
from PIL import Image

from videothinker.records import Estimate
from videothinker.reports.figures import Drawing, Line, Series, bars


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
    assert sorted(files) == [f"figure-accuracy{part}" for part in ("-dark.png", "-dark.svg", ".png", ".svg")]
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
