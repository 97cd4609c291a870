"""Charts of a run page: from measurements to points, and from points to drawings over the tokens seen.

A curve has a limited number of points. Each is the mean of consecutive steps, with their range, so no spike is hidden.

Legend: N steps, P points of a curve.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.display.drawing import TICK_LABELS, Box, ChartRow, Curve, number_text, ticks
from corpus.display.page import REST, SERIES, STEPS
from trainer.data.curriculum import Curriculum
from trainer.inspect.baselines import UNIGRAM, XZ
from trainer.inspect.eval_table import ScoreLine
from trainer.inspect.metrics import EvaluationRow

LOSS_COLORS = {"each step": STEPS[1], "smoothed": SERIES[0]}
SCORE_COLORS = {"model": SERIES[2], UNIGRAM: SERIES[1], XZ: REST}
RATE_COLOR = SERIES[6]
MAX_DOTTED_POINTS = 40  # curves of at most this many points show each of them
SMOOTHING_WINDOWS, MIN_REACH = 100, 3  # smoothing reaches 1/100 of the steps to either side, and at least 3 steps

Reals = NDArray[np.float64]


class TokenAxis(NamedTuple):
    """Horizontal axis shared by all charts of a page."""

    curriculum: Curriculum
    tokens: int  # seen in total: the right end of each chart


class Series(NamedTuple):
    """One measurement, for the steps that have it."""

    values_N: Reals
    steps_N: Reals
    tokens_N: Reals  # seen so far
    phases_N: Reals  # index of each step's phase


class CurvePoint(NamedTuple):
    """Mean and range of consecutive steps, with the smoothed value at the last of them."""

    step: int
    tokens: int
    mean: float
    low: float
    high: float
    smooth: float


def curve(series: Series, max_points: int) -> list[CurvePoint]:
    """Reduce a series to at most `max_points` points of equally many steps; the last point may have fewer."""
    count = len(series.values_N)
    starts_P = np.arange(0, count, -(-count // max_points))
    ends_P = np.append(starts_P[1:], count)
    columns = (
        series.steps_N[ends_P - 1],
        series.tokens_N[ends_P - 1],
        np.add.reduceat(series.values_N, starts_P) / (ends_P - starts_P),
        np.minimum.reduceat(series.values_N, starts_P),
        np.maximum.reduceat(series.values_N, starts_P),
        smoothed(series)[ends_P - 1],
    )
    rows = zip(*(column_P.tolist() for column_P in columns), strict=True)
    return [CurvePoint(int(step), int(tokens), *values) for step, tokens, *values in rows]


def smoothed(series: Series) -> Reals:
    """Moving average that does not cross phases.

    The window is symmetric, so the average does not lag. It narrows at a phase's start, but not at its end.
    """
    count = len(series.values_N)
    reach, result_N = max(MIN_REACH, count // SMOOTHING_WINDOWS), np.empty(count)
    phase_starts = np.flatnonzero(np.diff(series.phases_N)) + 1
    for first, end in pairwise([0, *phase_starts.tolist(), count]):
        sums_N = np.concatenate([[0.0], np.cumsum(series.values_N[first:end])])
        index_N = np.arange(end - first)
        from_N = np.maximum(index_N - reach, 0)
        to_N = np.minimum(2 * index_N - from_N + 1, end - first)
        result_N[first:end] = (sums_N[to_N] - sums_N[from_N]) / (to_N - from_N)
    return result_N


def loss_range(points: Sequence[CurvePoint]) -> tuple[float, float]:
    """Vertical range of a loss chart. A steep beginning that would flatten the rest is cut off."""
    low, top = min(point.low for point in points), max(point.high for point in points)
    settled = max(point.high for point in points[len(points) // 50 :])  # without the first 2 %
    high = top if top - low < 1.5 * (settled - low) else settled
    return padded(low, high, 20)


def padded(low: float, high: float, parts: int) -> tuple[float, float]:
    """Widen a range by 1/`parts` of its height on either side."""
    margin = (high - low) / parts or 0.5
    return low - margin, high + margin


def loss_chart(axis: TokenAxis, points: Sequence[CurvePoint], *, small: bool = False) -> list[ChartRow]:
    """Draw the loss of the steps in a band of its range, and the smoothed loss."""
    plot = Plot(axis, [point.tokens for point in points], *loss_range(points))
    each_step, smooth = LOSS_COLORS.values()
    upper, lower = plot.places(point.high for point in points), plot.places(point.low for point in points)
    curves = [
        Curve([*upper, *reversed(lower)], each_step),
        Curve(plot.places(point.mean for point in points), each_step, 1, dotted=plot.few),
        Curve(plot.places(point.smooth for point in points), smooth, 2),
    ]
    titles = [f"mean {point.mean:.4f} · smooth {point.smooth:.4f} · step {point.step:,}" for point in points]
    return plot.draw(curves, titles, small=small, height=110 if small else 280)


def score_chart(axis: TokenAxis, evaluations: Sequence[EvaluationRow], line: ScoreLine) -> list[ChartRow]:
    """Draw the bits per byte of a source, with its baselines as levels."""
    scores = [(row, bits) for row, bits in zip(evaluations, line.bits, strict=True) if bits is not None]
    levels = {name: level for name, level in line.levels.items() if level is not None}
    values = [bits for _, bits in scores]
    known = [*values, *levels.values()]
    plot = Plot(axis, [row.tokens for row, _ in scores], *padded(min(known), max(known), 12))
    curves = [
        Curve([(0, plot.height(level)), (1, plot.height(level))], SCORE_COLORS[name], 1.5, dashed=True)
        for name, level in levels.items()
    ]
    curves.append(Curve(plot.places(values), SCORE_COLORS["model"], 2, dotted=plot.few))
    baselines = "".join(f" · {name} {level:.4f}" for name, level in levels.items())
    titles = [f"{row.after} · model {bits:.4f}{baselines}" for row, bits in scores]
    return plot.draw(curves, titles, small=True)


def rate_chart(axis: TokenAxis, points: Sequence[CurvePoint]) -> list[ChartRow]:
    """Draw the learning rate."""
    highest = max(point.mean for point in points) or 1
    plot = Plot(axis, [point.tokens for point in points], 0, 1.05 * highest)
    curve = Curve(plot.places(point.mean for point in points), RATE_COLOR, 1.5, dotted=plot.few)
    titles = [f"learning rate {point.mean:.3g} · step {point.step:,}" for point in points]
    return plot.draw([curve], titles, small=True)


def measurement_chart(axis: TokenAxis, points: Sequence[CurvePoint]) -> list[ChartRow]:
    """Draw one measurement from 0, with its range only in the titles: a single slow step would flatten the rest."""
    highest = max(point.mean for point in points) or 1
    plot = Plot(axis, [point.tokens for point in points], 0, 1.05 * highest)
    titles = [f"{point.mean:.4g}, {point.low:.4g} to {point.high:.4g} · step {point.step:,}" for point in points]
    curve = Curve(plot.places(point.mean for point in points), SERIES[0], 1.5, dotted=plot.few)
    return plot.draw([curve], titles, small=True)


class Plot(NamedTuple):
    """Plane of a chart: the tokens seen to the right, and a range of values upwards."""

    axis: TokenAxis
    tokens: Sequence[int]  # of the points
    low: float
    high: float

    @property
    def few(self) -> bool:
        """True if each point gets a dot: the line of a single point is invisible."""
        return len(self.tokens) <= MAX_DOTTED_POINTS

    def height(self, value: float) -> float:
        """Return the share of the chart above a value; it is negative if the value lies above the chart."""
        return (self.high - value) / (self.high - self.low)

    def places(self, values: Iterable[float]) -> list[tuple[float, float]]:
        """Return the place of each point."""
        return [
            (count / self.axis.tokens, self.height(value)) for count, value in zip(self.tokens, values, strict=True)
        ]

    def draw(
        self, curves: Sequence[Curve], titles: Iterable[str], *, small: bool = False, height: int = 110
    ) -> list[ChartRow]:
        """Draw curves on top of the phases. A hover anywhere shows the title of the nearest point, with its tokens."""
        end = self.axis.tokens
        phases = list(_phases(self.axis, named=not small))
        starts = [Curve([(phase.x, 0), (phase.x, 1)], REST, 1, dashed=True) for phase in phases[1:]]
        labels = [(tick / end, height + TICK_LABELS, number_text(tick)) for tick in ticks(0, end, 4 if small else 8)]
        scale = [(self.height(tick), number_text(tick)) for tick in ticks(self.low, self.high, 5)]
        boxes = [*phases, *self._hovers(titles)]
        return [ChartRow("", "", boxes, height, labels, [*starts, *curves], scale)]

    def _hovers(self, titles: Iterable[str]) -> Iterator[Box]:
        """Yield an invisible box around each point; two boxes meet in the middle between their points."""
        middles = [(count + after) / 2 / self.axis.tokens for count, after in pairwise(self.tokens)]
        for start, end, count, title in zip([0, *middles], [*middles, 1], self.tokens, titles, strict=True):
            yield Box(start, end - start, REST, f"{title} · {count:,} tokens", opacity=0)


def _phases(axis: TokenAxis, *, named: bool) -> Iterator[Box]:
    """Yield the phases that have begun; every other one is shaded."""
    for number, phase in enumerate(axis.curriculum.phases):
        start = axis.curriculum.tokens(phase.first_step - 1)
        end = min(axis.curriculum.tokens(phase.last_step), axis.tokens)
        if start < end:
            x, width, opacity = start / axis.tokens, (end - start) / axis.tokens, 0.14 * (number % 2)
            yield Box(x, width, REST, opacity=opacity, label=phase.name if named else "")
