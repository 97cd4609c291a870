"""Ticks of axes, and drawings as SVG."""

import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.display import page
from corpus.display.drawing import Box, ChartRow, Curve, number_text, ticks

MACROS: Any = page.templates().get_template("macros.html").module


def drawn(row: ChartRow) -> ET.Element:
    return ET.fromstring(str(MACROS.drawing(row)))


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1_500_000, 4, [0, 500_000, 1_000_000, 1_500_000]),
        (1.95, 3.05, 5, [2, 2.5, 3]),
        (0, 1, 8, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.1, 0.1, 2, [-0.1, 0, 0.1]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == pytest.approx(expected)


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e12), st.integers(1, 10))
def test_ticks_lie_evenly_within_the_range(low: float, width: float, most: int) -> None:
    found = ticks(low, low + width, most)
    tolerance = 1e-9 * (abs(low) + width)
    assert len(found) <= most + 1
    assert all(low - tolerance <= tick <= low + width + tolerance for tick in found)
    steps = [after - tick for tick, after in pairwise(found)]
    assert steps == pytest.approx(steps[:1] * len(steps), abs=tolerance)
    assert len(found) >= most // 2.5 - 1, "the next smaller round step would be too many"


def test_numbers_have_three_digits() -> None:
    numbers = [0, 0.0005, 0.25, 9.506, 512, 1024, 20_000, 1_200_000]
    assert [number_text(number) for number in numbers] == ["0", "0.0005", "0.25", "9.51", "512", "1,024", "20k", "1.2M"]


def test_a_curve_is_a_line_with_dots_or_an_area() -> None:
    line = Curve([(0, 0.25), (1, -0.5)], page.INK, width=2, dashed=True, dotted=True)
    svg = drawn(ChartRow("", "", [], curves=[line, Curve([(0, 0), (1, 0), (1, 1)], page.REST)]))
    stroked, filled = svg.iter("polyline")
    assert stroked.attrib == {
        "points": "0.0000,0.2500 1.0000,-0.5000",
        "stroke": page.INK,
        "stroke-width": "2",
        "stroke-dasharray": "5 3",
        "fill": "none",
    }
    assert filled.attrib["points"] == "0.0000,0.0000 1.0000,0.0000 1.0000,1.0000"
    assert (filled.attrib["stroke-width"], filled.attrib["fill"]) == ("0", page.REST)
    assert [dot.attrib["cx"] for dot in svg.iter("circle")] == ["0.00%"]  # the other one lies above the drawing


def test_a_label_is_cut_off_at_its_box_and_a_scale_has_lines() -> None:
    svg = drawn(ChartRow("", "", [Box(0.25, 0.5, page.INK, "title", label="a < b")], 40, scale=[(0.75, "3.5")]))
    (inner,) = svg.findall("svg")
    assert (inner.attrib["x"], inner.attrib["width"], inner[0].text) == ("25.00%", "50.00%", "a < b")
    assert [title.text for title in svg.iter("title")] == ["title"]
    (line,) = svg.iter("line")
    assert (line.attrib["y1"], line.attrib["y2"]) == ("75.00%", "75.00%")
    assert [text.text for text in svg.findall("text")] == ["3.5"]
