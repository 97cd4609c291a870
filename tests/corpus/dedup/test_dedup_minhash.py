"""Signatures and bands, compared with datasketch's MinHash."""

import math

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.dedup.signature import band_hashes, permutations, signature

SETS = st.lists(st.integers(0, 2**64 - 1), max_size=30)


@given(SETS, st.integers(1, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_signatures_equal_those_of_datasketch(hashes: list[int], count: int, seed: int) -> None:
    oracle = MinHash(num_perm=count, seed=seed, scheme="affine32", hashfunc=lambda value: value & 0xFFFFFFFF)
    oracle.update_batch(hashes)
    found = signature(np.array(hashes, dtype=np.uint64), permutations(count, seed))
    assert found.dtype == oracle.hashvalues.dtype and np.array_equal(found, oracle.hashvalues)


@given(SETS)
def test_order_and_repetition_change_nothing(hashes: list[int]) -> None:
    once = signature(np.array(hashes, dtype=np.uint64), permutations(16, 1))
    twice = signature(np.array(hashes[::-1] + hashes, dtype=np.uint64), permutations(16, 1))
    assert np.array_equal(once, twice)


def test_a_band_changes_with_its_own_rows_only() -> None:
    plain = np.arange(112, dtype=np.uint32)
    before = band_hashes(plain, 14)
    for row in range(112):
        changed = plain.copy()
        changed[row] += 1
        assert np.flatnonzero(band_hashes(changed, 14) != before).tolist() == [row // 8]


def test_equal_rows_in_other_bands_or_another_order_do_not_match() -> None:
    assert len(set(band_hashes(np.zeros(112, dtype=np.uint32), 14).tolist())) == 14
    assert band_hashes(np.array([1, 2], dtype=np.uint32), 1) != band_hashes(np.array([2, 1], dtype=np.uint32), 1)


def pair(similarity: float, random: np.random.Generator) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two sets of 64-bit hashes, 200 in the union, of exactly this Jaccard similarity."""
    union = random.integers(0, 2**64, 200, dtype=np.uint64)
    shared = round(200 * similarity)
    half = (200 - shared) // 2
    return union[: shared + half], np.concatenate([union[:shared], union[shared + half :]])


def recall(similarity: float, bands: int, rows: int) -> float:
    """Probability that two texts of this Jaccard similarity share a band.

    Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2.
    """
    return 1 - (1 - similarity**rows) ** bands


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_measured_recall_agrees_with_theory(similarity: float) -> None:
    random, trials, matches = np.random.default_rng(7), 1500, 0
    permutation = permutations(112, 1)
    for _ in range(trials):
        one, other = (band_hashes(signature(each, permutation), 14) for each in pair(similarity, random))
        matches += bool((one == other).any())
    chance = recall(similarity, 14, 8)
    assert abs(matches / trials - chance) < 4 * math.sqrt(chance * (1 - chance) / trials)


def test_the_defaults_find_92_percent_at_the_threshold() -> None:
    assert recall(0.8, 14, 8) == pytest.approx(0.924, abs=0.001)
    assert (recall(0, 14, 8), recall(1, 14, 8)) == (0, 1)
