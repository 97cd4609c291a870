"""Measure all text signals in one compiled call."""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, cached_jit, jit_no_alloc
from corpus.quality.kernels import character_flags as c
from corpus.quality.kernels.character_flags import Bytes, Codes, Flags, SignalRecord, decode
from corpus.quality.kernels.line_counts import count_lines, line_feed_runs, paragraphs, split_at_runs
from corpus.quality.kernels.repetition import Numbers, duplicates, number, repeated_ngram_characters
from corpus.quality.kernels.words import Spans, words

# Each word as its bytes in one number, after a leading 1. Source: Rae et al. 2021, section A1.1
_STOP_WORDS = tuple(int.from_bytes(b"\1" + word, "big") for word in b"the be to of and that have with".split())


@cached_jit
def measure(utf8: Bytes, table: Flags, salt: np.uint64, record: NDArray[np.void]) -> None:
    """Add the signals of a text to record[0], which has an integer field for each."""
    signals: SignalRecord = record[0]
    codes, flags = np.empty(len(utf8), np.uint32), np.empty(len(utf8), np.uint16)
    size = decode(utf8, table, codes, flags)
    if size == 0:
        return
    signals.characters = size
    # Lines and paragraphs, and how many of them are repeated.
    count_lines(codes, flags, size, signals)
    runs = line_feed_runs(codes, size)
    spans = split_at_runs(runs, as_int64(0), size, as_int64(1))
    signals.filled_lines = len(spans)
    signals.duplicate_lines, signals.duplicate_line_characters = duplicates(codes, spans, salt)
    spans = paragraphs(flags, size, runs)
    signals.paragraphs = len(spans)
    signals.duplicate_paragraphs, signals.duplicate_paragraph_characters = duplicates(codes, spans, salt)
    # Words: each distinct one is looked at once, and weighted with its occurrences.
    spans = words(codes, flags, size)
    numbers, firsts = number(codes, spans, salt)
    occurrences, lengths = np.zeros(len(firsts), np.int32), np.empty(len(firsts), np.int32)
    for position in range(len(numbers)):
        occurrences[numbers[position]] += 1
    signals.words = len(spans)
    _count_words(codes, flags, spans, firsts, occurrences, lengths, signals)
    # Runs of words.
    ngrams = repeated_ngram_characters(numbers, lengths, occurrences, salt)
    signals.top_2_gram_characters = ngrams[2]
    signals.top_3_gram_characters = ngrams[3]
    signals.top_4_gram_characters = ngrams[4]
    signals.duplicate_5_gram_characters = ngrams[5]
    signals.duplicate_6_gram_characters = ngrams[6]
    signals.duplicate_7_gram_characters = ngrams[7]
    signals.duplicate_8_gram_characters = ngrams[8]
    signals.duplicate_9_gram_characters = ngrams[9]
    signals.duplicate_10_gram_characters = ngrams[10]


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
