"""Signals: integer counts measured of a document's text, or stated by its carrier. Rules form ratios of them.

Characters are code points. Words are those of docs/word_boundaries.md; a *non-symbol* word has a character that is
not punctuation. Lines are those of `str.splitlines`. *Filled* lines are what remains between runs of at least one line
feed, and paragraphs between runs of at least two, as in the reference implementation of Gopher's repetition rules.

Measuring takes linear time and memory: about 15 bytes a character for prose, and 60 at worst (punctuation alone).
"""

import os
from functools import cache

import numpy as np

from corpus.quality.catalog import declared_signals

REVISION = 1  # raise whenever a count changes for any text

SIGNALS = (  # the columns of a shard, in order
    "characters",
    "lines",
    "line_characters",  # in all lines, without their ends
    "longest_line_characters",
    "bullet_lines",  # that begin with • or -
    "ellipsis_lines",  # that end with ... or …
    "hashes",  # the character #
    "ellipses",  # ... or …
    "alphanumeric_characters",
    "filled_lines",
    "duplicate_lines",  # filled lines that equal an earlier one
    "duplicate_line_characters",
    "paragraphs",
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    "words",
    "non_symbol_words",
    "non_symbol_word_characters",
    "alphabetic_words",  # that have a letter
    "stop_words",  # different ones of: the be to of and that have with
    "top_2_gram_characters",  # the most frequent run of two words, at each of its occurrences
    "top_3_gram_characters",
    "top_4_gram_characters",
    "duplicate_5_gram_characters",  # in runs of five words that occurred before
    "duplicate_6_gram_characters",
    "duplicate_7_gram_characters",
    "duplicate_8_gram_characters",
    "duplicate_9_gram_characters",
    "duplicate_10_gram_characters",
    *declared_signals("SIGNALS"),
)

CARRIER_SIGNALS = (  # a count, or 0 or 1; null if the source does not look for it
    "robots_noai",  # X-Robots-Tag or meta robots: noai or noimageai
    "robots_noindex",
    "generated",  # code written by a program that says so
    "minified",
    "vendored",  # third-party code in a repository
    "missing_inputs",  # files that a LaTeX submission inputs and lacks
    *declared_signals("CARRIER_SIGNALS"),
)


def measure(text: str) -> dict[str, int | None]:
    """Return the SIGNALS of a text, in order; 0 for an empty text."""
    return measure_bytes(text.encode("utf-8", "surrogatepass"))


def measure_bytes(utf8: bytes) -> dict[str, int | None]:
    """Return the SIGNALS of a text given as UTF-8; an invalid byte counts as one U+FFFD."""
    from corpus.quality.kernels import measure as kernel  # imports numba
    from corpus.quality.kernels.character_flags import character_flags

    # The kernels name the fields. numba compiles for the record's type, so it recompiles when a signal is added.
    record = np.zeros(1, [(name, np.int64) for name in SIGNALS])
    kernel.measure(np.frombuffer(utf8, np.uint8), character_flags(), _salt(), record)
    return dict(zip(SIGNALS, record[0].item(), strict=True))


@cache
def _salt() -> np.uint64:
    return np.uint64(int.from_bytes(os.urandom(8), "big"))  # chooses hash slots; no count depends on it
