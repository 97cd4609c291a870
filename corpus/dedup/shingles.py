"""A text as the set of its word n-grams, each a 64-bit hash; two texts are as near as these sets overlap.

A word is a run of letters, digits and marks in lower case (code point by code point, so no length changes).
Punctuation and symbols divide words. Ideographs, kana, Thai, Lao, Khmer and Myanmar are written without spaces: there
each letter, with its marks, is a word. Nothing is decomposed: composed and decomposed accents differ.
"""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc
from corpus.dedup.letters import CLASS_SHIFT, IGNORED, MARK, POINTS, RUN, SEPARATOR, table

SHINGLER_REVISION = 1  # raise it when any text's shingles change: stored bands and evidence no longer fit

_END = b"\0\0\0"  # dividers, so that a character can be read without asking how many bytes are left
_START = np.uint64(0x9E3779B97F4A7C15)
_BY_LETTER = np.uint64(0xD6E8FEB86659FD93)
_BY_WORD = np.uint64(0xAF251AF3B0F025B5)
_MURMUR_1, _MURMUR_2, _33 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
_LOWER = np.uint32((1 << CLASS_SHIFT) - 1)


def utf8(text: bytes | str) -> bytes:
    """The text's UTF-8. A lone surrogate, which no UTF-8 holds, becomes three bytes of its own: no two texts merge."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def shingles(text: bytes | str, ngram_words: int = 5) -> NDArray[np.uint64]:
    """The set of the text's n-gram hashes, in ascending order.

    A text of fewer words than `ngram_words` has one shingle of all its words; a text without words has none.
    """
    found = np.sort(shingles_in_order(utf8(text), ngram_words))  # faster than np.unique, which hashes
    first = np.ones(len(found), dtype=np.bool_)
    np.not_equal(found[1:], found[:-1], out=first[1:])
    return found[first]


def shingles_in_order(data: bytes, ngram_words: int) -> NDArray[np.uint64]:
    """One hash for each n-gram as it comes, repetitions included. Bytes that are not UTF-8 divide words."""
    # The shortest word and its divider are two bytes (and a letter that needs no divider has three).
    found = np.empty(max(1, (len(data) + 1) // 2), dtype=np.uint64)
    count = _scan(np.frombuffer(data + _END, dtype=np.uint8), table(), ngram_words, found)
    return found[:count]


@jit_no_alloc
def mix(value: np.uint64) -> np.uint64:
    """A bijection in which each bit depends on each. Source: MurmurHash3 (Appleby), the 64-bit finalizer."""
    value = (value ^ (value >> _33)) * _MURMUR_1
    value = (value ^ (value >> _33)) * _MURMUR_2
    return value ^ (value >> _33)


@jit_no_alloc
def _decode(lead: int, second: int, third: int, fourth: int) -> tuple[int, int]:
    """The code point that begins with `lead` (not ASCII) and its length in bytes; (0, 1) for what is not UTF-8.

    Bytes and not their array: where numba counts references to an array at each call, that takes longer than this.
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
        return (point, 3) if point >= 0x800 else (0, 1)  # a longer form than need be is not UTF-8
    if fourth & 0xC0 != 0x80 or not 0xF0 <= lead < 0xF5:
        return 0, 1
    point = (lead & 0x07) << 18 | point << 6 | (fourth & 0x3F)
    return (point, 4) if 0x10000 <= point < POINTS else (0, 1)


@cached_jit
def _scan(data: NDArray[np.uint8], letters: NDArray[np.uint32], size: int, found: NDArray[np.uint64]) -> int:
    """Writes each n-gram's hash to `found`; returns their count. `data` ends in _END.

    The n-gram is a polynomial in its word hashes, so each word enters and leaves it by one multiplication.
    """
    window = np.zeros(size, dtype=np.uint64)  # the last `size` words, as a ring
    leaving = np.uint64(1)  # _BY_WORD ** size
    for _ in range(size):
        leaving *= _BY_WORD
    word, ngram = _START, np.uint64(0)
    opened, words, slot, at, count = SEPARATOR, 0, 0, 0, 0
    while at <= len(data) - len(_END):  # the first byte of _END closes the last word
        if data[at] < 0x80:
            entry = letters[data[at]]
            at += 1
        else:
            point, length = _decode(data[at], data[at + 1], data[at + 2], data[at + 3])
            entry = letters[point]
            at += length
        kind = entry >> CLASS_SHIFT
        if opened != SEPARATOR and (kind == MARK or (kind == RUN and opened == RUN)):
            word = (word ^ np.uint64(entry & _LOWER)) * _BY_LETTER
            continue
        if kind in (IGNORED, MARK):
            continue
        if opened != SEPARATOR:
            word = mix(word)
            ngram = ngram * _BY_WORD + word - window[slot] * leaving
            window[slot] = word
            slot = slot + 1 if slot + 1 < size else 0
            words += 1
            if words >= size:
                found[count] = mix(ngram)
                count += 1
        opened = kind
        word = (_START ^ np.uint64(entry & _LOWER)) * _BY_LETTER
    if 0 < words < size:
        found[0] = mix(ngram)
        return 1
    return count
