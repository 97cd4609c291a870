import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.dedup.decide import ShingleCache
from corpus.dedup.shingles import jaccard

SETS = st.frozensets(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1))


@given(SETS, SETS)
def test_jaccard_returns_intersection_and_union(one: frozenset[int], other: frozenset[int]) -> None:
    a, b = (np.array(sorted(each), dtype=np.uint64) for each in (one, other))
    assert jaccard(a, b) == (len(one & other), len(one | other))


def test_the_cache_keeps_the_sets_used_last() -> None:
    loads: list[int] = []

    def load(rank: int) -> NDArray[np.uint64]:
        loads.append(rank)
        return np.full(100, rank, dtype=np.uint64)

    cache = ShingleCache(load, limit_bytes=1600)  # two sets
    for rank in (1, 2, 1, 3, 1, 2):  # 3 replaces 2, which was used before 1
        assert (cache[rank] == rank).all()
    assert loads == [1, 2, 3, 2]


def test_a_set_over_the_limit_is_returned_but_not_kept() -> None:
    cache = ShingleCache(lambda rank: np.arange(1000, dtype=np.uint64), limit_bytes=10)
    assert len(cache[0]) == len(cache[0]) == 1000 and not cache._sets


def test_a_document_with_bands_must_have_shingles() -> None:
    with pytest.raises(AssertionError, match="document 5"):
        ShingleCache(lambda rank: np.zeros(0, dtype=np.uint64), limit_bytes=10)[5]
