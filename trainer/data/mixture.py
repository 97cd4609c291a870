"""The order in which sources take turns, so that their shares hold at every step and not only in the long run.

Tijdeman's chairman assignment over integer shares: with k sources, after any number t of sequences each source has had
its share of t to within 1 − 1/(2k − 2) sequences. The order repeats with a period of the sum of the shares.
Source: Tijdeman 1980, "The chairman assignment problem", Discrete Mathematics 32.

The state of the assignment is the number of turns taken of each source. It is kept at the start of each block of the
period up to the furthest block asked for, so that a block costs milliseconds at any position.

Legend: K sources, B sequences of a block, N sequences.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc

MAX_PERIOD = 10_000_000
MAX_SOURCES = 40_000  # products of the kernel stay below 2^63 up to 2 · MAX_SOURCES · (MAX_PERIOD + MAX_SOURCES)²
BLOCK_SEQUENCES = 1 << 16

Longs = NDArray[np.int64]


def integer_shares(shares: Mapping[str, float | Fraction]) -> dict[str, int]:
    """Return shares as integers without a common divisor, sorted by name, without shares of 0.

    They are exact if their sum is at most MAX_PERIOD (as with multiples of 10⁻⁷). Otherwise they are rounded to that
    sum by largest remainder, with at least 1 each: if all were above that, each is off by less than 1/MAX_PERIOD of all
    tokens.
    """
    exact = {name: Fraction(str(share)) for name, share in sorted(shares.items()) if share > 0}
    total = sum(exact.values())
    exact = {name: share / total for name, share in exact.items()}
    common = lcm(*(share.denominator for share in exact.values()))
    if common <= MAX_PERIOD:
        return {name: int(share * common) for name, share in exact.items()}
    # Largest remainder: round down, then give what is left to the shares that lost most.
    scaled = {name: share * MAX_PERIOD for name, share in exact.items()}
    rounded = {name: max(1, int(share)) for name, share in scaled.items()}
    by_remainder = sorted(scaled, key=lambda name: rounded[name] - scaled[name])
    for name in by_remainder[: max(0, MAX_PERIOD - sum(rounded.values()))]:
        rounded[name] += 1
    divisor = gcd(*rounded.values())
    return {name: share // divisor for name, share in rounded.items()}


class SourceOrder:
    """The order of sources with integer shares, each at least 1. Threads may share it."""

    def __init__(self, shares: tuple[int, ...]) -> None:
        assert len(shares) <= MAX_SOURCES and sum(shares) <= MAX_PERIOD + MAX_SOURCES
        self.shares_K, self.period = np.array(shares, np.int64), sum(shares)
        self._taken_K = [np.zeros(len(shares), np.int64)]  # before each block of the period that was reached
        self._growing = Lock()
        self._cached_block = lru_cache(maxsize=2)(self._block)

    def turns(self, sequences_N: Longs) -> tuple[Longs, Longs]:
        """Return the source of each sequence, and its number among the sequences of that source in the phase."""
        periods_N, within_N = np.divmod(sequences_N, self.period)
        block_N, inside_N = np.divmod(within_N, BLOCK_SEQUENCES)
        source_N, turn_N = np.empty_like(within_N), np.empty_like(within_N)
        for block in sorted(set(block_N.tolist())):
            of_block = block_N == block
            source_B, turn_B = self._cached_block(block)
            source_N[of_block], turn_N[of_block] = source_B[inside_N[of_block]], turn_B[inside_N[of_block]]
        return source_N, periods_N * self.shares_K[source_N] + turn_N

    def taken(self, sequences: int) -> Longs:
        """Return how many of the first `sequences` are from each source [K]."""
        periods, rest = divmod(sequences, self.period)
        block, inside = divmod(rest, BLOCK_SEQUENCES)
        taken_K = periods * self.shares_K + self._taken_before(block)
        if inside:
            taken_K += np.bincount(self._cached_block(block)[0][:inside], minlength=len(taken_K))
        return taken_K

    def _block(self, block: int) -> tuple[Longs, Longs]:
        return self._next_block(block, self._taken_before(block).copy())

    def _taken_before(self, block: int) -> Longs:
        """Return the turns that each source has taken before a block of the period [K]."""
        with self._growing:
            while len(self._taken_K) <= block:
                taken_K = self._taken_K[-1].copy()
                self._next_block(len(self._taken_K) - 1, taken_K)
                self._taken_K.append(taken_K)
            return self._taken_K[block]

    def _next_block(self, block: int, taken_K: Longs) -> tuple[Longs, Longs]:
        """Return source and turn of each sequence of a block [B], and add its turns to `taken_K`."""
        start = block * BLOCK_SEQUENCES
        source_B, turn_B = np.empty((2, min(BLOCK_SEQUENCES, self.period - start)), np.int64)
        _assign_turns(self.shares_K, taken_K, start, source_B, turn_B)
        return source_B, turn_B


@lru_cache(maxsize=32)
def source_order(shares: tuple[int, ...]) -> SourceOrder:
    """Return the order of sources with these integer shares."""
    return SourceOrder(shares)


@cached_jit
def _assign_turns(shares_K: Longs, taken_K: Longs, start: int, source_B: Longs, turn_B: Longs) -> None:
    """Assign the sequences of a period from `start` on, after the turns taken before; count the new turns.

    Turn n of a source of share s of P, counted from 0, may begin once the source is 1/c behind, c = 2k − 2: at time
    P (c·n + 1) / (c·s). Its deadline is P (c·n + c − 1) / (c·s). Of the turns that may begin, that with the earliest
    deadline is next; of equal ones, that of the first source. Times are compared as fractions of integers over s.
    """
    sources, period = len(shares_K), shares_K.sum()
    slack = max(1, 2 * sources - 2)
    beginning_K, deadline_K = slack * taken_K + 1, slack * taken_K + slack - 1
    # Two heaps of sources: those whose turn is yet to begin, and those whose turn has begun.
    waiting_K, begun_K = np.empty(sources, np.int64), np.empty(sources, np.int64)
    waiting, begun = 0, 0
    for source in range(sources):
        waiting = _push(waiting_K, waiting, source, beginning_K, shares_K)
    for at in range(len(source_B)):
        time = start + at + 1
        while waiting and time * slack * shares_K[waiting_K[0]] >= period * beginning_K[waiting_K[0]]:
            source = waiting_K[0]
            waiting = _pop(waiting_K, waiting, beginning_K, shares_K)
            begun = _push(begun_K, begun, source, deadline_K, shares_K)
        source = begun_K[0]
        begun = _pop(begun_K, begun, deadline_K, shares_K)
        source_B[at], turn_B[at] = source, taken_K[source]
        taken_K[source] += 1
        beginning_K[source] += slack
        deadline_K[source] += slack
        waiting = _push(waiting_K, waiting, source, beginning_K, shares_K)


@jit_no_alloc
def _push(heap_K: Longs, size: int, source: int, times_K: Longs, shares_K: Longs) -> int:
    """Add a source to a heap of `size` sources, ordered by time/share; return the new size."""
    at = size
    while at and _is_before(source, heap_K[(at - 1) // 2], times_K, shares_K):
        heap_K[at] = heap_K[(at - 1) // 2]
        at = (at - 1) // 2
    heap_K[at] = source
    return size + 1


@jit_no_alloc
def _pop(heap_K: Longs, size: int, times_K: Longs, shares_K: Longs) -> int:
    """Remove the first source of a heap; return the new size."""
    size -= 1
    at, moved = 0, heap_K[size]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _is_before(heap_K[child + 1], heap_K[child], times_K, shares_K):
            child += 1
        if not _is_before(heap_K[child], moved, times_K, shares_K):
            break
        heap_K[at] = heap_K[child]
        at = child
    heap_K[at] = moved
    return size


@jit_no_alloc
def _is_before(source: int, other: int, times_K: Longs, shares_K: Longs) -> bool:
    difference = times_K[source] * shares_K[other] - times_K[other] * shares_K[source]
    return difference < 0 or (difference == 0 and source < other)
