"""Headings without text below them are dropped."""

import pytest

from corpus.extract.headings import without_empty_headings

A, B, SUB, TEXT, BLANK = (1, "A"), (1, "B"), (2, "Sub"), (0, "text"), (0, "")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([A, TEXT], [A, TEXT]),
        ([A, B, TEXT], [B, TEXT]),
        ([A, SUB, TEXT], [A, SUB, TEXT]),
        ([A, SUB, B, TEXT], [B, TEXT]),
        ([TEXT, A, SUB], [TEXT]),
        ([TEXT, BLANK, BLANK, TEXT, BLANK], [TEXT, BLANK, BLANK, TEXT]),
        ([TEXT, BLANK, A, BLANK, SUB, TEXT], [TEXT, A, SUB, TEXT]),
        ([A, (1, ""), TEXT], [TEXT]),
    ],
)
def test_headings_without_text_are_dropped(lines: list[tuple[int, str]], expected: list[tuple[int, str]]) -> None:
    assert list(without_empty_headings(lines)) == expected
