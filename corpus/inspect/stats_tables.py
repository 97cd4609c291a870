"""A build or a shard on a terminal: the report's numbers as tables. What came from outside is printed as plain text."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpus.display.terminal import printable
from corpus.errors import CorpusError
from corpus.inspect.find_build import build_folder
from corpus.inspect.report.summary import FILE_NAME, Summary, read_summary
from corpus.inspect.shard_stats import Facts, shard_stats, to_json
from corpus.settings import Json
from corpus.units import human_bytes, human_count

Rows = list[list[str | int]]

WIDTH = 100
SHOWN_SHARDS = 24
SHOWN_LANGUAGES = 6
ON_A_LINE = 10  # numbers by name


def show_build(folder: Path) -> None:
    """Prints the funnel, the shards and where the report lies. Raises InputError if the build did not reach its end."""
    summary, console = read_summary(folder), plain_console()
    _funnel(console, summary)
    _shards(console, summary)
    page = folder / "report.html"
    if not page.is_file():
        raise CorpusError(f"{page}: not there; run `corpus build` again")
    console.print(Text(f"Report: {page}"), soft_wrap=True)


def show_stats(path: Path | None, as_json: bool) -> None:
    """Prints what a build's folder (None: the only one there is) or a shard holds, as tables or as JSON."""
    if path is not None and not path.is_dir():
        facts = shard_stats(path)
        print(to_json(facts)) if as_json else _facts(plain_console(), facts)
        return
    folder = build_folder(path)
    summary = read_summary(folder)
    if as_json:
        print(to_json(cast(Facts, json.loads(summary.text()))))
        return
    console = plain_console()
    for part in (_funnel, _ends, _rules, _languages, _shares, _lengths, _shards):
        part(console, summary)
    console.print(Text(f"As JSON: {folder / FILE_NAME}"), soft_wrap=True)


def plain_console() -> Console:
    """Plain and 100 columns wide, or as wide as a narrower terminal is."""
    console = Console(highlight=False, markup=False)
    return Console(highlight=False, markup=False, width=min(WIDTH, console.width) if console.is_terminal else WIDTH)


def print_table(console: Console, title: str, columns: Sequence[str], rows: Rows, text: Collection[int] = (0,)) -> None:
    """Columns not in `text` are figures. Names of things are never broken, nor are figures."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for index, name in enumerate(columns):
        words = index in text
        table.add_column(name, justify="left" if words else "right", overflow="fold", no_wrap=not words or index == 0)
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else printable(cell)) for cell in row))
    console.print(table)


def _funnel(console: Console, summary: Summary) -> None:
    rows: Rows = []
    for source in summary.sources:
        train, held = source.train, source.holdout
        steps = (source.records_read, source.passed_rules, source.unique, train.documents, held.documents)
        made = (human_bytes(train.bytes), human_count(train.tokens), f"{source.share_got:.1%}")
        rows.append([source.name, human_bytes(source.input_bytes), *steps, *made])
    columns = ["source", "input", "read", "passed", "unique", "train", "holdout", "text", "tokens", "share"]
    print_table(console, "Documents left after each step", columns, rows)


def _ends(console: Console, summary: Summary) -> None:
    rows: Rows = [
        [source.name, fate.outcome, fate.reason, fate.records]
        for source in summary.sources
        for fate in source.fates
        if fate.outcome in ("skipped", "failed", "merged")
    ]
    print_table(console, "Skipped, failed and merged", ["source", "outcome", "reason", "records"], rows, (0, 1, 2))


def _rules(console: Console, summary: Summary) -> None:
    rows: Rows = [
        [source.name, rule.name, rule.bound, rule.dropped, rule.failing, rule.alone]
        for source in summary.sources
        for rule in source.rules
        if rule.failing or rule.dropped
    ]
    print_table(
        console, "Dropped by rules", ["source", "rule", "bound", "dropped", "refused", "alone"], rows, (0, 1, 2)
    )
    sets = [each.name for each in summary.sources[0].rule_sets] if summary.sources else []
    shares: Rows = []
    for source in summary.sources:
        would = (f"{each.would_drop / each.documents:.1%}" if each.documents else "–" for each in source.rule_sets)
        shares.append([source.name, *would])
    if sets:
        print_table(console, "What each rule set would drop", ["source", *sets], shares)


def _languages(console: Console, summary: Summary) -> None:
    rows: Rows = [[source.name, _counts(source.languages)] for source in summary.sources]
    print_table(console, "Languages of what passed the rules", ["source", "documents"], rows, (0, 1))


def _shares(console: Console, summary: Summary) -> None:
    rows: Rows = []
    for source in summary.sources:
        asked: str | int = "all" if source.tokens_asked is None else source.tokens_asked
        short: str | int = "" if source.tokens_short is None else source.tokens_short
        shares = (f"{source.share_asked:.2%}", f"{source.share_got:.2%}")
        held = "thin" if source.holdout_thin else ""
        rows.append([source.name, *shares, asked, source.train.tokens, short, source.holdout.tokens, held])
    columns = ["source", "asked", "got", "tokens asked", "tokens got", "short", "holdout", ""]
    print_table(console, f"Shares of training tokens (shortfall: {summary.shortfall})", columns, rows)


def _lengths(console: Console, summary: Summary) -> None:
    starts = sorted({bucket.at_least for source in summary.sources for bucket in source.lengths})
    counts = [{each.at_least: each.train + each.holdout for each in source.lengths} for source in summary.sources]
    rows: Rows = [[f"{start:,}", *(count.get(start, 0) for count in counts)] for start in starts]
    columns = ["tokens, at least", *(printable(source.name) for source in summary.sources)]
    print_table(console, "Documents by length", columns, rows)


def _shards(console: Console, summary: Summary) -> None:
    rows: Rows = []
    for shard in summary.shards[:SHOWN_SHARDS]:
        q = shard.length_quantiles
        name, share = shard.file.rpartition("/")[2], f"{shard.share_of_split:.0%}"
        sizes = (shard.documents, human_count(shard.tokens))
        rows.append([name, shard.sha256[:8], *sizes, q.p50, q.p95, share, _counts(shard.languages, 2)])
    columns = ["shard", "sha256", "documents", "tokens", "median", "95 %", "share", "languages"]
    print_table(console, "Token shards: lengths in tokens, shares of their source's split", columns, rows, (0, 7))
    more = len(summary.shards) - len(rows)
    if more > 0:
        console.print(f"… and {more:,} more: `corpus stats --json` lists all\n")


def _facts(console: Console, facts: Facts) -> None:
    """A line for each fact, and for each of several numbers by name."""
    for name, value in facts.items():
        shown = _numbers(value) if isinstance(value, dict) else [_shown(name, value)]
        for line, label in zip(shown, [name.replace("_", " "), *[""] * len(shown)], strict=False):
            console.print(Text(f"{label:<18} {line}"), soft_wrap=True)


def _shown(name: str, value: Json) -> str:
    if name.endswith("bytes") and isinstance(value, int):
        return f"{value:,} ({human_bytes(value)})"
    if isinstance(value, float):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else printable(value)


def _numbers(numbers: dict[str, Json]) -> list[str]:
    """One line of all, or a line each where they are many."""
    shown = []
    for name, value in numbers.items():
        number = f"{value:,}" if isinstance(value, int) else "none" if value is None else f"{cast(float, value):,g}"
        shown.append(f"{printable(name)} {number}")
    return shown if len(shown) > ON_A_LINE else [", ".join(shown)]


def _counts(counts: dict[str, int], most: int = SHOWN_LANGUAGES) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    more = [f"+{len(ordered) - most}"] if len(ordered) > most else []
    return ", ".join([*(f"{name} {count:,}" for name, count in ordered[:most]), *more])
