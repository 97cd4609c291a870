"""The report's second half: what the corpus holds."""

from corpus import page
from corpus.page import Html
from corpus.report import charts
from corpus.report.summary import Example, Summary
from corpus.units import human_bytes

SHOWN_LANGUAGES = 10
SHOWN_SHARD_LANGUAGES = 3
SHORTFALL = {
    "accept": "a source that has too little gives all it has, and the others what was asked of them",
    "scale": "where a source has too little, all others give less too, so that the shares hold",
    "stop": "a source that has too little stops the build",
}
Rows = list[list[str | int]]


def shares(summary: Summary) -> Html:
    """Shares asked and got, and the holdout."""
    rows: Rows = []
    held: Rows = []
    thin = Html('<span class="pill">thin</span>')
    for source in summary.sources:
        name = page.foreign(source.name)
        asked = "all" if source.tokens_asked is None else f"{source.tokens_asked:,}"
        short = "" if source.tokens_short is None else f"{source.tokens_short:,}"
        rows.append([name, f"{source.share_asked:.2%}", f"{source.share_got:.2%}", asked, source.train.tokens, short])
        out = source.holdout
        held.append(
            [name, out.documents, out.tokens, human_bytes(out.bytes), thin if source.holdout_thin else "enough"]
        )
    policy = SHORTFALL.get(summary.shortfall, "as the recipe states")
    caption = "Share of the training tokens: what the recipe asks for, and what there is."
    remark = (
        "Documents that are never trained on, and have no duplicate there. A thin holdout is too small to measure by."
    )
    return page.section(
        page.heading("Shares asked and got"),
        page.paragraph(f"Shares are of training tokens. The shortfall rule is “{summary.shortfall}”: {policy}."),
        page.chart("shares", charts.shares(summary), caption, charts.SHARES),
        page.table(["source", "asked", "got", "tokens asked", "tokens got", "tokens short"], rows),
        page.heading("Holdout", 3),
        page.paragraph(remark),
        page.table(["source", "documents", "tokens", "text", "to measure by"], held, text=(0, 4)),
    )


def languages(summary: Summary) -> Html:
    """Languages by source."""
    rows: Rows = []
    for source in summary.sources:
        text = _counts(source.languages, SHOWN_LANGUAGES)
        rows.append([page.foreign(source.name), len(source.languages), page.foreign(text)])
    caption = "Documents by language, as a share of their source."
    return page.section(
        page.heading("Languages"),
        page.paragraph("Of the documents that passed the rules; “und” is where no language was identified."),
        page.chart("languages", charts.languages(summary), caption, charts.language_key(summary)),
        page.table(["source", "languages", "documents"], rows, text=(0, 2)),
    )


def lengths(summary: Summary) -> Html:
    """A histogram of lengths for each source."""
    figures = []
    for number, source in enumerate(summary.sources):
        documents = source.train.documents + source.holdout.documents
        tokens = source.train.tokens + source.holdout.tokens
        if not documents:
            continue
        mean = f"{documents:,} documents, mean {tokens / documents:,.0f} tokens"
        caption = Html(f"{page.foreign(source.name)}<small>{mean}</small>")
        figures.append(page.chart(f"lengths-{number}", charts.lengths(source), caption))
    text = "Documents in the shards by length in tokens, end mark included; each bar reaches twice as far as the last."
    return page.section(page.heading("Lengths"), page.paragraph(text), page.legend(charts.SPLITS), page.grid(*figures))


def examples(summary: Summary) -> Html:
    """Documents to look at, folded away by source."""
    parts = []
    for source in summary.sources:
        pairs = [("kept", each) for each in source.kept_examples]
        pairs += [(rule.name, each) for rule in source.rules for each in rule.examples]
        table = page.table(["fate", "value", "document"], [_example(*pair) for pair in pairs], text=(0, 2))
        if pairs:
            parts.append(page.details(Html(f"{page.foreign(source.name)}: {len(pairs)}"), table))
    text = (
        "A few that were kept, and one for each rule that dropped any: those of the smallest id, which is a hash and "
        "so picks without favour. All of a document is told by "
    )
    hint = page.paragraph(text, page.code("corpus explain"), ".")
    return page.section(page.heading("Documents to look at"), hint, *parts)


def _example(fate: str, example: Example) -> list[str | int]:
    where = page.foreign(example.url or example.origin)
    text = page.foreign(example.excerpt) if example.excerpt is not None else Html("<i>its text was not kept</i>")
    note = Html(f'<span class="note">{page.code(example.id)} {page.foreign(example.language)} {where}</span>')
    value = "" if example.value is None else f"{example.value:.4g}"
    return [page.code(fate), value, Html(f'<div class="excerpt">{text}<br>{note}</div>')]


def shards(summary: Summary) -> Html:
    """The files that a trainer reads."""
    rows: Rows = []
    for shard in summary.shards:
        q = shard.length_quantiles
        named = (page.code(shard.file.rpartition("/")[2]), shard.split)
        sizes = (shard.documents, shard.tokens, human_bytes(shard.bytes))
        lengths = (f"{q.p5:,} · {q.p50:,} · {q.p95:,}", q.p100, f"{shard.share_of_split:.1%}")
        top = Html(f'<div class="list">{page.foreign(_counts(shard.languages, SHOWN_SHARD_LANGUAGES))}</div>')
        rows.append([*named, *sizes, *lengths, top, page.code(f"{shard.sha256[:10]}…")])
    columns = ["shard", "split", "documents", "tokens", "text", "length 5 · 50 · 95 %", "longest"]
    columns += ["of its split", "languages", "SHA-256"]
    text = (
        "The files that a trainer reads. Lengths are in tokens, as quantiles; “of its split” is the share of its "
        "source's tokens in that split. Paths and whole hashes are in manifest.json."
    )
    table = page.table(columns, rows, text=(0, 1, 8, 9))
    return page.section(page.heading("Token shards"), page.paragraph(text), table)


def provenance(summary: Summary) -> Html:
    """Licenses, and what identifies this corpus."""
    sources: Rows = [[page.foreign(each.name), page.foreign(each.license), each.priority] for each in summary.sources]
    facts: Rows = [
        ["recipe", page.code(summary.recipe)],
        ["tokenizer", page.code(summary.tokenizer_sha256)],
        ["vocabulary", f"{summary.vocabulary:,}"],
        ["seed", str(summary.seed)],
    ]
    return page.section(
        page.heading("Where it comes from"),
        page.table(["source", "license", "priority"], sources, text=(0, 1)),
        page.table(["", ""], facts, text=(0, 1)),
    )


def _counts(counts: dict[str, int], most: int) -> str:
    """The largest counts in words: `en 1,200, de 7 and 3 more`."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:most]) + more
