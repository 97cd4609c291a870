"""Clusters: a document that stays, with all that were merged into it."""

from corpus.document import keyed_hash


def held_out(survivor_id: str, seed: int, share: float) -> bool:
    """Whether this document's cluster is in the holdout: fixed by the survivor's id, whatever else the corpus holds."""
    return keyed_hash(seed, "holdout", survivor_id) < share * 2**64
