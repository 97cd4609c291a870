"""What dedup keeps of a text: the hash of its content, and its bands."""

import hashlib
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.bands import band_hashes
from corpus.dedup.hash_family import SCHEME, permutations, signature
from corpus.dedup.settings import Near
from corpus.dedup.shingles import SHINGLER_REVISION, shingles_in_order, utf8

REVISION = 1  # raise it when any text's sketch changes and SHINGLER_REVISION does not


class Sketch(NamedTuple):
    """`bands` is uint64[bands]; None for a text without words, which is never a near duplicate."""

    content_hash: bytes  # the first 16 bytes of SHA-256 over the UTF-8
    bands: NDArray[np.uint64] | None


def sketch(text: bytes | str, near: Near) -> Sketch:
    """The sketch of one text."""
    data = utf8(text)
    found = shingles_in_order(data, near.ngram_words)
    least = signature(found, permutations(near.permutations, near.seed))
    return Sketch(content_hash(data), band_hashes(least, near.bands) if len(found) else None)


def content_hash(text: bytes | str) -> bytes:
    """16 bytes that only equal texts share."""
    return hashlib.sha256(utf8(text)).digest()[:16]


def family(near: Near) -> dict[str, str | int]:
    """All that bands depend on but the text: two sets of bands can be compared only if their families are equal.

    What decides on a match (`at_least`, `bucket_cap`) is not part of it.
    """
    return {
        "revision": REVISION,
        "shingler_revision": SHINGLER_REVISION,
        "unicode": unicodedata.unidata_version,  # says what is a letter
        "ngram_words": near.ngram_words,
        "scheme": SCHEME,
        "permutations": near.permutations,
        "bands": near.bands,
        "rows": near.rows,
        "seed": near.seed,
    }
