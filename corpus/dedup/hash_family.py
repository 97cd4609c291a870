"""MinHash signatures, value for value those of datasketch's MinHash with its scheme `affine32`.

Of a text's shingle hashes the low 32 bits go in; each permutation is h -> a * h + b modulo 2**32 with an odd a; the
signature holds the least value under each. Source: Broder 1997; datasketch 2.0.0, `datasketch/minhash.py`.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit

SCHEME = "datasketch-affine32"

_MAX = np.uint32(0xFFFFFFFF)
_MURMUR_1, _MURMUR_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_16, _13 = np.uint32(16), np.uint32(13)


@cache
def permutations(count: int, seed: int) -> NDArray[np.uint32]:
    """The multipliers (row 0) and addends (row 1) of datasketch's generator."""
    from datasketch import MinHash

    drawn: NDArray[np.uint32] = MinHash(num_perm=count, seed=seed, scheme="affine32").permutations
    drawn.setflags(write=False)
    return drawn


def signature(shingles: NDArray[np.uint64], permutation: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The least value under each permutation; all ones if there are no shingles. Repetitions change nothing."""
    least = np.full(permutation.shape[1], _MAX, dtype=np.uint32)
    _least(shingles, permutation[0], permutation[1], least)
    return least


@cached_jit
def _least(
    shingles: NDArray[np.uint64], a: NDArray[np.uint32], b: NDArray[np.uint32], least: NDArray[np.uint32]
) -> None:
    for shingle in shingles:
        hashed = np.uint32(shingle)  # the low half; then MurmurHash3's 32-bit finalizer, as datasketch does
        hashed = np.uint32(np.uint32(hashed ^ (hashed >> _16)) * _MURMUR_1)
        hashed = np.uint32(np.uint32(hashed ^ (hashed >> _13)) * _MURMUR_2)
        hashed = np.uint32(hashed ^ (hashed >> _16))
        for k in range(len(least)):
            value = np.uint32(a[k] * hashed + b[k])
            least[k] = min(least[k], value)
