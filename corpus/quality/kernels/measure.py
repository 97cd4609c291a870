"""Measure all text signals in one compiled call."""

import os

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, cached_jit, jit_no_alloc
from corpus.quality.kernels import character_flags as c
from corpus.quality.kernels.character_flags import Flags, character_flags
from corpus.quality.kernels.damage import count_damage
from corpus.quality.kernels.line_counts import SignalRecord, count_lines, split_at_feeds, stripped
from corpus.quality.kernels.repetition import count_ngrams, duplicates, number
from corpus.quality.kernels.spans import Codes, Numbers, Spans
from corpus.quality.kernels.words import words
from corpus.quality.signals import NGRAM_SIGNALS, SIGNALS

# Each word as its bytes in one number, after a leading 1. Source: Rae et al. 2021, section A1.1
_STOP_WORDS = tuple(int.from_bytes(b"\1" + word, "big") for word in b"the be to of and that have with".split())
_SALT = np.uint64(int.from_bytes(os.urandom(8), "big"))  # chooses hash slots; no count depends on it


def measure(text: str) -> dict[str, int | None]:
    """Return the SIGNALS of a text, in order; 0 for an empty text."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    # The kernels name the fields. numba compiles for the record's type, so it recompiles when a signal is added.
    counts = np.zeros(len(SIGNALS), np.int64)
    record = counts.view([(name, np.int64) for name in SIGNALS])
    _measure(codes, character_flags(), _SALT, record, counts[SIGNALS.index(NGRAM_SIGNALS[0]) :])
    return dict(zip(SIGNALS, counts.tolist(), strict=True))


@cached_jit
def _measure(
    codes: Codes, table: Flags, salt: np.uint64, record: NDArray[np.void], ngram_characters: NDArray[np.int64]
) -> None:
    """Fill record[0], which has an integer field for each signal; `ngram_characters` are those of NGRAM_SIGNALS."""
    signals: SignalRecord = record[0]
    if len(codes) == 0:
        return
    flags = table[codes]
    signals.characters = len(codes)
    # Lines and paragraphs, and how many of them are repeated.
    count_lines(codes, flags, signals)
    count_damage(codes, signals)
    spans = split_at_feeds(codes, as_int64(0), len(codes), as_int64(1))
    signals.filled_lines = len(spans)
    signals.duplicate_lines, signals.duplicate_line_characters = duplicates(codes, spans, salt)
    start, end = stripped(flags, as_int64(0), len(codes))
    spans = split_at_feeds(codes, start, end, as_int64(2))
    signals.paragraphs = len(spans)
    signals.duplicate_paragraphs, signals.duplicate_paragraph_characters = duplicates(codes, spans, salt)
    # Words: each distinct one is looked at once, and weighted with its occurrences.
    spans = words(codes, flags)
    numbers, firsts, occurrences = number(codes, spans, salt)
    lengths = np.empty(len(firsts), np.int32)
    signals.words = len(spans)
    _count_words(codes, flags, spans, firsts, occurrences, lengths, signals)
    count_ngrams(numbers, lengths, occurrences, salt, ngram_characters)


@jit_no_alloc
def _count_words(
    codes: Codes,
    flags: Flags,
    spans: Spans,
    firsts: Numbers,
    occurrences: Numbers,
    lengths: Numbers,
    signals: SignalRecord,
) -> None:
    """Count words by kind, and fill `lengths` with the characters of each distinct word."""
    for word in range(len(firsts)):
        start, end = spans[firsts[word], 0], spans[firsts[word], 1]
        lengths[word] = end - start
        # Flags that all characters have, flags that some have, and the last five bytes of an ASCII word.
        common, present, packed, is_ascii = np.uint16(0xFFFF), np.uint16(0), 1, True
        for position in range(start, end):
            common &= flags[position]
            present |= flags[position]
            packed = (packed << 8 | as_int64(int(codes[position]))) & 0xFFFFFFFFFF
            is_ascii = is_ascii and codes[position] < 128
        if not common & c.SYMBOL:
            signals.non_symbol_words += occurrences[word]
            signals.non_symbol_word_characters += occurrences[word] * (end - start)
        if present & c.ALPHA:
            signals.alphabetic_words += occurrences[word]
        if is_ascii and end - start <= 4:
            for stop in _STOP_WORDS:
                signals.stop_words += packed == stop
