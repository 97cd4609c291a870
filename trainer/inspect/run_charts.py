"""The charts of a run, over the tokens seen, the phases marked: from numbers to points, from points to Vega-Lite specs.

A curve is so many points at most, each the mean over as many steps as it takes, with their range beside it so that no
spike hides. Names of sources and phases are foreign: they stand in data values only.

Legend: N steps, P points of a curve.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.display.page import INK, REST, SERIES, STEPS
from corpus.settings import Json
from trainer.inspect.metrics import EvaluationRow
from trainer.inspect.scores import Levels

SMALL = 260  # pixels: a small chart's width; it is scaled to its column
FEW = 40  # steps that are drawn as points too
WINDOWS, LEAST = 100, 3  # smoothing reaches a 100th of the steps to either side, and three at least

LOSS = {"each step": STEPS[1], "smoothed": SERIES[0]}
RATE = SERIES[6]
LEVELS = ("unigram", "xz -9")
BITS = {"model": SERIES[2], **dict(zip(LEVELS, (SERIES[1], REST), strict=True))}

Reals = NDArray[np.float64]
Values = list[Json]
Spec = dict[str, Json]


class PhaseMark(NamedTuple):
    """Where a phase lies: its steps, both ends included, and the tokens seen before it and at its end."""

    name: str
    first_step: int
    last_step: int
    tokens_first: int
    tokens_last: int


class Frame(NamedTuple):
    """What all charts of a page have in common."""

    phases: Sequence[PhaseMark]
    tokens: int  # seen in all, where the charts end


class Column(NamedTuple):
    """A number of those steps that have it."""

    values_N: Reals
    steps_N: Reals
    tokens_N: Reals  # seen so far
    phases_N: NDArray[np.int64]  # as in `Steps.phases`


class Point(NamedTuple):
    """Some steps in a row: their mean and range, and the smoothed value at the last."""

    tokens: int
    step: int
    mean: float
    low: float
    high: float
    smooth: float


def curve(column: Column, most: int) -> list[Point]:
    """At most `most` points, each of as many steps in a row, but for the last."""
    count = len(column.values_N)
    starts_P = np.arange(0, count, -(-count // most))
    ends_P = np.append(starts_P[1:], count)
    parts = (
        column.tokens_N[ends_P - 1],
        column.steps_N[ends_P - 1],
        np.add.reduceat(column.values_N, starts_P) / (ends_P - starts_P),
        np.minimum.reduceat(column.values_N, starts_P),
        np.maximum.reduceat(column.values_N, starts_P),
        smoothed(column)[ends_P - 1],
    )
    columns = zip(*(part_P.tolist() for part_P in parts), strict=True)
    return [Point(int(tokens), int(step), *rest) for tokens, step, *rest in columns]


def smoothed(column: Column) -> Reals:
    """Means over the steps around each, of the same phase: as many before it as behind it, but for the phase's end."""
    count = len(column.values_N)
    reach, found_N = max(LEAST, count // WINDOWS), np.empty(count)
    seams = np.flatnonzero(np.diff(column.phases_N)) + 1
    for first, end in pairwise([0, *seams.tolist(), count]):
        sums_N = np.concatenate([[0.0], np.cumsum(column.values_N[first:end])])
        here_N = np.arange(end - first)
        from_N = np.maximum(here_N - reach, 0)
        to_N = np.minimum(2 * here_N - from_N + 1, end - first)
        found_N[first:end] = (sums_N[to_N] - sums_N[from_N]) / (to_N - from_N)
    return found_N


def span(points: Sequence[Point]) -> tuple[float, float]:
    """What a vertical axis spans. A steep beginning is cut off where it would flatten all the rest."""
    low, top = min(each.low for each in points), max(each.high for each in points)
    settled = max(each.high for each in points[len(points) // 50 :])
    high = top if top - low < 1.5 * (settled - low) else settled
    room = (high - low) / 20 or 0.5
    return low - room, high + room


def loss_chart(frame: Frame, points: Sequence[Point], bounds: tuple[float, float], small: bool = False) -> Spec:
    """A thin line and its smoothed run, the range behind it, and hovering that needs no aim."""
    values: Values = [{name: _short(value) for name, value in each._asdict().items()} for each in points]
    scale: Json = {"domain": [_short(bound) for bound in bounds], "nice": False, "zero": False}
    axis = _axis(3 if small else 6)

    def y(field: str) -> Json:
        return {"field": field, "type": "quantitative", "title": None, "scale": scale, "axis": axis}

    x, thin, bold = _x(frame, 4 if small else 8), LOSS["each step"], LOSS["smoothed"]
    clip = points[0].high > bounds[1]
    line: Spec = {"type": "line", "clip": clip}
    hover: Values = [
        {"field": field, "type": "quantitative", "title": name, "format": form}
        for field, name, form in (
            ("step", "step", ","),
            ("tokens", "tokens", ","),
            ("mean", "loss", ".4f"),
            ("smooth", "smoothed", ".4f"),
        )
    ]
    band: Spec = {"mark": {"type": "area", "clip": clip, "fill": thin, "fillOpacity": 0.35}}
    band["encoding"] = {"x": x, "y": y("low"), "y2": {"field": "high"}}
    each: Spec = {"mark": {**line, "stroke": thin, "strokeWidth": 1, **_dots(points, thin)}}
    each["encoding"] = {"x": x, "y": y("mean")}
    smooth: Spec = {"mark": {**line, "stroke": bold, "strokeWidth": 2}, "encoding": {"x": x, "y": y("smooth")}}
    aim: Spec = {"mark": {"type": "rule", "opacity": 0, "strokeWidth": 6}, "encoding": {"x": x, "tooltip": hover}}
    thinned = any(each.low != each.high for each in points)
    layers: Values = [*([band] if thinned else []), each, smooth, aim]
    height = 110 if small else 280
    spec = _spec([*_phases(frame, named=not small), {"layer": layers, "data": {"values": values}}], height)
    return {**spec, "width": SMALL} if small else spec


def rate_chart(frame: Frame, points: Sequence[Point]) -> Spec:
    """The learning rate."""
    values: Values = [{"tokens": each.tokens, "rate": _short(each.mean)} for each in points]
    y: Json = {"field": "rate", "type": "quantitative", "title": None, "axis": _axis(4, format="~g")}
    mark: Json = {"type": "line", "stroke": RATE, "strokeWidth": 1.5, **_dots(points, RATE)}
    layer: Spec = {"data": {"values": values}, "mark": mark, "encoding": {"x": _x(frame, 8), "y": y}}
    return _spec([*_phases(frame, named=True), layer], height=110)


def bits_chart(frame: Frame, rows: Sequence[tuple[EvaluationRow, float]], levels: Levels) -> Spec:
    """Bits per byte at each evaluation, and the yardsticks' levels."""
    known = [(name, level) for name, level in zip(LEVELS, levels, strict=True) if level is not None]
    bits = [*(value for _, value in rows), *(level for _, level in known)]
    values: Values = [{"tokens": row.tokens, "when": row.after, "bits": _short(value)} for row, value in rows]
    room = (max(bits) - min(bits)) / 12 or 0.5
    scale: Json = {"domain": [_short(min(bits) - room), _short(max(bits) + room)], "nice": False, "zero": False}
    y: Json = {"field": "bits", "type": "quantitative", "title": None, "scale": scale, "axis": _axis(4)}
    colour = BITS["model"]
    dot: Json = {"fill": colour, "stroke": colour, "size": 30}
    hover: Values = [
        {"field": "when", "type": "nominal"},
        {"field": "tokens", "type": "quantitative", "format": ","},
        {"field": "bits", "type": "quantitative", "title": "bits per byte", "format": ".4f"},
    ]
    line: Spec = {
        "data": {"values": values},
        "mark": {"type": "line", "stroke": colour, "strokeWidth": 2, "point": dot},
        "encoding": {"x": _x(frame, 4), "y": y, "tooltip": hover},
    }
    rules: Values = []
    for name, level in known:
        mark: Json = {"type": "rule", "stroke": BITS[name], "strokeWidth": 1.5, "strokeDash": [5, 3]}
        tip: Json = [{"field": "bits", "type": "quantitative", "title": name, "format": ".4f"}]
        level_data: Json = {"values": [{"bits": _short(level)}]}
        rules.append({"data": level_data, "mark": mark, "encoding": {"y": y, "tooltip": tip}})
    return {**_spec([*_phases(frame, named=False), *rules, line], height=110), "width": SMALL}


def _phases(frame: Frame, named: bool) -> Values:
    """Every other phase shaded, a rule between two, and their names above, as far as there is room."""
    bands: Values = []
    edges: Values = []
    for number, phase in enumerate(frame.phases):
        start, end = phase.tokens_first, min(phase.tokens_last, frame.tokens)
        if start < end:
            bands.append({"tokens": start, "end": end, "phase": phase.name, "shade": 0.14 * (number % 2)})
    for before, after in pairwise(frame.phases):
        if before.tokens_last < frame.tokens and after.tokens_first > 0:
            edges.append({"tokens": after.tokens_first})
    x = _x(frame, 8 if named else 4)
    shade: Json = {"field": "shade", "type": "quantitative", "scale": None, "legend": None}
    band_x: Spec = {"x": x, "x2": {"field": "end"}, "fillOpacity": shade}
    room: Json = {"expr": f"max(1, (datum.end - datum.tokens) / {frame.tokens} * width - 8)"}
    text: Spec = {"type": "text", "align": "left", "baseline": "bottom", "dx": 3, "dy": -3, "limit": room}
    rule: Spec = {"type": "rule", "stroke": INK, "strokeOpacity": 0.5, "strokeDash": [3, 3]}
    found: Values = [
        {"data": {"values": bands}, "mark": {"type": "rect", "fill": REST}, "encoding": band_x},
        {"data": {"values": edges}, "mark": rule, "encoding": {"x": x}},
    ]
    words: Spec = {"x": x, "y": {"value": 0}, "text": {"field": "phase", "type": "nominal"}}
    return [*found, {"data": {"values": bands}, "mark": text, "encoding": words}] if named else found


def _x(frame: Frame, ticks: int) -> Json:
    axis: Json = {"format": "~s", "grid": False, "tickCount": ticks, "labelExpr": "datum.value ? datum.label : '0'"}
    scale: Json = {"domain": [0, frame.tokens], "nice": False}
    title = "tokens seen" if ticks > 4 else None
    return {"field": "tokens", "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _axis(ticks: int, **more: Json) -> Json:
    return {"domain": False, "ticks": False, "labelPadding": 4, "tickCount": ticks, **more}


def _dots(points: Sequence[Point], colour: str) -> Spec:
    """A line of few points shows them: of one, there is no line."""
    dot: Json = {"fill": colour, "stroke": colour, "size": 12}
    return {"point": dot} if len(points) <= FEW else {}


def _spec(layers: Values, height: int) -> Spec:
    fit: Json = {"type": "fit-x", "contains": "padding"}
    return {"layer": layers, "height": height, "width": "container", "autosize": fit}


def _short(number: float) -> Json:
    """Six digits are more than a screen shows."""
    return number if isinstance(number, int) else float(f"{number:.6g}")
