"""report.html: a Summary as a page for people. No number stands here that is not in the Summary."""

from corpus.display import page
from corpus.display.page import Html
from corpus.inspect.report import gallery, losses, shard_section
from corpus.inspect.report.summary import Summary
from corpus.units import human_bytes, human_count

CONTENTS = {  # what the head of the page leads to
    "sources": "Sources",
    "rules": "Rules",
    "signals": "Signals",
    "duplicates": "Duplicates",
    "documents": "Documents",
    "shares": "Shares",
    "hosts": "Hosts",
    "languages": "Languages",
    "lengths": "Lengths",
    "shards": "Shards",
    "identity": "Licenses",
}
TAKEN_IN_WORDS = {
    "skipped": "were out of scope",
    "failed": "could not be read",
    "dropped by a rule": "were dropped by a rule",
    "duplicate": "were duplicates",
    "over quota": "are more than was asked for",
}


def render(summary: Summary) -> str:
    """The whole page."""
    parts = {
        "whole": losses.whole(summary),
        "sources": losses.funnel(summary),
        "ends": losses.ends(summary),
        "rules": losses.drops(summary),
        "signals": losses.signals(summary),
        "rule-sets": losses.rule_sets(summary),
        "duplicates": losses.duplicates(summary),
        "documents": gallery.examples(summary),
        "shares": shard_section.shares(summary),
        "hosts": shard_section.hosts(summary),
        "languages": shard_section.languages(summary),
        "lengths": shard_section.lengths(summary),
        "shards": shard_section.shards(summary),
        "identity": shard_section.provenance(summary),
    }
    links = page.contents({name: text for name, text in CONTENTS.items() if parts[name]})
    return page.page(f"{summary.name}: corpus report", _headline(summary, links), *parts.values())


def _headline(summary: Summary, links: Html) -> Html:
    totals = summary.total()
    train = sum(source.train.documents for source in summary.sources)
    text_bytes = sum(source.train.bytes for source in summary.sources)
    held = sum(source.holdout.documents for source in summary.sources)
    held_tokens = sum(source.holdout.tokens for source in summary.sources)
    asked = f"of {human_count(summary.tokens_asked)} asked" if summary.tokens_asked is not None else "all there are"
    sources = f"of {len(summary.sources):,} source{'' if len(summary.sources) == 1 else 's'}"
    used = f"{totals['used'] / totals['records_read']:.1%}" if totals["records_read"] else "–"
    figures = [
        ("Training tokens", human_count(summary.tokens_got), asked),
        ("Training documents", f"{train:,}", f"{human_bytes(text_bytes)} of text"),
        ("Held out", f"{held:,}", f"{human_count(held_tokens)} tokens, never trained on"),
        ("Records read", f"{totals['records_read']:,}", f"{human_bytes(totals['input_bytes'])} of files"),
        ("Ended in shards", used, "of the records read"),
        ("Token shards", f"{len(summary.shards):,}", sources),
    ]
    return Html(
        page.paragraph("Corpus report", kind="over")
        + page.heading(summary.name, 1)
        + page.paragraph(*_in_words(summary), kind="lead")
        + page.tiles(figures)
        + links
    )


def _in_words(summary: Summary) -> list[str]:
    """What happened, in a sentence or two."""
    ends: dict[str, int] = {}
    for source in summary.sources:
        for name, count in source.ends():
            ends[name] = ends.get(name, 0) + count
    read = summary.total()["records_read"]
    made = [page.strong(f"{read:,} records"), " became ", page.strong(f"{human_count(summary.tokens_got)} tokens")]
    made.append(f" to train on, in {ends['training shards']:,} documents")
    taken = [f"{ends[end]:,} {name}" for end, name in TAKEN_IN_WORDS.items() if ends[end]]
    rest = f", and {ends['holdout shards']:,} to measure by. "
    last = f"The others: {', '.join(taken)}." if taken else "Nothing was left behind."
    return [*made, rest, last]
