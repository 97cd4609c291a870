"""A keyed permutation of 0 … size − 1, computed rather than stored: any element at the same cost, for any size.

It is a Feistel network over pairs (left, right) with left < a and right < b, where a·b is slightly above `size`.
Results outside the range are permuted again until they are inside. It is not cryptographic.
Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 4.

Legend: N elements.
"""

import hashlib
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit, jit_no_alloc

ROUNDS = 4  # of each half
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key_of(*parts: object) -> int:
    """Return the 64-bit key of a seed and names, by SHA-256."""
    text = "\x00".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def permute(elements_N: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return the image of each element under the permutation of `key`. Elements are in 0 … size − 1."""
    return _walked(elements_N, size, key, inverse=False)


def invert(images_N: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Return the element of which each is the image: the inverse of `permute`."""
    return _walked(images_N, size, key, inverse=True)


def _walked(elements_N: NDArray[np.int64], size: int, key: int, *, inverse: bool) -> NDArray[np.int64]:
    a = isqrt(size - 1) + 1
    b = -(-size // a)
    images_N = elements_N.astype(np.int64)
    _walk(images_N, np.uint64(size), np.uint64(a), np.uint64(b), np.uint64(key), inverse)
    return images_N


# The kernels compute in uint64, which wraps around. With a signed number, numba would turn to floats.


@cached_jit
def _walk(
    images_N: NDArray[np.int64], size: np.uint64, a: np.uint64, b: np.uint64, key: np.uint64, inverse: bool
) -> None:
    """Take steps from each element, in place, until it is in range."""
    for index in range(len(images_N)):
        image = np.uint64(images_N[index])
        # At most a of the a·b pairs are out of range, so one step is nearly always enough.
        while True:
            image = _invert_pair(image, a, b, key) if inverse else _permute_pair(image, a, b, key)
            if image < size:
                break
        images_N[index] = np.int64(image)


@jit_no_alloc
def _permute_pair(x: np.uint64, a: np.uint64, b: np.uint64, key: np.uint64) -> np.uint64:
    left, right = x % a, x // a
    for number in range(ROUNDS):
        left = (left + _mix(right, key, np.uint64(2 * number)) % a) % a
        right = (right + _mix(left, key, np.uint64(2 * number + 1)) % b) % b
    return left + a * right


@jit_no_alloc
def _invert_pair(x: np.uint64, a: np.uint64, b: np.uint64, key: np.uint64) -> np.uint64:
    left, right = x % a, x // a
    for number in range(ROUNDS - 1, -1, -1):
        # Adding b − r in place of subtracting r keeps unsigned numbers from wrapping around.
        right = (right + b - _mix(left, key, np.uint64(2 * number + 1)) % b) % b
        left = (left + a - _mix(right, key, np.uint64(2 * number)) % a) % a
    return left + a * right


@jit_no_alloc
def _mix(x: np.uint64, key: np.uint64, number: np.uint64) -> np.uint64:
    """SplitMix64's finalizer. Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"."""
    z = x + key + (number + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
