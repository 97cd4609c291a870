"""Starts of a source's documents, looked up in the offsets of its mapped token shards."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from trainer.data.cursor import Longs


class DocumentStarts:
    """Offsets in a source at which documents begin.

    `ends` are the ends of its shards in the source; `offsets(number)` returns the offsets [D + 1] of the documents in
    a shard, as in `TokenShard`.
    """

    def __init__(self, ends: Sequence[int], offsets: Callable[[int], Longs]) -> None:
        self._ends, self._offsets = ends, offsets

    def between(self, start: int, stop: int) -> Longs:
        """Return the starts s with start ≤ s < stop, ascending."""
        found, number = list[Longs](), bisect_right(self._ends, start)
        while start < stop:
            shard_start, end = self._ends[number - 1] if number else 0, min(stop, self._ends[number])
            starts = self._offsets(number)[:-1]
            first, last = np.searchsorted(starts, (start - shard_start, end - shard_start))
            found.append(starts[first:last] + shard_start)
            start, number = end, number + 1
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def next(self, offset: int) -> int:
        """Return the first start at or behind an offset; behind the last document, the end of the source."""
        if offset >= self._ends[-1]:
            return self._ends[-1]
        number = bisect_right(self._ends, offset)
        shard_start, offsets = self._ends[number - 1] if number else 0, self._offsets(number)
        return shard_start + int(offsets[np.searchsorted(offsets, offset - shard_start)])
