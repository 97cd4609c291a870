"""The report's second half: what the corpus holds."""

from collections.abc import Sequence

from corpus.display import page
from corpus.display.page import Html
from corpus.inspect.report import charts, small_charts
from corpus.inspect.report.drawing import FATES, SPLITS
from corpus.inspect.report.outliers import BEYOND, FEWEST_DOCUMENTS, FEWEST_PARTS
from corpus.inspect.report.summary import Summary
from corpus.inspect.report.summary_types import Outlier
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
        page.heading("Shares asked and got", name="shares"),
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
        page.heading("Languages", name="languages"),
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
        figures.append(page.chart(f"lengths-{number}", small_charts.lengths(source), caption))
    text = "Documents in the shards by length in tokens, end mark included; each bar reaches twice as far as the last."
    return page.section(
        page.heading("Lengths", name="lengths"), page.paragraph(text), page.legend(SPLITS), page.grid(*figures)
    )


def hosts(summary: Summary) -> Html:
    """Where documents are from, of sources whose documents state addresses."""
    figures = []
    rows: Rows = []
    for number, source in enumerate(summary.sources):
        if source.hosts is None:
            continue
        found, name = source.hosts, page.foreign(source.name)
        whole = found.kept + found.dropped
        different = "very many" if found.different is None else f"{found.different:,}"
        plural = "" if found.different == 1 else "s"
        caption = Html(f"{name}<small>{whole:,} documents of {different} host{plural}</small>")
        figures.append(page.chart(f"hosts-{number}", small_charts.hosts(found), caption))
        for each in found.top:
            sums = (each.kept + each.dropped, each.kept, each.dropped)
            share = f"{sums[0] / whole:.1%}"
            rows.append([name, page.foreign(each.host), *sums, f"{each.kept / sums[0]:.1%}", share])
    if not figures:
        return Html("")
    text = "The hosts of the documents' addresses, by how many documents they gave, and what the rules kept of them."
    columns = ["source", "host", "documents", "kept", "dropped", "share kept", "of its source"]
    table = page.details("As a table, up to 20 of a source", page.table(columns, rows, text=(0, 1)))
    return page.section(
        page.heading("Where documents are from", name="hosts"),
        page.paragraph(text),
        page.legend(FATES),
        page.grid(*figures),
        table,
    )


def shards(summary: Summary) -> Html:
    """The files that a trainer reads, and which of them stand out."""
    rows: Rows = []
    for shard in summary.shards:
        q = shard.length_quantiles
        named = (page.code(shard.file.rpartition("/")[2]), shard.split)
        sizes = (shard.documents, shard.tokens, human_bytes(shard.bytes))
        lengths = (f"{q.p5:,} · {q.p50:,} · {q.p95:,}", q.p100, f"{shard.share_of_split:.1%}")
        top = Html(f'<div class="list">{page.foreign(_counts(shard.languages, SHOWN_SHARD_LANGUAGES))}</div>')
        rows.append([*named, _outlying(shard.outliers), *sizes, *lengths, top, page.code(f"{shard.sha256[:10]}…")])
    columns = ["shard", "split", "stands out", "documents", "tokens", "text", "length 5 · 50 · 95 %", "longest"]
    columns += ["of its split", "languages", "SHA-256"]
    text = (
        "The files that a trainer reads. Lengths are in tokens, as quantiles; “of its split” is the share of its "
        "source's tokens in that split. Paths and whole hashes are in manifest.json."
    )
    return page.section(
        page.heading("Token shards", name="shards"),
        page.paragraph(text),
        page.table(columns, rows, text=(0, 1, 2, 9, 10)),
        page.heading("Shards and files that stand out", 3),
        *_standing_out(summary),
    )


def _standing_out(summary: Summary) -> list[Html]:
    text = (
        "Shards are compared with the others of their source and split by mean length, bytes a token and share of the "
        "main language, and the parts of a source's input by what the rules kept of them. One stands out where its "
        f"robust z-score, 0.6745 × (value − median) / MAD, is beyond {BEYOND:g}. The spread is taken as at least 2 % "
        f"of the median and a share's own sampling error; parts of under {FEWEST_DOCUMENTS} documents, or under half "
        f"as many as is usual, are left out, and fewer than {FEWEST_PARTS} are not compared."
    )
    compared = sum(shard.compared for shard in summary.shards)
    marked = sum(bool(shard.outliers) for shard in summary.shards)
    parts = sum(source.parts_compared for source in summary.sources)
    rows: Rows = [
        [page.foreign(source.name), each.part, each.documents, _outlying(each.outliers)]
        for source in summary.sources
        for each in source.outlying_parts
    ]
    said = (
        f"{compared:,} of {len(summary.shards):,} shards could be compared; {marked:,} stand out. Of {parts:,} parts "
        f"of the input that could be compared, {len(rows):,} stand out."
    )
    found = [page.paragraph(said), page.paragraph(text, kind="note")]
    return [*found, page.table(["source", "part", "documents", "stands out"], rows, text=(0, 3))] if rows else found


def _outlying(outliers: Sequence[Outlier]) -> Html:
    """Each measure that stands out, with its value against the median."""
    said = (f"{each.measure} {each.value:.4g}, median {each.median:.4g}, z {each.score:+.1f}" for each in outliers)
    return Html(" ".join(f'<span class="pill">{page.escape(text)}</span>' for text in said))


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
        page.heading("Licenses and identity", name="identity"),
        page.table(["source", "license", "priority"], sources, text=(0, 1)),
        page.table(["", ""], facts, text=(0, 1)),
    )


def _counts(counts: dict[str, int], most: int) -> str:
    """The largest counts in words: `en 1,200, de 7 and 3 more`."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    more = f" and {len(ordered) - most:,} more" if len(ordered) > most else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:most]) + more
