"""Decide which documents go: exact copies first, then near duplicates, each in favour of a document that stays.

Ranks are positions in policy order, 0 first. A decision depends only on the documents before, so documents added at
the end change no earlier decision, and are decided as in a joint run.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.buckets import Buckets
from corpus.dedup.settings import Dedup, Near
from corpus.dedup.shingles import Shingles, jaccard

REVISION = 1  # raised whenever a decision changes

Ranks = NDArray[np.int64]
LoadShingles = Callable[[int], Shingles]  # by rank


@dataclass(frozen=True, slots=True)
class DedupColumns:
    """Hashes of all documents as columns; the row is the rank."""

    content_hash: NDArray[np.uint8]  # [documents, 16]
    bands: NDArray[np.uint64]  # [documents, bands]; any value for documents without bands
    has_bands: NDArray[np.bool_]  # [documents]


@dataclass(slots=True)
class ComparisonCounts:
    """Numbers of removals and comparisons."""

    exact: int = 0  # removed as copies of a document that stays
    near: int = 0  # removed as near duplicates, and the exact copies of these
    candidates: int = 0  # pairs of a document and a kept one that share a band, up to the cap in each bucket
    compared: int = 0  # of these: comparisons end at a document's first match
    false_candidates: int = 0  # compared, and below the threshold
    hot_buckets: int = 0  # with more kept documents than the cap
    not_compared: int = 0  # kept documents beyond the caps, summed over the buckets of documents that stay


@dataclass(frozen=True, slots=True)
class Removals:
    """Columns with a row for each removed document; every survivor stays."""

    removed: Ranks
    survivor: Ranks
    intersection: NDArray[np.int64]  # of the shingle sets; 1 and 1 for an exact copy
    union: NDArray[np.int64]
    near: NDArray[np.bool_]  # True: near duplicate, False: exact copy
    counts: ComparisonCounts


def decide(
    documents: DedupColumns, load_shingles: LoadShingles, settings: Dedup, *, cache_bytes: int = 256_000_000
) -> Removals:
    """Decide all documents. Shingles are loaded only if two documents share a band, and cached up to `cache_bytes`."""
    # Exact copies: only the first of them is compared further.
    every = np.arange(len(documents.has_bands), dtype=np.int64)
    first = _first_copies(documents.content_hash) if settings.exact else every
    survivor, intersection, union = first.copy(), np.ones_like(every), np.ones_like(every)
    # Near duplicates among the first copies.
    counts = ComparisonCounts()
    if settings.near:
        rows = np.flatnonzero(documents.has_bands & (first == every))
        cache = ShingleCache(load_shingles, cache_bytes)
        for rank, match in _match(documents.bands, rows, cache, settings.near, counts):
            survivor[rank], intersection[rank], union[rank] = match
    # Other copies share the decision on the first.
    survivor, intersection, union = survivor[first], intersection[first], union[first]
    near = survivor != first
    removed = np.flatnonzero(survivor != every)
    counts.near, counts.exact = int(near.sum()), len(removed) - int(near.sum())
    return Removals(removed, survivor[removed], intersection[removed], union[removed], near[removed], counts)


def _first_copies(content_hash: NDArray[np.uint8]) -> Ranks:
    """Return for each document the first with the same content, which may be itself."""
    halves = np.ascontiguousarray(content_hash).view(np.uint64)
    order = np.lexsort((halves[:, 0], halves[:, 1]))  # stable: ascending ranks in each group
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (halves[order[1:]] != halves[order[:-1]]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first


Match = tuple[int, int, int]  # survivor's rank, intersection, union


def _match(
    bands: NDArray[np.uint64], rows: Ranks, cache: "ShingleCache", near: Near, counts: ComparisonCounts
) -> list[tuple[int, Match]]:
    """Return the near duplicates among the documents of these ranks, with the first kept document that each matches."""
    buckets = Buckets(bands, rows, near.bucket_cap)
    sizes = np.zeros(len(rows), dtype=np.int64)
    matches: list[tuple[int, Match]] = []
    for row in buckets.in_turn():
        beside, beyond = buckets.kept_beside(row)
        counts.candidates += len(beside)
        match = _first_match(row, beside, rows, sizes, cache, near.at_least, counts) if len(beside) else None
        if match is None:
            buckets.keep(row)
            counts.not_compared += beyond
        else:
            matches.append((int(rows[row]), match))
    counts.hot_buckets = buckets.hot
    return matches


def _first_match(
    row: int,
    beside: Ranks,
    rows: Ranks,
    sizes: Ranks,
    cache: "ShingleCache",
    at_least: float,
    counts: ComparisonCounts,
) -> Match | None:
    """Return the first match of a row. `sizes` has the known set sizes, or 0: unlike sizes need no comparison."""
    own = cache[int(rows[row])]
    sizes[row] = len(own)
    for other, size in zip(beside.tolist(), sizes[beside].tolist(), strict=True):
        counts.compared += 1
        if size == 0 or min(size, len(own)) / max(size, len(own)) >= at_least:
            theirs = cache[int(rows[other])]
            sizes[other] = len(theirs)
            shared, union = jaccard(own, theirs)
            if shared / union >= at_least:  # in floats, so that 4 / 5 passes 0.8
                return int(rows[other]), shared, union
        counts.false_candidates += 1
    return None


class ShingleCache:
    """Shingle sets by rank; the ones used last are kept, up to `limit_bytes`."""

    def __init__(self, load: LoadShingles, limit_bytes: int) -> None:
        self._load, self._left_bytes = load, limit_bytes
        self._sets: OrderedDict[int, Shingles] = OrderedDict()

    def __getitem__(self, rank: int) -> Shingles:
        if rank in self._sets:
            self._sets.move_to_end(rank)
            return self._sets[rank]
        shingles = self._load(rank)
        assert len(shingles), f"document {rank} has bands but no shingles"
        self._sets[rank] = shingles
        self._left_bytes -= shingles.nbytes
        while self._left_bytes < 0:
            self._left_bytes += self._sets.popitem(last=False)[1].nbytes
        return shingles
