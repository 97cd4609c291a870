"""Documents to look at: kept, dropped by each rule with the value that did it, and duplicates side by side."""

from corpus.display import page
from corpus.display.page import Html
from corpus.inspect.report.summary import Summary
from corpus.inspect.report.summary_types import DuplicatePair, Example, Excerpt, RuleCount


def examples(summary: Summary) -> Html:
    """Kept and dropped documents, folded away by source."""
    parts: list[Html] = []
    for source in summary.sources:
        kept = [_card(page.strong("kept"), each) for each in source.kept_examples]
        dropped = [
            _card(_verdict(rule, each), each)
            for rule in sorted(source.rules, key=lambda rule: -rule.dropped)
            for each in rule.examples
        ]
        if kept or dropped:
            title = f": {len(kept)} kept, {len(dropped)} dropped"
            parts.append(page.details(Html(page.foreign(source.name) + title), page.cards(*kept, *dropped)))
    text = (
        "A few that were kept, and a few for each rule that dropped any, with the value that it measured: those of the "
        "smallest ids, which are hashes and so pick without favour. All of a document is told by "
    )
    return page.section(
        page.heading("Documents to look at", name="documents"),
        page.paragraph(text, page.code("corpus explain"), "."),
        *parts,
    )


def pairs(summary: Summary) -> Html:
    """Duplicates beside the documents that stayed, folded away by source."""
    parts: list[Html] = []
    for source in summary.sources:
        shown = [part for each in source.duplicates for part in (_likeness(each), _beside(each))]
        if shown:
            title = Html(f"{page.foreign(source.name)}: {len(source.duplicates)}")
            parts.append(page.details(title, *shown, unfolded=not parts))
    if not parts:
        return Html("")
    marked = page.passage([("Marked", True)])
    text = " words lie in a run of words that both texts have. Each pair is shown from a little before they differ."
    return Html(page.heading("Side by side", 3) + page.paragraph(marked, text) + "".join(parts))


def _card(fate: Html, example: Example) -> Html:
    text = Html("<i>its text was not kept</i>") if example.excerpt is None else page.foreign(example.excerpt)
    where = page.foreign(example.url or example.origin)
    return page.card(fate, text, Html(f"{where}<br>{page.code(example.id)} · {page.foreign(example.language)}"))


def _verdict(rule: RuleCount, example: Example) -> Html:
    """The rule, and the value against its bound."""
    asked = rule.bound.replace(">=", "at least").replace("<=", "at most").replace("..", " to ")
    value = "" if example.value is None else f"{example.value:,.4g}"
    against = f" {value}, asked {asked}" if value and asked else ""
    return Html(f"{page.strong('dropped')} {page.code(rule.name)}<small>{page.escape(against)}</small>")


def _likeness(pair: DuplicatePair) -> Html:
    if pair.reason == "exact":
        return page.paragraph("The same text.", kind="note")
    share = pair.intersection / (pair.union or 1)
    return page.paragraph(
        f"{pair.intersection:,} of {pair.union:,} different runs of words are in both: {share:.3f} alike.", kind="note"
    )


def _beside(pair: DuplicatePair) -> Html:
    return page.pair(_side("removed", pair.removed), _side("stayed", pair.survivor))


def _side(fate: str, excerpt: Excerpt) -> Html:
    before: tuple[tuple[str, bool], ...] = (("… ", False),) if excerpt.from_word else ()
    behind: tuple[tuple[str, bool], ...] = ((" …", False),) if excerpt.more else ()
    head = Html(f"{page.strong(fate)} <small>{page.foreign(excerpt.source)}</small>")
    foot = Html(f"{page.foreign(excerpt.url or excerpt.origin)}<br>{page.code(excerpt.id)}")
    return page.card(head, page.passage([*before, *excerpt.pieces, *behind]), foot)
