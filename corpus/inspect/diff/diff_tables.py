"""Two builds' differences on a terminal. What came from outside is printed as plain text."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from corpus.display.terminal import printable
from corpus.errors import InputError
from corpus.inspect.diff.compare import compare_builds
from corpus.inspect.diff.diff_page import diff_page
from corpus.inspect.diff.differences import Diff, SourceDiff
from corpus.inspect.shard_stats import to_json
from corpus.inspect.stats_tables import Rows, plain_console, print_table

SHOWN_VALUE = 40  # characters of a setting
SHOWN_NAME = 80  # characters of a file's, its last
SHOWN_MOVES = 40
SHOWN_EXAMPLES = 10


def show_diff(a: Path, b: Path, as_json: bool, page: Path | None) -> None:
    """Prints what differs, as tables or as JSON, and writes it as a page. Raises InputError if it cannot."""
    found = compare_builds(a, b)
    if page is not None:
        try:
            page.write_text(diff_page(found), encoding="utf-8", newline="\n")
        except OSError as error:
            raise InputError(f"--page: {page}: cannot be written: {error.strerror}") from None
    if as_json:
        print(to_json(json.loads(found.model_dump_json())))
        return
    _tables(found)
    if page is not None:
        plain_console().print(Text(f"As a page: {page}"), soft_wrap=True)


def value_of(value: object, there: bool) -> str:
    """A setting's value in a few words."""
    if not there:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"


def _tables(found: Diff) -> None:
    console = plain_console()
    for name, build, folder in (("A", found.name_a, found.folder_a), ("B", found.name_b, found.folder_b)):
        console.print(Text(f"{name}  {printable(build)} in {printable(folder)}"), soft_wrap=True)
    if not found.differs:
        console.print(
            "\nNo difference: the same settings and files, the same documents with the same fates, the same tokens."
        )
        return
    console.print()
    settings: Rows = [
        [each.path, value_of(each.a, each.only != "b"), value_of(each.b, each.only != "a")] for each in found.settings
    ]
    code: Rows = [[each.job, each.name, value_of(each.a, True), value_of(each.b, True)] for each in found.code]
    counts: Rows = [row for source in found.sources for row in _counts(source)]
    rules: Rows = [row for source in found.sources for row in _rules(source)]
    files = [(source.name, source.files) for source in found.sources if source.files]
    moves: Rows = [row for source in found.sources for row in _moves(source)]
    if settings:
        print_table(console, "Settings that differ", ["setting", "A", "B"], settings, (0, 1, 2))
    if files:
        console.print("Files that one build alone read", style="bold")
        for name, alone in files:
            told = f"in A alone {_alone(alone.only_a, alone.first_a)}; in B alone {_alone(alone.only_b, alone.first_b)}"
            console.print(Text(f"  {printable(name)}: {told}"), soft_wrap=True)
        console.print()
    if code:
        print_table(console, "Code and libraries that differ", ["job", "of", "A", "B"], code, (0, 1, 2, 3))
    if each := found.tokenizer:
        shared = "" if each.shared is None else f"; {each.shared:,} tokens of these are in both"
        sizes = f"A {each.sha256_a[:12]} of {each.vocabulary_a:,}, B {each.sha256_b[:12]} of {each.vocabulary_b:,}"
        console.print(Text(f"Tokenizers differ: {sizes}{shared}\n"), soft_wrap=True)
    if counts:
        print_table(console, "Records, tokens and bytes", ["source", "count", "A", "B", "B - A"], counts, (0, 1))
    if rules:
        columns = ["source", "rule", "bound A", "bound B", "credited A", "B", "B - A", "refused A", "B"]
        print_table(console, "Rules whose bound, credit or refusals changed", columns, rules, (0, 1, 2, 3))
    if moves:
        print_table(console, "Documents whose fate changed", ["source", "documents", "in A", "in B"],
                    moves[:SHOWN_MOVES], (0, 2, 3))  # fmt: skip
        if len(moves) > SHOWN_MOVES:
            console.print(f"… and {len(moves) - SHOWN_MOVES:,} more: --json lists all\n")
        console.print("Such as (`corpus explain OUT ID` tells all of one):")
        for source, move in [(each, move) for each in found.sources for move in each.moves][:SHOWN_EXAMPLES]:
            for example in move.examples[:1]:
                told = f"{printable(source.name)}: {printable(move.a)} → {printable(move.b)}"
                console.print(Text(f"  {example.id}  {told}"), soft_wrap=True)
        console.print()
    for source in found.sources:
        if source.only_a or source.only_b:
            told = f"in A's shards alone {source.only_a:,} documents, in B's alone {source.only_b:,}"
            console.print(Text(f"{printable(source.name)}: {told}"), soft_wrap=True)


def _alone(count: int, first: Sequence[str]) -> str:
    """`12 (a, b, c, …)`."""
    short = [name if len(name) <= SHOWN_NAME else f"…{name[1 - SHOWN_NAME :]}" for name in map(printable, first)]
    names = short + ["…"] * (count > len(first))
    return f"{count:,} ({', '.join(names)})" if count else "none"


def _counts(source: SourceDiff) -> Iterator[list[str | int]]:
    for each in source.counts:
        if each.difference:
            yield [source.name, each.name, each.a, each.b, f"{each.difference:+,}"]


def _rules(source: SourceDiff) -> Iterator[list[str | int]]:
    for each in source.changed_rules:
        bounds = [value_of(bound or "", bound is not None) for bound in (each.bound_a, each.bound_b)]
        change = f"{each.dropped_b - each.dropped_a:+,}"
        yield [source.name, each.rule, *bounds, each.dropped_a, each.dropped_b, change, each.failing_a, each.failing_b]


def _moves(source: SourceDiff) -> Iterator[list[str | int]]:
    for each in source.moves:
        yield [source.name, each.documents, each.a, each.b]
