"""The result of `corpus explain` on a terminal."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import cast

from rich.console import Console

from corpus.display.terminal import Cells, plain_console, print_line, printable, table
from corpus.settings import Json

Explanation = dict[str, Json]

WIDTH = 120  # columns of a table, where the output is no terminal
SHOWN = 300  # characters of one value

OUTCOMES = {
    "kept": "kept by every rule",
    "dropped": "dropped by",
    "merged": "merged, as a duplicate:",
    "skipped": "skipped, out of scope:",
    "failed": "failed, could not be read:",
}


def print_explanation(found: Explanation, console: Console | None = None) -> None:
    """Print the origin, outcome, duplicates, verdicts, signals and the beginning of the text."""
    console = console or plain_console(WIDTH)
    if not console.is_terminal:
        console.width = WIDTH
    _print_facts(console, [*_origin(found), *_outcome(found)])
    for title, key in (("duplicates of it", "duplicates"), ("the same record is also at", "copies")):
        if rows := cast(list[Explanation], found.get(key)):
            print_line(console, title)
            _print_facts(console, [(str(row.get("id", "")), _place(row)) for row in rows])
    if "signals" in found:
        _print_verdicts(console, cast(list[Explanation], found["verdicts"]))
        signals = [(name, _number(value)) for name, value in cast(Explanation, found["signals"]).items()]
        half = -(-len(signals) // 2)
        pairs = [left + right for left, right in zip_longest(signals[:half], signals[half:], fillvalue=("", ""))]
        console.print(table(["signal", "value", "signal", "value"], pairs, text=(0, 2), wrap=True))
    if found.get("excerpt"):
        print_line(console, "text begins")
        print_line(console, str(found["excerpt"]))


def _print_facts(console: Console, facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        print_line(console, f"{name:<12} {value}")


def _origin(found: Explanation) -> Iterable[tuple[str, str]]:
    origin = cast(Explanation, found["origin"])
    yield "document", str(found["id"] or "none was made of this span")
    yield "outcome", " ".join(filter(None, (OUTCOMES[str(found["outcome"])], str(found["reason"] or ""))))
    yield "source", str(origin["source"])
    yield "file", f"{origin['file']}, bytes {origin['start']} to {origin['end']}"
    for name in ("url", "date", "license"):
        if origin.get(name) is not None:
            yield name, _short(origin[name])
    if origin.get("language") is not None:
        score = origin["language_score"]
        yield "language", _short(origin["language"]) + (f" ({int(str(score)) / 1024:.2f})" if score is not None else "")
    if "text_bytes" in found:
        yield "text", f"{found['text_bytes']} bytes of UTF-8"


def _outcome(found: Explanation) -> Iterable[tuple[str, str]]:
    if survivor := cast(Explanation | None, found.get("duplicate_of")):
        yield "duplicate of", f"{survivor['id']} {_place(survivor)}"
    if found.get("split"):
        yield "split", str(found["split"])
    if shard := cast(Explanation | None, found.get("text_shard")):
        yield "text shard", f"{shard['file']}, row {shard['row']}"
    if "token_shard" in found:
        tokens = cast(Explanation | None, found["token_shard"])
        row = f"{tokens['file']}, row {tokens['row']}: {tokens['tokens']} tokens" if tokens else ""
        yield "token shard", row or "none: over its source's quota"
    if count := found.get("duplicates_count"):
        yield "duplicates", f"{count} document" + ("" if count == 1 else "s")


def _place(row: Explanation) -> str:
    """Return the origin of another document, and its similarity to this one."""
    parts = [_short(row[name]) for name in ("source", "url") if row.get(name) is not None]
    parts.append(f"{row['file']}@{row['start']}")
    if row.get("union"):
        similarity = f"{row['intersection']}/{row['union']} = {row['similarity']}"
        parts.append(f"({row['reason']}: {'the same text' if row['reason'] == 'exact' else similarity})")
    return "  ".join(parts)


def _print_verdicts(console: Console, verdicts: list[Explanation]) -> None:
    """Print a table of the verdicts, then their sources as numbered notes."""
    sources = list(dict.fromkeys(str(row["source"]) for row in verdicts if row["source"]))
    rows: list[Cells] = []
    for row in verdicts:
        published = f" (published: {row['published_bound']})" if row.get("published_bound") else ""
        note = f"[{sources.index(str(row['source'])) + 1}]" if row["source"] else ""
        passed = "yes" if row["passed"] else "NO"
        rows.append([str(row["rule"]), _number(row["value"]), f"{row['bound']}{published}", passed, note])
    console.print(table(["verdict", "value", "bound", "passed", "source"], rows, text=(0, 2, 3), wrap=True))
    for number, source in enumerate(sources, 1):
        print_line(console, f"[{number}] {source}")


def _number(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else _short(value)


def _short(value: Json) -> str:
    """Return the beginning of a value that may be as long as a file."""
    text = str(value)
    return printable(text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…")
