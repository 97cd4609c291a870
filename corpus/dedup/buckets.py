"""Buckets of documents that share a band, and the documents of each that were kept so far."""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc

NONE = -1
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


class Buckets:
    """Buckets of two or more rows; rows 0 … n-1 are documents in policy order.

    `bucket_of` is int32[n, bands]: the number of the row's bucket, or NONE if no other row has this band. The kept rows
    of bucket k are `_kept[_start[k] : _start[k] + _count[k]]`, ascending; a bucket has room for all its rows. Memory:
    about 4 bytes x bands per row, twice that if all share.
    """

    def __init__(self, bands: NDArray[np.uint64], rows: Int64s, cap: int, total_cap: int) -> None:
        """`rows` selects rows of `bands` (uint64[documents, bands]) and numbers them anew.

        A row has at most `cap` candidates from one bucket, and `total_cap` in all.
        """
        count = len(rows)
        self._cap, self._total_cap = cap, total_cap
        self._root = np.arange(count, dtype=np.int64)  # union-find: rows joined by a bucket have the same root
        self.bucket_of = np.full((count, bands.shape[1]), NONE, dtype=np.int32)
        sizes: list[Int64s] = []
        numbered = 0
        for band in range(bands.shape[1] if count else 0):
            # Equal hashes are adjacent in sorted order; each run of two or more is a bucket.
            hashes = bands[rows, band]
            order = np.argsort(hashes, kind="stable")
            starts = np.append(0, np.flatnonzero(np.diff(hashes[order])) + 1)
            lengths = np.diff(np.append(starts, count))
            shared = lengths > 1
            numbers = np.where(shared, numbered + np.cumsum(shared) - 1, NONE)
            self.bucket_of[order, band] = np.repeat(numbers, lengths)
            sizes.append(lengths[shared])
            numbered += len(sizes[-1])
            _join(self._root, order, starts[shared], lengths[shared])
        self._start = np.concatenate([np.zeros(1, dtype=np.int64), *sizes]).cumsum()
        self._kept = np.empty(int(self._start[-1]), dtype=np.int32)
        self._count = np.zeros(numbered, dtype=np.int32)

    def rows_to_compare(self) -> Int64s:
        """Return the rows that share a bucket, component by component, in policy order inside each.

        Components share no bucket, so decisions are the same as in plain policy order. Their shingles are read soon
        after one another, which suits files that do not fit in memory.
        """
        sharing, root = np.flatnonzero((self.bucket_of != NONE).any(axis=1)), self._root
        while (root[root] != root).any():
            root = root[root]
        return sharing[np.argsort(root[sharing], kind="stable")]

    def kept_candidates(self, row: int) -> tuple[Int64s, int]:
        """Return the kept rows of the row's buckets within the caps, ascending; and the number beyond the caps.

        Of more than `total_cap`, those that share the most bands are returned, and the earlier of equal ones: the
        share of equal bands grows with similarity.
        """
        return _gather(self.bucket_of[row], self._start, self._count, self._kept, self._cap, self._total_cap)

    def keep(self, row: int) -> None:
        """Add a row to its buckets. Rows come in policy order."""
        buckets = self.bucket_of[row][self.bucket_of[row] != NONE]
        self._kept[self._start[buckets] + self._count[buckets]] = row
        self._count[buckets] += 1

    @property
    def hot(self) -> int:
        """Number of buckets with more than `cap` kept rows."""
        return int((self._count > self._cap).sum())


@jit_no_alloc
def _find(root: Int64s, row: int) -> int:
    while root[row] != row:
        root[row] = root[root[row]]
        row = root[row]
    return row


@cached_jit
def _join(root: Int64s, order: Int64s, starts: Int64s, lengths: Int64s) -> None:
    """Put the rows of each bucket into one component, whose root is its first row."""
    for run in range(len(starts)):
        first = _find(root, order[starts[run]])
        for index in range(starts[run] + 1, starts[run] + lengths[run]):
            other = _find(root, order[index])
            root[max(first, other)] = min(first, other)
            first = min(first, other)


@cached_jit
def _gather(
    buckets: Int32s, start: Int64s, count: Int32s, kept: Int32s, cap: int, total_cap: int
) -> tuple[Int64s, int]:
    total = beyond = 0
    for bucket in buckets:
        if bucket != NONE:
            total += min(count[bucket], cap)
            beyond += max(0, count[bucket] - cap)
    rows = np.empty(total, dtype=np.int64)
    at = 0
    for bucket in buckets:
        if bucket != NONE:
            length = min(count[bucket], cap)
            rows[at : at + length] = kept[start[bucket] : start[bucket] + length]
            at += length
    # A row that occurs in several buckets becomes one candidate; `shared` is the number of these buckets.
    rows.sort()
    shared = np.zeros(total, dtype=np.int64)
    found = 0
    for index in range(total):
        if index == 0 or rows[index] != rows[found - 1]:
            rows[found] = rows[index]
            found += 1
        shared[found - 1] += 1
    if found <= total_cap:
        return rows[:found], beyond
    # Take all that share more than `least` bands, and the first of those that share exactly that many.
    by_shared = np.bincount(shared[:found])
    least, left = len(by_shared) - 1, total_cap
    while by_shared[least] < left:
        left -= by_shared[least]
        least -= 1
    at = 0
    for index in range(found):
        if shared[index] > least or (shared[index] == least and left > 0):
            left -= shared[index] == least
            rows[at] = rows[index]
            at += 1
    return rows[:at], beyond + found - at
