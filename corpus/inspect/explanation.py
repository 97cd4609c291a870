"""What `corpus explain` found, on a terminal. All of it came from outside: nothing here is markup."""

from collections.abc import Iterable
from typing import Literal, cast

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpus.display.terminal import printable
from corpus.settings import Json

Row = dict[str, Json]

WIDTH = 120  # columns of a table that is not for a terminal
SHOWN = 300  # characters of one value

MEANINGS = {
    "kept": "kept by every rule",
    "dropped": "dropped by",
    "merged": "merged, as a duplicate:",
    "skipped": "skipped, as out of scope:",
    "failed": "failed; it could not be read:",
}


def print_explanation(found: Row, console: Console | None = None) -> None:
    """Prints the parts that there are, one below the other."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    _facts(console, [*_head(found), *_ends(found)])
    for title, rows in (
        ("merged into it", found.get("duplicates")),
        ("the same record stands also at", found["copies"]),
    ):
        if rows:
            console.print(f"\n{title}", markup=False)
            _facts(console, [(printable(row.pop("id", "")), _place(row)) for row in map(dict, cast(list[Row], rows))])
    if "signals" in found:
        _verdicts(console, cast(list[Row], found["verdicts"]))
        _signals(console, cast(dict[str, Json], found["signals"]))
    if found.get("excerpt"):
        console.print("\ntext begins", markup=False)
        console.print(Text(printable(found["excerpt"])), soft_wrap=True)


def _head(found: Row) -> Iterable[tuple[str, str]]:
    origin = cast(Row, found["origin"])
    yield "document", printable(found["id"] or "none was made of this span")
    yield "fate", " ".join(filter(None, (MEANINGS[str(found["outcome"])], printable(found["reason"] or ""))))
    yield "source", printable(origin["source"])
    yield "file", f"{printable(origin['file'])}, bytes {origin['start']} to {origin['end']}"
    for name in ("url", "date", "license"):
        if origin.get(name) is not None:
            yield name, _short(origin[name])
    if origin.get("language") is not None:
        score = origin["language_score"]
        sure = f" ({int(str(score)) / 1024:.2f})" if score is not None else ""
        yield "language", f"{_short(origin['language'])}{sure}"
    if "text_bytes" in found:
        yield "text", f"{found['text_bytes']} bytes of UTF-8"


def _ends(found: Row) -> Iterable[tuple[str, str]]:
    if survivor := cast(Row | None, found.get("duplicate_of")):
        yield "duplicate of", f"{printable(survivor['id'])} {_place(survivor)}"
    if found.get("split"):
        yield "split", printable(found["split"])
    if shard := cast(Row | None, found.get("text_shard")):
        yield "text shard", f"{printable(shard['file'])}, row {shard['row']}"
    if "token_shard" in found:
        tokens = cast(Row | None, found["token_shard"])
        yield (
            "token shard",
            f"{printable(tokens['file'])}, row {tokens['row']}: {tokens['tokens']} tokens"
            if tokens
            else "none: over its source's quota",
        )
    if count := found.get("duplicates_count"):
        yield "duplicates", f"{count} merged into it"


def _place(row: Row) -> str:
    """Where another document lies, and how like this one it is."""
    parts = [_short(row[name]) for name in ("source", "url") if row.get(name) is not None]
    parts.append(f"{printable(row['file'])}@{row['start']}")
    if row.get("union"):
        how = (
            "the same text"
            if row["reason"] == "exact"
            else f"{row['intersection']}/{row['union']} = {row['similarity']}"
        )
        parts.append(f"({printable(row['reason'])}: {how})")
    return "  ".join(parts)


def _verdicts(console: Console, verdicts: list[Row]) -> None:
    sources = list(dict.fromkeys(printable(row["source"]) for row in verdicts if row["source"]))
    table = _table("verdict", "<value", "bound", "says", "<source")
    for row in verdicts:
        bound = printable(row["bound"])
        if row.get("published_bound"):
            bound += f" (published: {printable(row['published_bound'])})"
        number = f"[{sources.index(printable(row['source'])) + 1}]" if row["source"] else ""
        cells = (printable(row["rule"]), _number(row["value"]), bound, "yes" if row["passed"] else "NO", number)
        table.add_row(*map(Text, cells))
    console.print(table)
    for place, source in enumerate(sources, 1):
        console.print(Text(f"[{place}] {source}"), soft_wrap=True)


def _signals(console: Console, signals: dict[str, Json]) -> None:
    cells = [(Text(printable(name)), Text(_number(value))) for name, value in signals.items()]
    half = -(-len(cells) // 2)
    table = _table("signal", "<value", "signal", "<value")
    for left, right in zip(cells[:half], [*cells[half:], (Text(), Text())], strict=False):
        table.add_row(*left, *right)
    console.print(table)


def _table(*names: str) -> Table:
    """Columns of these names, flush right where a name begins with `<`; a narrow terminal folds, and cuts nothing."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in names:
        justify: Literal["left", "right"] = "right" if name.startswith("<") else "left"
        table.add_column(name.lstrip("<"), justify=justify, overflow="fold")
    return table


def _facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        console.print(Text(f"{name:<12} {value}"), soft_wrap=True)


def _number(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else _short(value)


def _short(value: Json) -> str:
    """The beginning of what may be as long as a file."""
    text = str(value)
    return printable(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")
