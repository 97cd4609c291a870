"""report.html: a Summary as a page for people. No number stands here that is not in the Summary."""

from corpus import page
from corpus.page import Html
from corpus.report import contents, losses
from corpus.report.summary import Summary
from corpus.units import human_bytes, human_count


def render(summary: Summary) -> str:
    """The whole page."""
    return page.page(
        f"{summary.name}: corpus report",
        _headline(summary),
        losses.funnel(summary),
        losses.ends(summary),
        losses.drops(summary),
        losses.rule_sets(summary),
        losses.signals(summary),
        losses.duplicates(summary),
        contents.shares(summary),
        contents.languages(summary),
        contents.lengths(summary),
        contents.examples(summary),
        contents.shards(summary),
        contents.provenance(summary),
    )


def _headline(summary: Summary) -> Html:
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
    lead = "What went into this corpus, what stayed behind and why, and what came out."
    return Html(page.heading(summary.name, 1) + page.paragraph(lead, kind="lead") + page.tiles(figures))
