"""Count lines, paragraphs, and the characters that Gopher's and the code rules use."""

import numpy as np

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels import character_flags as c
from corpus.quality.kernels.character_flags import Codes, Flags, SignalRecord
from corpus.quality.kernels.words import Spans

_FEED, _RETURN, _DOT, _ELLIPSIS, _BULLET, _HYPHEN, _HASH = 0x0A, 0x0D, 0x2E, 0x2026, 0x2022, 0x2D, 0x23


@jit_no_alloc
def count_lines(codes: Codes, flags: Flags, size: int, signals: SignalRecord) -> None:
    """Count over lines as str.splitlines separates them, and over single characters."""
    start = dots = hashes = ellipses = alphanumeric = as_int64(0)
    for position in range(size):
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
    if start < size:
        _count_line(codes, flags, start, size, signals)
    signals.hashes, signals.ellipses, signals.alphanumeric_characters = hashes, ellipses, alphanumeric


@jit_no_alloc
def _count_line(codes: Codes, flags: Flags, start: int, end: int, signals: SignalRecord) -> None:
    signals.lines += 1
    signals.line_characters += end - start
    signals.longest_line_characters = max(signals.longest_line_characters, end - start)
    start, end = _stripped(flags, start, end)
    if start < end:
        signals.bullet_lines += codes[start] == _BULLET or codes[start] == _HYPHEN
        dots = end - start >= 3 and codes[end - 1] == codes[end - 2] == codes[end - 3] == _DOT
        signals.ellipsis_lines += dots or codes[end - 1] == _ELLIPSIS


@jit_no_alloc
def _stripped(flags: Flags, start: int, end: int) -> tuple[int, int]:
    """Return the range without leading and trailing spaces."""
    while start < end and flags[start] & c.SPACE:
        start += 1
    while start < end and flags[end - 1] & c.SPACE:
        end -= 1
    return start, end


@jit
def line_feed_runs(codes: Codes, size: int) -> Spans:
    """Return the runs of consecutive line feeds."""
    feeds = np.flatnonzero(codes[:size] == _FEED)
    runs = np.empty((len(feeds), 2), np.int32)
    count = 0
    for position in feeds:
        if not (count and runs[count - 1, 1] == position):
            runs[count, 0] = position
            count += 1
        runs[count - 1, 1] = position + 1
    return runs[:count]


@jit
def split_at_runs(runs: Spans, start: int, end: int, min_feeds: int) -> Spans:
    """Split [start, end) at runs of at least `min_feeds` line feeds; some of the spans may be empty."""
    spans = np.empty((len(runs) + 1, 2), np.int32)
    spans[0, 0] = start
    count = 0
    for run in range(len(runs)):
        first, behind = runs[run, 0], runs[run, 1]
        if start <= first and behind <= end and behind - first >= min_feeds:
            spans[count, 1] = first
            count += 1
            spans[count, 0] = behind
    spans[count, 1] = end
    return spans[: count + 1]


@jit
def paragraphs(flags: Flags, size: int, runs: Spans) -> Spans:
    """Return the spans between runs of two or more line feeds, after stripping spaces off the text's ends."""
    start, end = _stripped(flags, as_int64(0), size)
    return split_at_runs(runs, start, end, as_int64(2))
