"""A keyed permutation of 0 … size − 1, computed rather than stored: any element at the same cost, for any size.

It is a Feistel network over pairs (left, right) with left < a and right < b, where a·b is slightly above `size`.
Results outside the range are permuted again until they are inside. It is not cryptographic.
Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 4.

Legend: N elements, O elements still out of range.
"""

import hashlib
from collections.abc import Callable
from math import isqrt

import numpy as np
from numpy.typing import NDArray

ROUNDS = 4  # of each half
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

_Step = Callable[[NDArray[np.uint64], int, int, int], NDArray[np.uint64]]


def key_of(*parts: object) -> int:
    """Return the 64-bit key of a seed and names, by SHA-256."""
    text = "\x00".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def permute(elements_N: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return the image of each element under the permutation of `key`. Elements are in 0 … size − 1."""
    return _walk(elements_N, size, key, _permute_pairs)


def invert(images_N: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return the element of which each is the image: the inverse of `permute`."""
    return _walk(images_N, size, key, _invert_pairs)


def _walk(elements_N: NDArray[np.int64], size: int, key: int, step: _Step) -> NDArray[np.int64]:
    """Take steps from each element until it is in range."""
    a = isqrt(size - 1) + 1
    b = -(-size // a)
    images_N = elements_N.astype(np.uint64)
    outside_O = np.arange(len(images_N))
    # At most a of the a·b pairs are out of range, so one pass is nearly always enough.
    while len(outside_O):
        images_N[outside_O] = step(images_N[outside_O], a, b, key)
        outside_O = outside_O[images_N[outside_O] >= size]
    return images_N.astype(np.int64)


def _permute_pairs(x_N: NDArray[np.uint64], a: int, b: int, key: int) -> NDArray[np.uint64]:
    left_N, right_N = x_N % np.uint64(a), x_N // np.uint64(a)
    for number in range(ROUNDS):
        left_N = (left_N + _mix(right_N, key, 2 * number) % np.uint64(a)) % np.uint64(a)
        right_N = (right_N + _mix(left_N, key, 2 * number + 1) % np.uint64(b)) % np.uint64(b)
    return left_N + np.uint64(a) * right_N


def _invert_pairs(x_N: NDArray[np.uint64], a: int, b: int, key: int) -> NDArray[np.uint64]:
    left_N, right_N = x_N % np.uint64(a), x_N // np.uint64(a)
    for number in reversed(range(ROUNDS)):
        # Adding b − r in place of subtracting r keeps unsigned numbers from wrapping around.
        right_N = (right_N + np.uint64(b) - _mix(left_N, key, 2 * number + 1) % np.uint64(b)) % np.uint64(b)
        left_N = (left_N + np.uint64(a) - _mix(right_N, key, 2 * number) % np.uint64(a)) % np.uint64(a)
    return left_N + np.uint64(a) * right_N


def _mix(x_N: NDArray[np.uint64], key: int, number: int) -> NDArray[np.uint64]:
    """SplitMix64's finalizer. Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"."""
    z_N = x_N + np.uint64((key + (number + 1) * _GOLDEN) & _MASK)  # arrays of uint64 wrap around without a warning
    z_N = (z_N ^ (z_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z_N = (z_N ^ (z_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z_N ^ (z_N >> np.uint64(31))
