"""Which documents share a band: buckets of two or more, as flat columns, and the documents kept so far in each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc

NONE = -1


class Buckets:
    """Documents are rows 0 … n-1 in policy order. Memory: about 4 bytes x bands for a row, twice that if all share.

    `of` is int32[n, bands]: the number of the row's bucket, NONE where it shares this band with nobody. The kept rows
    of bucket k are `_kept[_start[k] : _start[k] + _count[k]]`, ascending; a bucket has room for all its rows.
    """

    def __init__(self, bands: NDArray[np.uint64], rows: NDArray[np.int64], cap: int) -> None:
        """`rows` picks rows of `bands` (uint64[documents, bands]) and numbers them anew."""
        count = len(rows)
        self._cap = cap
        self._root = np.arange(count, dtype=np.int64)
        self.of = np.full((count, bands.shape[1]), NONE, dtype=np.int32)
        sizes: list[NDArray[np.int64]] = []
        numbered = 0
        for band in range(bands.shape[1] if count else 0):
            hashes = bands[rows, band]
            order = np.argsort(hashes, kind="stable")
            starts = np.append(0, np.flatnonzero(np.diff(hashes[order])) + 1)
            lengths = np.diff(np.append(starts, count))
            shared = lengths > 1
            numbers = np.where(shared, numbered + np.cumsum(shared) - 1, NONE)
            self.of[order, band] = np.repeat(numbers, lengths)
            sizes.append(lengths[shared])
            numbered += len(sizes[-1])
            _join(self._root, order, starts[shared], lengths[shared])
        self._start = np.concatenate([np.zeros(1, dtype=np.int64), *sizes]).cumsum()
        self._kept = np.empty(int(self._start[-1]), dtype=np.int32)
        self._count = np.zeros(numbered, dtype=np.int32)

    def in_turn(self) -> Iterator[int]:
        """The rows that share a bucket, component by component, in policy order inside each.

        Components share no bucket, so decisions are the same as in plain policy order, but near ones stay at hand.
        """
        sharing = np.flatnonzero((self.of != NONE).any(axis=1))
        _flatten(self._root)
        return iter(sharing[np.argsort(self._root[sharing], kind="stable")].tolist())

    def kept_beside(self, row: int) -> tuple[NDArray[np.int64], int]:
        """The kept rows to compare with, ascending: the first `cap` of each bucket; and how many places lie beyond."""
        found, beyond = _gather(self.of[row], self._start, self._count, self._kept, self._cap)
        return found, int(beyond)

    def keep(self, row: int) -> None:
        """Enters a row. Rows come in policy order."""
        _enter(self.of[row], row, self._start, self._count, self._kept)

    @property
    def hot(self) -> int:
        """The buckets with more than `cap` kept rows."""
        return int((self._count > self._cap).sum())


@jit_no_alloc
def _find(root: NDArray[np.int64], row: int) -> int:
    while root[row] != row:
        root[row] = root[root[row]]
        row = root[row]
    return row


@cached_jit
def _flatten(root: NDArray[np.int64]) -> None:
    for row in range(len(root)):  # a root never lies behind its rows: it is final when they ask
        root[row] = root[root[row]]


@cached_jit
def _join(
    root: NDArray[np.int64], order: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> None:
    """Puts the rows of each run into one component; its root is its first row."""
    for run in range(len(starts)):
        first = _find(root, order[starts[run]])
        for place in range(starts[run] + 1, starts[run] + lengths[run]):
            other = _find(root, order[place])
            root[max(first, other)] = min(first, other)
            first = min(first, other)


@cached_jit
def _gather(
    buckets: NDArray[np.int32],
    start: NDArray[np.int64],
    count: NDArray[np.int32],
    kept: NDArray[np.int32],
    cap: int,
) -> tuple[NDArray[np.int64], int]:
    total = beyond = 0
    for bucket in buckets:
        if bucket != NONE:
            total += min(count[bucket], cap)
            beyond += max(0, count[bucket] - cap)
    found = np.empty(total, dtype=np.int64)
    at = 0
    for bucket in buckets:
        if bucket != NONE:
            length = min(count[bucket], cap)
            found[at : at + length] = kept[start[bucket] : start[bucket] + length]
            at += length
    return np.unique(found), beyond


@cached_jit
def _enter(
    buckets: NDArray[np.int32],
    row: int,
    start: NDArray[np.int64],
    count: NDArray[np.int32],
    kept: NDArray[np.int32],
) -> None:
    for bucket in buckets:
        if bucket != NONE:
            kept[start[bucket] + count[bucket]] = row
            count[bucket] += 1
