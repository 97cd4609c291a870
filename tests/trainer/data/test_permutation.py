"""The keyed permutation: every element once, whatever the size and the key, and the same tomorrow."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.permutation import key_of, permute

KEYS = st.integers(0, 2**64 - 1)


@given(st.integers(1, 3000), KEYS)
def test_each_element_is_reached_once(size: int, key: int) -> None:
    """Fails if what falls outside is folded back by `% size` in place of being permuted again."""
    found_N = permute(np.arange(size), size, key)
    assert found_N.dtype == np.int64
    assert np.array_equal(np.sort(found_N), np.arange(size))


def test_each_small_size() -> None:
    """Fails if `b` is rounded down: of 3 elements one is never reached."""
    for size in range(1, 200):
        assert np.array_equal(np.sort(permute(np.arange(size), size, size)), np.arange(size))


@given(st.integers(1, 10**15), KEYS, st.data())
def test_a_part_of_any_size_is_permuted_as_in_the_whole(size: int, key: int, data: st.DataObject) -> None:
    """Fails if an element's image depends on what is asked beside it (mixing in its index among those asked)."""
    asked = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40, unique=True))
    found = permute(np.array(asked), size, key).tolist()
    assert len(set(found)) == len(asked)
    assert all(0 <= each < size for each in found)
    assert [int(permute(np.array([each]), size, key)[0]) for each in asked] == found


def test_nothing_asked_is_nothing_found() -> None:
    assert len(permute(np.empty(0, np.int64), 5, 1)) == 0


def test_the_order_is_the_promise_of_every_run_that_can_be_resumed() -> None:
    """Fails if any constant, the number of rounds or the derivation of keys changes: old runs would see other data."""
    assert key_of(1, "books", 0) == 0xF48F4C35CFA83B03
    assert permute(np.arange(10), 10, key_of(1, "books", 0)).tolist() == [4, 1, 9, 6, 8, 5, 7, 3, 0, 2]
    far = permute(np.array([0, 1, 10**9]), 10**12, key_of(1, "web", 3)).tolist()
    assert far == [942_008_455_837, 588_228_137_797, 799_589_795_538]


@pytest.mark.parametrize("other", [(2, "books", 0), (1, "book", 0), (1, "books", 1)])
def test_seed_source_and_epoch_each_give_another_order(other: tuple[object, ...]) -> None:
    """Fails if `key_of` joins the seed and the name alone (an epoch would be like the one before it)."""
    orders = [permute(np.arange(100), 100, key_of(*parts)).tolist() for parts in ((1, "books", 0), other)]
    assert orders[0] != orders[1]


def test_every_place_is_as_likely_as_any_other() -> None:
    """Fails if a round leaves the left half as it was: then an element keeps to a column of its own.

    36 places under 3,600 keys: 100 each, and 170 would be seven standard deviations away.
    """
    elements_N = np.arange(36)
    first = Counter(int(permute(elements_N[:1], 36, key_of("even", number))[0]) for number in range(3600))
    assert set(first) == set(range(36))
    assert min(first.values()) > 40 and max(first.values()) < 170


def test_neighbours_do_not_stay_neighbours() -> None:
    """Fails with ROUNDS = 1, where the keys leave whole columns beside each other."""
    followers = [
        int((np.diff(permute(np.arange(1000), 1000, key_of("apart", number))) == 1).sum()) for number in range(50)
    ]
    assert sum(followers) / len(followers) < 3  # 1 in a random order
