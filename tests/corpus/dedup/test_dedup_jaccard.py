import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup.shingles import jaccard

SETS = st.frozensets(st.integers(0, 40) | st.integers(2**64 - 3, 2**64 - 1))


@given(SETS, SETS)
def test_jaccard_returns_intersection_and_union(one: frozenset[int], other: frozenset[int]) -> None:
    a, b = (np.array(sorted(each), dtype=np.uint64) for each in (one, other))
    assert jaccard(a, b) == (len(one & other), len(one | other))
