"""Signals: what is measured of a document's text, as integer counts. Ratios of them are formed by rules.

Characters are code points. Words are those of docs/word_boundaries.md; a *non-symbol* word has a character that is
not punctuation. Lines are those of `str.splitlines`; *filled* lines, and paragraphs, are what lies between runs of
at least one, or two, line feeds: that is how the reference implementation of Gopher's repetition rules cuts them.
"""

import os
from functools import cache

import numpy as np

REVISION = 1  # raised whenever a count changes for any text

SIGNALS = (
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
)

STATED = (  # what a record says of itself, a count or 0 or 1; null where its source does not look for it
    "robots_noai",  # X-Robots-Tag or meta robots: noai or noimageai
    "robots_noindex",
    "generated",  # code that a program wrote, and says so
    "minified",
    "vendored",  # code of others that a repository carries along
    "missing_inputs",  # files that a LaTeX submission names and does not hold
)


def measure(text: str) -> dict[str, int | None]:
    """The signals of a text, in their order. Of an empty text they are 0.

    Time and memory are linear: some 15 bytes a character on prose, at worst (punctuation alone) about 60.
    """
    return measure_bytes(text.encode("utf-8", "surrogatepass"))


def measure_bytes(utf8: bytes) -> dict[str, int | None]:
    """The signals of a text as UTF-8; a byte that is not UTF-8 counts as one U+FFFD."""
    from corpus.quality.kernels import measure as kernel
    from corpus.quality.kernels.characters import kinds_of_all

    counts = kernel.measure(np.frombuffer(utf8, np.uint8), kinds_of_all(), _salt())
    return dict(zip(SIGNALS, counts.tolist(), strict=True))


def warm() -> None:
    """Compiles the kernels, or loads them from the disk, so that no later call waits for that."""
    measure("")


@cache
def _salt() -> np.uint64:
    return np.uint64(int.from_bytes(os.urandom(8), "big"))  # decides where hash tables look, and no count
