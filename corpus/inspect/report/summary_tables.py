"""Tables of a Summary's numbers, for the report page and for `corpus stats`."""

from collections.abc import Callable, Collection, Iterable

from corpus.display.data_table import DataRow, DataTable
from corpus.document import OUTCOMES
from corpus.inspect.report.summary import ENDS, Outlier, SourceSummary, Summary
from corpus.units import human_bytes, human_count, largest

SHOWN_LANGUAGES = 10


def _by_source(
    summary: Summary,
    title: str,
    columns: Iterable[str],
    rows_of: Callable[[SourceSummary], Iterable[DataRow]],
    text: Collection[int] = (0,),
    marked: str = "",
) -> DataTable:
    """Return a table of the rows of all sources, each with the name of its source before it."""
    rows: list[DataRow] = [[source.name, *row] for source in summary.sources for row in rows_of(source)]
    return DataTable(title, ["source", *columns], rows, text, marked)


def sources(summary: Summary) -> DataTable:
    """Documents left after each step."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        splits = (source.train.documents, source.holdout.documents)
        size = (human_bytes(source.train.bytes), human_count(source.train.tokens), f"{source.share_got:.1%}")
        lost = human_bytes(source.lost_bytes) if source.lost_bytes else "0"
        yield source.files, human_bytes(source.input_bytes), lost, *source.left(summary.titles), *splits, *size

    columns = [
        "files",
        "input",
        "lost",
        "read",
        *summary.titles.values(),
        "train",
        "holdout",
        "text",
        "tokens",
        "share",
    ]
    return _by_source(summary, "Documents left after each step", columns, rows)


def losses(summary: Summary) -> DataTable:
    """Input files of which bytes could not be read."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        for loss in source.losses:
            sizes = (
                human_bytes(loss.input_bytes),
                human_bytes(loss.lost_bytes),
                f"{loss.lost_bytes / max(loss.input_bytes, 1):.1%}",
            )
            yield loss.file, *sizes, ", ".join(loss.reasons)
        if more := source.files_lost - len(source.losses):
            yield f"and {more:,} more", "", "", "", ""

    columns = ["file", "input", "lost", "share", "reasons"]
    return _by_source(summary, "Input that could not be read", columns, rows, text=(0, 1, 5))


def without_checksum(summary: Summary) -> DataTable:
    """Files whose data carry no checksum."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        return [(form, files, source.files) for form, files in source.without_checksum.items()]

    title, columns = "Files without a checksum: changed bytes in them go unnoticed", ["format", "files", "of"]
    return _by_source(summary, title, columns, rows, text=(0, 1))


def ends(summary: Summary) -> DataTable:
    """Counts of a source that add up to its records."""
    rows: list[DataRow] = [[source.name, *source.ends().values(), source.records_read] for source in summary.sources]
    return DataTable("Where each record ended", ["source", *ENDS, "sum = read"], rows)


def entries(summary: Summary, outcomes: Collection[str] = OUTCOMES) -> DataTable:
    """Entries of the ledgers with these outcomes; documents are kept in the end if the last step kept them."""
    *_, last = summary.titles

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        for entry in source.outcomes:
            if entry.outcome in outcomes and (entry.outcome != "kept" or entry.stage == last):
                sizes = (human_bytes(size) if size else "" for size in (entry.input_bytes, entry.text_bytes))
                yield summary.titles[entry.stage], entry.outcome, entry.reason, entry.records, *sizes

    columns = ["step", "outcome", "reason", "records", "input", "text"]
    return _by_source(summary, "Entries of the ledgers", columns, rows, text=(0, 1, 2, 3))


def rules(summary: Summary, *, only_failed: bool = False) -> DataTable:
    """Documents that failed each rule."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        for rule in source.rules:
            if rule.failing or rule.dropped or not only_failed:
                yield rule.name, rule.bound, rule.dropped, rule.failing, rule.alone, rule.stated_by

    columns = ["rule", "bound", "credited", "failed", "failed only this", "source of the bound"]
    return _by_source(summary, "Documents dropped by rules", columns, rows, text=(0, 1, 2, 6))


def rule_pairs(summary: Summary) -> DataTable:
    """Pairs of rules that the same documents failed."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        return [(pair.first, pair.second, pair.documents) for pair in source.together]

    title, columns = "Rules that the same documents failed", ["rule", "and rule", "documents"]
    return _by_source(summary, title, columns, rows, text=(0, 1, 2))


def rule_sets(summary: Summary) -> DataTable:
    """Documents that each rule set would drop."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        for rule_set in source.rule_sets:
            used = f"{rule_set.rules_in_use} of {rule_set.rules}"
            share = f"{rule_set.would_drop / rule_set.documents:.1%}" if rule_set.documents else "–"
            yield rule_set.name, used, rule_set.documents, rule_set.would_drop, share

    columns = ["rule set", "rules in use", "documents measured", "would drop", "share"]
    return _by_source(summary, "Documents that each rule set would drop", columns, rows, text=(0, 1))


def merges(summary: Summary) -> DataTable:
    """Duplicates by the source of the document that survived."""
    rows: list[DataRow] = [
        [merge.source, merge.survivor_source, merge.reason, merge.documents] for merge in summary.merges
    ]
    return DataTable("Duplicates", ["removed from", "survivor in", "reason", "documents"], rows, text=(0, 1, 2))


def comparisons(summary: Summary) -> DataTable:
    """Counters of dedup."""
    rows: list[DataRow] = [[name.replace("_", " "), count] for name, count in summary.dedup.items()]
    return DataTable("Comparisons", ["count", "number"], rows)


def shares(summary: Summary) -> DataTable:
    """Shares of training tokens, and the holdout."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        asked = "all" if source.tokens_asked is None else source.tokens_asked
        short = "" if source.tokens_short is None else source.tokens_short
        held = (source.holdout.documents, source.holdout.tokens, "thin" if source.holdout_thin else "")
        yield f"{source.share_asked:.2%}", f"{source.share_got:.2%}", asked, source.train.tokens, short, *held

    columns = ["asked", "got", "tokens asked", "tokens got", "short", "holdout documents", "holdout", "remark"]
    title = f"Shares of training tokens (shortfall: {summary.shortfall})"
    return _by_source(summary, title, columns, rows, text=(0, 8), marked="remark")


def lengths(summary: Summary) -> DataTable:
    """Documents by length in tokens, a column for each source."""
    starts = sorted({bucket.at_least for source in summary.sources for bucket in source.lengths})
    counts = [
        {bucket.at_least: bucket.train + bucket.holdout for bucket in source.lengths} for source in summary.sources
    ]
    rows: list[DataRow] = [[f"{start:,}", *(count.get(start, 0) for count in counts)] for start in starts]
    return DataTable("Documents by length", ["tokens, at least", *(source.name for source in summary.sources)], rows)


def shards(summary: Summary) -> DataTable:
    """Token shards."""
    rows: list[DataRow] = []
    for shard in summary.shards:
        name, quantiles = shard.file.rpartition("/")[2], shard.length_quantiles
        sizes = (shard.documents, shard.tokens, human_bytes(shard.bytes))
        of_split = (quantiles.p5, quantiles.p50, quantiles.p95, quantiles.p100, f"{shard.share_of_split:.0%}")
        identity = (largest(shard.languages, 2), shard.sha256[:10])
        rows.append((name, shard.split, _outliers(shard.outliers), *sizes, *of_split, *identity))
    columns = ["shard", "split", "stands out", "documents", "tokens", "text", "5 %", "median", "95 %", "longest"]
    columns += ["share", "languages", "sha256"]
    title = "Token shards: lengths in tokens, shares of their source's split"
    return DataTable(title, columns, rows, text=(0, 1, 2, 11, 12), marked="stands out")


def outlying_parts(summary: Summary) -> DataTable:
    """Parts of the input that stand out."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        return [(part.part, part.documents, _outliers(part.outliers)) for part in source.outlying_parts]

    title, columns = "Input parts that stand out", ["part", "documents", "stands out"]
    return _by_source(summary, title, columns, rows, text=(0, 3), marked="stands out")


def _outliers(outliers: Iterable[Outlier]) -> str:
    """Return the measures in which a shard or a part stands out."""
    return "; ".join(
        f"{outlier.measure} {outlier.value:.4g}, median {outlier.median:.4g}, z {outlier.score:+.1f}"
        for outlier in outliers
    )


def languages(summary: Summary) -> DataTable:
    """Languages of the documents that passed the rules, with each source's license."""

    def rows(source: SourceSummary) -> Iterable[DataRow]:
        yield source.license, source.priority, len(source.languages), largest(source.languages, SHOWN_LANGUAGES)

    title, columns = "Languages of the documents that passed the rules", ["license", "priority", "languages"]
    return _by_source(summary, title, [*columns, "documents by language"], rows, text=(0, 1, 4))


def identity(summary: Summary) -> DataTable:
    """Fingerprints of the build."""
    fingerprints = [["recipe", summary.recipe], ["tokenizer", summary.tokenizer_sha256]]
    rows: list[DataRow] = [*fingerprints, ["vocabulary", f"{summary.vocabulary:,}"], ["seed", str(summary.seed)]]
    return DataTable("Identity", ["", ""], rows, text=(0, 1))
