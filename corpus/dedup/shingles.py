"""Shingles: a text as the set of the hashes of its word n-grams, and the Jaccard similarity of two such sets.

A word is a run of letters, digits and marks in lower case (code point by code point, so no length changes).
Punctuation and symbols separate words. Ideographs, kana, Thai, Lao, Khmer and Myanmar are written without spaces, so
each of their letters, with its marks, is a word. Composed and decomposed accents differ.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc

SHINGLER_REVISION = 1  # raise whenever a text's shingles change: stored bands and evidence no longer fit

SEPARATOR, RUN, ALONE, MARK, IGNORED = range(5)  # classes of code points
CLASS_SHIFT = 24  # an entry of the letter table: class << 24 | lower case
_POINTS = 0x110000
_PLANES = 0x40000  # letters, digits and marks are assigned in planes 0 to 3,
_TAGS = range(0xE0000, 0xE0200)  # and here: tags (ignored) and variation selectors (marks)

# Letters of scripts written without spaces between words. Hangul, Tibetan and Ethiopic separate theirs: not here.
_ALONE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks and zero
    (0x3040, 0x312F),  # kana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # ideographs, extension A
    (0x4E00, 0x9FFF),  # ideographs
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),  # kana extensions
    (0x20000, 0x3FFFF),  # ideographs, extensions B and later
)
_LETTERS = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Nl"))
_CLASS = dict.fromkeys(("Nd", "No", *_LETTERS), RUN) | dict.fromkeys(("Mn", "Mc", "Me"), MARK) | {"Cf": IGNORED}

_END = b"\0\0\0"  # separators after the text, so that four bytes can be read from any position in it
_START = np.uint64(0x9E3779B97F4A7C15)
_BY_LETTER = np.uint64(0xD6E8FEB86659FD93)
_BY_WORD = np.uint64(0xAF251AF3B0F025B5)
_MURMUR_1, _MURMUR_2, _33 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
_LOWER = np.uint32((1 << CLASS_SHIFT) - 1)

Shingles = NDArray[np.uint64]  # a set: ascending, without repetitions


class ShingleSets(NamedTuple):
    """The shingle sets of many documents in one array: set n is `hashes[start[n] : start[n] + size[n]]`."""

    hashes: Shingles
    start: NDArray[np.int64]
    size: NDArray[np.int64]


@cache
def letter_table() -> NDArray[np.uint32]:
    """Return class and lower case of all code points, from the running Python's `unicodedata`.

    A soft hyphen or joiner (Cf) is ignored; a zero width space separates words, which is its purpose.
    """
    entries = np.zeros(_POINTS, dtype=np.uint32)
    for point in (*range(_PLANES), *_TAGS):
        kind = _CLASS.get(unicodedata.category(chr(point)), SEPARATOR)
        if kind != SEPARATOR:
            entries[point] = kind << CLASS_SHIFT | ord(chr(point).lower()[0])
    for first, last in _ALONE:
        block = entries[first : last + 1]  # a view
        for offset in np.flatnonzero(block >> CLASS_SHIFT == RUN):
            if unicodedata.category(chr(first + int(offset))) in _LETTERS:
                block[offset] = ALONE << CLASS_SHIFT | first + int(offset)
    entries[0x200B] = SEPARATOR
    entries.setflags(write=False)
    return entries


def utf8(text: bytes | str) -> bytes:
    """Return the text as UTF-8. A lone surrogate becomes three bytes of its own, so that no two texts become equal."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def shingles(text: bytes | str, ngram_words: int = 5) -> Shingles:
    """Return the set of the text's n-gram hashes.

    A text of fewer words than `ngram_words` has one shingle of all its words; a text without words has none.
    """
    hashes = np.sort(shingles_in_order(utf8(text), ngram_words))  # faster than np.unique, which hashes
    first = np.ones(len(hashes), dtype=np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=first[1:])
    return hashes[first]


def shingles_in_order(data: bytes, ngram_words: int) -> NDArray[np.uint64]:
    """Return one hash per n-gram in order of the text, repetitions included. Invalid UTF-8 separates words."""
    # The shortest word and its separator are two bytes (a letter that needs no separator has three).
    hashes = np.empty(max(1, (len(data) + 1) // 2), dtype=np.uint64)
    count = _hash_ngrams(np.frombuffer(data + _END, dtype=np.uint8), letter_table(), ngram_words, hashes)
    return hashes[:count]


@cached_jit
def jaccard(one: Shingles, other: Shingles) -> tuple[int, int]:
    """Return the sizes of the intersection and of the union."""
    i = j = shared = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared, len(one) + len(other) - shared


@jit_no_alloc
def mix(value: np.uint64) -> np.uint64:
    """Map a hash one to one so that each bit depends on each. Source: MurmurHash3 (Appleby), the 64-bit finalizer."""
    value = (value ^ (value >> _33)) * _MURMUR_1
    value = (value ^ (value >> _33)) * _MURMUR_2
    return value ^ (value >> _33)


@jit_no_alloc
def _decode(lead: int, second: int, third: int, fourth: int) -> tuple[int, int]:
    """Return the code point that begins with `lead` (not ASCII) and its length in bytes; (0, 1) for invalid UTF-8.

    It takes bytes and not their array, whose reference count would cost more time than the decoding.
    """
    if second & 0xC0 != 0x80:
        return 0, 1
    point = second & 0x3F
    if 0xC2 <= lead < 0xE0:
        return (lead & 0x1F) << 6 | point, 2
    if third & 0xC0 != 0x80:
        return 0, 1
    point = point << 6 | (third & 0x3F)
    if 0xE0 <= lead < 0xF0:
        point |= (lead & 0x0F) << 12
        return (point, 3) if point >= 0x800 else (0, 1)  # overlong forms are invalid
    if fourth & 0xC0 != 0x80 or not 0xF0 <= lead < 0xF5:
        return 0, 1
    point = (lead & 0x07) << 18 | point << 6 | (fourth & 0x3F)
    return (point, 4) if 0x10000 <= point < _POINTS else (0, 1)


@cached_jit
def _hash_ngrams(data: NDArray[np.uint8], letters: NDArray[np.uint32], size: int, hashes: NDArray[np.uint64]) -> int:
    """Write each n-gram's hash to `hashes` and return their number. `data` ends in _END.

    The hash of an n-gram is a polynomial in its word hashes, so each word enters and leaves it by one multiplication.
    """
    window = np.zeros(size, dtype=np.uint64)  # the last `size` words, as a ring
    leaving = np.uint64(1)  # _BY_WORD ** size
    for _ in range(size):
        leaving *= _BY_WORD
    word, ngram = _START, np.uint64(0)
    open_class, words, slot, at, count = SEPARATOR, 0, 0, 0, 0  # open_class: SEPARATOR if no word is open
    while at <= len(data) - len(_END):  # the first byte of _END closes the last word
        if data[at] < 0x80:
            entry = letters[data[at]]
            at += 1
        else:
            point, length = _decode(data[at], data[at + 1], data[at + 2], data[at + 3])
            entry = letters[point]
            at += length
        kind = entry >> CLASS_SHIFT
        # The open word goes on.
        if open_class != SEPARATOR and (kind == MARK or (kind == RUN and open_class == RUN)):
            word = (word ^ np.uint64(entry & _LOWER)) * _BY_LETTER
            continue
        if kind in (IGNORED, MARK):
            continue
        # The open word ends: it enters the n-gram, and the word `size` before it leaves.
        if open_class != SEPARATOR:
            word = mix(word)
            ngram = ngram * _BY_WORD + word - window[slot] * leaving
            window[slot] = word
            slot = slot + 1 if slot + 1 < size else 0
            words += 1
            if words >= size:
                hashes[count] = mix(ngram)
                count += 1
        # A new word begins, unless this is a separator.
        open_class = kind
        word = (_START ^ np.uint64(entry & _LOWER)) * _BY_LETTER
    if 0 < words < size:
        hashes[0] = mix(ngram)
        return 1
    return count
