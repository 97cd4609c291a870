"""A keyed permutation of 0 … size − 1 that is computed, not stored: any element, of any size, at the same cost.

A Feistel network over pairs (l, r) with l < a, r < b and a·b just above `size`; what falls outside is permuted again
until it falls inside. Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 4.

Legend: N elements.
"""

import hashlib
from math import isqrt

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4  # of each half; the mixing function is SplitMix64's, not a cipher's: nobody is to be kept from inverting it
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def key_of(*parts: object) -> int:
    """A 64-bit key from a seed and names, by SHA-256."""
    told = "\x00".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little")


def permute(elements_N: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where each element goes under `key`. Elements lie in 0 … size − 1."""
    a = isqrt(size - 1) + 1
    b = -(-size // a)
    found_N = elements_N.astype(np.uint64)
    outside_M = np.arange(len(found_N))
    while len(outside_M):  # at most a of a·b pairs lie outside, so that one round nearly always suffices
        found_N[outside_M] = _once(found_N[outside_M], a, b, key)
        outside_M = outside_M[found_N[outside_M] >= size]
    return found_N.astype(np.int64)


def _once(x_N: NDArray[np.uint64], a: int, b: int, key: int) -> NDArray[np.uint64]:
    left_N, right_N = x_N % np.uint64(a), x_N // np.uint64(a)
    for number in range(ROUNDS):
        left_N = (left_N + _mixed(right_N, key, 2 * number) % np.uint64(a)) % np.uint64(a)
        right_N = (right_N + _mixed(left_N, key, 2 * number + 1) % np.uint64(b)) % np.uint64(b)
    return left_N + np.uint64(a) * right_N


def _mixed(x_N: NDArray[np.uint64], key: int, number: int) -> NDArray[np.uint64]:
    """SplitMix64's finaliser. Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"."""
    z_N = x_N + np.uint64((key + (number + 1) * _GOLDEN) & _MASK)  # arrays of uint64 wrap around without a warning
    z_N = (z_N ^ (z_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z_N = (z_N ^ (z_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z_N ^ (z_N >> np.uint64(31))
