"""MinHash signatures and their bands: two texts are compared if all rows of at least one band agree.

Signatures equal those of datasketch's MinHash with its scheme `affine32`, value for value. The low 32 bits of each
shingle hash are hashed again; each permutation is h -> a * h + b modulo 2**32 with an odd a, and the signature holds
the smallest value under each. Source: Broder 1997; datasketch 2.0.0, `datasketch/minhash.py`.
"""

import hashlib
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit
from corpus.dedup.settings import Near
from corpus.dedup.shingles import SHINGLER_REVISION, mix, shingles_in_order, utf8

REVISION = 1  # raise whenever a text's signature changes and SHINGLER_REVISION does not
SCHEME = "datasketch-affine32"

_BY_BAND = np.uint64(0x9E3779B97F4A7C15)
_MAX = np.uint32(0xFFFFFFFF)
_MURMUR_1, _MURMUR_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_16, _13 = np.uint32(16), np.uint32(13)


class TextSignature(NamedTuple):
    """Hashes by which one text is compared with others."""

    content_hash: bytes  # the first 16 bytes of SHA-256 over the UTF-8
    bands: NDArray[np.uint64] | None  # one hash per band; None for a text without words, which has no near duplicates


def text_signature(text: bytes | str, near: Near) -> TextSignature:
    """Return the content hash and the band hashes of a text."""
    data = utf8(text)
    shingles = shingles_in_order(data, near.ngram_words)
    minima = signature(shingles, permutations(near.permutations, near.seed))
    return TextSignature(content_hash(data), band_hashes(minima, near.bands) if len(shingles) else None)


def content_hash(text: bytes | str) -> bytes:
    """Return 16 bytes that only equal texts share."""
    return hashlib.sha256(utf8(text)).digest()[:16]


def family(near: Near) -> dict[str, str | int]:
    """Return everything but the text that affects its bands. Only bands of the same family can be compared.

    Settings that only affect the comparison (`at_least` and the caps) are not part of it.
    """
    return {
        "revision": REVISION,
        "shingler_revision": SHINGLER_REVISION,
        "unicode": unicodedata.unidata_version,  # defines the letters
        "ngram_words": near.ngram_words,
        "scheme": SCHEME,
        "permutations": near.permutations,
        "bands": near.bands,
        "rows": near.rows,
        "seed": near.seed,
    }


@cache
def permutations(count: int, seed: int) -> NDArray[np.uint32]:
    """Return the multipliers (row 0) and addends (row 1) of datasketch's generator."""
    from datasketch import MinHash

    drawn: NDArray[np.uint32] = MinHash(num_perm=count, seed=seed, scheme="affine32").permutations
    drawn.setflags(write=False)
    return drawn


@cached_jit
def signature(shingles: NDArray[np.uint64], permutation: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the smallest value under each permutation; all ones without shingles. Repetitions change nothing."""
    a, b = permutation[0], permutation[1]
    minima = np.full(len(a), _MAX, np.uint32)
    for shingle in shingles:
        hashed = np.uint32(shingle)  # the low half, then MurmurHash3's 32-bit finalizer, as in datasketch
        hashed = np.uint32(np.uint32(hashed ^ (hashed >> _16)) * _MURMUR_1)
        hashed = np.uint32(np.uint32(hashed ^ (hashed >> _13)) * _MURMUR_2)
        hashed = np.uint32(hashed ^ (hashed >> _16))
        for k in range(len(minima)):
            value = np.uint32(a[k] * hashed + b[k])
            minima[k] = min(minima[k], value)
    return minima


@cached_jit
def band_hashes(signature: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """Return one hash per band over its rows. The band's number is part of it, so different bands never match."""
    hashes = np.empty(bands, np.uint64)
    rows = len(signature) // bands
    for band in range(bands):
        hashed = mix(np.uint64(band + 1) * _BY_BAND)
        for row in range(band * rows, (band + 1) * rows):
            hashed = mix(hashed ^ np.uint64(signature[row]))
        hashes[band] = hashed
    return hashes
