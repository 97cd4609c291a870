"""Lines, paragraphs, and the characters that Gopher's and the code rules count."""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels import characters as c
from corpus.quality.kernels.characters import Codes, Kinds
from corpus.quality.kernels.words import Spans

Counts = NDArray[np.int64]

# The rows of what `lines` finds.
LINES, LINE_CHARACTERS, LONGEST, BULLETS, ELLIPSIS_ENDS, HASHES, ELLIPSES, ALPHANUMERIC = range(8)
_FEED, _RETURN, _DOT, _ELLIPSIS, _BULLET, _HYPHEN, _HASH = 0x0A, 0x0D, 0x2E, 0x2026, 0x2022, 0x2D, 0x23


@jit_no_alloc
def lines(codes: Codes, kinds: Kinds, size: int, found: Counts) -> None:
    """Adds to `found` counts over lines as str.splitlines cuts them, and over single characters."""
    start = dots = hashes = ellipses = alphanumeric = as_int64(0)
    for here in range(size):
        code, kind = codes[here], kinds[here]
        hashes += as_int64(code == _HASH)
        alphanumeric += as_int64(kind & c.ALNUM != 0)
        dots = dots + 1 if code == _DOT else 0
        if code == _ELLIPSIS or dots == 3:
            ellipses += 1
            dots = 0
        if kind & c.BREAK:
            if not (code == _FEED and here > 0 and codes[here - 1] == _RETURN):
                _line(codes, kinds, start, here, found)
            start = here + 1
    if start < size:
        _line(codes, kinds, start, size, found)
    found[HASHES], found[ELLIPSES], found[ALPHANUMERIC] = hashes, ellipses, alphanumeric


@jit_no_alloc
def _line(codes: Codes, kinds: Kinds, start: int, end: int, found: Counts) -> None:
    found[LINES] += 1
    found[LINE_CHARACTERS] += end - start
    found[LONGEST] = max(found[LONGEST], end - start)
    while start < end and kinds[start] & c.SPACE:
        start += 1
    while start < end and kinds[end - 1] & c.SPACE:
        end -= 1
    if start < end:
        found[BULLETS] += codes[start] == _BULLET or codes[start] == _HYPHEN
        dots = end - start >= 3 and codes[end - 1] == codes[end - 2] == codes[end - 3] == _DOT
        found[ELLIPSIS_ENDS] += dots or codes[end - 1] == _ELLIPSIS


@jit
def feeds(codes: Codes, size: int) -> Spans:
    """The runs of line feeds."""
    count = 0
    for here in range(size):
        count += codes[here] == _FEED
    runs = np.empty((count, 2), np.int32)
    count = 0
    for here in range(size):
        if codes[here] == _FEED:
            if not (count and runs[count - 1, 1] == here):
                runs[count, 0] = here
                count += 1
            runs[count - 1, 1] = here + 1
    return runs[:count]


@jit
def pieces(runs: Spans, start: int, end: int, least: int) -> Spans:
    """What lies in start..end between runs of at least `least` line feeds; some may be empty."""
    spans = np.empty((len(runs) + 1, 2), np.int32)
    spans[0, 0] = start
    count = 0
    for run in range(len(runs)):
        first, behind = runs[run, 0], runs[run, 1]
        if start <= first and behind <= end and behind - first >= least:
            spans[count, 1] = first
            count += 1
            spans[count, 0] = behind
    spans[count, 1] = end
    return spans[: count + 1]


@jit
def paragraphs(kinds: Kinds, size: int, runs: Spans) -> Spans:
    """What lies between runs of two or more line feeds, once the text's ends are stripped of spaces."""
    start, end = as_int64(0), size
    while start < end and kinds[start] & c.SPACE:
        start += 1
    while start < end and kinds[end - 1] & c.SPACE:
        end -= 1
    return pieces(runs, start, end, as_int64(2))
