"""The order of a source that is cut into sequences of T tokens, wherever its documents begin and end.

An epoch holds each token of the source once. Of each run of unread tokens within a chunk, as many sequences are cut as
it holds; what is left between them comes at the end of the epoch, joined. The sequences of a window, some thousand, are
permuted, so that pieces of one document lie far apart. A phase with another T goes on with what is unread.

Everything follows from the source, the seed and the cursor. A position counts the tokens of what was unread at the
cursor, in the order in which they are cut.

Legend: N sequences, L sequences left in a window, S series.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np

from trainer.data.cursor import (
    ChunkOrder,
    Cursor,
    Longs,
    PlaceRange,
    Run,
    SourceLayout,
    by_chunk,
    epoch_start,
    joined,
    window_count,
)
from trainer.data.permutation import key_of, permute

_CACHED_CHUNKS = 256  # permuted together, because many cost no more than one

Whole = TypeVar("Whole", int, Longs)


class _Series(NamedTuple):
    """`repeats` ranges of `width` places, with starts `stride` apart."""

    first: int
    width: int
    stride: int
    repeats: int


class _Rest(NamedTuple):
    """The rest of an epoch in the order in which it is cut, with the position at which each series ends."""

    series: tuple[_Series, ...]
    ends: tuple[int, ...]
    series_S4: Longs  # the same as arrays
    ends_S: Longs
    within: int  # sequences that lie within one chunk: the first ones
    whole: int  # sequences of T tokens
    sequences: int  # with the short one, if there is one
    windows_within: int
    windows: int

    def parts(self, start: int, stop: int) -> Iterator[PlaceRange]:
        """Yield the places of the positions start … stop − 1, in order; none beyond the end."""
        stop = min(stop, self.ends[-1])
        number = bisect_right(self.ends, start)
        while start < stop:
            first, width, stride, repeats = self.series[number]
            repeat, inside = divmod(start - self.ends[number] + width * repeats, width)
            place = first + repeat * stride + inside
            taken = min(width - inside, stop - start)
            yield PlaceRange(place, place + taken)
            start += taken
            if repeat == repeats - 1 and inside + taken == width:
                number += 1

    def window(self, number: int) -> PlaceRange:
        """Return the sequences of a window; windows are as equal as can be."""
        if number < self.windows_within:
            start, stop = (self.within * each // self.windows_within for each in (number, number + 1))
            return PlaceRange(start, stop)
        number, count, others = (
            number - self.windows_within,
            self.windows - self.windows_within,
            self.whole - self.within,
        )
        return PlaceRange(self.within + others * number // count, self.within + others * (number + 1) // count)

    def window_of(self, number_N: Longs) -> Longs:
        """Return the window of each sequence, as `window` divides them; of a short one, any."""
        window_N = ((number_N + 1) * self.windows_within - 1) // max(1, self.within)
        count, others = self.windows - self.windows_within, self.whole - self.within
        later_N = self.windows_within + ((number_N - self.within + 1) * count - 1) // max(1, others)
        return np.where(number_N < self.within, window_N, later_N)


class CutOrder:
    """A source's sequences of T tokens from a cursor on, counted from 0."""

    def __init__(self, layout: SourceLayout, seed: int, start: Cursor) -> None:
        self.layout, self.start, self.sequence_tokens, self._seed = layout, start, start.sequence_tokens, seed
        self._cached_chunks = lru_cache(maxsize=4)(self._permuted_chunks)
        self._first = self._rest(start.unread)
        self._full = self._rest((PlaceRange(0, layout.tokens),))

    def cursor(self, sequences: int) -> Cursor:
        """Return the cursor after so many sequences."""
        count, width = self.start.done + sequences, self.sequence_tokens
        if count < self._first.sequences:
            return replace(self.start, done=count, read=count * width)
        epochs, done = divmod(count - self._first.sequences, self._full.sequences)
        start = epoch_start(self.layout.tokens, self.start.epoch + 1 + epochs, width, whole_documents=False)
        return replace(start, done=done, read=done * width)

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

    def offsets(self, epoch_N: Longs, position_N: Longs) -> Longs:
        """Return where in the source the T + 1 tokens of each sequence lie, or −1 if they are not adjacent there."""
        offset_N = np.full(len(position_N), -1)
        for epoch in sorted(set(epoch_N.tolist())):
            rest = self._rest_of(epoch)
            at_N = np.flatnonzero((epoch_N == epoch) & (position_N < rest.within * self.sequence_tokens))
            if len(at_N):
                number_N = np.searchsorted(rest.ends_S, position_N[at_N], "right")
                first_N, width_N, stride_N, repeats_N = rest.series_S4[number_N].T
                begin_N = rest.ends_S[number_N] - width_N * repeats_N
                repeat_N, inside_N = np.divmod(position_N[at_N] - begin_N, width_N)
                place_N = first_N + repeat_N * stride_N + inside_N
                offset_N[at_N] = ChunkOrder(self.layout, self._seed, epoch).offsets(place_N)
        return np.where(offset_N + self.sequence_tokens < self.layout.tokens, offset_N, -1)

    def runs(self, epoch: int, position: int) -> list[Run]:
        """Return the T + 1 tokens of a sequence, run by run; fewer at the end of an epoch or of the source."""
        runs, column = list[Run](), 0
        for start, stop in self._offset_ranges(epoch, position):
            if runs and runs[-1].stop == start:
                runs[-1] = runs[-1]._replace(stop=stop)
            else:
                runs.append(Run(column, start, stop, is_seam=column > 0))
            column += stop - start
        if column == self.sequence_tokens and runs[-1].stop < self.layout.tokens:
            runs[-1] = runs[-1]._replace(stop=runs[-1].stop + 1)
        return runs

    def unread(self) -> tuple[PlaceRange, ...]:
        """Return the places of the cursor's epoch that are still to be read."""
        rest, width, done = self._first, self.sequence_tokens, self.start.done
        if done >= rest.whole:
            return joined(rest.parts(done * width, rest.ends[-1]))
        # The sequences left in the window that is being read, then all behind it.
        window = rest.window(int(rest.window_of(np.array([done]))[0]))
        left_L = self._permuted(rest, self.start.epoch, np.arange(done, window.stop))
        parts = [part for number in left_L.tolist() for part in rest.parts(number * width, (number + 1) * width)]
        return joined([*parts, *rest.parts(window.stop * width, rest.ends[-1])])

    def _offset_ranges(self, epoch: int, position: int) -> Iterator[PlaceRange]:
        """Yield the ranges of offsets that a sequence consists of; each lies within a chunk."""
        chunk, count = self.layout.chunk_tokens, self.layout.tokens // self.layout.chunk_tokens
        for place, stop in self._rest_of(epoch).parts(position, position + self.sequence_tokens):
            while place < stop:
                number, inside = divmod(place, chunk)
                end, offset = stop, place
                if number < count:  # behind them comes the remainder, which is not permuted
                    end = min(stop, place - inside + chunk)
                    block = self._cached_chunks(epoch, number // _CACHED_CHUNKS)
                    offset = block[number % _CACHED_CHUNKS] * chunk + inside
                yield PlaceRange(offset, offset + end - place)
                place = end

    def _permuted(self, rest: _Rest, epoch: int, number_N: Longs) -> Longs:
        """Return the image of each sequence under the permutation of its window; a short one stays the last."""
        image_N, window_N = number_N.copy(), rest.window_of(number_N)
        for number in sorted(set(window_N[number_N < rest.whole].tolist())):
            start, stop = rest.window(number)
            inside = (window_N == number) & (number_N < rest.whole)
            key = key_of(self._seed, self.layout.identity, epoch, "window", number)
            image_N[inside] = start + permute(number_N[inside] - start, stop - start, key)
        return image_N

    def _rest_of(self, epoch: int) -> _Rest:
        return self._first if epoch == self.start.epoch else self._full

    def _rest(self, unread: Iterable[PlaceRange]) -> _Rest:
        """Order what is unread: first whole sequences within each chunk, then what is left between them."""
        chunk, width = self.layout.chunk_tokens, self.sequence_tokens
        within, left = list[_Series](), list[_Series]()
        for each in _series(unread, self.layout):
            used = each.width // width * width
            if used == each.stride:  # without gaps: one range
                within.append(_Series(each.first, used * each.repeats, used * each.repeats, 1))
            else:
                within.append(_Series(each.first, used, each.stride, each.repeats))
                left.append(_Series(each.first + used, each.width - used, each.stride, each.repeats))
        series = tuple(each for each in (*within, *left) if each.width)
        ends = tuple(accumulate(each.width * each.repeats for each in series))
        count = sum(each.width * each.repeats for each in within) // width
        whole, short = divmod(ends[-1], width)
        windows = [min(number, window_count(number * width, chunk)) for number in (count, whole - count)]
        arrays = np.array(series, np.int64), np.array(ends, np.int64)
        return _Rest(series, ends, *arrays, count, whole, whole + (short > 0), windows[0], sum(windows))

    def _permuted_chunks(self, epoch: int, block: int) -> list[int]:
        """Return the chunks at _CACHED_CHUNKS consecutive places of an epoch."""
        order = ChunkOrder(self.layout, self._seed, epoch)
        number_N = np.arange(block * _CACHED_CHUNKS, min(order.count, (block + 1) * _CACHED_CHUNKS))
        chunks: list[int] = (order.offsets(number_N * order.chunk_tokens) // order.chunk_tokens).tolist()
        return chunks


def _series(unread: Iterable[PlaceRange], layout: SourceLayout) -> Iterator[_Series]:
    """Yield what is unread, whole chunks and parts of chunks, in the order of places."""
    whole, parts = by_chunk(unread, layout)
    for start, stop in sorted(whole + parts):
        tokens, chunk = stop - start, layout.chunk_tokens
        width = chunk if tokens % chunk == 0 else tokens
        yield _Series(start, width, width, tokens // width)
