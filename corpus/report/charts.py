"""The report's pictures as Vega-Lite specs, made with Altair. Every number in one is a number of the Summary.

Foreign text (names of sources, rules, languages) stands in data values only, never in a field's name or an expression.
A spec has no legend: the page shows the names and colours of these tables beside it.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import altair as alt

from corpus.page import INK, REST, SERIES, STEPS
from corpus.report.summary import Histogram, SourceSummary, Summary
from corpus.settings import Json

Row = Mapping[str, Json]
Spec = dict[str, Json]
Key = dict[str, str]  # names to colours

STAGES: Key = dict(zip(("records read", "passed the rules", "not a duplicate", "in token shards"), STEPS, strict=True))
ENDS: Key = {
    "training shards": SERIES[0],
    "holdout shards": SERIES[2],
    "over quota": SERIES[3],
    "duplicate": SERIES[6],
    "dropped by a rule": SERIES[1],
    "skipped": REST,
    "failed": SERIES[7],
}
REASONS: Key = {"exact": SERIES[0], "near": SERIES[3]}
SHARES: Key = {"asked": STEPS[0], "got": STEPS[3]}
SPLITS: Key = {"train": SERIES[0], "holdout": SERIES[2]}
FATES: Key = {"kept": SERIES[0], "dropped": SERIES[1]}
OTHER_LANGUAGES = "all others"
SHOWN_BARS = 40
SHOWN_LANGUAGES = 6
BAR_HEIGHT, NAMED_HEIGHT = 11, 33  # pixels: of a bar, and of it with its name above
SMALL = 260  # pixels: small charts are scaled to their column, so they may be drawn while folded away


def funnel(summary: Summary) -> Spec:
    """What was left of each source's records after each step."""
    rows: list[Row] = []
    for source in summary.sources:
        counts = (source.records_read, source.passed_rules, source.unique, source.used)
        for stage, count in zip(STAGES, counts, strict=True):
            row: Row = {"stage": stage, "documents": count, "share": count / (counts[0] or 1), "label": f"{count:,}"}
            rows.append({"source": source.name, **row})
    return _grouped_bars(summary, rows, "stage", STAGES, "share of the records read", most=1.0)


def ends(summary: Summary) -> Spec:
    """Where each record ended, as shares of its source."""
    rows: list[Row] = []
    for source in summary.sources:
        whole = source.records_read or 1
        for end, count in source.ends():
            rows.append({"source": source.name, "end": end, "documents": count, "share": count / whole})
    return _stacked_shares(summary, rows, "end", ENDS, "share of the records read")


def drops(summary: Summary) -> Spec:
    """Documents dropped by each rule of each source, the most first."""
    counted = [(source, rule) for source in summary.sources for rule in source.rules]
    found = [(rule.dropped, source.name, rule.name) for source, rule in counted if rule.dropped]
    found.sort(key=lambda each: (-each[0], each[1:]))
    rows: list[Row] = [
        {"what": f"{source} · {rule}", "source": source, "rule": rule, "documents": count, "label": f"{count:,}"}
        for count, source, rule in found[:SHOWN_BARS]
    ]
    most = max((each[0] for each in found), default=1)
    scale = alt.Scale(domain=[0, most * 1.12], nice=False)
    base = _chart(rows).encode(
        y=alt.Y("what:N", sort=[cast(str, row["what"]) for row in rows], axis=None),
        x=alt.X("documents:Q", title="documents dropped", axis=_counts_axis(most), scale=scale),
        tooltip=_tooltip(source="N", rule="N", documents="Q"),
    )
    bars = base.mark_bar(fill=FATES["dropped"], cornerRadiusEnd=2, height=BAR_HEIGHT, yOffset=BAR_HEIGHT / 2)
    labels = base.mark_text(align="left", dx=4, dy=BAR_HEIGHT / 2, fontSize=10).encode(text="label:N")
    return _spec(bars + labels + _names(rows), height=NAMED_HEIGHT * len(rows))


def merges(summary: Summary) -> Spec:
    """Duplicates by source and by the source of the document that stays."""
    totals: dict[tuple[str, str], int] = {}
    for merge in summary.merges:
        key = (merge.source, merge.survivor_source)
        totals[key] = totals.get(key, 0) + merge.documents
    shown = sorted(totals, key=lambda key: (-totals[key], key))[:SHOWN_BARS]
    rows: list[Row] = [
        {
            "what": f"{merge.source} → {merge.survivor_source}",
            "source": merge.source,
            "survivor": merge.survivor_source,
            "reason": merge.reason,
            "documents": merge.documents,
        }
        for merge in summary.merges
        if (merge.source, merge.survivor_source) in shown
    ]
    order = [f"{source} → {survivor}" for source, survivor in shown]
    bars = _chart(rows).mark_bar(height=BAR_HEIGHT, yOffset=BAR_HEIGHT / 2)
    encoded = bars.encode(
        y=alt.Y("what:N", sort=order, axis=None),
        x=alt.X("documents:Q", title="documents removed", axis=_counts_axis(max(totals.values()))),
        color=_colour("reason", REASONS),
        tooltip=_tooltip(source="N", survivor="N", reason="N", documents="Q"),
    )
    return _spec(encoded + _names([{"what": each} for each in order]), height=NAMED_HEIGHT * len(shown))


def rule_sets(summary: Summary) -> Spec:
    """The share of each source that each rule set would have dropped: the deeper the colour, the more."""
    rows: list[Row] = []
    for source in summary.sources:
        for each in source.rule_sets:
            share = each.would_drop / (each.documents or 1)
            counts: Row = {"documents": each.documents, "would_drop": each.would_drop, "share": share}
            mark = {0: "", each.rules: " ✓"}.get(each.rules_in_use, " (✓)")
            label = (f"{share:.0%}" if each.documents else "–") + mark
            rows.append({"source": source.name, "rules": each.name, **counts, "label": label})
    in_lines = _plain_axis(orient="top", labelAngle=0, labelExpr="split(datum.label, '_')", labelPadding=22)
    base = _chart(rows).encode(
        y=_sources(summary),
        x=alt.X("rules:N", title=None, axis=in_lines),
        tooltip=_tooltip(source="N", rules="N", documents="Q", would_drop="Q"),
    )
    opacity = alt.FillOpacity("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.04, 0.6]))
    cells = base.mark_rect(fill=FATES["dropped"], cornerRadius=3).encode(fillOpacity=opacity)
    return _spec(cells + base.mark_text(color=INK).encode(text="label:N"), height=30 * len(summary.sources))


def shares(summary: Summary) -> Spec:
    """The share of training tokens that was asked of each source, and what it gave."""
    rows: list[Row] = [
        {"source": source.name, "what": what, "share": share, "label": f"{share:.1%}"}
        for source in summary.sources
        for what, share in (("asked", source.share_asked), ("got", source.share_got))
    ]
    most = max((max(source.share_asked, source.share_got) for source in summary.sources), default=0.0) or 1.0
    return _grouped_bars(summary, rows, "what", SHARES, "share of training tokens", most=most)


def language_key(summary: Summary) -> Key:
    """The most frequent languages of all sources, and one name for the rest."""
    overall: dict[str, int] = {}
    for source in summary.sources:
        for language, count in source.languages.items():
            overall[language] = overall.get(language, 0) + count
    named = sorted(overall, key=lambda language: (-overall[language], language))
    key = dict(zip(named[:SHOWN_LANGUAGES], SERIES, strict=False))
    return {**key, OTHER_LANGUAGES: REST} if len(named) > SHOWN_LANGUAGES else key


def languages(summary: Summary) -> Spec:
    """Languages of each source's documents."""
    key, rows = language_key(summary), list[Row]()
    for source in summary.sources:
        whole = sum(source.languages.values())
        counts = {name: source.languages.get(name, 0) for name in key}
        if OTHER_LANGUAGES in key:
            counts[OTHER_LANGUAGES] = whole - sum(count for name, count in counts.items() if name != OTHER_LANGUAGES)
        for language, count in counts.items():
            rows.append(
                {"source": source.name, "language": language, "documents": count, "share": count / (whole or 1)}
            )
    return _stacked_shares(summary, rows, "language", key, "share of the documents that passed the rules")


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
    encoded = _chart(rows).mark_bar(cornerRadiusEnd=2)
    encoded = encoded.encode(
        x=alt.X("tokens:O", title="tokens, at least", sort=order, axis=axis),
        y=alt.Y("documents:Q", title=None, axis=_counts_axis(most, 4)),
        color=_colour("split", SPLITS),
        order=alt.Order("split:N", sort="descending"),
        tooltip=_tooltip(range="N", split="N", documents="Q"),
    )
    return _spec(encoded, height=110, width=SMALL)


def signal(histogram: Histogram) -> Spec:
    """A signal's values, kept documents below and dropped ones above them, with the rule's bounds."""
    edges = histogram.edges
    bins = zip(edges[:-1], edges[1:], histogram.kept, histogram.dropped, strict=True)
    rows: list[Row] = [
        {"from": low, "to": high, "range": f"{low:g} to {high:g}", "fate": fate, "documents": count, "y": y, "top": top}
        for low, high, kept, dropped in bins
        for fate, count, y, top in (("kept", kept, 0, kept), ("dropped", dropped, kept, kept + dropped))
        if count
    ]
    most = max(kept + dropped for kept, dropped in zip(histogram.kept, histogram.dropped, strict=True))
    kind = "log" if histogram.logarithmic else "linear"
    scale = alt.Scale(type=kind, domain=[edges[0], edges[-1]], nice=False)
    powers = [10.0**power for power in range(12) if edges[0] <= 10**power <= edges[-1]]
    ticks = {"values": powers, "format": "~s"} if histogram.logarithmic else {"tickCount": 4, "format": ".3~r"}
    bars = _chart(rows).mark_rect(strokeWidth=0)
    bars = bars.encode(
        x=alt.X("from:Q", title=None, scale=scale, axis=alt.Axis(grid=False, labelOverlap=True, **ticks)),
        x2="to:Q",
        y=alt.Y("y:Q", title=None, axis=_counts_axis(most, 3)),
        y2="top:Q",
        color=_colour("fate", FATES),
        tooltip=_tooltip(range="N", fate="N", documents="Q"),
    )
    bounds = [bound for bound in (histogram.at_least, histogram.at_most) if bound is not None]
    visible: list[Row] = [{"bound": bound} for bound in bounds if edges[0] <= bound <= edges[-1]]
    lines = _chart(visible).mark_rule(stroke=INK, strokeDash=[4, 3], strokeWidth=1.5).encode(x=alt.X("bound:Q"))
    return _spec(bars + lines, height=90, width=SMALL)


def _grouped_bars(summary: Summary, rows: Sequence[Row], field: str, key: Key, title: str, *, most: float) -> Spec:
    """A bar for each name of the key, side by side in each source, with labels."""
    values = [0, 0.25, 0.5, 0.75, 1] if most == 1 else alt.Undefined
    axis = alt.Axis(format="~%", domain=False, tickCount=5, values=values)
    hover = {"documents": "Q"} if "documents" in (rows[0] if rows else {}) else {}
    base = _chart(rows).encode(
        y=_sources(summary),
        yOffset=alt.YOffset(f"{field}:N", scale=alt.Scale(domain=list(key), paddingInner=0.12)),
        x=alt.X("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, most * 1.15], nice=False)),
        tooltip=_tooltip(source="N", **{field: "N"}, **hover, share="%"),
    )
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=_colour(field, key))
    labels = base.mark_text(align="left", dx=4, fontSize=10).encode(text="label:N")
    return _spec(bars + labels, height=(15 * len(key) + 18) * len(summary.sources))


def _stacked_shares(summary: Summary, rows: Sequence[Row], field: str, key: Key, title: str) -> Spec:
    """A bar for each source, cut in the order of the key."""
    place = {name: number for number, name in enumerate(key)}
    ordered: list[Row] = [{**row, "order": place[cast(str, row[field])]} for row in rows]
    axis = alt.Axis(format="~%", domain=False, values=[0, 0.25, 0.5, 0.75, 1])
    bars = _chart(ordered).mark_bar()
    encoded = bars.encode(
        y=_sources(summary),
        x=alt.X("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1], nice=False), stack="zero"),
        color=_colour(field, key),
        order=alt.Order("order:Q"),
        tooltip=_tooltip(source="N", **{field: "N"}, documents="Q", share="%"),
    )
    return _spec(encoded, height=26 * len(summary.sources))


def _chart(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _names(rows: Sequence[Row]) -> alt.Chart:
    """`what` above each bar, where a narrow screen has room for it."""
    text = _chart(rows).mark_text(align="left", dy=-8, fontSize=11)
    return text.encode(x=alt.value(0), y=alt.Y("what:N", sort=[cast(str, row["what"]) for row in rows]), text="what:N")


def _spec(chart: alt.Chart | alt.LayerChart, *, height: int, width: int | None = None) -> Spec:
    """Of a width in pixels, or of its place's width."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(width=width or "container", height=height, autosize=fit).to_dict()
    return {name: value for name, value in spec.items() if name not in ("$schema", "config")}  # the page has its own


def _sources(summary: Summary) -> alt.Y:
    names = [source.name for source in summary.sources]
    return alt.Y("source:N", title=None, sort=names, axis=_plain_axis(), scale=alt.Scale(paddingInner=0.3))


def _plain_axis(**more: object) -> alt.Axis:
    return alt.Axis(**{"domain": False, "ticks": False, "labelPadding": 8, **more})


def _counts_axis(most: int, ticks: int = 5) -> alt.Axis:
    """Whole numbers up to `most`."""
    return alt.Axis(format="~s", tickCount=min(ticks, most), domain=False, ticks=False, labelPadding=4)


def _colour(field: str, key: Key) -> alt.Color:
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(key), range=list(key.values())), legend=None)


def _tooltip(**fields: str) -> list[alt.Tooltip]:
    kinds = {"N": ("N", alt.Undefined), "Q": ("Q", ","), "%": ("Q", ".1%")}
    return [
        alt.Tooltip(f"{name}:{kinds[kind][0]}", title=name.replace("_", " "), format=kinds[kind][1])
        for name, kind in fields.items()
    ]


def _short(count: int) -> str:
    """Powers of two as they are said: 512, 1k, 2k, 1M."""
    if count >= 1 << 20:
        return f"{count >> 20}M"
    return f"{count >> 10}k" if count >= 1 << 10 else str(count)
