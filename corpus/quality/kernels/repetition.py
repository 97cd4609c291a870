"""Count what occurs more than once: lines, paragraphs, words and word n-grams, in linear time and memory.

Equality is exact: hashes only choose where to look. `salt` keys the hashes, so that no text can be written whose words
all collide; no count depends on it.
"""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels.spans import Codes, Spans, hash_span, same

Numbers = NDArray[np.int32]
MAX_N = 10  # the longest n-grams that are counted


@jit
def number(codes: Codes, spans: Spans, salt: np.uint64) -> tuple[Numbers, Numbers, Numbers]:
    """Number the distinct spans by first occurrence.

    Return the number of each span, and of each distinct span the index of the first one and the occurrences.
    """
    numbers, firsts = np.empty(len(spans), np.int32), np.empty(len(spans), np.int32)
    occurrences, hashes = np.empty(len(spans), np.int32), np.empty(len(spans), np.uint64)
    slots_size = 16  # a power of two, at least twice as large as needed
    while slots_size < 2 * len(spans):
        slots_size *= 2
    slots = np.full(slots_size, -1, np.int32)
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
    grams = words.copy()
    for position in range(len(grams)):
        if occurrences[grams[position]] == 1:
            grams[position] = -1
    for n in range(2, min(MAX_N, len(words)) + 1):
        # An n-gram is numbered as the pair of the (n-1)-grams that it begins and ends with. One that contains an
        # (n-1)-gram which occurs once occurs once itself: it gets -1 and is never looked up again.
        pairs = _pairs(grams)
        numbers, firsts, occurrences = number(grams.view(np.uint32), pairs, salt)
        grams = np.full(len(grams) - 1, -1, np.int32)
        for pair in range(len(pairs)):
            if occurrences[numbers[pair]] > 1:
                grams[pairs[pair, 0]] = numbers[pair]
        if n >= 5:
            characters[n - 2] = _duplicate_characters(grams, words, lengths, len(occurrences), n)
            continue
        best, times = 0, 1  # the first n-gram of the text, if none occurs twice
        for gram in range(len(occurrences)):
            if occurrences[gram] > times:
                best, times = pairs[firsts[gram], 0], occurrences[gram]
        characters[n - 2] = times * (_characters(words, lengths, best, n) + n - 1)


@jit
def _pairs(grams: Numbers) -> Spans:
    """Return the spans of two neighbors that both have a number."""
    spans, count = np.empty((len(grams), 2), np.int32), 0
    for position in range(len(grams) - 1):
        if grams[position] >= 0 and grams[position + 1] >= 0:
            spans[count, 0], spans[count, 1] = position, position + 2
            count += 1
    return spans[:count]


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
