"""`corpus stats`: a build's or a shard's numbers on a terminal, as tables or as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from corpus.display.data_table import DataTable
from corpus.display.terminal import plain_console, print_json, print_line, print_table, printable
from corpus.errors import CorpusError
from corpus.inspect.find_build import find_build
from corpus.inspect.report import summary_tables as tables
from corpus.inspect.report.summary import FILE_NAME, Summary, read_summary
from corpus.inspect.shard_stats import shard_stats
from corpus.settings import Json
from corpus.units import human_bytes

SHOWN_SHARDS = 24
ON_A_LINE = 10  # numbers by name; more are shown one per line


def show_build(folder: Path) -> None:
    """Print the funnel, the shards and the report's path. Raises InputError if the build is not finished."""
    summary, console = read_summary(folder), plain_console()
    print_table(console, _funnel(summary))
    print_table(console, _shards(summary))
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
    shares = ("source", "asked", "got", "tokens asked", "tokens got", "short", "holdout", "remark")
    for shown in (
        _funnel(summary),
        tables.entries(summary, ("skipped", "failed", "merged")).select_columns(
            "source", "outcome", "reason", "records", "input"
        ),
        tables.losses(summary),
        tables.without_checksum(summary),
        tables.rules(summary, only_failed=True).select_columns(*tables.rules(summary).columns[:-1]),
        tables.rule_sets(summary),
        tables.languages(summary).select_columns("source", "documents by language"),
        tables.shares(summary).select_columns(*shares),
        tables.lengths(summary),
        _shards(summary),
    ):
        print_table(console, shown)
    print_line(console, f"As JSON: {folder / FILE_NAME}")


def _funnel(summary: Summary) -> DataTable:
    steps = list(summary.titles.values())[:-1]
    shown = ("source", "input", "lost", "read", *steps, "train", "holdout", "text", "tokens", "share")
    return tables.sources(summary).select_columns(*shown)


def _shards(summary: Summary) -> DataTable:
    shown = ("shard", "sha256", "documents", "tokens", "median", "95 %", "share", "languages")
    table = tables.shards(summary).select_columns(*shown)
    more = len(table.rows) - SHOWN_SHARDS
    note = f"… and {more:,} more: `corpus stats --json` lists all" if more > 0 else ""
    return table._replace(rows=table.rows[:SHOWN_SHARDS], note=note)


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
