"""`corpus diff` on a terminal, and as a page: the same tables on both."""

import json
from collections.abc import Iterator
from pathlib import Path

from corpus.display.data_table import DataRow, DataTable
from corpus.display.page import render
from corpus.display.terminal import plain_console, print_json, print_line, print_table, printable
from corpus.errors import InputError
from corpus.inspect.diff.compare import BuildDiff, compare_builds

SHOWN_CHARACTERS, PAGE_CHARACTERS = 40, 300  # of a setting, on a terminal and on the page
SHOWN_MOVES, PAGE_MOVES = 40, 400
SHOWN_NAME = 80  # characters at the end of a file's name
SHOWN_EXAMPLES = 10
ALWAYS_SHOWN = ("records read", "training tokens")  # counts that are shown even if they are the same
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
    tables = [table for table in _tables(diff, PAGE_CHARACTERS, PAGE_MOVES) if table.rows]
    return render("diff.html", title, diff=diff, no_difference=NO_DIFFERENCE, tables=tables)


def print_diff(diff: BuildDiff) -> None:
    """Print one table for each kind of difference."""
    console = plain_console()
    print_line(console, f"A  {diff.name_a} in {diff.folder_a}")
    print_line(console, f"B  {diff.name_b} in {diff.folder_b}")
    if not diff.differs:
        print_line(console, NO_DIFFERENCE)
        return
    print_line(console, "")
    for table in _tables(diff, SHOWN_CHARACTERS, SHOWN_MOVES):
        print_table(console, table)
    moves = [(source.name, move) for source in diff.sources for move in source.moves]
    if moves:
        print_line(console, "Examples (`corpus explain ID` shows everything about one):")
    for name, move in moves[:SHOWN_EXAMPLES]:
        for example in move.examples[:1]:
            print_line(console, f"  {example.id}  {name}: {move.a} → {move.b}")


def _tables(diff: BuildDiff, characters: int, moves: int) -> Iterator[DataTable]:
    """Yield a table for each kind of difference, with a number of characters of each setting, and of moves."""

    def value(setting: object, present: bool = True) -> str:
        text = setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)
        text = text if len(text) <= characters else f"{text[: characters - 1]}…"
        return text if present else "(none)"

    rows: list[DataRow] = [
        [setting.path, value(setting.a, setting.only != "b"), value(setting.b, setting.only != "a")]
        for setting in diff.settings
    ]
    yield DataTable("Settings that differ", ["setting", "A", "B"], rows, text=(0, 1, 2))
    rows = [[change.job, change.name, value(change.a), value(change.b)] for change in diff.code]
    yield DataTable("Code and libraries that differ", ["job", "of", "A", "B"], rows, text=(0, 1, 2, 3))
    yield _files(diff)
    yield _tokenizers(diff)
    rows = [
        [source.name, count.name, count.a, count.b, _signed(count.difference)]
        for source in diff.sources
        for count in source.counts
        if count.difference or count.name in ALWAYS_SHOWN
    ]
    yield DataTable("Documents, tokens and bytes", ["source", "count", "A", "B", "B − A"], rows, text=(0, 1))
    rows = []
    for source in diff.sources:
        for rule in source.changed_rules:
            bounds = [value(bound, bound is not None) for bound in (rule.bound_a, rule.bound_b)]
            credited = (rule.dropped_a, rule.dropped_b, _signed(rule.dropped_b - rule.dropped_a))
            rows.append([source.name, rule.rule, *bounds, *credited, rule.failing_a, rule.failing_b])
    columns = ["source", "rule", "bound A", "bound B", "credited A", "B", "B − A", "failed A", "B"]
    yield DataTable("Rules whose bound or documents changed", columns, rows, text=(0, 1, 2, 3))
    rows = [[source.name, source.same, source.only_a, source.only_b] for source in diff.sources if source.moves]
    columns = ["source", "the same outcome", "only in A's shards", "only in B's shards"]
    yield DataTable("Documents in both builds", columns, rows)
    rows = [[source.name, move.documents, move.a, move.b] for source in diff.sources for move in source.moves]
    more = f"… and {len(rows) - moves:,} more: --json lists all" if len(rows) > moves else ""
    columns = ["source", "documents", "in A", "in B"]
    yield DataTable("Documents whose outcome changed", columns, rows[:moves], text=(0, 2, 3), note=more)


def _files(diff: BuildDiff) -> DataTable:
    rows: list[DataRow] = []
    for source in diff.sources:
        if files := source.files:
            lists = [_names(files.first_a, files.only_a), _names(files.first_b, files.only_b)]
            rows.append([source.name, files.only_a, lists[0], files.only_b, lists[1]])
    columns = ["source", "only in A", "names", "only in B", "names"]
    note = "The other build read no file with the same name and content."
    return DataTable("Files that only one build read", columns, rows, text=(0, 2, 4), note=note)


def _names(first: tuple[str, ...], count: int) -> str:
    names = [name if len(name) <= SHOWN_NAME else f"…{name[1 - SHOWN_NAME :]}" for name in map(printable, first)]
    return ", ".join(names + ["…"] * (count > len(first)))


def _tokenizers(diff: BuildDiff) -> DataTable:
    rows: list[DataRow] = []
    if tokenizer := diff.tokenizer:
        shared = "unknown" if tokenizer.shared is None else tokenizer.shared
        rows = [
            ["SHA-256", tokenizer.sha256_a[:12], tokenizer.sha256_b[:12]],
            ["tokens", tokenizer.vocabulary_a, tokenizer.vocabulary_b],
            ["tokens in both", shared, shared],
            ["end of text", tokenizer.eos_a, tokenizer.eos_b],
        ]
    return DataTable("Tokenizers differ", ["", "A", "B"], rows)


def _signed(difference: int) -> str:
    return f"{difference:+,}".replace("-", "−")
