"""Two texts side by side: the lines where they begin to differ, and which words lie in an n-gram that both have.

N-grams are those by which dedup compares (corpus.dedup.shingles), over the first COMPARED_CHARACTERS of both.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.shingles import CLASS_SHIFT, IGNORED, MARK, RUN, SEPARATOR, letter_table, shingles_in_order, utf8

LEAD_WORDS = 12  # shown before the first difference
SHOWN_CHARACTERS = 560
COMPARED_CHARACTERS = 2_000_000
SEARCHED_WORDS = 50_000  # where they differ only behind these, the beginning is shown
GAP_CHARACTERS = 40  # between two words: what is longer is shortened

Marks = NDArray[np.bool_]  # one a word


class Window(NamedTuple):
    """A part of a text, in pieces of (text, shared)."""

    from_word: int
    pieces: tuple[tuple[str, bool], ...]
    more: bool  # the text goes on


def side_by_side(one: str, other: str, ngram_words: int) -> tuple[Window, Window]:
    """Both around the place where `one` first has a word that is in no shared n-gram (or else `other` has)."""
    compared = (text[:COMPARED_CHARACTERS] for text in (one, other))
    grams_one, grams_other = (shingles_in_order(utf8(text), ngram_words) for text in compared)
    marks_one, marks_other = _marks(grams_one, grams_other, ngram_words), _marks(grams_other, grams_one, ngram_words)
    at_one, at_other = _places(marks_one, marks_other, grams_one, grams_other)
    return _window(one, marks_one, at_one), _window(other, marks_other, at_other)


def words(text: str) -> Iterator[tuple[int, int]]:
    """Where each word begins and ends, in characters, as corpus.dedup.shingles sees words."""
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


def _marks(own: NDArray[np.uint64], others: NDArray[np.uint64], ngram_words: int) -> Marks:
    """For each word whether an n-gram that covers it is among the others' too."""
    shared = np.isin(own, others)
    marks = np.zeros(len(own) + ngram_words - 1, np.bool_)
    for offset in range(ngram_words):
        marks[offset : offset + len(own)] |= shared
    return marks


def _places(
    marks_one: Marks, marks_other: Marks, grams_one: NDArray[np.uint64], grams_other: NDArray[np.uint64]
) -> tuple[int, int]:
    """The words to begin at: a little before the first difference, at an n-gram that both have."""
    for marks, own, others, swapped in (
        (marks_one, grams_one, grams_other, False),
        (marks_other, grams_other, grams_one, True),
    ):
        unshared = np.flatnonzero(~marks[:SEARCHED_WORDS])
        if not len(unshared):
            continue
        start = int(unshared[0]) - LEAD_WORDS
        same = np.flatnonzero(others == own[start]) if 0 < start < len(own) else np.empty(0, np.int64)
        if not len(same) or same[0] > SEARCHED_WORDS:
            break
        return (int(same[0]), start) if swapped else (start, int(same[0]))
    return 0, 0


def _window(text: str, marks: Marks, first: int) -> Window:
    pieces: list[tuple[str, bool]] = []
    shown, at, reached = 0, 0, 0
    for number, (start, end) in enumerate(words(text)):
        if number >= first:
            gap = text[at:start] if number > first else ""
            word, shared = text[start : min(end, start + SHOWN_CHARACTERS)], bool(number < len(marks) and marks[number])
            _add(pieces, gap if len(gap) <= GAP_CHARACTERS else f"{gap[:GAP_CHARACTERS]}…", word, shared)
            shown += len(word) + min(len(gap), GAP_CHARACTERS)
            reached = end
            if shown >= SHOWN_CHARACTERS:
                break
        at = end
    return Window(first, tuple(pieces), bool(text[reached:].strip()))


def _add(pieces: list[tuple[str, bool]], gap: str, word: str, shared: bool) -> None:
    """Joins a word to the last piece if both are marked alike; what stands between goes with the unmarked."""
    if pieces and pieces[-1][1] == shared:
        pieces[-1] = (pieces[-1][0] + gap + word, shared)
    elif pieces and shared:
        pieces[-1] = (pieces[-1][0] + gap, False)
        pieces.append((word, True))
    else:
        pieces.append((gap + word, shared))
