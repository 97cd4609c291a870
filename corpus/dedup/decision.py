"""The decision that deduplication makes about one document, and the choice of the holdout."""

from typing import NamedTuple

from corpus.document import keyed_hash


class Decision(NamedTuple):
    """A row of the decisions table: a split if the document stays, else the survivor that it is a copy of."""

    id: str
    split: str | None  # "train" or "holdout"; None: merged
    survivor: str | None  # id of the document that stays in its place
    survivor_source: str | None
    intersection: int | None  # shared word n-grams; 1 for an exact copy
    union: int | None
    reason: str | None  # "exact" or "near"


def held_out(survivor_id: str, seed: int, share: float) -> bool:
    """True if a document and its copies are in the holdout. Depends on its id alone, not on the rest of the corpus."""
    return keyed_hash(seed, "holdout", survivor_id) < share * 2**64
