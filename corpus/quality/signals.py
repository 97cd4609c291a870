"""Signals: integer counts measured of a document's text, or stated by its carrier. Rules form ratios of them.

Characters are code points. Words are those of docs/word_boundaries.md; a *non-symbol* word has a character that is
not punctuation. Lines are those of `str.splitlines`. *Filled* lines are what remains between runs of at least one line
feed, and paragraphs between runs of at least two, as in the reference implementation of Gopher's repetition rules.

Measuring takes linear time and memory: about 15 bytes a character for prose, and 60 at worst (punctuation alone).
"""

from corpus.quality.catalog import declared_signals

REVISION = 2  # raise whenever a count changes for any text

NGRAM_SIGNALS = (
    # The most frequent run of n words, at each of its occurrences.
    *(f"top_{n}_gram_characters" for n in (2, 3, 4)),
    # In runs of n words that occurred before.
    *(f"duplicate_{n}_gram_characters" for n in (5, 6, 7, 8, 9, 10)),
)

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
    "replacement_characters",  # U+FFFD: bytes that did not decode
    "mojibake",  # characters that may be UTF-8 read as windows-1252: Ã©, â€™; text such as É… and voilà » counts too
    *NGRAM_SIGNALS,
    *declared_signals("SIGNALS"),
)

CARRIER_SIGNALS = (  # a count, or 0 or 1; null if the source does not look for it
    "robots_noai",  # X-Robots-Tag or meta robots: noai or noimageai
    "robots_noindex",
    "generated",  # code written by a program that says so
    "minified",
    "vendored",  # third-party code in a repository
    "mended_mojibake",  # characters of UTF-8 read as Latin-1 or windows-1252 that were read again
    "missing_inputs",  # files that a LaTeX submission inputs and lacks
    *declared_signals("CARRIER_SIGNALS"),
)
