"""A source's tokens in reading order: chunks, the places of an epoch, and cursors.

The chunks of a source are permuted in each epoch. A place is a position in the order of an epoch's chunks; an offset is
one in the source.

Legend: N places or offsets.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.data.permutation import invert, key_of, permute

MIN_CHUNK_TOKENS, MAX_CHUNK_TOKENS = 1 << 10, 1 << 18
LEAST_CHUNKS = 64  # of a source, unless they would be shorter than MIN_CHUNK_TOKENS
WINDOW_CHUNKS = 128  # sequences are permuted within windows of about so many chunks

Longs = NDArray[np.int64]


class PlaceRange(NamedTuple):
    """The places start … stop − 1."""

    start: int
    stop: int


class Run(NamedTuple):
    """Adjacent tokens of a source, start … stop − 1, that stand in a sequence from `column` on."""

    column: int
    start: int
    stop: int
    is_seam: bool  # the token before it in the sequence is not the one before it in the source, nor a document's end


class SourceLayout(NamedTuple):
    """The facts about a source that determine its order."""

    identity: str  # of its corpus and of itself in there
    tokens: int  # of an epoch
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Progress in a source: the first `done` sequences of what was unread of the epoch when their kind began."""

    epoch_tokens: int
    epoch: int
    unread: tuple[PlaceRange, ...]  # ascending, neither empty nor adjacent
    sequence_tokens: int  # 0 if the source was never read
    # Defaults only for checkpoints of earlier releases, which lack two of these and are refused for their order.
    whole_documents: bool = False
    done: int = 0
    read: int = 0  # tokens in these sequences

    @property
    def tokens_read(self) -> int:
        """Tokens read since the first epoch began."""
        return (self.epoch + 1) * self.epoch_tokens - length(self.unread) + self.read


def first_cursor(tokens: int) -> Cursor:
    """Return the cursor of a source that was never read."""
    return epoch_start(tokens, 0, 0, whole_documents=False)


def epoch_start(tokens: int, epoch: int, sequence_tokens: int, *, whole_documents: bool) -> Cursor:
    """Return the cursor at the start of an epoch."""
    return Cursor(tokens, epoch, (PlaceRange(0, tokens),), sequence_tokens, whole_documents, 0, 0)


def chunk_tokens(tokens: int) -> int:
    """Return the size of the chunks of a source: a power of two, which the usual sequence lengths divide."""
    fitting = 1 << max(0, (tokens // LEAST_CHUNKS).bit_length() - 1)
    return min(MAX_CHUNK_TOKENS, max(MIN_CHUNK_TOKENS, fitting))


def window_count(tokens: int, chunk: int) -> int:
    """Return the number of windows that so many tokens are divided into."""
    return max(1, round(tokens / (WINDOW_CHUNKS * chunk)))


class ChunkOrder:
    """The order of a source's chunks in one epoch. Behind the whole chunks comes the remainder, at its own place."""

    def __init__(self, layout: SourceLayout, seed: int, epoch: int) -> None:
        self.chunk_tokens, self.count = layout.chunk_tokens, layout.tokens // layout.chunk_tokens
        self._key = key_of(seed, layout.identity, epoch)

    def offsets(self, place_N: Longs) -> Longs:
        """Return the offset in the source of each place."""
        chunk_N, inside_N = np.divmod(place_N, self.chunk_tokens)
        is_whole_N = chunk_N < self.count
        if is_whole_N.any():
            chunk_N[is_whole_N] = permute(chunk_N[is_whole_N], self.count, self._key)
        return chunk_N * self.chunk_tokens + inside_N

    def places(self, offset_N: Longs) -> Longs:
        """Return the place of each offset in the source."""
        chunk_N, inside_N = np.divmod(offset_N, self.chunk_tokens)
        is_whole_N = chunk_N < self.count
        if is_whole_N.any():
            chunk_N[is_whole_N] = invert(chunk_N[is_whole_N], self.count, self._key)
        return chunk_N * self.chunk_tokens + inside_N


def joined(ranges: Iterable[PlaceRange]) -> tuple[PlaceRange, ...]:
    """Return disjoint ranges in ascending order, adjacent ones joined."""
    merged = list[PlaceRange]()
    for start, stop in sorted(ranges):
        if merged and merged[-1].stop == start:
            merged[-1] = PlaceRange(merged[-1].start, stop)
        else:
            merged.append(PlaceRange(start, stop))
    return tuple(merged)


def by_chunk(ranges: Iterable[PlaceRange], layout: SourceLayout) -> tuple[list[PlaceRange], list[PlaceRange]]:
    """Divide ranges into those of whole chunks, and those that lie within one chunk."""
    chunk = layout.chunk_tokens
    whole, parts = list[PlaceRange](), list[PlaceRange]()
    for start, stop in ranges:
        first = min(stop, -(-start // chunk) * chunk)
        last = max(first, min(stop, layout.tokens // chunk * chunk) // chunk * chunk)
        whole.append(PlaceRange(first, last))
        parts += [PlaceRange(start, first), PlaceRange(last, stop)]
    return [each for each in whole if each.start < each.stop], [each for each in parts if each.start < each.stop]


def length(ranges: Iterable[PlaceRange]) -> int:
    """Return the number of places in the ranges."""
    return sum(stop - start for start, stop in ranges)
