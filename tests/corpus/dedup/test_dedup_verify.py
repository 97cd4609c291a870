import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.dedup.jaccard import Loaded, jaccard

SETS = st.frozensets(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1))


@given(SETS, SETS)
def test_jaccard_counts_what_is_shared_and_what_is_there(one: frozenset[int], other: frozenset[int]) -> None:
    a, b = (np.array(sorted(each), dtype=np.uint64) for each in (one, other))
    assert jaccard(a, b) == (len(one & other), len(one | other))


def test_what_was_used_last_is_held_within_the_limit() -> None:
    asked: list[int] = []

    def load(rank: int) -> NDArray[np.uint64]:
        asked.append(rank)
        return np.full(100, rank, dtype=np.uint64)

    loaded = Loaded(load, limit_bytes=1600)  # two sets
    for rank in (1, 2, 1, 3, 1, 2):  # 3 drives out 2, which was used before 1
        assert (loaded[rank] == rank).all()
    assert asked == [1, 2, 3, 2]


def test_one_set_over_the_limit_is_given_but_not_held() -> None:
    loaded = Loaded(lambda rank: np.arange(1000, dtype=np.uint64), limit_bytes=10)
    assert len(loaded[0]) == len(loaded[0]) == 1000 and not loaded._held


def test_a_document_with_bands_has_shingles() -> None:
    with pytest.raises(AssertionError, match="document 5"):
        Loaded(lambda rank: np.zeros(0, dtype=np.uint64), limit_bytes=10)[5]
