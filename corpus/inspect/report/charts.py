"""The report's pictures as Vega-Lite specs, made with Altair. Every number in one is a number of the Summary.

A spec has no legend: the page shows the names and colours of these tables beside it.
"""

from collections.abc import Sequence
from typing import cast

import altair as alt

from corpus.display.page import INK, REST, SERIES, STEPS
from corpus.inspect.report.drawing import (
    BAR_HEIGHT,
    FATES,
    NAMED_HEIGHT,
    Key,
    Row,
    Spec,
    chart_of,
    colour_of,
    counts_axis,
    grouped_bars,
    names_above,
    plain_axis,
    sources_of,
    spec_of,
    tooltip_of,
)
from corpus.inspect.report.summary import Summary

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
TAKEN = {  # what takes records away, in the order in which it does: their names in a sentence
    "skipped": "out of scope",
    "failed": "unreadable",
    "dropped by a rule": "dropped by a rule",
    "duplicate": "duplicate",
    "over quota": "more than asked",
}
REASONS: Key = {"exact": SERIES[0], "near": SERIES[3]}
SHARES: Key = {"asked": STEPS[0], "got": STEPS[3]}
REFUSALS: Key = {
    "no other rule refused it": SERIES[1],
    "others did too, credited here": SERIES[3],
    "others did too, credited to another": REST,
}
OTHER_LANGUAGES = "all others"
SHOWN_BARS = 24
WHOLE_BAR, WHOLE_HEIGHT = 14, 46  # pixels
SHOWN_LANGUAGES = 6


def whole(summary: Summary) -> Spec:
    """From all records that were read, end by end, to what is in the shards."""
    read = summary.total()["records_read"]
    totals: dict[str, int] = {}
    for source in summary.sources:
        for end, count in source.ends():
            totals[end] = totals.get(end, 0) + count
    rows: list[Row] = [_step("records read", "records read", 0, read, read)]
    left = read
    for end, name in TAKEN.items():
        if count := totals.get(end, 0):
            rows.append(_step(name, end, left - count, left, read))
            left -= count
    start = 0
    for end in ("training shards", "holdout shards"):
        if count := totals.get(end, 0):
            rows.append(_step("in token shards", end, start, start + count, read))
            start += count
    sums: dict[str, int] = {}
    for row in rows:
        sums[cast(str, row["what"])] = sums.get(cast(str, row["what"]), 0) + cast(int, row["records"])
    labels: list[Row] = [
        {"what": name, "label": f"{'−' if name in TAKEN.values() else ''}{count:,} · {count / (read or 1):.1%}"}
        for name, count in sums.items()
    ]
    bars = chart_of(rows).mark_bar(height=WHOLE_BAR, yOffset=WHOLE_BAR / 2, cornerRadius=2)
    encoded = bars.encode(
        y=alt.Y("what:N", sort=list(sums), axis=None),
        x=alt.X("from:Q", axis=None, scale=alt.Scale(domain=[0, read or 1], nice=False)),
        x2="to:Q",
        color=colour_of("end", {"records read": STEPS[0], **ENDS}),
        tooltip=tooltip_of(end="N", records="Q", share="%"),
    )
    return spec_of(encoded + names_above(labels, size=13, figures=True), height=WHOLE_HEIGHT * len(sums))


def _step(what: str, end: str, start: int, stop: int, read: int) -> Row:
    count = stop - start
    return {"what": what, "end": end, "from": start, "to": stop, "records": count, "share": count / (read or 1)}


def funnel(summary: Summary) -> Spec:
    """What was left of each source's records after each step."""
    rows: list[Row] = []
    for source in summary.sources:
        counts = (source.records_read, source.passed_rules, source.unique, source.used)
        for stage, count in zip(STAGES, counts, strict=True):
            row: Row = {"stage": stage, "documents": count, "share": count / (counts[0] or 1), "label": f"{count:,}"}
            rows.append({"source": source.name, **row})
    return grouped_bars(_names(summary), rows, "stage", STAGES, "share of the records read", most=1.0)


def ends(summary: Summary) -> Spec:
    """Where each record ended, as shares of its source."""
    rows: list[Row] = []
    for source in summary.sources:
        whole = source.records_read or 1
        for end, count in source.ends():
            rows.append({"source": source.name, "end": end, "documents": count, "share": count / whole})
    return _stacked_shares(summary, rows, "end", ENDS, "share of the records read")


def drops(summary: Summary) -> Spec:
    """Documents refused by each rule of each source that dropped any, by what other rules said; the most first."""
    counted = [(source.name, rule) for source in summary.sources for rule in source.rules if rule.dropped]
    counted.sort(key=lambda each: (-each[1].dropped, each[0], each[1].name))
    rows: list[Row] = []
    labels: list[Row] = []
    for source, rule in counted[:SHOWN_BARS]:
        what = f"{source} · {rule.name}"
        refused = max(rule.failing, rule.dropped)
        counts = (rule.alone, rule.dropped - rule.alone, refused - rule.dropped)
        for place, (kind, count) in enumerate(zip(REFUSALS, counts, strict=True)):
            row: Row = {"what": what, "source": source, "rule": rule.name, "others": kind, "documents": count}
            rows.append({**row, "order": place})
        label = f"{rule.dropped:,}" + (f" of {refused:,}" if refused > rule.dropped else "")
        labels.append({"what": what, "documents": refused, "label": label})
    most = max((cast(int, row["documents"]) for row in labels), default=1)
    x = alt.X("documents:Q", title="documents refused", axis=counts_axis(most))
    x = x.scale(domain=[0, most * 1.16], nice=False)
    y = alt.Y("what:N", sort=[cast(str, row["what"]) for row in labels], axis=None)
    bars = chart_of(rows).mark_bar(height=BAR_HEIGHT, yOffset=BAR_HEIGHT / 2)
    encoded = bars.encode(
        x=x,
        y=y,
        color=colour_of("others", REFUSALS),
        order=alt.Order("order:Q"),
        tooltip=tooltip_of(source="N", rule="N", others="N", documents="Q"),
    )
    text = chart_of(labels).mark_text(align="left", dx=4, dy=BAR_HEIGHT / 2, fontSize=10)
    ends = text.encode(x=x, y=y, text="label:N")
    return spec_of(encoded + ends + names_above(labels), height=NAMED_HEIGHT * len(labels))


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
    bars = chart_of(rows).mark_bar(height=BAR_HEIGHT, yOffset=BAR_HEIGHT / 2)
    encoded = bars.encode(
        y=alt.Y("what:N", sort=order, axis=None),
        x=alt.X("documents:Q", title="documents removed", axis=counts_axis(max(totals.values()))),
        color=colour_of("reason", REASONS),
        tooltip=tooltip_of(source="N", survivor="N", reason="N", documents="Q"),
    )
    return spec_of(encoded + names_above([{"what": each} for each in order]), height=NAMED_HEIGHT * len(shown))


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
    in_lines = plain_axis(orient="top", labelAngle=0, labelExpr="split(datum.label, '_')", labelPadding=22)
    base = chart_of(rows).encode(
        y=sources_of(_names(summary)),
        x=alt.X("rules:N", title=None, axis=in_lines),
        tooltip=tooltip_of(source="N", rules="N", documents="Q", would_drop="Q"),
    )
    opacity = alt.FillOpacity("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.04, 0.6]))
    cells = base.mark_rect(fill=FATES["dropped"], cornerRadius=3).encode(fillOpacity=opacity)
    return spec_of(cells + base.mark_text(color=INK).encode(text="label:N"), height=30 * len(summary.sources))


def shares(summary: Summary) -> Spec:
    """The share of training tokens that was asked of each source, and what it gave."""
    rows: list[Row] = [
        {"source": source.name, "what": what, "share": share, "label": f"{share:.1%}"}
        for source in summary.sources
        for what, share in (("asked", source.share_asked), ("got", source.share_got))
    ]
    most = max((max(source.share_asked, source.share_got) for source in summary.sources), default=0.0) or 1.0
    return grouped_bars(_names(summary), rows, "what", SHARES, "share of training tokens", most=most)


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


def _stacked_shares(summary: Summary, rows: Sequence[Row], field: str, key: Key, title: str) -> Spec:
    """A bar for each source, cut in the order of the key."""
    place = {name: number for number, name in enumerate(key)}
    ordered: list[Row] = [{**row, "order": place[cast(str, row[field])]} for row in rows]
    axis = alt.Axis(format="~%", domain=False, values=[0, 0.25, 0.5, 0.75, 1])
    bars = chart_of(ordered).mark_bar()
    encoded = bars.encode(
        y=sources_of(_names(summary)),
        x=alt.X("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1], nice=False), stack="zero"),
        color=colour_of(field, key),
        order=alt.Order("order:Q"),
        tooltip=tooltip_of(source="N", **{field: "N"}, documents="Q", share="%"),
    )
    return spec_of(encoded, height=26 * len(summary.sources))


def _names(summary: Summary) -> list[str]:
    return [source.name for source in summary.sources]
