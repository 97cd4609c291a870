"""Count lines and the characters that Gopher's and the code rules use; split a text at line feeds."""

from typing import Protocol

import numpy as np

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels import character_flags as c
from corpus.quality.kernels.character_flags import Flags
from corpus.quality.kernels.spans import Codes, Spans, put

_FEED, _RETURN, _DOT, _ELLIPSIS, _BULLET, _HYPHEN, _HASH = 0x0A, 0x0D, 0x2E, 0x2026, 0x2022, 0x2D, 0x23


class SignalRecord(Protocol):
    """A NumPy record with one integer field per text signal. numba rejects a field that is not one of SIGNALS."""

    def __getattr__(self, name: str) -> int: ...
    def __setattr__(self, name: str, value: int) -> None: ...


@jit_no_alloc
def count_lines(codes: Codes, flags: Flags, signals: SignalRecord) -> None:
    """Count over lines as str.splitlines separates them, and over single characters."""
    start = dots = hashes = ellipses = alphanumeric = as_int64(0)
    for position in range(len(codes)):
        code, flag = codes[position], flags[position]
        hashes += as_int64(code == _HASH)
        alphanumeric += as_int64(flag & c.ALNUM != 0)
        # An ellipsis is one character or three full stops; six full stops are two.
        dots = dots + 1 if code == _DOT else 0
        if code == _ELLIPSIS or dots == 3:
            ellipses += 1
            dots = 0
        if flag & c.BREAK:
            if not (code == _FEED and position > 0 and codes[position - 1] == _RETURN):  # \r\n is one line end
                _count_line(codes, flags, start, position, signals)
            start = position + 1
    if start < len(codes):
        _count_line(codes, flags, start, len(codes), signals)
    signals.hashes, signals.ellipses, signals.alphanumeric_characters = hashes, ellipses, alphanumeric


@jit_no_alloc
def _count_line(codes: Codes, flags: Flags, start: int, end: int, signals: SignalRecord) -> None:
    signals.lines += 1
    signals.line_characters += end - start
    signals.longest_line_characters = max(signals.longest_line_characters, end - start)
    start, end = stripped(flags, start, end)
    if start < end:
        signals.bullet_lines += codes[start] == _BULLET or codes[start] == _HYPHEN
        dots = end - start >= 3 and codes[end - 1] == codes[end - 2] == codes[end - 3] == _DOT
        signals.ellipsis_lines += dots or codes[end - 1] == _ELLIPSIS


@jit_no_alloc
def stripped(flags: Flags, start: int, end: int) -> tuple[int, int]:
    """Return the range without leading and trailing spaces."""
    while start < end and flags[start] & c.SPACE:
        start += 1
    while start < end and flags[end - 1] & c.SPACE:
        end -= 1
    return start, end


@jit
def split_at_feeds(codes: Codes, start: int, end: int, min_feeds: int) -> Spans:
    """Split codes[start:end] at runs of at least `min_feeds` line feeds; some of the spans may be empty."""
    feeds = np.flatnonzero(codes[start:end] == _FEED) + start
    spans = np.empty((len(feeds) + 1, 2), np.int32)
    count, begin, run = as_int64(0), start, 0  # `run` is the index in `feeds` of the first one of a run
    for index in range(len(feeds)):
        if index + 1 == len(feeds) or feeds[index + 1] > feeds[index] + 1:  # the run ends
            if index + 1 - run >= min_feeds:
                count = put(spans, count, begin, feeds[run])
                begin = feeds[index] + 1
            run = index + 1
    return spans[: put(spans, count, begin, end)]
