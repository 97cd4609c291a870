"""Charts of a run page: from measurements to points, and from points to one layered Vega-Lite chart.

A curve has a limited number of points. Each is the mean of consecutive steps, with their range, so no spike is hidden.
Names of sources and phases come from users' files: they appear in data values only, never in the chart's own settings.

Legend: N steps, P points of a curve.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.display.page import INK, REST, SERIES, STEPS
from corpus.settings import Json
from trainer.data.curriculum import Curriculum
from trainer.inspect.baselines import UNIGRAM, XZ
from trainer.inspect.eval_table import ScoreLine
from trainer.inspect.metrics import EvaluationRow

LOSS_COLOURS = {"each step": STEPS[1], "smoothed": SERIES[0]}
SCORE_COLOURS = {"model": SERIES[2], UNIGRAM: SERIES[1], XZ: REST}
LINES = {  # fields of rows that are drawn: colour and width
    "mean": (LOSS_COLOURS["each step"], 1),
    "smooth": (LOSS_COLOURS["smoothed"], 2),
    "bits": (SCORE_COLOURS["model"], 2),
    "rate": (SERIES[6], 1.5),
}
TOOLTIPS = {"step": ",", "tokens": ",", "mean": ".4f", "smooth": ".4f", "bits": ".4f", "rate": ".3g"}  # number formats
SMALL_WIDTH = 260  # pixels of a small chart before it is scaled to its column
MAX_DOTTED_POINTS = 40  # curves of at most this many points show each of them
SMOOTHING_WINDOWS, MIN_REACH = 100, 3  # smoothing reaches 1/100 of the steps to either side, and at least 3 steps

Reals = NDArray[np.float64]
Spec = dict[str, Json]
Rows = Sequence[Mapping[str, Json]]


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


def loss_chart(axis: TokenAxis, points: Sequence[CurvePoint], *, small: bool = False) -> Spec:
    """Draw the loss of the steps in a band of its range, and the smoothed loss."""
    domain, height = loss_range(points), 110 if small else 280
    rows = [point._asdict() for point in points]
    return _over_tokens(axis, rows, domain, clip=points[0].high > domain[1], height=height, small=small)


def score_chart(axis: TokenAxis, evaluations: Sequence[EvaluationRow], line: ScoreLine) -> Spec:
    """Draw the bits per byte of a source, with its baselines as levels."""
    scores = [(row, bits) for row, bits in zip(evaluations, line.bits, strict=True) if bits is not None]
    levels = {name: level for name, level in line.levels.items() if level is not None}
    values = [*(bits for _, bits in scores), *levels.values()]
    rows: list[Spec] = [{"when": row.after, "tokens": row.tokens, "bits": bits} for row, bits in scores]
    return _over_tokens(axis, rows, padded(min(values), max(values), 12), levels=levels, small=True)


def rate_chart(axis: TokenAxis, points: Sequence[CurvePoint]) -> Spec:
    """Draw the learning rate."""
    return _over_tokens(axis, [{"tokens": point.tokens, "rate": point.mean} for point in points])


def _over_tokens(
    axis: TokenAxis,
    rows: Rows,
    domain: tuple[float, float] | None = None,
    *,
    clip: bool = False,
    levels: Mapping[str, float] = MappingProxyType({}),
    height: int = 110,
    small: bool = False,
) -> Spec:
    """Draw the LINES that the rows have over the tokens seen.

    They lie on top of the phases, of horizontal levels, and of a band from `low` to `high`. A hover anywhere shows the
    nearest row. `clip` cuts off what lies outside the vertical `domain`.
    """
    # Axes: the same horizontal one for all charts.
    ticks = 4 if small else 8
    labels: Spec = {"format": "~s", "grid": False, "tickCount": ticks, "labelExpr": "datum.value ? datum.label : '0'"}
    right_end: Spec = {"domain": [0, axis.tokens], "nice": False}
    x = _number("tokens", title=None if small else "tokens seen", scale=right_end, axis=labels)
    plain: Spec = {"domain": False, "ticks": False, "labelPadding": 4, "tickCount": ticks // 2 + 1}
    scale: Spec = {"domain": list(domain), "nice": False, "zero": False} if domain else {}
    y = {field: _number(field, title=None, scale=scale, axis=plain) for field in ("low", *LINES)}

    # Below: the phases, and a horizontal line for each level.
    layers = [_phases(axis, x, named=not small)]
    for name, level in levels.items():
        rule: Spec = {"type": "rule", "stroke": SCORE_COLOURS[name], "strokeWidth": 1.5, "strokeDash": [5, 3]}
        tooltip = _number("bits", title=name, format=TOOLTIPS["bits"])
        layers.append({**_data([{"bits": level}]), "mark": rule, "encoding": {"y": y["bits"], "tooltip": tooltip}})

    # On top: the band and the lines.
    marks: list[Json] = []
    if "low" in rows[0]:
        band: Spec = {"type": "area", "clip": clip, "fill": LOSS_COLOURS["each step"], "fillOpacity": 0.35}
        marks.append({"mark": band, "encoding": {"y": y["low"], "y2": {"field": "high"}}})
    for field in [field for field in rows[0] if field in LINES]:
        colour, width = LINES[field]
        # A short curve shows its points: a line of a single point is invisible.
        few = field != "smooth" and len(rows) <= MAX_DOTTED_POINTS
        dots: Json = {"fill": colour, "stroke": colour, "size": 15 * width} if few else False
        line: Spec = {"type": "line", "clip": clip, "stroke": colour, "strokeWidth": width, "point": dots}
        marks.append({"mark": line, "encoding": {"y": y[field]}})
    # An invisible line as wide as the pointer's surroundings catches the hover.
    hover: list[Json] = [{"field": "when", "type": "nominal"}] if "when" in rows[0] else []
    hover += [_number(field, format=TOOLTIPS[field]) for field in rows[0] if field in TOOLTIPS]
    marks.append({"mark": {"type": "rule", "opacity": 0, "strokeWidth": 6}, "encoding": {"tooltip": hover}})
    return {
        "layer": [*layers, {**_data(rows), "encoding": {"x": x}, "layer": marks}],
        "width": SMALL_WIDTH if small else "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
    }


def _phases(axis: TokenAxis, x: Spec, *, named: bool) -> Spec:
    """Shade every other phase, draw a line between phases, and write their names if there is room."""
    bands: list[Spec] = []
    for number, phase in enumerate(axis.curriculum.phases):
        start = axis.curriculum.tokens(phase.first_step - 1)
        end = min(axis.curriculum.tokens(phase.last_step), axis.tokens)
        if start < end:
            bands.append({"tokens": start, "end": end, "phase": phase.name, "shade": 0.14 * (number % 2)})
    shade = _number("shade", scale=None, legend=None)
    line: Spec = {"type": "rule", "stroke": INK, "strokeOpacity": 0.5, "strokeDash": [3, 3]}
    room: Spec = {"expr": f"max(1, (datum.end - datum.tokens) / {axis.tokens} * width - 8)"}
    text: Spec = {"type": "text", "align": "left", "baseline": "bottom", "dx": 3, "dy": -3, "limit": room}
    name: Spec = {"field": "phase", "type": "nominal"}
    layers: list[Json] = [
        {"mark": {"type": "rect", "fill": REST}, "encoding": {"x2": {"field": "end"}, "fillOpacity": shade}},
        {"mark": line, "transform": [{"filter": "datum.tokens > 0"}]},
        {"mark": text, "encoding": {"y": {"value": 0}, "text": name}},
    ]
    return {**_data(bands), "encoding": {"x": x}, "layer": layers if named else layers[:2]}


def _number(field: str, **options: Json) -> Spec:
    return {"field": field, "type": "quantitative", **options}


def _data(rows: Rows) -> Spec:
    """Return the rows with six digits, which are more than a screen shows, and keep the page small."""
    values: list[Json] = [
        {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        for row in rows
    ]
    return {"data": {"values": values}}
