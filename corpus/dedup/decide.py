"""Decide which documents are removed: exact copies first, then near duplicates, each for a document that stays.

Ranks are positions in policy order, 0 first. A decision depends only on documents of earlier rank, so documents added
at the end change no earlier decision, and are decided as in a joint run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import cached_jit
from corpus.dedup.buckets import Buckets
from corpus.dedup.settings import Dedup, Near
from corpus.dedup.shingles import Shingles, ShingleSets, jaccard

REVISION = 2  # raise whenever a decision changes
REPORT_EVERY = 1000  # compared documents

Ranks = NDArray[np.int64]
LoadShingles = Callable[[Ranks], ShingleSets]  # the sets of these documents, in this order
Match = tuple[int, int, int]  # survivor's rank, intersection, union
Progress = Callable[[int], None]  # number of documents decided since the last call


@dataclass(frozen=True, slots=True)
class DedupColumns:
    """Hashes of all documents as columns, in any order of rows."""

    order: Ranks  # row of each rank
    content_hash: NDArray[np.uint8]  # [documents, 16]
    bands: NDArray[np.uint64]  # [documents, bands]; any value for documents without bands
    has_bands: NDArray[np.bool_]  # [documents]


@dataclass(slots=True)
class ComparisonCounts:
    """Numbers of removals and comparisons."""

    exact: int = 0  # removed as copies of a document that stays
    near: int = 0  # removed as near duplicates, and the exact copies of these
    candidates: int = 0  # pairs of a document and a kept one that share a band, up to the caps
    compared: int = 0  # of these: comparisons end at a document's first match
    false_candidates: int = 0  # compared, and below the threshold
    hot_buckets: int = 0  # with more kept documents than the cap
    not_compared: int = 0  # kept documents beyond the caps, summed over the documents that stay


@dataclass(frozen=True, slots=True)
class Removals:
    """Columns with a row for each removed document; every survivor stays."""

    removed: Ranks
    survivor: Ranks
    intersection: NDArray[np.int64]  # of the shingle sets; 1 and 1 for an exact copy
    union: NDArray[np.int64]
    near: NDArray[np.bool_]  # True: near duplicate, False: exact copy
    not_compared: dict[int, int]  # by rank of documents that stay: kept documents beyond the caps
    counts: ComparisonCounts


def decide(
    documents: DedupColumns, load_shingles: LoadShingles, settings: Dedup, progress: Progress = lambda decided: None
) -> Removals:
    """Decide all documents. Shingles are loaded once, of the documents that share a band with another."""
    # Exact copies: only the first of them is compared further.
    ranks = np.arange(len(documents.order), dtype=np.int64)
    first = _first_copies(documents.content_hash[documents.order]) if settings.exact else ranks
    survivor, intersection, union = first.copy(), np.ones_like(ranks), np.ones_like(ranks)
    # Near duplicates among the first copies.
    counts, not_compared = ComparisonCounts(), {}
    if settings.near:
        to_match = np.flatnonzero(documents.has_bands[documents.order] & (first == ranks))
        matcher = _NearMatcher(documents, to_match, settings.near, counts)
        progress(len(ranks) - len(matcher.to_compare))
        for rank, match in matcher.matches(load_shingles, progress):
            survivor[rank], intersection[rank], union[rank] = match
        not_compared = matcher.not_compared
    # Other copies share the decision on the first.
    survivor, intersection, union = survivor[first], intersection[first], union[first]
    near = survivor != first
    removed = np.flatnonzero(survivor != ranks)
    counts.near, counts.exact = int(near.sum()), len(removed) - int(near.sum())
    columns = survivor[removed], intersection[removed], union[removed], near[removed]
    return Removals(removed, *columns, not_compared, counts)


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
    """Finds near duplicates among the documents of the ranks `ranks`; its own rows are positions in them."""

    def __init__(self, documents: DedupColumns, ranks: Ranks, near: Near, counts: ComparisonCounts) -> None:
        self._ranks, self._near, self._counts = ranks, near, counts
        self._buckets = Buckets(documents.bands, documents.order[ranks], near.bucket_cap, near.document_cap)
        self.to_compare = self._buckets.rows_to_compare()
        self.not_compared: dict[int, int] = {}  # by rank

    def matches(self, load_shingles: LoadShingles, progress: Progress) -> Iterator[tuple[int, Match]]:
        """Yield the rank of each near duplicate, with the first kept document that it matches."""
        if not len(self.to_compare):
            return
        sets = load_shingles(self._ranks[self.to_compare])
        assert sets.size.all(), "a document has bands but no shingles"
        place = np.zeros(len(self._ranks), dtype=np.int64)  # of the row's set in `sets`
        place[self.to_compare] = np.arange(len(self.to_compare))
        for number, row in enumerate(self.to_compare.tolist()):
            candidates, beyond = self._buckets.kept_candidates(row)
            compared, shared, union = _first_match(*sets, number, place[candidates], self._near.at_least)
            self._counts.candidates += len(candidates)
            self._counts.compared += compared
            self._counts.false_candidates += compared - (union > 0)
            rank = int(self._ranks[row])
            if union:
                yield rank, (int(self._ranks[candidates[compared - 1]]), shared, union)
            else:
                self._buckets.keep(row)
                if beyond:
                    self.not_compared[rank] = beyond
            if number % REPORT_EVERY == REPORT_EVERY - 1:
                progress(REPORT_EVERY)
        progress(len(self.to_compare) % REPORT_EVERY)
        self._counts.not_compared = sum(self.not_compared.values())
        self._counts.hot_buckets = self._buckets.hot


@cached_jit
def _first_match(
    hashes: Shingles, start: Ranks, size: Ranks, own: int, others: Ranks, at_least: float
) -> tuple[int, int, int]:
    """Compare a set with others up to its first match: number of comparisons, its intersection and union, else 0."""
    for number, other in enumerate(others):
        # Sets whose sizes differ too much cannot reach the threshold.
        if min(size[own], size[other]) / max(size[own], size[other]) < at_least:
            continue
        one = hashes[start[own] : start[own] + size[own]]
        shared, union = jaccard(one, hashes[start[other] : start[other] + size[other]])
        if shared / union >= at_least:  # in floats, so that 4 / 5 passes 0.8
            return number + 1, shared, union
    return len(others), 0, 0
