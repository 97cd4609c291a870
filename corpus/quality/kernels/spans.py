"""Spans of a text, whose code points are an array: their hashes and their equality."""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import jit_no_alloc

Codes = NDArray[np.uint32]  # a text as code points
Numbers = NDArray[np.int32]
Spans = NDArray[np.int32]  # [span, 2]: index of the first code point, and one past the last


def hash_in_python(codes: Codes, start: int, end: int, salt: np.uint64) -> np.uint64:
    """Return a hash of codes[start:end], keyed by `salt`."""
    mixed = salt ^ np.uint64(end - start)
    for position in range(start, end - 1, 2):
        pair = np.uint64(codes[position]) << np.uint64(32) | np.uint64(codes[position + 1])
        mixed = (mixed ^ pair) * np.uint64(0x9E3779B97F4A7C15)
    if (end - start) & 1:
        mixed = (mixed ^ np.uint64(codes[end - 1])) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ mixed >> np.uint64(32)


hash_span = jit_no_alloc(hash_in_python)


@jit_no_alloc
def same(codes: Codes, start: int, other: Codes, other_start: int, length: int) -> bool:
    """True if two spans of this length are equal."""
    offset = 0
    while offset < length and codes[start + offset] == other[other_start + offset]:
        offset += 1
    return offset == length


@jit_no_alloc
def put(spans: Spans, count: int, start: int, end: int) -> int:
    """Write a span after the first `count` ones; return the new count."""
    spans[count, 0] = start
    spans[count, 1] = end
    return count + 1
