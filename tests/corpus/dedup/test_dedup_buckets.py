import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup.buckets import Buckets

BANDS = st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), min_size=1, max_size=25)


def components(bands: list[list[int]]) -> list[set[int]]:
    """Groups of two or more rows joined by shared bands, by plain merging of sets."""
    found: list[set[int]] = []
    for row, values in enumerate(bands):
        near = [group for group in found if any(a == b for r in group for a, b in zip(bands[r], values, strict=True))]
        found = [group for group in found if group not in near] + [set().union({row}, *near)]
    return sorted((group for group in found if len(group) > 1), key=min)


@given(BANDS)
def test_components_come_one_by_one_each_in_policy_order(bands: list[list[int]]) -> None:
    rows = np.arange(len(bands), dtype=np.int64)
    turn = list(Buckets(np.array(bands, dtype=np.uint64), rows, cap=5, total_cap=5).rows_to_compare())
    assert turn == [row for group in components(bands) for row in sorted(group)]


@given(BANDS)
def test_kept_rows_are_found_through_every_shared_band(bands: list[list[int]]) -> None:
    rows = np.arange(len(bands), dtype=np.int64)
    buckets = Buckets(np.array(bands, dtype=np.uint64), rows, cap=100, total_cap=100)
    kept: list[int] = []
    for row in sorted(buckets.rows_to_compare()):
        beside = [r for r in kept if any(a == b for a, b in zip(bands[r], bands[row], strict=True))]
        assert buckets.kept_candidates(row)[0].tolist() == beside
        if row % 3:
            buckets.keep(row)
            kept.append(row)
    assert buckets.hot == 0
