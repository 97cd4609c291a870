"""Count what occurs more than once: lines, paragraphs, words and word n-grams, in linear time and memory.

Equality is exact: hashes only choose where to look. `salt` keys the hashes, so that no text can be written whose words
all collide; no count depends on it.
"""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels.spans import Codes, Numbers, Spans, hash_span, same

MAX_N = 10  # the longest n-grams that are counted


@jit
def number(codes: Codes, spans: Spans, salt: np.uint64) -> tuple[Numbers, Numbers, Numbers]:
    """Number the distinct spans by first occurrence.

    Return the number of each span, and of each distinct span the index of the first one and the occurrences.
    """
    numbers, firsts = np.empty(len(spans), np.int32), np.empty(len(spans), np.int32)
    occurrences, hashes = np.empty(len(spans), np.int32), np.empty(len(spans), np.uint64)
    slots = np.full(_table_size(len(spans)), -1, np.int32)
    count = _fill_numbers(codes, spans, salt, numbers, firsts, occurrences, hashes, slots)
    return numbers, firsts[:count], occurrences[:count]


@jit_no_alloc
def _fill_numbers(
    codes: Codes,
    spans: Spans,
    salt: np.uint64,
    numbers: Numbers,
    firsts: Numbers,
    occurrences: Numbers,
    hashes: NDArray[np.uint64],
    slots: Numbers,
) -> int:
    """Look each span up in a hash table with linear probing; return the number of distinct spans."""
    count, mask = as_int64(0), len(slots) - 1
    for span in range(len(spans)):
        hashed = hash_span(codes, spans[span, 0], spans[span, 1], salt)
        slot = as_int64(int(hashed & np.uint64(mask)))
        while slots[slot] >= 0:
            known = slots[slot]
            if hashes[known] == hashed and _equal(codes, spans, firsts[known], span):
                break
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot], firsts[count], occurrences[count], hashes[count] = count, span, 0, hashed
            count += 1
        numbers[span] = slots[slot]
        occurrences[slots[slot]] += 1
    return count


@jit_no_alloc
def _table_size(entries: int) -> int:
    """Return a power of two at least twice as large, for a hash table with linear probing."""
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@jit_no_alloc
def _equal(codes: Codes, spans: Spans, one: int, other: int) -> bool:
    first, second, length = spans[one, 0], spans[other, 0], spans[other, 1] - spans[other, 0]
    return spans[one, 1] - first == length and same(codes, first, codes, second, length)


@jit
def duplicates(codes: Codes, spans: Spans, salt: np.uint64) -> tuple[int, int]:
    """Return the number of spans that equal an earlier one, and their characters."""
    numbers, firsts, _ = number(codes, spans, salt)
    characters = 0
    for span in range(len(spans)):
        if firsts[numbers[span]] != span:
            characters += spans[span, 1] - spans[span, 0]
    return len(spans) - len(firsts), characters


@jit
def count_ngrams(
    words: Numbers, lengths: Numbers, occurrences: Numbers, salt: np.uint64, characters: NDArray[np.int64]
) -> None:
    """Fill characters[n - 2] with those of the top n-gram of words (n 2 to 4) or in duplicate n-grams (n 5 to 10).

    The top n-gram is the most frequent one, and the earliest if several are; its characters, with a space between its
    words, count at each occurrence. Duplicate n-grams are found from left to right without overlaps.
    `words` are numbered; `lengths` and `occurrences` are the characters and the frequency of each.
    """
    # An n-gram is numbered as the pair of the (n-1)-grams that it begins and ends with. One that contains an
    # (n-1)-gram which occurs once occurs once itself: it gets -1 and is never looked up again.
    grams = words.copy()
    _drop_unique(grams, occurrences)
    for n in range(2, min(MAX_N, len(words)) + 1):
        occurrences, firsts = _number_pairs(grams, len(occurrences), salt)
        grams = grams[:-1]
        if n <= 4:
            best, times = 0, 1  # the first n-gram of the text, if none occurs twice
            for gram in range(len(occurrences)):
                if occurrences[gram] > times:
                    best, times = firsts[gram], occurrences[gram]
            characters[n - 2] = times * (_characters(words, lengths, best, n) + n - 1)
        _drop_unique(grams, occurrences)
        if n >= 5:
            characters[n - 2] = _duplicate_characters(grams, words, lengths, len(occurrences), n)


@jit
def _number_pairs(numbers: Numbers, distinct: int, salt: np.uint64) -> tuple[Numbers, Numbers]:
    """Replace each number but the last by that of its pair with the next; return occurrences and first positions.

    A pair with a -1 becomes -1.
    """
    candidates, size = 0, len(numbers) - 1
    for position in range(size):
        candidates += numbers[position] >= 0 and numbers[position + 1] >= 0
    most = min(candidates, distinct * distinct)
    slots, keys = np.full(_table_size(most), -1, np.int32), np.empty(most, np.uint64)
    occurrences, firsts = np.empty(most, np.int32), np.empty(most, np.int32)
    count, mask = 0, len(slots) - 1
    for position in range(size):
        if numbers[position] < 0 or numbers[position + 1] < 0:
            numbers[position] = -1
            continue
        key = np.uint64(numbers[position]) << np.uint64(32) | np.uint64(numbers[position + 1])
        mixed = (key ^ salt) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
        slot = as_int64(int((mixed ^ mixed >> np.uint64(32)) & np.uint64(mask)))
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = count
            keys[count], occurrences[count], firsts[count] = key, 0, position
            count += 1
        numbers[position] = slots[slot]
        occurrences[slots[slot]] += 1
    return occurrences[:count], firsts[:count]


@jit_no_alloc
def _drop_unique(numbers: Numbers, occurrences: Numbers) -> None:
    for position in range(len(numbers)):
        if numbers[position] >= 0 and occurrences[numbers[position]] == 1:
            numbers[position] = -1


@jit_no_alloc
def _characters(words: Numbers, lengths: Numbers, start: int, n: int) -> int:
    characters = 0
    for word in range(start, start + n):
        characters += lengths[words[word]]
    return characters


@jit
def _duplicate_characters(grams: Numbers, words: Numbers, lengths: Numbers, distinct: int, n: int) -> int:
    seen = np.zeros(distinct, np.bool_)
    characters = position = 0
    while position < len(grams):
        gram = grams[position]
        if gram >= 0 and seen[gram]:
            characters += _characters(words, lengths, position, n)
            position += n
        else:
            if gram >= 0:
                seen[gram] = True
            position += 1
    return characters
