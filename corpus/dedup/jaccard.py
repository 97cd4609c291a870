"""Direct verification: the exact Jaccard similarity of two sets of shingles, and the sets that are at hand for it."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit

Shingles = NDArray[np.uint64]  # a set: ascending, no two equal
LoadShingles = Callable[[int], Shingles]  # by a document's rank in policy order


def jaccard(one: Shingles, other: Shingles) -> tuple[int, int]:
    """The sizes of the intersection and of the union."""
    shared = int(_shared(one, other))
    return shared, len(one) + len(other) - shared


@cached_jit
def _shared(one: Shingles, other: Shingles) -> int:
    i = j = count = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        count += a == b
        i += a <= b
        j += b <= a
    return count


class Loaded:
    """The sets used last, up to `limit_bytes`; others are loaded again when asked for."""

    def __init__(self, load: LoadShingles, limit_bytes: int) -> None:
        self._load, self._left_bytes = load, limit_bytes
        self._held: OrderedDict[int, Shingles] = OrderedDict()

    def __getitem__(self, rank: int) -> Shingles:
        held = self._held.get(rank)
        if held is not None:
            self._held.move_to_end(rank)
            return held
        found = self._load(rank)
        assert len(found), f"document {rank} has bands but no shingles"
        self._held[rank] = found
        self._left_bytes -= found.nbytes
        while self._left_bytes < 0:
            self._left_bytes += self._held.popitem(last=False)[1].nbytes
        return found
