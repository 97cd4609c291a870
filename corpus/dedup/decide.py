"""Decide which documents are removed: exact copies first, then near duplicates, each for a document that stays.

Ranks are positions in policy order, 0 first. A decision depends only on documents of earlier rank, so documents added
at the end change no earlier decision, and are decided as in a joint run.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.dedup.buckets import Buckets
from corpus.dedup.settings import Dedup, Near
from corpus.dedup.shingles import Shingles, jaccard

REVISION = 1  # raise whenever a decision changes

Ranks = NDArray[np.int64]
LoadShingles = Callable[[int], Shingles]  # by rank
Match = tuple[int, int, int]  # survivor's rank, intersection, union


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
    ranks = np.arange(len(documents.has_bands), dtype=np.int64)
    first = _first_copies(documents.content_hash) if settings.exact else ranks
    survivor, intersection, union = first.copy(), np.ones_like(ranks), np.ones_like(ranks)
    # Near duplicates among the first copies.
    counts = ComparisonCounts()
    if settings.near:
        rows = np.flatnonzero(documents.has_bands & (first == ranks))
        cache = ShingleCache(load_shingles, cache_bytes)
        for rank, match in _NearMatcher(rows, cache, settings.near, counts).matches(documents.bands):
            survivor[rank], intersection[rank], union[rank] = match
    # Other copies share the decision on the first.
    survivor, intersection, union = survivor[first], intersection[first], union[first]
    near = survivor != first
    removed = np.flatnonzero(survivor != ranks)
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


class _NearMatcher:
    """Finds near duplicates among the documents of the ranks `rows`."""

    def __init__(self, rows: Ranks, cache: "ShingleCache", near: Near, counts: ComparisonCounts) -> None:
        self._rows, self._cache, self._near, self._counts = rows, cache, near, counts
        self._sizes = np.zeros(len(rows), dtype=np.int64)  # of the shingle sets that were loaded, else 0

    def matches(self, bands: NDArray[np.uint64]) -> Iterator[tuple[int, Match]]:
        """Yield the rank of each near duplicate, with the first kept document that it matches."""
        buckets = Buckets(bands, self._rows, self._near.bucket_cap)
        for row in buckets.rows_to_compare():
            candidates, over_cap = buckets.kept_candidates(row)
            self._counts.candidates += len(candidates)
            match = self._first_match(row, candidates) if len(candidates) else None
            if match:
                yield int(self._rows[row]), match
            else:
                buckets.keep(row)
                self._counts.not_compared += over_cap
        self._counts.hot_buckets = buckets.hot

    def _first_match(self, row: int, candidates: Ranks) -> Match | None:
        own = self._shingles(row)
        for other, size in zip(candidates.tolist(), self._sizes[candidates].tolist(), strict=True):
            self._counts.compared += 1
            # Sets whose sizes differ too much cannot reach the threshold and are not loaded again.
            if size == 0 or min(size, len(own)) / max(size, len(own)) >= self._near.at_least:
                shared, union = jaccard(own, self._shingles(other))
                if shared / union >= self._near.at_least:  # in floats, so that 4 / 5 passes 0.8
                    return int(self._rows[other]), shared, union
            self._counts.false_candidates += 1
        return None

    def _shingles(self, row: int) -> Shingles:
        shingles = self._cache[int(self._rows[row])]
        self._sizes[row] = len(shingles)
        return shingles


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
