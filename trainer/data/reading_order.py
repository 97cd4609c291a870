"""The order in which a source's tokens are read: chunks, windows and epochs, as arithmetic.

An epoch holds each token of the source once. Its chunks are permuted, and cut into sequences of T tokens. The sequences
of a window, some thousand, are permuted in turn, so that pieces of one document lie far apart. A phase with another T
goes on with the chunks that are untouched; what earlier phases have left between the sequences that they read comes at
the end of the epoch. If T does not divide what there is to read, the last sequence is short.

Everything follows from the source, the seed and the cursor. A place is a position in the order of an epoch's chunks; a
position counts the tokens that are left of the epoch in the order in which they are read.

Legend: N sequences, L sequences left in a window.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.data.permutation import key_of, permute

MIN_CHUNK_TOKENS, MAX_CHUNK_TOKENS = 1 << 10, 1 << 18
LEAST_CHUNKS = 64  # of a source, unless they would be shorter than MIN_CHUNK_TOKENS
WINDOW_CHUNKS = 128
_CACHED_CHUNKS = 256  # permuted together, because many cost no more than one

Longs = NDArray[np.int64]
Whole = TypeVar("Whole", int, Longs)


class PlaceRange(NamedTuple):
    """The numbers start … stop − 1."""

    start: int
    stop: int


class SourceLayout(NamedTuple):
    """The facts about a source that determine its order."""

    identity: str  # of its corpus and of itself in there
    tokens: int  # of an epoch
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Progress in a source: `done` sequences of what was unread of the epoch when their length began."""

    epoch_tokens: int
    epoch: int
    unread: tuple[PlaceRange, ...]  # places; ascending, neither empty nor adjacent
    sequence_tokens: int  # 0 if the source was never read
    done: int

    @property
    def tokens_read(self) -> int:
        """Tokens read since the first epoch began."""
        unread = _length(self.unread)
        return (self.epoch + 1) * self.epoch_tokens - unread + min(unread, self.done * self.sequence_tokens)


def first_cursor(tokens: int) -> Cursor:
    """Return the cursor of a source that was never read."""
    return Cursor(tokens, 0, (PlaceRange(0, tokens),), 0, 0)


def chunk_tokens(tokens: int) -> int:
    """Return the size of the chunks of a source: a power of two, which the usual sequence lengths divide."""
    fitting = 1 << max(0, (tokens // LEAST_CHUNKS).bit_length() - 1)
    return min(MAX_CHUNK_TOKENS, max(MIN_CHUNK_TOKENS, fitting))


class _Rest(NamedTuple):
    """The rest of an epoch: ranges of places in reading order, with the position at which each ends."""

    intervals: tuple[PlaceRange, ...]
    ends: tuple[int, ...]
    whole_sequences: int
    sequences: int  # with the short one, if there is one
    windows: int  # of whole sequences

    def parts(self, start: int, stop: int) -> Iterator[PlaceRange]:
        """Yield the places of the positions start … stop − 1, in order; none beyond the end."""
        stop = min(stop, self.ends[-1])
        number = bisect_right(self.ends, start)
        while start < stop:
            end = min(stop, self.ends[number])
            last = self.intervals[number].stop - (self.ends[number] - end)
            yield PlaceRange(last - (end - start), last)
            start, number = end, number + 1

    def window(self, number: int) -> PlaceRange:
        """Return the sequences of a window; windows are as equal as can be."""
        start, stop = (self.whole_sequences * each // self.windows for each in (number, number + 1))
        return PlaceRange(start, stop)

    def window_of(self, number: Whole) -> Whole:
        """Return the window of each sequence, as `window` divides them; of a short one, a window of none."""
        return ((number + 1) * self.windows - 1) // max(1, self.whole_sequences)


class ReadingOrder:
    """A source's sequences of T tokens from a cursor on, counted from 0."""

    def __init__(self, layout: SourceLayout, seed: int, cursor: Cursor, sequence_tokens: int) -> None:
        self.layout, self.sequence_tokens, self._seed = layout, sequence_tokens, seed
        self._whole_tokens = layout.tokens // layout.chunk_tokens * layout.chunk_tokens
        self._cached_chunks = lru_cache(maxsize=4)(self._permuted_chunks)
        self._given = cursor
        if cursor.sequence_tokens != sequence_tokens:
            cursor = _of_length(layout, seed, cursor, sequence_tokens)
        self.start = cursor
        self._first = self._rest(cursor.unread)
        self._full = self._rest((PlaceRange(0, layout.tokens),))

    def cursor(self, sequences: int) -> Cursor:
        """Return the cursor after so many sequences; after none, the one that was given, whatever its length."""
        if not sequences:
            return self._given
        count = self.start.done + sequences
        if count < self._first.sequences:
            return replace(self.start, done=count)
        epochs, done = divmod(count - self._first.sequences, self._full.sequences)
        unread = (PlaceRange(0, self.layout.tokens),)
        return Cursor(self.layout.tokens, self.start.epoch + 1 + epochs, unread, self.sequence_tokens, done)

    def locate(self, sequences_N: Longs) -> tuple[Longs, Longs]:
        """Return the epoch of each sequence, and the position in it at which the sequence begins."""
        count_N = self.start.done + sequences_N
        later_N = count_N - self._first.sequences  # at least 0 in epochs after the first one
        epoch_N = np.where(later_N < 0, -1, later_N // self._full.sequences)
        number_N = np.where(later_N < 0, count_N, later_N % self._full.sequences)
        for epoch in sorted(set(epoch_N.tolist())):
            rest, of_epoch = self._full if epoch >= 0 else self._first, epoch_N == epoch
            number_N[of_epoch] = self._permuted(rest, self.start.epoch + 1 + epoch, number_N[of_epoch])
        return self.start.epoch + 1 + epoch_N, number_N * self.sequence_tokens

    def offsets(self, epoch_N: Longs, position_N: Longs, count: int) -> Longs:
        """Return where in the source `count` tokens from each position lie, or −1 if they are not adjacent there."""
        offset_N = np.full(len(position_N), -1)
        chunk = self.layout.chunk_tokens
        for epoch in sorted(set(epoch_N.tolist())):
            rest, at_N = self._rest_of(epoch), np.flatnonzero(epoch_N == epoch)
            ends = np.array(rest.ends)
            number_N = np.searchsorted(ends, position_N[at_N], "right")
            stops_N = np.array([interval.stop for interval in rest.intervals])[number_N]
            place_N = stops_N - (ends[number_N] - position_N[at_N])
            whole_N = place_N + count <= np.minimum(stops_N, self._whole_tokens)
            is_inside_N = whole_N & (place_N % chunk + count <= chunk)
            at_N, place_N = at_N[is_inside_N], place_N[is_inside_N]
            if len(at_N):
                chunks = permute(place_N // chunk, self._whole_tokens // chunk, self._key(epoch))
                offset_N[at_N] = chunks * chunk + place_N % chunk
        return offset_N

    def runs(self, epoch: int, position: int, count: int) -> Iterator[PlaceRange]:
        """Yield the offsets in the source of `count` tokens from a position, run by run; fewer at the epoch's end."""
        chunk = self.layout.chunk_tokens
        for place, stop in self._rest_of(epoch).parts(position, position + count):
            while place < stop:
                end = stop
                offset = place
                if place < self._whole_tokens:  # behind them comes the remainder, which is not permuted
                    number, inside = divmod(place, chunk)
                    end = min(stop, place - inside + chunk)
                    block = self._cached_chunks(epoch, number // _CACHED_CHUNKS)
                    offset = block[number % _CACHED_CHUNKS] * chunk + inside
                yield PlaceRange(offset, offset + end - place)
                place = end

    def unread(self) -> tuple[PlaceRange, ...]:
        """Return the places of the cursor's epoch that are still to be read."""
        rest, width = self._first, self.sequence_tokens
        # The sequences left in the window that is being read, then all behind it.
        window = rest.window(rest.window_of(self.start.done))
        left_L = self._permuted(rest, self.start.epoch, np.arange(self.start.done, window.stop))
        parts = [part for number in left_L.tolist() for part in rest.parts(number * width, (number + 1) * width)]
        behind = max(self.start.done, window.stop) * width
        return _joined([*parts, *rest.parts(behind, rest.ends[-1])])

    def _permuted(self, rest: _Rest, epoch: int, number_N: Longs) -> Longs:
        """Return the image of each sequence under the permutation of its window; a short one stays the last."""
        image_N, window_N = number_N.copy(), rest.window_of(number_N)
        for number in sorted(set(window_N[number_N < rest.whole_sequences].tolist())):
            start, stop = rest.window(number)
            inside = window_N == number
            key = key_of(self._seed, self.layout.identity, epoch, "window", number)
            image_N[inside] = start + permute(number_N[inside] - start, stop - start, key)
        return image_N

    def _rest_of(self, epoch: int) -> _Rest:
        return self._first if epoch == self.start.epoch else self._full

    def _rest(self, unread: Iterable[PlaceRange]) -> _Rest:
        """Order what is unread: whole chunks first, then the parts of chunks."""
        chunk, whole, parts = self.layout.chunk_tokens, list[PlaceRange](), list[PlaceRange]()
        for start, stop in unread:
            first = min(stop, -(-start // chunk) * chunk)
            last = max(first, min(stop, self._whole_tokens) // chunk * chunk)
            whole.append(PlaceRange(first, last))
            parts += [PlaceRange(start, first), PlaceRange(last, stop)]
        intervals = tuple(interval for interval in (*whole, *parts) if interval.start < interval.stop)
        ends = tuple(accumulate(stop - start for start, stop in intervals))
        sequences, short = divmod(ends[-1], self.sequence_tokens)
        windows = round(ends[-1] / (WINDOW_CHUNKS * chunk))
        return _Rest(intervals, ends, sequences, sequences + (short > 0), max(1, min(sequences, windows)))

    def _permuted_chunks(self, epoch: int, block: int) -> list[int]:
        """Return the chunks at _CACHED_CHUNKS consecutive places of an epoch."""
        count = self._whole_tokens // self.layout.chunk_tokens
        places_N = np.arange(block * _CACHED_CHUNKS, min(count, (block + 1) * _CACHED_CHUNKS))
        chunks: list[int] = permute(places_N, count, self._key(epoch)).tolist()
        return chunks

    def _key(self, epoch: int) -> int:
        return key_of(self._seed, self.layout.identity, epoch)


def _of_length(layout: SourceLayout, seed: int, cursor: Cursor, sequence_tokens: int) -> Cursor:
    """Return the cursor with sequences of another length."""
    unread = ReadingOrder(layout, seed, cursor, cursor.sequence_tokens).unread() if cursor.done else cursor.unread
    return Cursor(layout.tokens, cursor.epoch, unread, sequence_tokens, 0)


def _joined(intervals: Iterable[PlaceRange]) -> tuple[PlaceRange, ...]:
    """Return disjoint intervals in ascending order, adjacent ones joined."""
    joined = list[PlaceRange]()
    for start, stop in sorted(intervals):
        if joined and joined[-1].stop == start:
            joined[-1] = PlaceRange(joined[-1].start, stop)
        else:
            joined.append(PlaceRange(start, stop))
    return tuple(joined)


def _length(intervals: Iterable[PlaceRange]) -> int:
    return sum(stop - start for start, stop in intervals)
