"""`corpus stats`: a build's or a shard's numbers on a terminal, as tables or as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from rich.console import Console

from corpus.display.terminal import Cells, plain_console, print_json, print_line, printable, table
from corpus.errors import CorpusError
from corpus.inspect.find_build import find_build
from corpus.inspect.report.summary import FILE_NAME, Summary, read_summary
from corpus.inspect.shard_stats import shard_stats
from corpus.settings import Json
from corpus.units import human_bytes, human_count, largest

SHOWN_SHARDS = 24
SHOWN_LANGUAGES = 6
ON_A_LINE = 10  # numbers by name; more are shown one per line


def show_build(folder: Path) -> None:
    """Print the funnel, the shards and the report's path. Raises InputError if the build is not finished."""
    summary, console = read_summary(folder), plain_console()
    _funnel(console, summary)
    _shards(console, summary)
    page = folder / "report.html"
    if not page.is_file():
        raise CorpusError(f"{page}: missing; run `corpus build` again")
    print_line(console, f"Report: {page}")


def show_stats(path: Path | None, as_json: bool) -> None:
    """Print the numbers of a build's folder (None: the only one below ./build) or of a shard."""
    if path is not None and not path.is_dir():
        facts = shard_stats(path)
        print_json(facts) if as_json else _print_facts(facts)
        return
    folder = find_build(path)
    summary = read_summary(folder)
    if as_json:
        print_json(json.loads(summary.text()))
        return
    console = plain_console()
    for show in (_funnel, _ends, _rules, _languages, _shares, _lengths, _shards):
        show(console, summary)
    print_line(console, f"As JSON: {folder / FILE_NAME}")


def _funnel(console: Console, summary: Summary) -> None:
    rows: list[Cells] = []
    for source in summary.sources:
        train, held = source.train, source.holdout
        steps = [*source.left(list(summary.titles)[:-1]), train.documents, held.documents]
        made = (human_bytes(train.bytes), human_count(train.tokens), f"{source.share_got:.1%}")
        rows.append([source.name, human_bytes(source.input_bytes), *steps, *made])
    titles = list(summary.titles.values())[:-1]
    columns = ["source", "input", "read", *titles, "train", "holdout", "text", "tokens", "share"]
    console.print(table(columns, rows, title="Documents left after each step"))


def _ends(console: Console, summary: Summary) -> None:
    rows: list[Cells] = [
        [source.name, row.outcome, row.reason, row.records]
        for source in summary.sources
        for row in source.outcomes
        if row.outcome not in ("kept", "dropped")
    ]
    columns = ["source", "outcome", "reason", "records"]
    console.print(table(columns, rows, title="Skipped, failed and merged", text=(0, 1, 2)))


def _rules(console: Console, summary: Summary) -> None:
    rows: list[Cells] = [
        [source.name, rule.name, rule.bound, rule.dropped, rule.failing, rule.alone]
        for source in summary.sources
        for rule in source.rules
        if rule.failing or rule.dropped
    ]
    columns = ["source", "rule", "bound", "credited", "failed", "failed only this"]
    console.print(table(columns, rows, title="Documents dropped by rules", text=(0, 1, 2)))
    sets = [rule_set.name for source in summary.sources[:1] for rule_set in source.rule_sets]
    shares: list[Cells] = []
    for source in summary.sources:
        counts = [(each.would_drop, each.documents) for each in source.rule_sets]
        shares.append([source.name, *(f"{dropped / known:.1%}" if known else "–" for dropped, known in counts)])
    if sets:
        console.print(table(["source", *sets], shares, title="Documents that each rule set would drop"))


def _languages(console: Console, summary: Summary) -> None:
    rows: list[Cells] = [[source.name, largest(source.languages, SHOWN_LANGUAGES)] for source in summary.sources]
    title = "Languages of the documents that passed the rules"
    console.print(table(["source", "documents"], rows, title=title, text=(0, 1)))


def _shares(console: Console, summary: Summary) -> None:
    rows: list[Cells] = []
    for source in summary.sources:
        asked = "all" if source.tokens_asked is None else source.tokens_asked
        short = "" if source.tokens_short is None else source.tokens_short
        shares = (f"{source.share_asked:.2%}", f"{source.share_got:.2%}")
        held = "thin" if source.holdout_thin else ""
        rows.append([source.name, *shares, asked, source.train.tokens, short, source.holdout.tokens, held])
    columns = ["source", "asked", "got", "tokens asked", "tokens got", "short", "holdout", ""]
    console.print(table(columns, rows, title=f"Shares of training tokens (shortfall: {summary.shortfall})"))


def _lengths(console: Console, summary: Summary) -> None:
    starts = sorted({bucket.at_least for source in summary.sources for bucket in source.lengths})
    counts = [
        {bucket.at_least: bucket.train + bucket.holdout for bucket in source.lengths} for source in summary.sources
    ]
    rows: list[Cells] = [[f"{start:,}", *(count.get(start, 0) for count in counts)] for start in starts]
    columns = ["tokens, at least", *(source.name for source in summary.sources)]
    console.print(table(columns, rows, title="Documents by length"))


def _shards(console: Console, summary: Summary) -> None:
    rows: list[Cells] = []
    for shard in summary.shards[:SHOWN_SHARDS]:
        quantiles, share = shard.length_quantiles, f"{shard.share_of_split:.0%}"
        sizes = (shard.documents, human_count(shard.tokens), quantiles.p50, quantiles.p95)
        rows.append([Path(shard.file).name, shard.sha256[:8], *sizes, share, largest(shard.languages, 2)])
    columns = ["shard", "sha256", "documents", "tokens", "median", "95 %", "share", "languages"]
    title = "Token shards: lengths in tokens, shares of their source's split"
    console.print(table(columns, rows, title=title, text=(0, 7)))
    if len(summary.shards) > len(rows):
        print_line(console, f"… and {len(summary.shards) - len(rows):,} more: `corpus stats --json` lists all")


def _print_facts(facts: Mapping[str, Json]) -> None:
    """Print one line per fact, or several for a fact with many numbers."""
    console = plain_console()
    for name, value in facts.items():
        lines = _numbers(value) if isinstance(value, dict) else [_value(name, value)]
        for line, label in zip(lines, [name.replace("_", " "), *[""] * len(lines)], strict=False):
            print_line(console, f"{label:<18} {line}")


def _value(name: str, value: Json) -> str:
    if name.endswith("bytes") and isinstance(value, int):
        return f"{value:,} ({human_bytes(value)})"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def _numbers(numbers: dict[str, Json]) -> list[str]:
    shown = []
    for name, value in numbers.items():
        number = f"{value:,}" if isinstance(value, int) else "none" if value is None else f"{cast(float, value):,g}"
        shown.append(f"{name} {number}")
    return shown if len(shown) > ON_A_LINE else [", ".join(shown)]
