"""The report's charts. Every number in a chart is a number of the Summary.

A chart is a list of rows; the page shows the names and colors of its key beside it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from corpus.display.drawing import TICK_LABELS, Box, ChartRow, Label, number_text
from corpus.display.page import INK, REST, SERIES, STEPS
from corpus.inspect.report.summary import ENDS, Histogram, HostCounts, SourceSummary, Summary

Key = dict[str, str]  # names to colors

END_COLORS: Key = dict(zip(ENDS, (SERIES[0], SERIES[2], SERIES[3], SERIES[6], SERIES[1], REST, SERIES[7]), strict=True))
SPLIT_ENDS: Key = {end: END_COLORS[end] for end in ENDS[:2]}
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
HISTOGRAM_HEIGHT = 90  # pixels
LINE = 11  # pixels between the labels above a histogram
BOUND_WIDTH = 0.006


def _pieces(counts: Iterable[int], key: Key, most: int) -> Iterator[Box]:
    """Yield the pieces of a bar, one after the other, in the order of the key."""
    start = 0
    for count, (name, color) in zip(counts, key.items(), strict=True):
        if count:
            yield Box(start / most, count / most, color, f"{name}: {count:,}")
        start += count


def _column(x: float, width: float, counts: Iterable[int], key: Key, most: int, name: str) -> Iterator[Box]:
    """Yield the pieces of a column of a histogram, on top of each other."""
    for piece in _pieces(counts, key, most):
        end = piece.x + piece.width
        yield Box(x, width, piece.color, f"{name}, {piece.title}", y=1 - end, height=piece.width)


# Charts of the whole build.


def all_sources(summary: Summary) -> list[ChartRow]:
    """From all records read, end by end, to the documents in the shards; each bar begins where the last one ends."""
    read, totals = summary.records_read or 1, summary.ends()

    def row(name: str, count: int, boxes: Iterable[Box], sign: str = "") -> ChartRow:
        return ChartRow(name, f"{sign}{count:,} · {count / read:.1%}", list(boxes))

    all_records = {"records read": STEPS[0]}
    rows = [row("records read", summary.records_read, _pieces([summary.records_read], all_records, read))]
    left = summary.records_read
    for end, name in REMOVED.items():
        if count := totals[end]:
            left -= count
            rows.append(row(name, count, [Box(left / read, count / read, END_COLORS[end], f"{end}: {count:,}")], "−"))
    used = [totals[end] for end in SPLIT_ENDS]
    return [*rows, row("in token shards", sum(used), _pieces(used, SPLIT_ENDS, read))]


def step_key(summary: Summary) -> Key:
    """Names and colors of the funnel's steps: the later, the deeper."""
    titles = summary.titles.values()
    colors = [STEPS[1 + number * (len(STEPS) - 1) // len(titles)] for number in range(len(titles))]
    after = (f"after {title.lower()}" for title in titles)
    return {"records read": STEPS[0], **dict(zip(after, colors, strict=True))}


def funnel(summary: Summary) -> list[ChartRow]:
    """Documents of each source that are left after each step, one bar on top of the other."""
    rows = []
    for source in summary.sources:
        read, boxes = source.records_read or 1, []
        for (step, color), count in zip(step_key(summary).items(), source.left(summary.titles), strict=True):
            boxes.append(Box(0, count / read, color, f"{step}: {count:,} ({count / read:.1%})"))
        figure = f"{source.used:,} of {source.records_read:,} · {source.used / read:.1%}"
        rows.append(ChartRow(source.name, figure, boxes))
    return rows


def failed_rules(summary: Summary) -> list[ChartRow]:
    """Documents that failed each rule, by whether other rules failed too; the rules with most credited ones first."""
    counted = [(source.name, rule) for source in summary.sources for rule in source.rules if rule.dropped]
    counted.sort(key=lambda pair: (-pair[1].dropped, pair[0], pair[1].name))
    most = max((max(rule.failing, rule.dropped) for _, rule in counted[:SHOWN_BARS]), default=1)
    rows = []
    for source, rule in counted[:SHOWN_BARS]:
        failing = max(rule.failing, rule.dropped)
        counts = (rule.alone, rule.dropped - rule.alone, failing - rule.dropped)
        figure = f"{rule.dropped:,}" + (f" of {failing:,}" if failing > rule.dropped else "")
        rows.append(ChartRow(f"{source} · {rule.name}", figure, list(_pieces(counts, FAILURES, most))))
    return rows


# Small charts, of which many stand beside each other.


def hosts(counts: HostCounts) -> list[ChartRow]:
    """A source's most frequent hosts, kept documents first."""
    most = max((host.kept + host.dropped for host in counts.top), default=1)
    return [
        ChartRow(host.host, f"{host.kept + host.dropped:,}", list(_pieces((host.kept, host.dropped), VERDICTS, most)))
        for host in counts.top[:SHOWN_HOSTS]
    ]


def lengths(source: SourceSummary) -> list[ChartRow]:
    """Documents by length, in buckets that double."""
    columns = len(source.lengths) or 1
    most = max((bucket.train + bucket.holdout for bucket in source.lengths), default=1)
    boxes: list[Box] = []
    labels: list[Label] = []
    for number, bucket in enumerate(source.lengths):
        name = f"{bucket.at_least:,} to {2 * bucket.at_least - 1:,} tokens"
        counts = (bucket.train, bucket.holdout)
        boxes += _column((number + 0.05) / columns, 0.9 / columns, counts, SPLITS, most, name)
        if number % (columns // 8 + 1) == 0:
            labels.append(((number + 0.5) / columns, HISTOGRAM_HEIGHT + TICK_LABELS, _short(bucket.at_least)))
    return [_histogram(most, boxes, labels)]


def signal(histogram: Histogram) -> list[ChartRow]:
    """A signal's values, kept documents below and dropped ones on top; the values that a bound drops are shaded."""
    edges = histogram.edges
    columns = len(edges) - 1
    most = max(kept + dropped for kept, dropped in zip(histogram.kept, histogram.dropped, strict=True))
    boxes: list[Box] = []
    for number, counts in enumerate(zip(histogram.kept, histogram.dropped, strict=True)):
        name = f"{edges[number]:g} to {edges[number + 1]:g}"
        name = ("no", "yes")[number] if histogram.yes_or_no else name
        boxes += _column(number / columns, 1 / columns, counts, VERDICTS, most, name)
    ticks = [(number / columns, number_text(edges[number])) for number in range(0, columns + 1, max(1, columns // 4))]
    if histogram.yes_or_no:
        ticks = [(0.25, "no"), (0.75, "yes")]
    labels: list[Label] = [(x, HISTOGRAM_HEIGHT + TICK_LABELS, text) for x, text in ticks]
    # Each bound is a line, with its label on a line of its own above; the side that it drops is shaded.
    for line, (sign, bound) in enumerate(_bounds_in_sight(histogram)):
        x = bisect_left(edges, bound) / columns
        start, width = (0, x) if sign == "≥" else (x, 1 - x)
        boxes.append(Box(start, width, VERDICTS["dropped"], opacity=0.13))
        boxes.append(Box(x - BOUND_WIDTH / 2, BOUND_WIDTH, INK, f"{sign} {bound:,g}"))
        labels += [] if histogram.yes_or_no else [(x, -4 - LINE * line, f"{sign} {bound:,g}")]
    return [_histogram(most, boxes, labels)]


def _bounds_in_sight(histogram: Histogram) -> list[tuple[str, float]]:
    """Return the bounds within the edges, each with its sign; that of a signal that is 0 or 1 lies between both."""
    bounds = [("≥", histogram.at_least), ("≤", histogram.at_most)]
    if histogram.yes_or_no:
        return [(sign, 0.5) for sign, bound in bounds if bound == (1 if sign == "≥" else 0)]
    low, high = histogram.edges[0], histogram.edges[-1]
    return [(sign, bound) for sign, bound in bounds if bound is not None and low <= bound <= high]


def _histogram(most: int, boxes: Sequence[Box], labels: Sequence[Label]) -> ChartRow:
    return ChartRow("", f"highest bar: {most:,}", boxes, HISTOGRAM_HEIGHT, labels)


def _short(count: int) -> str:
    """Return a power of two as it is said: 512, 1k, 2k, 1M."""
    if count >= 1 << 20:
        return f"{count >> 20}M"
    return f"{count >> 10}k" if count >= 1 << 10 else str(count)
