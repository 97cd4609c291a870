"""The report's charts as Vega-Lite specs. Every number in a chart is a number of the Summary.

Names from outside (of sources, rules, hosts, languages) stand in data values only, never in a field's name or in an
expression. A spec has no legend: the page shows the names and colours of the keys below beside it.
Reference: https://vega.github.io/vega-lite/docs/
"""

from collections.abc import Iterable, Sequence
from typing import cast

from corpus.display.page import INK, REST, SERIES, STEPS
from corpus.inspect.report.summary import ENDS, Histogram, HostCounts, SourceSummary, Summary
from corpus.settings import Json

Spec = dict[str, Json]
Row = dict[str, Json]
Key = dict[str, str]  # names to colours

END_COLOURS: Key = dict(
    zip(ENDS, (SERIES[0], SERIES[2], SERIES[3], SERIES[6], SERIES[1], REST, SERIES[7]), strict=True)
)
REMOVED = {  # ends outside the shards, in the order of the build: their names in the chart of all sources
    "skipped": "out of scope",
    "failed": "unreadable",
    "dropped by a rule": "dropped by a rule",
    "duplicate": "duplicate",
    "over quota": "over quota",
}
FAILURES: Key = {
    "failed only this rule": SERIES[1],
    "failed others too, credited here": SERIES[3],
    "failed others too, credited to another": REST,
}
SPLITS: Key = {"train": SERIES[0], "holdout": SERIES[2]}
VERDICTS: Key = {"kept": SERIES[0], "dropped": SERIES[1]}
SHOWN_BARS, SHOWN_HOSTS = 24, 10
BAR, NAMED_BAR = 11, 33  # pixels: height of a bar, and of a bar with its name above it
SMALL = 260  # pixels: small charts are scaled to their column, so they can be drawn while folded away
SIGNAL_HEIGHT = 90  # pixels


# Parts of a spec.


def _spec(layers: Sequence[Spec], height: int, *, small: bool = False, top: int = 5) -> Spec:
    """Return layers drawn over each other, in the width of the page or of a small chart; `top` is padding in pixels."""
    return {
        "layer": list(layers),
        "height": height,
        "width": SMALL if small else "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 5, "right": 5, "bottom": 5, "top": top},
    }


def _layer(rows: Sequence[Row], mark: Spec, **encoding: Json) -> Spec:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}


def _name(field: str, **more: Json) -> Spec:
    return {"field": field, "type": "nominal", **more}


def _number(field: str, **more: Json) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def _counts(field: str, most: int, ticks: int = 5, **more: Json) -> Spec:
    """Channel of whole numbers up to `most`."""
    ticks = min(ticks, most)
    axis: Json = {"format": "~s", "tickCount": ticks, "domain": False, "ticks": False, "labelPadding": 4}
    return _number(field, **{"title": None, "axis": axis, **more})


def _colour(field: str, key: Key) -> Spec:
    return _name(field, scale={"domain": list(key), "range": list(key.values())}, legend=None)


def _tooltip(**fields: str) -> list[Json]:
    """Return the fields shown on hover: each a name (N), a count (Q) or a share (%)."""
    kinds: dict[str, Spec] = {
        "N": {"type": "nominal"},
        "Q": {"type": "quantitative", "format": ","},
        "%": {"type": "quantitative", "format": ".1%"},
    }
    return [{"field": name, "title": name.replace("_", " "), **kinds[kind]} for name, kind in fields.items()]


def _names_above(rows: Sequence[Row], *, size: int = 11, figures: bool = False) -> list[Spec]:
    """Layers with the `name` above each bar, where a phone has room for it; with `figures`, `label` on the right."""
    mark: Spec = {"type": "text", "dy": -size * 8 / 11, "fontSize": size}
    y = _name("name", sort=[row["name"] for row in rows], axis=None)
    layers = [_layer(rows, {**mark, "align": "left"}, y=y, x={"value": 0}, text=_name("name"))]
    if figures:
        layers.append(_layer(rows, {**mark, "align": "right"}, y=y, x={"value": "width"}, text=_name("label")))
    return layers


# Forms that several charts share. The order of a key is the order of the pieces of a bar.


def _stacked(rows: Iterable[Row], part: str, key: Key) -> list[Row]:
    order = {name: number for number, name in enumerate(key)}
    return [{**row, "order": order[cast(str, row[part])]} for row in rows]


def _named_bars(rows: Sequence[Row], names: Sequence[Row], part: str, key: Key, x: Spec, **hover: str) -> list[Spec]:
    """Bars of documents under their names, each in pieces by `part`."""
    bars = _layer(
        _stacked(rows, part, key),
        {"type": "bar", "height": BAR, "yOffset": BAR / 2},
        x=x,
        y=_name("name", sort=[row["name"] for row in names], axis=None),
        color=_colour(part, key),
        order=_number("order"),
        tooltip=_tooltip(**hover, **{part: "N"}, documents="Q"),
    )
    return [bars, *_names_above(names)]


# Charts of the whole build.


def all_sources(summary: Summary) -> Spec:
    """From all records read, end by end, to the documents in the shards; each bar begins where the last one ends."""
    read, totals = summary.records_read, summary.ends()
    rows: list[Row] = []

    def bar(name: str, end: str, start: int, stop: int) -> None:
        count = stop - start
        position: Row = {"from": start, "to": stop, "records": count, "share": count / (read or 1)}
        rows.append({"name": name, "end": end, **position})

    bar("records read", "records read", 0, read)
    left = read
    for end, name in REMOVED.items():
        if totals[end]:
            bar(name, end, left - totals[end], left)
            left -= totals[end]
    start = 0
    for end in ("training shards", "holdout shards"):
        if totals[end]:
            bar("in token shards", end, start, start + totals[end])
            start += totals[end]
    # Both splits are on one line, so that its label is their sum.
    sums: dict[str, int] = {}
    for row in rows:
        sums[cast(str, row["name"])] = sums.get(cast(str, row["name"]), 0) + cast(int, row["records"])
    labels: list[Row] = [
        {"name": name, "label": f"{'−' if name in REMOVED.values() else ''}{count:,} · {count / (read or 1):.1%}"}
        for name, count in sums.items()
    ]
    bars = _layer(
        rows,
        {"type": "bar", "height": 14, "yOffset": 7, "cornerRadius": 2},
        y=_name("name", sort=list(sums), axis=None),
        x=_number("from", axis=None, scale={"domain": [0, read or 1], "nice": False}),
        x2={"field": "to"},
        color=_colour("end", {"records read": STEPS[0], **END_COLOURS}),
        tooltip=_tooltip(end="N", records="Q", share="%"),
    )
    return _spec([bars, *_names_above(labels, size=13, figures=True)], 46 * len(sums))


def step_key(summary: Summary) -> Key:
    """Names and colours of the funnel's steps: the later, the deeper."""
    titles = summary.titles.values()
    colours = [STEPS[1 + number * (len(STEPS) - 1) // len(titles)] for number in range(len(titles))]
    after = (f"after {title.lower()}" for title in titles)
    return {"records read": STEPS[0], **dict(zip(after, colours, strict=True))}


def funnel(summary: Summary) -> Spec:
    """Documents of each source that are left after each step."""
    rows: list[Row] = []
    key = step_key(summary)
    for source in summary.sources:
        for step, count in zip(key, source.left(summary.titles), strict=True):
            row: Row = {"source": source.name, "step": step, "documents": count, "label": f"{count:,}"}
            rows.append({**row, "share": count / (source.records_read or 1)})
    names: Json = [source.name for source in summary.sources]
    axis: Json = {"format": "~%", "domain": False, "values": [0, 0.25, 0.5, 0.75, 1]}
    scale: Json = {"domain": [0, 1.15], "nice": False}  # room for the labels
    sources_axis: Json = {"domain": False, "ticks": False, "labelPadding": 8}
    encoding: Spec = {
        "y": _name("source", title=None, sort=names, axis=sources_axis, scale={"paddingInner": 0.3}),
        "yOffset": _name("step", scale={"domain": list(key), "paddingInner": 0.12}),
        "x": _number("share", title="share of the records read", axis=axis, scale=scale),
        "tooltip": _tooltip(source="N", step="N", documents="Q", share="%"),
    }
    bars = _layer(rows, {"type": "bar", "cornerRadiusEnd": 2}, color=_colour("step", key), **encoding)
    labels = _layer(rows, {"type": "text", "align": "left", "dx": 4, "fontSize": 10}, text=_name("label"), **encoding)
    return _spec([bars, labels], (15 * len(key) + 18) * len(summary.sources))


def failed_rules(summary: Summary) -> Spec:
    """Documents that failed each rule, by whether other rules failed too; the rules with most credited ones first."""
    counted = [(source.name, rule) for source in summary.sources for rule in source.rules if rule.dropped]
    counted.sort(key=lambda pair: (-pair[1].dropped, pair[0], pair[1].name))
    rows: list[Row] = []
    names: list[Row] = []
    for source, rule in counted[:SHOWN_BARS]:
        name, failing = f"{source} · {rule.name}", max(rule.failing, rule.dropped)
        counts = (rule.alone, rule.dropped - rule.alone, failing - rule.dropped)
        for others, count in zip(FAILURES, counts, strict=True):
            rows.append({"name": name, "source": source, "rule": rule.name, "others": others, "documents": count})
        label = f"{rule.dropped:,}" + (f" of {failing:,}" if failing > rule.dropped else "")
        names.append({"name": name, "documents": failing, "label": label})
    most = max((cast(int, row["documents"]) for row in names), default=1)
    scale: Json = {"domain": [0, most * 1.16], "nice": False}  # room for the labels
    x = _counts("documents", most, title="documents that failed the rule", scale=scale)
    layers = _named_bars(rows, names, "others", FAILURES, x, source="N", rule="N")
    mark: Spec = {"type": "text", "align": "left", "dx": 4, "dy": BAR / 2, "fontSize": 10}
    y = _name("name", sort=[row["name"] for row in names], axis=None)
    return _spec([*layers, _layer(names, mark, x=x, y=y, text=_name("label"))], NAMED_BAR * len(names))


# Small charts, of which many stand beside each other.


def lengths(source: SourceSummary) -> Spec:
    """Documents by length, in buckets that double."""
    rows: list[Row] = [
        {
            "tokens": _short(bucket.at_least),
            "range": f"{bucket.at_least:,} to {2 * bucket.at_least - 1:,}",
            "split": split,
            "documents": count,
        }
        for bucket in source.lengths
        for split, count in (("train", bucket.train), ("holdout", bucket.holdout))
    ]
    order: Json = [_short(bucket.at_least) for bucket in source.lengths]
    axis: Json = {"labelAngle": 0, "labelOverlap": "parity", "labelFontSize": 10}
    most = max((bucket.train + bucket.holdout for bucket in source.lengths), default=1)
    bars = _layer(
        _stacked(rows, "split", SPLITS),
        {"type": "bar", "cornerRadiusEnd": 2},
        x={"field": "tokens", "type": "ordinal", "title": "tokens, at least", "sort": order, "axis": axis},
        y=_counts("documents", most, 4),
        color=_colour("split", SPLITS),
        order=_number("order"),
        tooltip=_tooltip(range="N", split="N", documents="Q"),
    )
    return _spec([bars], 110, small=True)


def hosts(counts: HostCounts) -> Spec:
    """A source's most frequent hosts, kept documents first."""
    shown = counts.top[:SHOWN_HOSTS]
    rows: list[Row] = [
        {"name": host.host, "verdict": verdict, "documents": count}
        for host in shown
        for verdict, count in (("kept", host.kept), ("dropped", host.dropped))
    ]
    most = max((host.kept + host.dropped for host in shown), default=1)
    names: list[Row] = [{"name": host.host} for host in shown]
    layers = _named_bars(rows, names, "verdict", VERDICTS, _counts("documents", most, 4), name="N")
    return _spec(layers, 28 * len(shown), small=True)


def signal(histogram: Histogram) -> Spec:
    """A signal's values, kept documents below and dropped ones on top; what the rule's bounds drop is shaded."""
    low, high = histogram.edges[0], histogram.edges[-1]
    bounds = [("≥", histogram.at_least), ("≤", histogram.at_most)]
    most = max(kept + dropped for kept, dropped in zip(histogram.kept, histogram.dropped, strict=True))
    if histogram.yes_or_no:
        axis: Spec = {"values": [0, 1], "labelExpr": "datum.value ? 'yes' : 'no'"}
        bounds = [(sign, 0.5) for sign, bound in bounds if bound in ((1,) if sign == "≥" else (0,))]
    elif histogram.logarithmic:
        axis = {"values": [10.0**power for power in range(12) if low <= 10**power <= high], "format": "~s"}
    else:
        axis = {"tickCount": 4, "format": ".3~r"}
    scale: Json = {"type": "log" if histogram.logarithmic else "linear", "domain": [low, high], "nice": False}
    x = _number("from", title=None, scale=scale, axis={"grid": False, "labelOverlap": True, **axis})
    bars = _layer(
        _bins(histogram),
        {"type": "rect", "strokeWidth": 0},
        x=x,
        x2={"field": "to"},
        y=_counts("y", most, 3),
        y2={"field": "top"},
        color=_colour("verdict", VERDICTS),
        tooltip=_tooltip(range="N", verdict="N", documents="Q"),
    )
    # Each bound is a line; the side that it drops is shaded, and its label stands above, one line for each bound.
    seen = [(sign, bound) for sign, bound in bounds if bound is not None and low <= bound <= high]
    outside: list[Row] = [
        {"from": low, "to": bound} if sign == "≥" else {"from": bound, "to": high} for sign, bound in seen
    ]
    shade: Spec = {"type": "rect", "fill": VERDICTS["dropped"], "fillOpacity": 0.13, "strokeWidth": 0}
    shaded = _layer(outside, shade, x=x, x2={"field": "to"}, y={"value": 0}, y2={"value": SIGNAL_HEIGHT})
    line: Spec = {"type": "rule", "stroke": INK, "strokeDash": [4, 3], "strokeWidth": 1.5}
    text: Spec = {"type": "text", "baseline": "bottom", "fontSize": 10}
    layers = [bars, shaded, _layer([{"bound": bound} for _, bound in seen], line, x=_number("bound"))]
    for number, (sign, bound) in enumerate([] if histogram.yes_or_no else seen):
        rows: list[Row] = [{"bound": bound, "label": f"{sign} {bound:,g}"}]
        layers.append(_layer(rows, text, x=_number("bound"), y={"value": -2 - 11 * number}, text=_name("label")))
    return _spec(layers, SIGNAL_HEIGHT, small=True, top=26)


def _bins(histogram: Histogram) -> list[Row]:
    """One row per bar: kept documents from 0, dropped ones on top of them."""
    rows: list[Row] = []
    edges = histogram.edges
    for low, high, kept, dropped in zip(edges[:-1], edges[1:], histogram.kept, histogram.dropped, strict=True):
        name = ("no" if low < 0 else "yes") if histogram.yes_or_no else f"{low:g} to {high:g}"
        span: Row = {"from": low, "to": high, "range": name}
        for verdict, count, start in (("kept", kept, 0), ("dropped", dropped, kept)):
            if count:
                rows.append({**span, "verdict": verdict, "documents": count, "y": start, "top": start + count})
    return rows


def _short(count: int) -> str:
    """Return a power of two as it is said: 512, 1k, 2k, 1M."""
    if count >= 1 << 20:
        return f"{count >> 20}M"
    return f"{count >> 10}k" if count >= 1 << 10 else str(count)
