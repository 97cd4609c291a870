"""Text and tables on a terminal. Names and texts from outside may hold anything, so all output goes through here.

console = plain_console()
console.print(table(["source", "documents"], [["web", 1234567]], title="Sources"))
print_line(console, f"Report: {path}")
"""

import json
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpus.display.data_table import DataTable
from corpus.settings import Json

Cell = str | int | Text
Cells = list[Cell]  # a row of a table

WIDTH = 100  # columns, where the output is no terminal
_SHOWN_AS = {"\n": "⏎", "\t": " ", "\u00a0": " ", "\u3000": " "}


def printable(text: object, *, keep_line_ends: bool = False) -> str:
    r"""Return `str(text)` with every control and format character as its code, such as `\u001b`.

    Nothing in the result is invisible or can steer a terminal. Line ends become `⏎`, unless they are kept.
    """
    return "".join(
        character
        if character == " " or (keep_line_ends and character == "\n") or unicodedata.category(character)[0] not in "CZ"
        else _SHOWN_AS.get(character, f"\\u{ord(character):04x}")
        for character in str(text)
    )


def plain_console(width: int = WIDTH, *, stderr: bool = False) -> Console:
    """Return a console without markup or highlighting, at most `width` columns wide (exactly, if not a terminal)."""
    console = Console(highlight=False, markup=False, stderr=stderr)
    if not console.is_terminal or console.width > width:
        console.width = width
    return console


def print_line(console: Console, text: str) -> None:
    """Print a line, never wrapped, with control characters as codes."""
    console.print(Text(printable(text)), soft_wrap=True)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    title: str = "",
    text: Collection[int] = (0,),
    wrap: bool = False,
) -> Table:
    """Return a table to print. Integers get thousands separators; strings are made printable.

    The columns numbered in `text` are left-aligned and may wrap, except the first; all others are right-aligned figures
    and never wrap. With `wrap`, every column may wrap, so that a narrow terminal cuts nothing off.
    """
    made = Table(box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    made.padding = (0, 1, 0, 0)
    for index, name in enumerate(columns):
        may_wrap = wrap or (index in text and index > 0)
        justify: Literal["left", "right"] = "left" if index in text else "right"
        made.add_column(Text(printable(name)), justify=justify, overflow="fold", no_wrap=not may_wrap)
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def print_table(console: Console, data: DataTable) -> None:
    """Print a table and its note; nothing if it has no rows."""
    if data.rows:
        console.print(table(data.columns, data.rows, title=data.title, text=data.text))
        if data.note:
            print_line(console, data.note)


def _cell(cell: Cell) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text(f"{cell:,}" if isinstance(cell, int) else printable(cell))


def print_json(value: Json) -> None:
    """Print a value as JSON in ASCII, so that nothing in it can steer a terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True))
