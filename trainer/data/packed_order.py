"""The order of a source whose documents are kept whole: none is cut unless it is longer than a sequence of T tokens.

The chunks of what is unread are divided into windows. A piece is a run of unread tokens of one document; it belongs to
the chunk in which it begins. Within a window, pieces longer than T are cut every T tokens, and what is left of them is
packed with the shorter ones into sequences, best-fit decreasing; the rest of a sequence is padding. The sequences of a
window are permuted.

A window is packed when its sequences are needed, from the offsets of its documents alone, so memory holds the pieces of
some windows, about 32 Mi tokens each, and two integers of each window before. To find a sequence, all windows from the
cursor to it are packed once.
Source: Ding et al. 2024, "Fewer truncations improve language modeling", arXiv 2404.10830.

Legend: B blocks of a window, P4 pieces: start and stop in the source, 1 if it begins within its document, 1 if it ends
before its document does. R pieces to pack, S sequences of a window, S1 = S + 1, U ranges of unread places, N offsets.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

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
    window_count,
)
from trainer.data.documents import DocumentStarts
from trainer.data.permutation import key_of, permute

_CACHED_WINDOWS = 8


class PackedOrder:
    """A source's sequences of whole documents from a cursor on, counted from 0."""

    def __init__(self, layout: SourceLayout, seed: int, start: Cursor, documents: DocumentStarts) -> None:
        self.layout, self.start, self.sequence_tokens, self._seed = layout, start, start.sequence_tokens, seed
        self._documents = documents
        self._first = _Unread.of(start.unread, layout)
        self._full = _Unread.of((PlaceRange(0, layout.tokens),), layout)
        self._packed = lru_cache(_CACHED_WINDOWS)(self._pack)
        # Of each window that was packed: sequences and tokens up to its end, from the start of the cursor's epoch.
        self._sequence_ends, self._token_ends = list[int](), list[int]()

    def cursor(self, sequences: int) -> Cursor:
        """Return the cursor after so many sequences."""
        count = self.start.done + sequences
        window = self._last_window(count)
        epoch, number = self._place_of(window)
        if count == self._sequence_ends[window] and number == self._of_epoch(epoch).windows - 1:
            return self._epoch_start(epoch + 1)
        start = self.start if epoch == self.start.epoch else self._epoch_start(epoch)
        earlier = window - number  # windows of earlier epochs
        inside = count - _before(self._sequence_ends, window)
        read = _before(self._token_ends, window) + self._packed(window).tokens(inside)
        done = count - _before(self._sequence_ends, earlier)
        return replace(start, done=done, read=read - _before(self._token_ends, earlier))

    def locate(self, sequences_N: Longs) -> tuple[Longs, Longs]:
        """Return the window of each sequence, counted from the cursor's epoch on, and its number there."""
        count_N = self.start.done + sequences_N
        self._pack_until(int(count_N.max(initial=-1)) + 1)
        window_N = np.searchsorted(self._sequence_ends, count_N, "right")
        number_N = count_N - np.array([0, *self._sequence_ends])[window_N]
        for window in sorted(set(window_N.tolist())):
            inside = window_N == window
            number_N[inside] = self._packed(window).number_S[number_N[inside]]
        return window_N, number_N

    def offsets(self, window_N: Longs, number_N: Longs) -> Longs:
        """Return where in the source the T + 1 tokens of each sequence lie, or −1 if they are not adjacent there."""
        offset_N = np.full(len(number_N), -1)
        for window in sorted(set(window_N.tolist())):
            at_N, packed = np.flatnonzero(window_N == window), self._packed(window)
            start_N, stop_N, is_cut_N, _ = packed.pieces_P4[packed.bounds_S1[number_N[at_N]]].T
            # The full sequences within long documents; one that begins with its document begins with an EOS.
            is_adjacent_N = (is_cut_N == 1) & (stop_N - start_N == self.sequence_tokens)
            offset_N[at_N] = np.where(is_adjacent_N, start_N - 1, -1)
        return offset_N

    def runs(self, window: int, number: int) -> list[Run]:
        """Return the T + 1 tokens of a sequence, run by run; its other columns are EOS.

        Column 0 holds the token before the first piece, or an EOS if a document begins there.
        """
        packed, runs, column, is_open = self._packed(window), list[Run](), 1, 0
        first, last = packed.bounds_S1[number : number + 2]
        for start, stop, is_cut, ends_open in packed.pieces_P4[first:last].tolist():
            if is_cut and not runs:
                runs.append(Run(0, start - 1, stop, is_seam=False))
            else:
                runs.append(Run(column, start, stop, is_seam=bool(is_cut or is_open)))
            column, is_open = column + stop - start, ends_open
        return runs

    def unread(self) -> tuple[PlaceRange, ...]:
        """Return the places of the cursor's epoch that are still to be read."""
        order = ChunkOrder(self.layout, self._seed, self.start.epoch)
        starts, stops = [self._first.starts_U], [self._first.stops_U]
        for window in range(self._last_window(self.start.done) + 1):
            packed, before = self._packed(window), _before(self._sequence_ends, window)
            start_N, stop_N = _within_chunks(packed.read(self.start.done - before), self.layout.chunk_tokens)
            place_N = order.places(start_N)
            # All of it was unread: where it begins, what is unread ends.
            starts.append(place_N + stop_N - start_N)
            stops.append(place_N)
        start_U, stop_U = np.sort(np.concatenate(starts)), np.sort(np.concatenate(stops))
        left = np.flatnonzero(start_U < stop_U)
        return tuple(map(PlaceRange, start_U[left].tolist(), stop_U[left].tolist()))

    def _last_window(self, count: int) -> int:
        """Return the window of the last of so many sequences, or a later one of its epoch without any in between."""
        self._pack_until(count)
        window = bisect_left(self._sequence_ends, count)
        while count == self._sequence_ends[window]:
            epoch, number = self._place_of(window)
            if number == self._of_epoch(epoch).windows - 1:
                break
            self._pack_until(count, window + 2)
            if self._sequence_ends[window + 1] > count:
                break
            window += 1
        return window

    def _pack_until(self, sequences: int, windows: int = 1) -> None:
        """Pack windows until so many sequences are known, and so many windows."""
        ends = self._sequence_ends
        while len(ends) < windows or ends[-1] < sequences:
            packed = self._packed(len(ends))
            self._token_ends.append(_before(self._token_ends, len(ends)) + packed.tokens(len(packed.number_S)))
            ends.append(_before(ends, len(ends)) + len(packed.number_S))

    def _pack(self, window: int) -> "_PackedWindow":
        epoch, number = self._place_of(window)
        pieces_P4, bounds_S1 = _packed(self._pieces(epoch, number), self.sequence_tokens)
        key, count = key_of(self._seed, self.layout.identity, epoch, "whole", number), len(bounds_S1) - 1
        number_S = permute(np.arange(count), count, key) if count else np.arange(0)
        return _PackedWindow(pieces_P4, bounds_S1, number_S)

    def _pieces(self, epoch: int, window: int) -> Longs:
        """Return the pieces [P4] that begin in a window, in the order of its blocks."""
        order, unread = ChunkOrder(self.layout, self._seed, epoch), self._of_epoch(epoch)
        place_B, stop_B = np.array(list(unread.blocks(window)), np.int64).reshape(-1, 2).T
        start_B = order.offsets(place_B)
        stop_B = start_B + stop_B - place_B
        # The document that goes on at a block's start belongs to the block before, unless that was read.
        is_read_B = start_B > 0
        is_read_B[is_read_B] = unread.ends_of(start_B[is_read_B] - 1, order) < start_B[is_read_B]
        # The last document goes on behind the block, as far as it is unread.
        end_B = np.array([self._documents.next(stop) for stop in stop_B.tolist()], np.int64)
        last_B = unread.grown(stop_B, end_B, order)
        pieces = [np.empty((0, 4), np.int64)]
        blocks = zip(
            start_B.tolist(), stop_B.tolist(), is_read_B.tolist(), last_B.tolist(), end_B.tolist(), strict=True
        )
        for start, stop, is_read, last, end in blocks:
            start_P = self._documents.between(start, stop)
            is_cut = is_read and (len(start_P) == 0 or start_P[0] > start)
            if is_cut:
                start_P = np.concatenate([[start], start_P])
            if len(start_P):
                block_P4 = np.zeros((len(start_P), 4), np.int64)
                block_P4[:, 0], block_P4[:-1, 1] = start_P, start_P[1:]
                block_P4[0, 2], block_P4[-1, 1:] = is_cut, (last, is_cut and len(start_P) == 1, last < end)
                pieces.append(block_P4)
        return np.concatenate(pieces)

    def _place_of(self, window: int) -> tuple[int, int]:
        """Return the epoch of a window, and its number there."""
        if window < self._first.windows:
            return self.start.epoch, window
        epochs, number = divmod(window - self._first.windows, self._full.windows)
        return self.start.epoch + 1 + epochs, number

    def _of_epoch(self, epoch: int) -> "_Unread":
        return self._first if epoch == self.start.epoch else self._full

    def _epoch_start(self, epoch: int) -> Cursor:
        return epoch_start(self.layout.tokens, epoch, self.sequence_tokens, whole_documents=True)


class _Unread(NamedTuple):
    """Unread places of an epoch. A position counts them in reading order: whole chunks come before parts of chunks."""

    starts_U: Longs  # ascending
    stops_U: Longs
    ranges: tuple[PlaceRange, ...]  # in reading order; each is of whole chunks, or lies within one
    ends: tuple[int, ...]  # position at which each range ends
    chunk: int
    windows: int

    @classmethod
    def of(cls, unread: tuple[PlaceRange, ...], layout: SourceLayout) -> "_Unread":
        starts_U, stops_U = np.array(unread, np.int64).T
        chunk = layout.chunk_tokens
        whole, parts = by_chunk(unread, layout)
        ranges = (*whole, *parts)
        ends = tuple(accumulate(stop - start for start, stop in ranges))
        return cls(starts_U, stops_U, ranges, ends, chunk, window_count(ends[-1], chunk))

    def blocks(self, window: int) -> Iterator[PlaceRange]:
        """Yield the runs of unread places within one chunk whose first position is in a window."""
        first, last = (-(-each * self.ends[-1] // self.windows) for each in (window, window + 1))
        for number in range(bisect_right(self.ends, first), len(self.ends)):
            start, stop = self.ranges[number]
            begin = self.ends[number] - (stop - start)  # position of the range
            if begin >= last:
                return
            place = start if begin >= first else -(-(start + first - begin) // self.chunk) * self.chunk
            while place < min(stop, start + last - begin):
                end = min(stop, (place // self.chunk + 1) * self.chunk)
                yield PlaceRange(place, end)
                place = end

    def ends_of(self, offset_N: Longs, order: ChunkOrder) -> Longs:
        """Return where the unread offsets from each one on end within its chunk: at once, if it was read."""
        place_N = order.places(offset_N)
        number_N = np.searchsorted(self.starts_U, place_N, "right") - 1
        stop_N = np.where(number_N < 0, place_N, self.stops_U[number_N])
        chunk_end_N = (place_N // self.chunk + 1) * self.chunk
        return offset_N + np.clip(np.minimum(stop_N, chunk_end_N) - place_N, 0, None)

    def grown(self, offset_N: Longs, limit_N: Longs, order: ChunkOrder) -> Longs:
        """Return where the unread offsets from each one on end, over any chunks, or the limit if it comes first."""
        end_N, growing_N = offset_N.copy(), np.flatnonzero(offset_N < limit_N)
        while len(growing_N):
            before_N = end_N[growing_N]
            end_N[growing_N] = np.minimum(self.ends_of(before_N, order), limit_N[growing_N])
            grew_N = (end_N[growing_N] > before_N) & (end_N[growing_N] < limit_N[growing_N])
            growing_N = growing_N[grew_N]
        return end_N


class _PackedWindow(NamedTuple):
    """A packed window: sequence i consists of the pieces bounds_S1[i] … bounds_S1[i + 1] − 1."""

    pieces_P4: Longs
    bounds_S1: Longs
    number_S: Longs  # of the sequences, in the order in which they are read

    def read(self, sequences: int) -> Longs:
        """Return the pieces of the first sequences that are read."""
        number_S = self.number_S[:sequences]
        count_S = self.bounds_S1[number_S + 1] - self.bounds_S1[number_S]
        first_P = np.repeat(self.bounds_S1[number_S] - np.cumsum(count_S) + count_S, count_S)
        return self.pieces_P4[first_P + np.arange(len(first_P))]

    def tokens(self, sequences: int) -> int:
        """Return the tokens in the first sequences that are read, without padding."""
        read_P4 = self.read(sequences)
        return int((read_P4[:, 1] - read_P4[:, 0]).sum())


def best_fit(sizes_R: Longs, capacity: int) -> list[list[int]]:
    """Pack items, the longest first, each into the fullest sequence that has room for it, else into a new one.

    Of equally full sequences, the one that was filled last takes it. Returns the items of each sequence. Sizes are in
    1 … capacity.
    """
    packed, with_room = list[list[int]](), dict[int, list[list[int]]]()
    rooms = 0  # bit r is set if a sequence has room for exactly r tokens
    for item in np.argsort(-sizes_R, kind="stable").tolist():
        size = int(sizes_R[item])
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            sequence = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, sequence = capacity, list[int]()
            packed.append(sequence)
        sequence.append(item)
        if left := room - size:
            with_room.setdefault(left, []).append(sequence)
            rooms |= 1 << left
    return packed


def _packed(pieces_P4: Longs, width: int) -> tuple[Longs, Longs]:
    """Cut long pieces and pack the rest; return the pieces [P4] sequence by sequence, and the bounds [S1] of these."""
    full_P = (pieces_P4[:, 1] - pieces_P4[:, 0]) // width
    # Full sequences: of each piece, as many as it holds.
    full_P4 = np.repeat(pieces_P4, full_P, axis=0)
    repeat_P = np.arange(len(full_P4)) - np.repeat(np.cumsum(full_P) - full_P, full_P)
    full_P4[:, 0] += repeat_P * width
    full_P4[:, 3] |= full_P4[:, 0] + width < full_P4[:, 1]
    full_P4[:, 1] = full_P4[:, 0] + width
    full_P4[:, 2] |= repeat_P > 0
    # The rest of each piece.
    rest_P4 = pieces_P4.copy()
    rest_P4[:, 0] += full_P * width
    rest_P4[:, 2] |= full_P > 0
    rest_P4 = rest_P4[rest_P4[:, 0] < rest_P4[:, 1]]
    sequences = best_fit(rest_P4[:, 1] - rest_P4[:, 0], width)
    # Parts of documents come first: before the first piece of a sequence stands the token that precedes it.
    is_cut = rest_P4[:, 2].tolist()
    packed = [item for items in sequences for item in sorted(items, key=lambda item: not is_cut[item])]
    bounds = accumulate(map(len, sequences), initial=len(full_P4))
    bounds_S1 = np.array([*range(len(full_P4)), *bounds], np.int64)
    return np.concatenate([full_P4, rest_P4[np.array(packed, np.int64)]]), bounds_S1


def _within_chunks(pieces_P4: Longs, chunk: int) -> tuple[Longs, Longs]:
    """Join adjacent pieces, and cut them at the ends of chunks: return starts and stops."""
    starts, stops = np.sort(pieces_P4[:, 0]), np.sort(pieces_P4[:, 1])
    joined = np.concatenate([[True], starts[1:] > stops[:-1]]) if len(starts) else np.zeros(0, bool)
    starts, stops = starts[joined], stops[np.append(joined[1:], True)] if len(starts) else stops
    count_N = (stops - 1) // chunk - starts // chunk + 1
    inside_N = np.arange(count_N.sum()) - np.repeat(np.cumsum(count_N) - count_N, count_N)
    chunk_N = np.repeat(starts // chunk, count_N) + inside_N
    start_N = np.maximum(np.repeat(starts, count_N), chunk_N * chunk)
    stop_N = np.minimum(np.repeat(stops, count_N), (chunk_N + 1) * chunk)
    return start_N, stop_N


def _before(ends: list[int], number: int) -> int:
    """Return the end before an element."""
    return ends[number - 1] if number else 0
