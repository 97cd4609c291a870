"""Two texts next to each other, from where they begin to differ, with the words of shared n-grams marked.

N-grams are those by which dedup compares (corpus.dedup.shingles), over the first COMPARED_CHARACTERS of both.
Legend: W words of a text, G n-grams of a text.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.shingles import CLASS_SHIFT, IGNORED, MARK, RUN, SEPARATOR, letter_table, shingles_in_order, utf8

LEAD_WORDS = 12  # shown before the first difference
SHOWN_CHARACTERS = 560
COMPARED_CHARACTERS = 2_000_000
SEARCHED_WORDS = 50_000  # if they differ only after these, the beginning is shown
GAP_CHARACTERS = 40  # longest gap between two words that is shown whole

Marks = NDArray[np.bool_]
Grams = NDArray[np.uint64]


class TextWindow(NamedTuple):
    """A part of a text, in pieces of (text, shared)."""

    from_word: int
    pieces: tuple[tuple[str, bool], ...]
    more: bool  # True if the text goes on


def side_by_side(one: str, other: str, ngram_words: int) -> tuple[TextWindow, TextWindow]:
    """Return both texts around the first word of `one` that is in no shared n-gram (if there is none, of `other`)."""
    one_G, other_G = (shingles_in_order(utf8(text[:COMPARED_CHARACTERS]), ngram_words) for text in (one, other))
    one_W, other_W = _shared_words(one_G, other_G, ngram_words), _shared_words(other_G, one_G, ngram_words)
    start = _first_difference(one_W, one_G, other_G)
    if start is None:
        start = (_first_difference(other_W, other_G, one_G) or (0, 0))[::-1]
    return _window(one, one_W, start[0]), _window(other, other_W, start[1])


def words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each word, in characters; words are those of corpus.dedup.shingles."""
    entries, opened, start, end = letter_table(), SEPARATOR, 0, 0
    for place, character in enumerate(text):
        kind = int(entries[ord(character)]) >> CLASS_SHIFT
        if opened != SEPARATOR and (kind == MARK or (kind == RUN and opened == RUN)):
            end = place + 1
        elif kind not in (IGNORED, MARK):
            if opened != SEPARATOR:
                yield start, end
            opened, start, end = kind, place, place + 1
    if opened != SEPARATOR:
        yield start, end


def _shared_words(own_G: Grams, others_G: Grams, ngram_words: int) -> Marks:
    """Mark each word that is covered by an n-gram of both texts."""
    shared_G = np.isin(own_G, others_G)
    marks_W = np.zeros(len(own_G) + ngram_words - 1, np.bool_)
    for offset in range(ngram_words):
        marks_W[offset : offset + len(own_G)] |= shared_G
    return marks_W


def _first_difference(marks_W: Marks, own_G: Grams, others_G: Grams) -> tuple[int, int] | None:
    """Return the words of both texts to begin at, at an n-gram of both shortly before the first unshared word.

    None if there is no unshared word; (0, 0) if there is no such n-gram.
    """
    unshared = np.flatnonzero(~marks_W[:SEARCHED_WORDS])
    if not len(unshared):
        return None
    start = int(unshared[0]) - LEAD_WORDS
    same = np.flatnonzero(others_G == own_G[start]) if 0 < start < len(own_G) else np.empty(0, np.int64)
    return (start, int(same[0])) if len(same) and same[0] <= SEARCHED_WORDS else (0, 0)


def _window(text: str, marks_W: Marks, first: int) -> TextWindow:
    """Return SHOWN_CHARACTERS of a text from its word `first`, with long gaps and words shortened."""
    pieces: list[tuple[str, bool]] = []
    shown, gap_start, reached = 0, 0, 0
    for number, (start, end) in enumerate(words(text)):
        if number >= first:
            gap = text[gap_start:start] if number > first else ""
            gap = gap if len(gap) <= GAP_CHARACTERS else f"{gap[:GAP_CHARACTERS]}…"
            word = text[start : min(end, start + SHOWN_CHARACTERS)]
            _add(pieces, gap, word, shared=bool(number < len(marks_W) and marks_W[number]))
            shown, reached = shown + len(word) + len(gap), end
            if shown >= SHOWN_CHARACTERS:
                break
        gap_start = end
    return TextWindow(first, tuple(pieces), bool(text[reached:].strip()))


def _add(pieces: list[tuple[str, bool]], gap: str, word: str, *, shared: bool) -> None:
    """Add a word to the last piece if both are marked alike; the gap between two pieces goes to the unmarked one."""
    if pieces and pieces[-1][1] == shared:
        pieces[-1] = (pieces[-1][0] + gap + word, shared)
    elif pieces and shared:
        pieces[-1] = (pieces[-1][0] + gap, False)
        pieces.append((word, True))
    else:
        pieces.append((gap + word, shared))
