"""Charts as boxes and curves, which the macro `bars` of a page draws as SVG.

Places are shares of a drawing's width and height from its upper left corner, so a drawing has any width.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from corpus.units import human_count

Label = tuple[float, int, str]  # share of the width, height in pixels, text
TICK_LABELS = 12  # pixels from a drawing's lower edge down to the labels of its ticks


class Box(NamedTuple):
    """A colored rectangle; hovering it shows the title. Its label stands above the drawing, cut off at its width."""

    x: float
    width: float
    color: str
    title: str = ""
    y: float = 0
    height: float = 1
    opacity: float = 1
    label: str = ""


class Curve(NamedTuple):
    """A line through points, or the area inside them; cut off at the drawing's edges."""

    points: Sequence[tuple[float, float]]
    color: str
    width: float = 0  # pixels; 0: an area
    dashed: bool = False
    dotted: bool = False  # with a dot at each point

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:.4f},{y:.4f}" for x, y in self.points)


class ChartRow(NamedTuple):
    """A drawing, with a name and a figure above it."""

    name: str
    figure: str
    boxes: Sequence[Box]
    height: int = 12  # pixels
    labels: Sequence[Label] = ()
    curves: Sequence[Curve] = ()
    scale: Sequence[tuple[float, str]] = ()  # horizontal grid lines: share of the height, and text on the left


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high`, one 1, 2 or 5 times a power of ten after the other; `most` steps."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next((power * factor for factor in (1, 2, 5) if power * factor * most >= high - low), 10 * power)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def number_text(number: float) -> str:
    """Return the number in three digits: 0.25, 512, 1,024, 20k."""
    return human_count(number).replace(" ", "") if number >= 1000 else f"{number:.3g}"
