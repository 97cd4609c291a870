"""`corpus diff` on a terminal, and as a page."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from corpus.display.page import render
from corpus.display.terminal import Cells, plain_console, print_json, print_line, printable, table
from corpus.errors import InputError
from corpus.inspect.diff.compare import BuildDiff, FilesDiff, compare_builds

SHOWN_CHARACTERS = 40  # of a setting
PAGE_CHARACTERS = 300  # of a setting on the page
SHOWN_NAME = 80  # characters at the end of a file's name
SHOWN_MOVES = 40
SHOWN_EXAMPLES = 10
NO_DIFFERENCE = "No difference: the same settings, files, tokens, and outcomes of documents."


def show_diff(a: Path, b: Path, as_json: bool, page: Path | None) -> None:
    """Print the differences, as tables or as JSON, and write them as a page. Raises InputError if it cannot."""
    diff = compare_builds(a, b)
    if page is not None:
        try:
            page.write_text(diff_page(diff), encoding="utf-8", newline="\n")
        except OSError as error:
            raise InputError(f"--page: {page}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json(json.loads(diff.model_dump_json()))
        return
    print_diff(diff)
    if page is not None:
        print_line(plain_console(), f"As a page: {page}")


def diff_page(diff: BuildDiff) -> str:
    """Return the page, in the report's style."""
    title = f"{diff.name_a} and {diff.name_b}: two builds compared"
    return render("diff.html", title, diff=diff, no_difference=NO_DIFFERENCE, value=_value, shown=PAGE_CHARACTERS)


def _value(value: object, present: bool = True, most: int = SHOWN_CHARACTERS) -> str:
    """Return the beginning of a setting's value."""
    if not present:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def print_diff(diff: BuildDiff) -> None:
    """Print one table for each kind of difference."""
    console = plain_console()
    print_line(console, f"A  {diff.name_a} in {diff.folder_a}")
    print_line(console, f"B  {diff.name_b} in {diff.folder_b}")
    if not diff.differs:
        print_line(console, NO_DIFFERENCE)
        return
    print_line(console, "")
    settings: list[Cells] = [
        [each.path, _value(each.a, each.only != "b"), _value(each.b, each.only != "a")] for each in diff.settings
    ]
    _print_table(console, "Settings that differ", ["setting", "A", "B"], settings, (0, 1, 2))
    _print_files(console, diff)
    code: list[Cells] = [[each.job, each.name, _value(each.a), _value(each.b)] for each in diff.code]
    _print_table(console, "Code and libraries that differ", ["job", "of", "A", "B"], code, (0, 1, 2, 3))
    if tokenizer := diff.tokenizer:
        shared = "" if tokenizer.shared is None else f"; {tokenizer.shared:,} tokens are in both"
        sizes = f"A {tokenizer.sha256_a[:12]} with {tokenizer.vocabulary_a:,} tokens, "
        sizes += f"B {tokenizer.sha256_b[:12]} with {tokenizer.vocabulary_b:,}"
        print_line(console, f"Tokenizers differ: {sizes}{shared}")
    counts: list[Cells] = [
        [source.name, count.name, count.a, count.b, f"{count.difference:+,}"]
        for source in diff.sources
        for count in source.counts
        if count.difference
    ]
    _print_table(console, "Records, tokens and bytes", ["source", "count", "A", "B", "B - A"], counts, (0, 1))
    rules: list[Cells] = []
    for source in diff.sources:
        for rule in source.changed_rules:
            bounds = [_value(bound, bound is not None) for bound in (rule.bound_a, rule.bound_b)]
            credited = (rule.dropped_a, rule.dropped_b, f"{rule.dropped_b - rule.dropped_a:+,}")
            rules.append([source.name, rule.rule, *bounds, *credited, rule.failing_a, rule.failing_b])
    columns = ["source", "rule", "bound A", "bound B", "credited A", "B", "B - A", "failed A", "B"]
    _print_table(console, "Rules whose bound or documents changed", columns, rules, (0, 1, 2, 3))
    _print_moves(console, diff)


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Cells], text: Sequence[int]
) -> None:
    if rows:
        console.print(table(columns, rows, title=title, text=text))


def _print_files(console: Console, diff: BuildDiff) -> None:
    sources = [(source.name, source.files) for source in diff.sources if source.files]
    if sources:
        print_line(console, "Files that only one build read")
    for name, files in sources:
        print_line(console, f"  {name}: {_only(files)}")


def _only(files: FilesDiff) -> str:
    parts = []
    for build, count, first in (("A", files.only_a, files.first_a), ("B", files.only_b, files.first_b)):
        names = [name if len(name) <= SHOWN_NAME else f"…{name[1 - SHOWN_NAME :]}" for name in map(printable, first)]
        listed = ", ".join(names + ["…"] * (count > len(first)))
        parts.append(f"only in {build} {count:,} ({listed})" if count else f"only in {build} none")
    return "; ".join(parts)


def _print_moves(console: Console, diff: BuildDiff) -> None:
    moves = [(source.name, move) for source in diff.sources for move in source.moves]
    rows: list[Cells] = [[name, move.documents, move.a, move.b] for name, move in moves[:SHOWN_MOVES]]
    columns = ["source", "documents", "in A", "in B"]
    _print_table(console, "Documents whose outcome changed", columns, rows, (0, 2, 3))
    if len(moves) > SHOWN_MOVES:
        print_line(console, f"… and {len(moves) - SHOWN_MOVES:,} more: --json lists all")
    if moves:
        print_line(console, "Examples (`corpus explain ID` shows everything about one):")
    for name, move in moves[:SHOWN_EXAMPLES]:
        for example in move.examples[:1]:
            print_line(console, f"  {example.id}  {name}: {move.a} → {move.b}")
    for source in diff.sources:
        if source.only_a or source.only_b:
            print_line(console, f"{source.name}: only in A's shards {source.only_a:,}, only in B's {source.only_b:,}")
