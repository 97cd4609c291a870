"""Charts of a run page: from measurements to points, and from points to one layered Vega-Lite chart.

A curve has a limited number of points. Each is the mean of consecutive steps, with their range, so no spike is hidden.
Names of sources and phases come from users' files: they appear in data values only, never in the chart's own settings.

Legend: N steps, P points of a curve.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import altair as alt
import numpy as np
from numpy.typing import NDArray

from corpus.display.page import INK, REST
from corpus.settings import Json

SMALL_WIDTH = 260  # pixels of a small chart before it is scaled to its column
MAX_DOTTED_POINTS = 40  # curves of at most this many points show each of them
SMOOTHING_WINDOWS, MIN_REACH = 100, 3  # smoothing reaches 1/100 of the steps to either side, and at least 3 steps

Reals = NDArray[np.float64]
Spec = dict[str, Json]


class PhaseMark(NamedTuple):
    """Steps of a phase (both ends included), and the tokens seen at its start and end."""

    name: str
    first_step: int
    last_step: int
    tokens_first: int
    tokens_last: int


class TokenAxis(NamedTuple):
    """Horizontal axis shared by all charts of a page."""

    phases: Sequence[PhaseMark]
    tokens: int  # seen in total: the right end of each chart


class Series(NamedTuple):
    """One measurement, for the steps that have it."""

    values_N: Reals
    steps_N: Reals
    tokens_N: Reals  # seen so far
    phases_N: Reals  # index of each step's phase


class CurvePoint(NamedTuple):
    """Mean and range of consecutive steps, with the smoothed value at the last of them."""

    tokens: int
    step: int
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
        series.tokens_N[ends_P - 1],
        series.steps_N[ends_P - 1],
        np.add.reduceat(series.values_N, starts_P) / (ends_P - starts_P),
        np.minimum.reduceat(series.values_N, starts_P),
        np.maximum.reduceat(series.values_N, starts_P),
        smoothed(series)[ends_P - 1],
    )
    rows = zip(*(column_P.tolist() for column_P in columns), strict=True)
    return [CurvePoint(int(tokens), int(step), *values) for tokens, step, *values in rows]


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


def layered_chart(
    axis: TokenAxis,
    rows: Sequence[Mapping[str, Json]],
    lines: Mapping[str, tuple[str, float]],
    tooltips: Mapping[str, str],
    *,
    domain: tuple[float, float] | None = None,
    clip: bool = False,
    band_colour: str | None = None,
    levels: Mapping[str, tuple[str, float]] = MappingProxyType({}),
    height: int = 110,
    small: bool = False,
) -> Spec:
    """Draw lines over the tokens seen, on top of the phases, of horizontal levels, and of a band from `low` to `high`.

    `lines` maps fields of the rows to colour and width, `levels` names to colour and value, and `tooltips` fields to
    number formats (empty for text). A hover anywhere shows the nearest row. `clip` cuts off what lies outside the
    vertical `domain`.
    """
    ticks = 4 if small else 8
    labels = alt.Axis(format="~s", grid=False, tickCount=ticks, labelExpr="datum.value ? datum.label : '0'")
    right_end = alt.Scale(domain=[0, axis.tokens], nice=False)
    x = alt.X("tokens:Q", title=None if small else "tokens seen", scale=right_end, axis=labels)
    scale = alt.Scale(domain=list(domain), nice=False, zero=False) if domain else alt.Undefined
    plain = alt.Axis(domain=False, ticks=False, labelPadding=4, tickCount=ticks // 2 + 1)
    y = {field: alt.Y(f"{field}:Q", title=None, scale=scale, axis=plain) for field in ("low", *lines)}

    layers = _phase_layers(axis, x)[: 2 if small else 3]
    for name, (colour, value) in levels.items():
        (field,) = lines
        rule = _chart([{field: value}]).mark_rule(stroke=colour, strokeWidth=1.5, strokeDash=[5, 3])
        layers.append(rule.encode(y[field], tooltip=alt.Tooltip(f"{field}:Q", title=name, format=".4f")))

    marks, base = [], _chart(rows).encode(x)
    if band_colour:
        marks.append(base.mark_area(clip=clip, fill=band_colour, fillOpacity=0.35).encode(y["low"], y2="high"))
    for number, (field, (colour, width)) in enumerate(lines.items()):
        # The first line shows its points if there are few: a line of a single point is invisible.
        few = number == 0 and len(rows) <= MAX_DOTTED_POINTS
        dots = alt.OverlayMarkDef(fill=colour, stroke=colour, size=15 * width) if few else False
        line = base.mark_line(clip=clip, stroke=colour, strokeWidth=width, point=dots)
        marks.append(line.encode(y[field]))
    # An invisible line as wide as the pointer's surroundings catches the hover.
    hover = [alt.Tooltip(f"{field}:{'Q' if form else 'N'}", format=form) for field, form in tooltips.items()]
    marks.append(base.mark_rule(opacity=0, strokeWidth=6).encode(tooltip=hover))

    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    chart = alt.layer(*layers, alt.layer(*marks)).properties(
        width=SMALL_WIDTH if small else "container", height=height, autosize=fit
    )
    with alt.data_transformers.enable(consolidate_datasets=False):  # keep the rows beside their marks
        spec = chart.to_dict()
    return {name: value for name, value in spec.items() if name not in ("$schema", "config")}  # the page has its own


def _phase_layers(axis: TokenAxis, x: alt.X) -> list[alt.Chart]:
    """Shade every other phase, draw a line between phases, and write their names if there is room."""
    bands: list[Mapping[str, Json]] = []
    edges: list[Mapping[str, Json]] = []
    for number, phase in enumerate(axis.phases):
        start, end = phase.tokens_first, min(phase.tokens_last, axis.tokens)
        if start < end:
            bands.append({"tokens": start, "end": end, "phase": phase.name, "shade": 0.14 * (number % 2)})
        if number and 0 < start < axis.tokens:
            edges.append({"tokens": start})
    shade = alt.FillOpacity("shade:Q", scale=None, legend=None)
    room = alt.ExprRef(f"max(1, (datum.end - datum.tokens) / {axis.tokens} * width - 8)")
    names = _chart(bands).mark_text(align="left", baseline="bottom", dx=3, dy=-3, limit=room)
    return [
        _chart(bands).mark_rect(fill=REST).encode(x, x2="end", fillOpacity=shade),
        _chart(edges).mark_rule(stroke=INK, strokeOpacity=0.5, strokeDash=[3, 3]).encode(x),
        names.encode(x, y=alt.value(0), text="phase:N"),
    ]


def _chart(rows: Sequence[Mapping[str, Json]]) -> alt.Chart:
    """Return a chart of these rows, without marks. Six digits are more than a screen shows, and keep the page small."""
    values = [
        {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
    return alt.Chart(alt.InlineData(values=values))
