"""All signals of a text in one compiled call."""

import numpy as np

from corpus.compiled import as_int64, cached_jit, jit_no_alloc
from corpus.quality.kernels import characters as c
from corpus.quality.kernels.characters import Bytes, Codes, Kinds, decode
from corpus.quality.kernels.line_counts import Counts, feeds, lines, paragraphs, pieces
from corpus.quality.kernels.repetition import Numbers, duplicates, grams, number
from corpus.quality.kernels.words import Spans, words

# Each as its bytes in one number, behind a 1. Source: Rae et al. 2021, section A1.1
_STOP_WORDS = tuple(int.from_bytes(b"\1" + word, "big") for word in b"the be to of and that have with".split())
SIZE = 29


@cached_jit
def measure(utf8: Bytes, table: Kinds, salt: np.uint64) -> Counts:
    """The counts in the order of corpus.quality.signals.SIGNALS."""
    found = np.zeros(SIZE, np.int64)
    codes, kinds = np.empty(len(utf8), np.uint32), np.empty(len(utf8), np.uint16)
    size = decode(utf8, table, codes, kinds)
    if size == 0:
        return found
    found[0] = size
    lines(codes, kinds, size, found[1:9])
    runs = feeds(codes, size)
    filled, parted = pieces(runs, as_int64(0), size, as_int64(1)), paragraphs(kinds, size, runs)
    found[9] = len(filled)
    found[10], found[11] = duplicates(codes, filled, salt)
    found[12] = len(parted)
    found[13], found[14] = duplicates(codes, parted, salt)
    spans = words(codes, kinds, size)
    numbers, firsts = number(codes, spans, salt)
    occurrences, lengths = np.zeros(len(firsts), np.int32), np.empty(len(firsts), np.int32)
    for here in range(len(numbers)):
        occurrences[numbers[here]] += 1
    found[15] = len(spans)
    _words(codes, kinds, spans, firsts, occurrences, lengths, found[16:20])
    grams(numbers, lengths, occurrences, salt, found[20:29])
    return found


@jit_no_alloc
def _words(
    codes: Codes, kinds: Kinds, spans: Spans, firsts: Numbers, occurrences: Numbers, lengths: Numbers, found: Counts
) -> None:
    """Fills `lengths`, and `found`: non-symbol words, their characters, alphabetic words, different stop words."""
    for word in range(len(firsts)):
        start, end = spans[firsts[word], 0], spans[firsts[word], 1]
        lengths[word] = end - start
        every, some, packed, ascii_only = np.uint16(0xFFFF), np.uint16(0), 1, True
        for here in range(start, end):
            every &= kinds[here]
            some |= kinds[here]
            packed = (packed << 8 | as_int64(int(codes[here]))) & 0xFFFFFFFFFF
            ascii_only = ascii_only and codes[here] < 128
        if not every & c.SYMBOL:
            found[0] += occurrences[word]
            found[1] += occurrences[word] * (end - start)
        if some & c.ALPHA:
            found[2] += occurrences[word]
        if ascii_only and end - start <= 4:
            for stop in _STOP_WORDS:
                found[3] += packed == stop
