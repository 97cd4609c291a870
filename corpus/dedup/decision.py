"""The decision that deduplication makes about one document."""

from typing import NamedTuple


class Decision(NamedTuple):
    """A row of the decisions table: a split if the document stays, else the survivor that it is a copy of."""

    id: str
    split: str | None  # "train" or "holdout"; None: merged
    survivor: str | None  # id of the document that stays in its place
    survivor_source: str | None
    intersection: int | None  # shared word n-grams, for a near duplicate
    union: int | None
    reason: str | None  # "exact" or "near"
