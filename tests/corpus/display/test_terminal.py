"""Tables and lines on a terminal: aligned, never cut, and nothing in them steers it."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from corpus.display.terminal import Cell, plain_console, print_line, printable, table

HOSTILE = "a\x1b[31mb\u202ec[bold]d\x00\x9b\ud800"
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


def printed(*rows: list[Cell], width: int = 100, **options: object) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=True)
    console.print(table(["name", "count", "remark"], rows, **options))  # type: ignore[arg-type]
    return out.getvalue().splitlines()


def test_control_and_format_characters_become_codes() -> None:
    assert printable(HOSTILE) == r"a\u001b[31mb\u202ec[bold]d\u0000\u009b\ud800"
    assert printable("a\nb\tc\u00a0d") == "a⏎b c d"
    assert printable("a\nb\x1b", keep_line_ends=True) == "a\nb\\u001b"
    assert printable(12) == "12"


def test_a_table_shows_hostile_cells_and_names_as_text() -> None:
    shown = "\n".join(printed([HOSTILE, HOSTILE, HOSTILE], title=HOSTILE.replace("\ud800", "")))
    assert not STEERING.search(shown.partition("name")[2]) and shown.count("[bold]") >= 3


def test_integers_have_thousands_separators_and_figures_are_right_aligned() -> None:
    lines = printed(["web", 1234567, "x"], ["b", 7, Text("y")], text=(0, 2))[:-1]
    assert [line.split() for line in lines[-2:]] == [["web", "1,234,567", "x"], ["b", "7", "y"]]
    assert lines[-2].index("1,234,567") + 8 == lines[-1].index("7")


@pytest.mark.parametrize("width", [20, 40])
def test_with_wrap_a_narrow_terminal_cuts_nothing_off(width: int) -> None:
    lines = printed(["N" * 30, 12345, "R" * 30], text=(0, 2), wrap=True, width=width)
    assert max(map(len, lines)) <= width
    shown = "".join(lines)
    assert shown.count("N") == shown.count("R") == 30


def test_a_line_is_never_wrapped_or_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(plain_console(20), f"{'x' * 50} {HOSTILE}")
    output = capsys.readouterr().out
    assert output.count("\n") == 1 and "[bold]" in output and not STEERING.search(output)
