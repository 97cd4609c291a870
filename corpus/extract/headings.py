"""Headings that have text below them."""

from collections.abc import Iterable, Iterator


def without_empty_headings(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Drop headings with no text before the next one of their level or a higher one, and blank lines before headings.

    A line is its level (0 is text, 1 the highest heading) and its text, which is empty for a blank line.
    """
    waiting: list[tuple[int, str]] = []  # headings and blank lines, until text follows
    for level, text in lines:
        while level and waiting and (not waiting[-1][1] or waiting[-1][0] >= level):
            waiting.pop()
        if text or not level:
            waiting.append((level, text))
        if text and not level:
            yield from waiting
            waiting.clear()
