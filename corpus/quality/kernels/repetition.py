"""What occurs more than once: lines, paragraphs, words and runs of words. Time and memory are linear in the text.

Equality is exact: hashes only find the place to look. `salt` keys them, so that nobody can write a text whose words
all fall in one place; no count depends on it.
"""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit, jit_no_alloc
from corpus.quality.kernels.characters import Codes
from corpus.quality.kernels.line_counts import Counts
from corpus.quality.kernels.words import Spans

Numbers = NDArray[np.int32]


@jit
def number(codes: Codes, spans: Spans, salt: np.uint64) -> tuple[Numbers, Numbers]:
    """Numbers the different spans by first occurrence: (the number of each span, the first span of each number)."""
    numbers, firsts = np.empty(len(spans), np.int32), np.empty(len(spans), np.int32)
    hashes = np.empty(len(spans), np.uint64)
    slots = np.full(1024, -1, np.int32)
    done = count = as_int64(0)
    while True:
        done, count = _number(codes, spans, salt, numbers, firsts, hashes, slots, done, count)
        if done == len(spans):
            return numbers, firsts[:count]
        slots = _widened(slots, hashes, count)


@jit_no_alloc
def _number(
    codes: Codes,
    spans: Spans,
    salt: np.uint64,
    numbers: Numbers,
    firsts: Numbers,
    hashes: NDArray[np.uint64],
    slots: Numbers,
    done: int,
    count: int,
) -> tuple[int, int]:
    """Goes on until all spans are numbered or `slots` is half full: (spans done, numbers given)."""
    mask = len(slots) - 1
    while done < len(spans) and 2 * count <= mask:
        mixed = _hash(codes, spans[done, 0], spans[done, 1], salt)
        slot = as_int64(int(mixed & np.uint64(mask)))
        while slots[slot] >= 0:
            known = slots[slot]
            if hashes[known] == mixed and _same(codes, spans, firsts[known], done):
                break
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot], firsts[count], hashes[count] = count, done, mixed
            count += 1
        numbers[done] = slots[slot]
        done += 1
    return done, count


@jit_no_alloc
def _hash(codes: Codes, start: int, end: int, salt: np.uint64) -> np.uint64:
    mixed = salt ^ np.uint64(end - start)
    for here in range(start, end - 1, 2):
        pair = np.uint64(codes[here]) << np.uint64(32) | np.uint64(codes[here + 1])
        mixed = (mixed ^ pair) * np.uint64(0x9E3779B97F4A7C15)
    if (end - start) & 1:
        mixed = (mixed ^ np.uint64(codes[end - 1])) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ mixed >> np.uint64(32)


@jit_no_alloc
def _same(codes: Codes, spans: Spans, one: int, other: int) -> bool:
    first, second, length = spans[one, 0], spans[other, 0], spans[other, 1] - spans[other, 0]
    offset = 0 if spans[one, 1] - first == length else length + 1
    while offset < length and codes[first + offset] == codes[second + offset]:
        offset += 1
    return bool(offset == length)


@jit
def _widened(slots: Numbers, hashes: NDArray[np.uint64], count: int) -> Numbers:
    wider = np.full(4 * len(slots), -1, np.int32)
    for known in range(count):
        slot = as_int64(int(hashes[known] & np.uint64(len(wider) - 1)))
        while wider[slot] >= 0:
            slot = (slot + 1) & (len(wider) - 1)
        wider[slot] = known
    return wider


@jit
def duplicates(codes: Codes, spans: Spans, salt: np.uint64) -> tuple[int, int]:
    """How many spans equal an earlier one, and their characters."""
    numbers, firsts = number(codes, spans, salt)
    characters = 0
    for span in range(len(spans)):
        if firsts[numbers[span]] != span:
            characters += spans[span, 1] - spans[span, 0]
    return len(spans) - len(firsts), characters


@jit
def grams(numbers: Numbers, lengths: Numbers, occurrences: Numbers, salt: np.uint64, found: Counts) -> None:
    """Fills `found`: characters of the top 2-, 3-, 4-gram, then in duplicate 5- to 10-grams of words.

    The top n-gram is the most frequent one, the earliest of several, with a space between its words; its characters
    count at each occurrence. Duplicate n-grams are found from left to right, and one that is found is stepped over.
    `numbers` is overwritten; `lengths` are the characters of each numbered word, `occurrences` how often it is there.

    An n-gram is the pair of the (n-1)-grams it begins and ends with; one that holds an (n-1)-gram which occurs just
    once occurs just once itself and is no longer looked up (-1).
    """
    words = numbers.copy()
    _forget_single(numbers, occurrences)
    distinct = len(occurrences)
    for n in range(2, 11):
        size = len(words) - n + 1
        if size < 1:
            return
        occurrences, firsts = _pair(numbers, size, distinct, salt)
        distinct = len(occurrences)
        if n <= 4:
            best, times = 0, 1
            for gram in range(distinct):
                if occurrences[gram] > times:
                    best, times = firsts[gram], occurrences[gram]
            found[n - 2] = times * (_characters(words, lengths, best, n) + n - 1)
        _forget_single(numbers[:size], occurrences)
        if n >= 5:
            found[n - 2] = _stepping(numbers[:size], words, lengths, occurrences, n)


@jit
def _pair(numbers: Numbers, size: int, distinct: int, salt: np.uint64) -> tuple[Numbers, Numbers]:
    """Replaces numbers[:size] by those of each with its successor: (occurrences, first place) of each number."""
    candidates = 0
    for here in range(size):
        candidates += numbers[here] >= 0 and numbers[here + 1] >= 0
    most = min(candidates, distinct * distinct)
    room = 16
    while room < 2 * most:
        room *= 2
    slots, keys = np.full(room, -1, np.int32), np.empty(most, np.uint64)
    occurrences, firsts = np.empty(most, np.int32), np.empty(most, np.int32)
    count = 0
    for here in range(size):
        if numbers[here] < 0 or numbers[here + 1] < 0:
            numbers[here] = -1
            continue
        key = np.uint64(numbers[here]) << np.uint64(32) | np.uint64(numbers[here + 1])
        mixed = (key ^ salt) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
        slot = as_int64(int((mixed ^ mixed >> np.uint64(32)) & np.uint64(room - 1)))
        while slots[slot] >= 0 and keys[slots[slot]] != key:
            slot = (slot + 1) & (room - 1)
        if slots[slot] < 0:
            slots[slot] = count
            keys[count], occurrences[count], firsts[count] = key, 0, here
            count += 1
        numbers[here] = slots[slot]
        occurrences[slots[slot]] += 1
    return occurrences[:count], firsts[:count]


@jit_no_alloc
def _forget_single(numbers: Numbers, occurrences: Numbers) -> None:
    for here in range(len(numbers)):
        if numbers[here] >= 0 and occurrences[numbers[here]] == 1:
            numbers[here] = -1


@jit_no_alloc
def _characters(words: Numbers, lengths: Numbers, here: int, n: int) -> int:
    characters = 0
    for word in range(here, here + n):
        characters += lengths[words[word]]
    return characters


@jit
def _stepping(numbers: Numbers, words: Numbers, lengths: Numbers, occurrences: Numbers, n: int) -> int:
    seen = np.zeros(len(occurrences), np.bool_)
    characters = here = 0
    while here < len(numbers):
        gram = numbers[here]
        if gram >= 0 and seen[gram]:
            characters += _characters(words, lengths, here, n)
            here += n
        else:
            if gram >= 0:
                seen[gram] = True
            here += 1
    return characters
