"""The report's small pictures, of which many stand beside each other: lengths, signals and hosts."""

import math
from typing import cast

import altair as alt

from corpus.display.page import INK
from corpus.inspect.report.drawing import (
    BAR_HEIGHT,
    FATES,
    SMALL,
    SPLITS,
    Row,
    Spec,
    chart_of,
    colour_of,
    counts_axis,
    names_above,
    plain_axis,
    spec_of,
    tooltip_of,
)
from corpus.inspect.report.summary import SourceSummary
from corpus.inspect.report.summary_types import Histogram, Hosts

SHOWN_HOSTS = 10
HOST_HEIGHT = 28
SIGNAL_HEIGHT = 90
SIDE = 0.22  # of the axis: a bound nearer to an end has its label on the inner side
NEAR = 0.45  # of the axis: labels of bounds that lie nearer to each other stand on two lines


def lengths(source: SourceSummary) -> Spec:
    """Documents by length, in buckets that double."""
    rows: list[Row] = [
        {"tokens": _short(low), "range": f"{low:,} to {2 * low - 1:,}", "split": split, "documents": count}
        for low, train, holdout in ((each.at_least, each.train, each.holdout) for each in source.lengths)
        for split, count in (("train", train), ("holdout", holdout))
    ]
    order = [_short(bucket.at_least) for bucket in source.lengths]
    most = max(bucket.train + bucket.holdout for bucket in source.lengths)
    axis = alt.Axis(labelAngle=0, labelOverlap="parity", labelFontSize=10)
    encoded = chart_of(rows).mark_bar(cornerRadiusEnd=2)
    encoded = encoded.encode(
        x=alt.X("tokens:O", title="tokens, at least", sort=order, axis=axis),
        y=alt.Y("documents:Q", title=None, axis=counts_axis(most, 4)),
        color=colour_of("split", SPLITS),
        order=alt.Order("split:N", sort="descending"),
        tooltip=tooltip_of(range="N", split="N", documents="Q"),
    )
    return spec_of(encoded, height=110, width=SMALL)


def hosts(found: Hosts) -> Spec:
    """A source's most frequent hosts, kept documents first."""
    shown = found.top[:SHOWN_HOSTS]
    rows: list[Row] = [
        {"what": each.host, "fate": fate, "documents": count}
        for each in shown
        for fate, count in (("kept", each.kept), ("dropped", each.dropped))
    ]
    most = max(each.kept + each.dropped for each in shown)
    order = [{"what": each.host} for each in shown]
    bars = chart_of(rows).mark_bar(height=BAR_HEIGHT, yOffset=BAR_HEIGHT / 2)
    encoded = bars.encode(
        x=alt.X("documents:Q", title=None, axis=counts_axis(most, 4)),
        y=alt.Y("what:N", sort=[each.host for each in shown], axis=None),
        color=colour_of("fate", FATES),
        order=alt.Order("fate:N", sort="descending"),
        tooltip=tooltip_of(what="N", fate="N", documents="Q"),
    )
    return spec_of(encoded + names_above(order), height=HOST_HEIGHT * len(shown), width=SMALL)


def signal(histogram: Histogram) -> Spec:
    """A signal's values, kept documents below and dropped ones above them, with what the rule's bounds refuse."""
    rows = _bins(histogram)
    if histogram.yes_or_no:
        return _said(histogram, rows)
    edges = histogram.edges
    most = max(kept + dropped for kept, dropped in zip(histogram.kept, histogram.dropped, strict=True))
    kind = "log" if histogram.logarithmic else "linear"
    scale = alt.Scale(type=kind, domain=[edges[0], edges[-1]], nice=False)
    powers = [10.0**power for power in range(12) if edges[0] <= 10**power <= edges[-1]]
    ticks = {"values": powers, "format": "~s"} if histogram.logarithmic else {"tickCount": 4, "format": ".3~r"}
    x = alt.X("from:Q", title=None, scale=scale, axis=alt.Axis(grid=False, labelOverlap=True, **ticks))
    bars = chart_of(rows).mark_rect(strokeWidth=0)
    bars = bars.encode(
        x=x,
        x2="to:Q",
        y=alt.Y("y:Q", title=None, axis=counts_axis(most, 3)),
        y2="top:Q",
        color=colour_of("fate", FATES),
        tooltip=tooltip_of(range="N", fate="N", documents="Q"),
    )
    bounds = _bounds(histogram)
    zones = chart_of(_refused(histogram)).mark_rect(fill=FATES["dropped"], fillOpacity=0.13, strokeWidth=0)
    shaded = zones.encode(x=x, x2="to:Q", y=alt.value(0), y2=alt.value(SIGNAL_HEIGHT))
    lines = chart_of(bounds).mark_rule(stroke=INK, strokeDash=[4, 3], strokeWidth=1.5).encode(x=alt.X("bound:Q"))
    layers = [bars, shaded, lines, *(_label(row) for row in bounds)]
    return spec_of(alt.layer(*layers), height=SIGNAL_HEIGHT, width=SMALL, top=26 if len(bounds) > 1 else 16)


def _bins(histogram: Histogram) -> list[Row]:
    edges = histogram.edges
    bins = zip(edges[:-1], edges[1:], histogram.kept, histogram.dropped, strict=True)
    return [
        {"from": low, "to": high, "range": f"{low:g} to {high:g}", "fate": fate, "documents": count, "y": y, "top": top}
        for low, high, kept, dropped in bins
        for fate, count, y, top in (("kept", kept, 0, kept), ("dropped", dropped, kept, kept + dropped))
        if count
    ]


def _said(histogram: Histogram, bins: list[Row]) -> Spec:
    """Of a signal that is 0 or 1: a bar for each, that which the rule refuses called so."""
    low, high = histogram.at_least, histogram.at_most
    refused = {
        name for value, name in ((0, "no"), (1, "yes")) if (low or 0) > value or (high is not None and value > high)
    }
    names = {0: "no", 1: "yes"}
    rows: list[Row] = []
    for row in bins:
        name = names[round((cast(float, row["from"]) + cast(float, row["to"])) / 2)]
        rows.append({**row, "said": name + (", refused" if name in refused else "")})
    order = [name + (", refused" if name in refused else "") for name in names.values()]
    most = max(kept + dropped for kept, dropped in zip(histogram.kept, histogram.dropped, strict=True))
    bars = chart_of(rows).mark_bar(height=2 * BAR_HEIGHT, cornerRadiusEnd=2)
    encoded = bars.encode(
        y=alt.Y("said:N", title=None, sort=order, axis=plain_axis(), scale=alt.Scale(domain=order)),
        x=alt.X("documents:Q", title=None, axis=counts_axis(most, 3)),
        color=colour_of("fate", FATES),
        order=alt.Order("fate:N", sort="descending"),
        tooltip=tooltip_of(said="N", fate="N", documents="Q"),
    )
    return spec_of(encoded, height=SIGNAL_HEIGHT, width=SMALL, top=16)


def _bounds(histogram: Histogram) -> list[Row]:
    """The bounds that are in sight, each with its label and where that stands."""
    low, high = histogram.edges[0], histogram.edges[-1]
    named = (("≥", histogram.at_least), ("≤", histogram.at_most))
    seen = [(sign, bound) for sign, bound in named if bound is not None and low <= bound <= high]
    places = [_place(histogram, bound) for _, bound in seen]
    close = len(places) == 2 and places[1] - places[0] < NEAR
    rows: list[Row] = []
    for number, ((sign, bound), place) in enumerate(zip(seen, places, strict=True)):
        side = "left" if place < SIDE or (sign == "≤" and place < 1 - SIDE) else "right"
        line = 1 if close and number == 0 else 0
        rows.append({"bound": bound, "label": f"{sign} {bound:,g}", "align": side, "line": line})
    return rows


def _label(row: Row) -> alt.Chart:
    inward = 3 if row["align"] == "left" else -3
    text = chart_of([row]).mark_text(align=row["align"], dx=inward, baseline="bottom", fontSize=10)
    return text.encode(x=alt.X("bound:Q"), y=alt.value(-2 - 11 * cast(int, row["line"])), text="label:N")


def _refused(histogram: Histogram) -> list[Row]:
    low, high = histogram.edges[0], histogram.edges[-1]
    zones = [(low, histogram.at_least), (histogram.at_most, high)]
    return [{"from": start, "to": end} for start, end in zones if start is not None and end is not None and start < end]


def _place(histogram: Histogram, value: float) -> float:
    """Where on the axis, from 0 to 1."""
    low, high = histogram.edges[0], histogram.edges[-1]
    if histogram.logarithmic:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return (value - low) / (high - low)


def _short(count: int) -> str:
    """Powers of two as they are said: 512, 1k, 2k, 1M."""
    if count >= 1 << 20:
        return f"{count >> 20}M"
    return f"{count >> 10}k" if count >= 1 << 10 else str(count)
