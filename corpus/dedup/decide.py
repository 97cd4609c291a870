"""Which documents go: exact copies first, then near duplicates, each for a document that stays.

Ranks are places in policy order, 0 first. A document's fate depends only on those before it, so what is added behind
an old set changes nothing in it, and is decided as a joint run would.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.buckets import Buckets
from corpus.dedup.jaccard import Loaded, LoadShingles, jaccard
from corpus.dedup.settings import Dedup, Near

REVISION = 1  # raise it when any decision changes

Ranks = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Documents:
    """Columns; the row is the rank in policy order."""

    content_hash: NDArray[np.uint8]  # [documents, 16]
    bands: NDArray[np.uint64]  # [documents, bands]; any value where there are none
    has_bands: NDArray[np.bool_]  # [documents]


@dataclass(slots=True)
class Counts:
    """What was compared, and what was not."""

    exact: int = 0  # removed as copies of a document that stays
    near: int = 0  # removed as near duplicates, and the exact copies of such
    candidates: int = 0  # pairs of a document and a kept one that share a band, up to the cap in each bucket
    compared: int = 0  # of these: a document's first match ends its comparisons
    false_candidates: int = 0  # compared, and below the threshold
    hot_buckets: int = 0  # with more kept documents than the cap
    not_compared: int = 0  # kept documents that a document that stayed was not compared with, summed over its buckets


@dataclass(frozen=True, slots=True)
class Decisions:
    """Columns, one row for each removed document, by its rank; every survivor stays."""

    removed: Ranks
    survivor: Ranks
    intersection: NDArray[np.int64]  # of the sets of shingles; 1 and 1 for an exact copy
    union: NDArray[np.int64]
    near: NDArray[np.bool_]  # the reason: near duplicate, or exact copy
    counts: Counts


def decide(
    documents: Documents, load_shingles: LoadShingles, settings: Dedup, *, cache_bytes: int = 256_000_000
) -> Decisions:
    """Decides each document. `load_shingles(rank)` is asked only for documents that share a band; up to `cache_bytes`
    of what it returned is held."""
    count = len(documents.has_bands)
    first = _first_copies(documents.content_hash) if settings.exact else np.arange(count, dtype=np.int64)
    survivor, intersection, union = first.copy(), np.ones(count, dtype=np.int64), np.ones(count, dtype=np.int64)
    counts = Counts()
    if settings.near:
        rows = np.flatnonzero(documents.has_bands & (first == np.arange(count)))
        matches = _match(documents.bands, rows, Loaded(load_shingles, cache_bytes), settings.near, counts)
        for rank, match in matches:
            survivor[rank], intersection[rank], union[rank] = match
    survivor, intersection, union = survivor[first], intersection[first], union[first]  # copies follow the first
    near = survivor != first
    removed = np.flatnonzero(survivor != np.arange(count))
    counts.near, counts.exact = int(near.sum()), len(removed) - int(near.sum())
    return Decisions(removed, survivor[removed], intersection[removed], union[removed], near[removed], counts)


def _first_copies(content_hash: NDArray[np.uint8]) -> Ranks:
    """For each document the first in policy order with its content, often itself."""
    halves = np.ascontiguousarray(content_hash).view(np.uint64)
    order = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: ascending ranks in each group
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


Match = tuple[int, int, int]  # survivor's rank, intersection, union


def _match(
    bands: NDArray[np.uint64], rows: Ranks, loaded: Loaded, near: Near, counts: Counts
) -> list[tuple[int, Match]]:
    """The near duplicates among the documents of these ranks, each with the first kept document that it matches."""
    buckets = Buckets(bands, rows, near.bucket_cap)
    sizes = np.zeros(len(rows), dtype=np.int64)
    found: list[tuple[int, Match]] = []
    for row in buckets.in_turn():
        beside, beyond = buckets.kept_beside(row)
        counts.candidates += len(beside)
        match = _first_match(row, beside, rows, sizes, loaded, near.at_least, counts) if len(beside) else None
        if match is None:
            buckets.keep(row)
            counts.not_compared += beyond
        else:
            found.append((int(rows[row]), match))
    counts.hot_buckets = buckets.hot
    return found


def _first_match(
    row: int, beside: Ranks, rows: Ranks, sizes: Ranks, loaded: Loaded, at_least: float, counts: Counts
) -> Match | None:
    """`sizes` holds those seen so far (0: not seen): sets that differ too much in size need not be loaded again."""
    own = loaded[int(rows[row])]
    sizes[row] = len(own)
    for other, size in zip(beside.tolist(), sizes[beside].tolist(), strict=True):
        counts.compared += 1
        if size == 0 or min(size, len(own)) / max(size, len(own)) >= at_least:
            theirs = loaded[int(rows[other])]
            sizes[other] = len(theirs)
            shared, union = jaccard(own, theirs)
            if shared / union >= at_least:  # 4 / 5 is the float that 0.8 is, which the exact fraction would not be
                return int(rows[other]), shared, union
        counts.false_candidates += 1
    return None
