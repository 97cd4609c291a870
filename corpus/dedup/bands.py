"""Bands: two texts are compared when all the rows of at least one band of their signatures agree."""

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit
from corpus.dedup.shingles import mix

_BY_BAND = np.uint64(0x9E3779B97F4A7C15)


def band_hashes(signature: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """One hash for each band over its rows; the band's number is mixed in, so bands do not meet across numbers."""
    hashes = np.empty(bands, dtype=np.uint64)
    _hash_rows(signature, hashes)
    return hashes


@cached_jit
def _hash_rows(signature: NDArray[np.uint32], hashes: NDArray[np.uint64]) -> None:
    rows = len(signature) // len(hashes)
    for band in range(len(hashes)):
        hashed = mix(np.uint64(band + 1) * _BY_BAND)
        for row in range(band * rows, (band + 1) * rows):
            hashed = mix(hashed ^ np.uint64(signature[row]))
        hashes[band] = hashed


def recall(similarity: float, bands: int, rows: int) -> float:
    """The chance that two texts of this Jaccard similarity share a band.

    Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.2.
    """
    return 1 - (1 - similarity**rows) ** bands
