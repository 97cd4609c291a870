"""Clusters: a document that stays, with all that were merged into it."""

import numpy as np

from corpus.dedup.decide import Decisions, Ranks
from corpus.document import keyed_hash


def survivors(decisions: Decisions, count: int) -> Ranks:
    """For each of `count` documents, by rank, the one that stands for its cluster: itself if it stays."""
    survivor = np.arange(count, dtype=np.int64)
    survivor[decisions.removed] = decisions.survivor
    return survivor


def held_out(survivor_id: str, seed: int, share: float) -> bool:
    """Whether this document's cluster is in the holdout: fixed by the survivor's id, whatever else the corpus holds."""
    return keyed_hash(seed, "holdout", survivor_id) < share * 2**64
