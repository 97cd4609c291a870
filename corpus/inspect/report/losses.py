"""The report's first half: how much of each source is left after each step, and what took the rest."""

from corpus.display import page
from corpus.display.page import Html
from corpus.inspect.report import charts, gallery, small_charts
from corpus.inspect.report.drawing import FATES
from corpus.inspect.report.summary import Summary
from corpus.inspect.report.summary_types import Histogram
from corpus.units import human_bytes

STAGE_NAMES = {"clean": "reading and rules", "text": "duplicates", "mix": "mix"}
SHOWN_SIGNALS = 8
Rows = list[list[str | int]]


def whole(summary: Summary) -> Html:
    """The whole corpus at a glance."""
    text = (
        "Every record that was read, and what took it away: first what is out of scope or could not be read, then the "
        "rules, then duplicates, then what is more than a source's share asks for. What is left is in the shards."
    )
    caption = "All sources together; each bar begins where the last one ends."
    key = {name: charts.ENDS[name] for name in ("training shards", "holdout shards")}
    return page.section(
        page.heading("From records to shards", name="whole"),
        page.paragraph(text),
        page.chart("whole", charts.whole(summary), caption, key),
    )


def funnel(summary: Summary) -> Html:
    """Records by source that are left after each step."""
    rows: Rows = []
    for source in summary.sources:
        steps = (source.records_read, source.passed_rules, source.unique, source.used)
        share = f"{source.used / source.records_read:.1%}" if source.records_read else "–"
        tokens = source.train.tokens + source.holdout.tokens
        kept = source.count("clean", "kept", field="text_bytes")
        sizes = (human_bytes(source.input_bytes), human_bytes(kept))
        rows.append([page.foreign(source.name), source.files, *sizes, *steps, share, tokens])
    text = (
        "Each step takes some away: what is out of scope, unreadable or refused by a rule; then duplicates; "
        "then what is more than the source's share asks for."
    )
    columns = ["source", "files", "input", "text kept", *charts.STAGES, "of read", "tokens"]
    caption = "Documents that are left after each step, as a share of the records read from the source's files."
    return page.section(
        page.heading("How much is left of each source", name="sources"),
        page.paragraph(text),
        page.chart("funnel", charts.funnel(summary), caption, charts.STAGES),
        page.table(columns, rows),
    )


def ends(summary: Summary) -> Html:
    """Where each record ended; with every entry of the ledgers."""
    rows: Rows = []
    for source in summary.sources:
        for fate in source.fates:
            if fate.outcome == "kept" and fate.stage != "mix":
                continue  # it goes on, and ends later
            sizes = (human_bytes(fate.input_bytes) if fate.stage == "clean" else "", human_bytes(fate.text_bytes))
            named = (page.foreign(source.name), STAGE_NAMES[fate.stage], fate.outcome, page.foreign(fate.reason))
            rows.append([*named, fate.records, *sizes])
    counts: Rows = [
        [page.foreign(source.name), *(count for _, count in source.ends()), source.records_read]
        for source in summary.sources
    ]
    text = (
        "Every record that was read ended in one of these places: the ledger balances. Skipped is well-formed but out "
        "of scope; failed could not be read."
    )
    entries = ["source", "at", "outcome", "reason", "records", "input", "text"]
    caption = "The same records by where they ended, as a share of their source."
    return page.section(
        page.heading("Where each record ended", name="ends"),
        page.paragraph(text),
        page.chart("ends", charts.ends(summary), caption, charts.ENDS),
        page.table(["source", *charts.ENDS, "sum = read"], counts),
        page.details("Every entry of the ledgers, with its reason", page.table(entries, rows, text=(0, 1, 2, 3))),
    )


def drops(summary: Summary) -> Html:
    """What each rule of the recipe refused, alone and with others."""
    rows: Rows = []
    together: Rows = []
    for source in summary.sources:
        name = page.foreign(source.name)
        for rule in source.rules:
            counts = (rule.dropped, rule.alone, rule.failing)
            stated = Html(f'<div class="wide">{page.escape(rule.stated_by)}</div>')
            rows.append([name, page.code(rule.name), rule.bound, *counts, stated])
        together += [[name, page.code(each.first), page.code(each.second), each.documents] for each in source.together]
    text = (
        "A rule is a bound on something measured. A document that several rules refuse is credited to the first of "
        "them in the recipe's order; each rule that refused it counts it as well. What a rule refused alone is what "
        "would come back without it."
    )
    parts = [page.paragraph("No rule dropped anything.", kind="note")]
    if any(rule.dropped for source in summary.sources for rule in source.rules):
        caption = "Documents that a rule refused; the figure is how many are credited to it, of how many it refused."
        parts = [page.chart("drops", charts.drops(summary), caption, charts.REFUSALS)]
    if together:
        shared = page.table(["source", "rule", "and rule", "documents"], together, text=(0, 1, 2))
        parts.append(page.details("Rules that refuse the same documents", shared))
    columns = ["source", "rule", "bound", "credited", "alone", "refused", "where the bound is from"]
    return page.section(
        page.heading("What the rules took", name="rules"),
        page.paragraph(text),
        *parts,
        page.details("All rules, also those that dropped nothing", page.table(columns, rows, text=(0, 1, 2, 6))),
    )


def rule_sets(summary: Summary) -> Html:
    """What every rule set would have refused of every source."""
    rows: Rows = []
    for source in summary.sources:
        for each in source.rule_sets:
            share = f"{each.would_drop / each.documents:.1%}" if each.documents else "–"
            in_use = f"{each.rules_in_use} of {each.rules}"
            rows.append([page.foreign(source.name), each.name, in_use, each.documents, each.would_drop, share])
    text = (
        "All signals are measured of every document, so rules that a source does not use can be asked all the same: a "
        "set that would drop nearly all of a source does not suit it. ✓ marks sets that the source uses, (✓) those of "
        "which it uses some rules, and – those that ask for something nobody looked for there. Bounds are the "
        "published ones, so a recipe's own bounds may drop more or less."
    )
    caption = "Share of a source's documents, kept and dropped alike, that each rule set refuses."
    columns = ["source", "rule set", "rules in use", "documents measured", "would drop", "share"]
    return page.section(
        page.heading("What other rules would have dropped", name="rule-sets"),
        page.paragraph(text),
        page.chart("rule-sets", charts.rule_sets(summary), caption),
        page.details("As a table", page.table(columns, rows, text=(0, 1))),
    )


def signals(summary: Summary) -> Html:
    """A histogram for each rule of each source: those that dropped most in sight, the others folded away."""
    text = (
        "What each rule of the recipe measures, over all documents: those that were kept, and above them those that "
        "any rule dropped. Dashed lines are the rule's bounds, and what lies in the shade is refused; the outermost "
        "bars hold all that lies beyond them."
    )
    dropped = {(source.name, rule.name): rule.dropped for source in summary.sources for rule in source.rules}
    most = sorted((count, *names) for names, count in dropped.items() if count)[-SHOWN_SIGNALS:]
    first: list[tuple[int, Html]] = []
    folded = []
    for number, source in enumerate(summary.sources):
        hidden: list[tuple[int, Html]] = []
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        for index, each in enumerate(drawn):
            count = dropped.get((source.name, each.rule), 0)
            figure = _signal(f"signal-{number}-{index}", source.name, each, count)
            (first if (count, source.name, each.rule) in most else hidden).append((-count, figure))
        if hidden:
            title = Html(f"{page.foreign(source.name)}: {len(hidden)} more")
            folded.append(page.details(title, page.grid(*(figure for _, figure in hidden))))
    shown = [page.grid(*(figure for _, figure in sorted(first, key=lambda each: each[0])))] if first else []
    none = page.paragraph("There are no rules, or nothing was measured.", kind="note")
    return page.section(
        page.heading("Signals and their bounds", name="signals"),
        page.paragraph(text),
        page.legend(FATES),
        *shown,
        *(folded if folded or shown else [none]),
    )


def _signal(name: str, source: str, histogram: Histogram, dropped: int) -> Html:
    bounds = [("at least", histogram.at_least), ("at most", histogram.at_most)]
    said = ", ".join(f"{word} {bound:,g}" for word, bound in bounds if bound is not None)
    if histogram.yes_or_no:
        said = "stated by the record"
    missing = f"; {histogram.not_measured:,} not measured" if histogram.not_measured else ""
    rule = histogram.rule.replace(".", ".\u200b").replace("_", "_\u200b")  # where a narrow column may break it
    head = f"{page.foreign(source)} · {page.escape(rule)}"
    caption = Html(f"{head}<small>{page.escape(f'{said}; {dropped:,} credited{missing}')}</small>")
    return page.chart(name, small_charts.signal(histogram), caption)


def duplicates(summary: Summary) -> Html:
    """What was merged into what."""
    rows: Rows = [
        [page.foreign(each.source), page.foreign(each.survivor_source), each.reason, each.documents]
        for each in summary.merges
    ]
    counters: Rows = [[name.replace("_", " "), count] for name, count in summary.dedup.items()]
    text = (
        "A duplicate is removed only for a document that stays: an exact copy of it, or one that it was compared with "
        "and that is like it beyond the threshold. Between sources, the one of higher priority keeps its document."
    )
    parts = [page.paragraph("Nothing was a duplicate.", kind="note")]
    if rows:
        caption = "Documents removed, by their source → the source of the document that stays."
        parts = [
            page.chart("merges", charts.merges(summary), caption, charts.REASONS),
            page.table(["removed from", "stays in", "reason", "documents"], rows, text=(0, 1, 2)),
        ]
    compared = page.details("What was compared", page.table(["count", "number"], counters))
    head = page.heading("Duplicates", name="duplicates")
    return page.section(head, page.paragraph(text), *parts, compared, gallery.pairs(summary))
