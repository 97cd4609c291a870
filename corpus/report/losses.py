"""The report's first half: how much of each source is left after each step, and what took the rest."""

from corpus import page
from corpus.page import Html
from corpus.report import charts
from corpus.report.summary import Histogram, Summary
from corpus.units import human_bytes

STAGE_NAMES = {"clean": "reading and rules", "text": "duplicates", "mix": "mix"}
Rows = list[list[str | int]]


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
        page.heading("How much is left of each source"),
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
        page.heading("Where each record ended"),
        page.paragraph(text),
        page.chart("ends", charts.ends(summary), caption, charts.ENDS),
        page.table(["source", *charts.ENDS, "sum = read"], counts),
        page.details("Every entry of the ledgers, with its reason", page.table(entries, rows, text=(0, 1, 2, 3))),
    )


def drops(summary: Summary) -> Html:
    """What each rule of the recipe refused."""
    rows: Rows = [
        [page.foreign(source.name), page.code(rule.name), rule.bound, rule.dropped, rule.failing, rule.stated_by]
        for source in summary.sources
        for rule in source.rules
    ]
    text = (
        "A rule is a bound on something measured. A document that several rules refuse is credited to the first of "
        "them in the recipe's order (dropped); each rule that refused it counts it as well (refused)."
    )
    picture = page.paragraph("No rule dropped anything.", kind="note")
    if any(rule.dropped for source in summary.sources for rule in source.rules):
        picture = page.chart("drops", charts.drops(summary), "Documents dropped, by source and rule.")
    columns = ["source", "rule", "bound", "dropped", "refused", "where the bound is from"]
    return page.section(
        page.heading("What the rules dropped"),
        page.paragraph(text),
        picture,
        page.details("All rules, also those that dropped nothing", page.table(columns, rows, text=(0, 1, 2, 5))),
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
        "which it uses some rules. Bounds are the published ones, so a recipe's own bounds may drop more or less."
    )
    caption = "Share of a source's documents, kept and dropped alike, that each rule set refuses."
    columns = ["source", "rule set", "rules in use", "documents measured", "would drop", "share"]
    return page.section(
        page.heading("What other rules would have dropped"),
        page.paragraph(text),
        page.chart("rule-sets", charts.rule_sets(summary), caption),
        page.details("As a table", page.table(columns, rows, text=(0, 1))),
    )


def signals(summary: Summary) -> Html:
    """A histogram for each rule of each source, folded away."""
    text = (
        "What each rule of the recipe measures, over all documents: those that were kept, and above them those that "
        "any rule dropped. Dashed lines are the rule's bounds; the outermost bars hold all that lies beyond them."
    )
    parts = []
    for number, source in enumerate(summary.sources):
        drawn = [each for each in source.signals if sum(each.kept) + sum(each.dropped)]
        figures = (_signal(f"signal-{number}-{index}", each) for index, each in enumerate(drawn))
        if drawn:
            title = Html(f"{page.foreign(source.name)}: {len(drawn)} measured")
            parts.append(page.details(title, page.grid(*figures)))
    none = page.paragraph("There are no rules, or nothing was measured.", kind="note")
    return page.section(
        page.heading("Signals and their bounds", 3), page.paragraph(text), page.legend(charts.FATES), *(parts or [none])
    )


def _signal(name: str, histogram: Histogram) -> Html:
    bounds = [("at least", histogram.at_least), ("at most", histogram.at_most)]
    said = ", ".join(f"{word} {bound:,g}" for word, bound in bounds if bound is not None)
    missing = f"; {histogram.not_measured:,} not measured" if histogram.not_measured else ""
    rule = histogram.rule.replace(".", ".\u200b").replace("_", "_\u200b")  # where a narrow column may break it
    caption = Html(f"{page.escape(rule)}<small>{page.escape(said + missing)}</small>")
    return page.chart(name, charts.signal(histogram), caption)


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
    return page.section(page.heading("Duplicates"), page.paragraph(text), *parts, compared)
