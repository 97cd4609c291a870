"""The keyed permutation: a bijection for any size and key, and the same in every release."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.permutation import key_of, permute

KEYS = st.integers(0, 2**64 - 1)


@given(st.integers(1, 3000), KEYS)
def test_each_element_is_an_image_once(size: int, key: int) -> None:
    """Fails if images out of range are reduced by `% size` instead of being permuted again."""
    found_N = permute(np.arange(size), size, key)
    assert found_N.dtype == np.int64
    assert np.array_equal(np.sort(found_N), np.arange(size))


def test_every_size_below_200() -> None:
    """Fails if `b` is rounded down: one of 3 elements would be no image."""
    for size in range(1, 200):
        assert np.array_equal(np.sort(permute(np.arange(size), size, size)), np.arange(size))


@given(st.integers(1, 10**15), KEYS, st.data())
def test_images_do_not_depend_on_the_other_elements(size: int, key: int, data: st.DataObject) -> None:
    """Fails if an image depends on the element's index in the argument."""
    asked = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40, unique=True))
    found = permute(np.array(asked), size, key).tolist()
    assert len(set(found)) == len(asked)
    assert all(0 <= each < size for each in found)
    assert [int(permute(np.array([each]), size, key)[0]) for each in asked] == found


def test_no_elements_have_no_images() -> None:
    assert len(permute(np.empty(0, np.int64), 5, 1)) == 0


def test_the_permutation_never_changes() -> None:
    """Fails if a constant, the number of rounds or the keys change: resumed runs would read other data."""
    assert key_of(1, "books", 0) == 0xF48F4C35CFA83B03
    assert permute(np.arange(10), 10, key_of(1, "books", 0)).tolist() == [4, 1, 9, 6, 8, 5, 7, 3, 0, 2]
    far = permute(np.array([0, 1, 10**9]), 10**12, key_of(1, "web", 3)).tolist()
    assert far == [942_008_455_837, 588_228_137_797, 799_589_795_538]


@pytest.mark.parametrize("other", [(2, "books", 0), (1, "book", 0), (1, "books", 1)])
def test_seed_source_and_epoch_change_the_order(other: tuple[object, ...]) -> None:
    """Fails if `key_of` ignores the epoch, so that all epochs have the same order."""
    orders = [permute(np.arange(100), 100, key_of(*parts)).tolist() for parts in ((1, "books", 0), other)]
    assert orders[0] != orders[1]


def test_images_are_uniformly_distributed() -> None:
    """Fails if a round does not change the left half: an element would then stay in its column.

    With 36 places and 3,600 keys each place is expected 100 times; 170 would be seven standard deviations away.
    """
    elements_N = np.arange(36)
    first = Counter(int(permute(elements_N[:1], 36, key_of("even", number))[0]) for number in range(3600))
    assert set(first) == set(range(36))
    assert min(first.values()) > 40 and max(first.values()) < 170


def test_neighbors_are_separated() -> None:
    """Fails with ROUNDS = 1, which leaves whole columns adjacent."""
    followers = [
        int((np.diff(permute(np.arange(1000), 1000, key_of("apart", number))) == 1).sum()) for number in range(50)
    ]
    assert sum(followers) / len(followers) < 3  # 1 in a random order
