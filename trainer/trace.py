"""Which documents stand in the batch of a step: by arithmetic alone, before, during or after the run."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trainer.corpora import Corpora
from trainer.curriculum import PhasePlan
from trainer.loader import Batches
from trainer.stream import Maps


class Span(NamedTuple):
    """Tokens of one document in one sequence. A sequence of T tokens reads T + 1: the last is a target alone."""

    row: int  # in the whole batch
    first: int  # in the sequence
    last: int  # behind the span
    source: str
    id: str  # 32 hex digits, as in the text shards
    document_first: int  # in the document's tokens, of which the last is EOS
    document_tokens: int
    shard: str


def trace(corpora: Corpora, phase: PhasePlan, step: int) -> Iterator[Span]:
    """The spans of a step's whole batch, in the order in which they are read; those of a sequence fill it."""
    maps = Maps()
    batches = Batches(corpora, phase, maps=maps)
    for row, source, start in batches.rows(step):
        at = 0
        for shard, first, last in batches.streams[source].pieces(start, phase.sequence_tokens + 1):
            opened = maps.open(shard, corpora.sources[source])
            offsets = opened.offsets_D1
            number = int(np.searchsorted(offsets, first, side="right")) - 1
            while first < last:
                begin, end = int(offsets[number]), int(offsets[number + 1])
                length = min(last, end) - first
                name = opened.ids_D16[number].tobytes().hex()
                yield Span(row, at, at + length, source, name, first - begin, end - begin, shard.path.name)
                at, first, number = at + length, first + length, number + 1
