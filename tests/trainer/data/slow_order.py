"""Turns of the sources, and the reading order of one, step by step as docs/formats.md describes them; slow."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from trainer.data.cursor import SourceLayout
from trainer.data.permutation import key_of, permute


class Row(NamedTuple):
    """The T + 1 tokens of a sequence: where each lies in the source, or None for an EOS; and the seams."""

    offsets: list[int | None]
    seams: set[int]


class SlowOrder:
    """Reads one source. Places are positions in the order of an epoch's chunks, offsets those in the source."""

    def __init__(self, layout: SourceLayout, seed: int, window_chunks: int, documents: Sequence[int] = ()) -> None:
        self.layout, self.seed, self.window_chunks, self.documents = layout, seed, window_chunks, set(documents)
        self.epoch, self.unread = 0, set(range(layout.tokens))  # places
        self.kind, self.queue = (0, False), list[tuple[set[int], Row]]()

    def read(self, width: int, whole: bool = False) -> Row:
        """Return the next sequence."""
        if not self.unread:
            self.epoch, self.unread, self.queue = self.epoch + 1, set(range(self.layout.tokens)), []
        if (width, whole) != self.kind or not self.queue:
            self.kind = width, whole
            self.queue = list(self._packed(width) if whole else self._cut(width))
        places, row = self.queue.pop(0)
        self.unread -= places
        return row

    def _runs(self) -> list[list[int]]:
        """Return the runs of unread places within one chunk."""
        numbered = enumerate(sorted(self.unread))
        keyed = ((place - number, place // self.layout.chunk_tokens, place) for number, place in numbered)
        return [[place for *_, place in group] for _, group in groupby(keyed, key=lambda each: each[:2])]

    def _cut(self, width: int) -> Iterator[tuple[set[int], Row]]:
        within, left = list[list[int]](), list[int]()
        for run in self._runs():
            whole = len(run) // width * width
            within += [run[first : first + width] for first in range(0, whole, width)]
            left += run[whole:]
        others = [left[first : first + width] for first in range(0, len(left), width)]
        short = [others.pop()] if others and len(others[-1]) < width else []
        ordered, windows = list[list[int]](), 0
        for each in (within, others):
            count = min(len(each), max(1, round(len(each) * width / (self.window_chunks * self.layout.chunk_tokens))))
            for number in range(count):
                window = each[len(each) * number // count : len(each) * (number + 1) // count]
                ordered += self._permuted(window, "window", windows + number)
            windows += count
        for places in ordered + short:
            offsets: list[int | None] = [self._offset(place) for place in places]
            if len(places) == width and offsets[-1] != self.layout.tokens - 1:
                offsets.append(self._offset(places[-1]) + 1)
            seams = {at for at, (one, other) in enumerate(pairwise(offsets), 1) if other != (one or 0) + 1}
            if len(offsets) <= width:
                seams.add(len(offsets))
            yield set(places), Row(offsets + [None] * (width + 1 - len(offsets)), seams)

    def _packed(self, width: int) -> Iterator[tuple[set[int], Row]]:
        place_of = {self._offset(place): place for place in self.unread}
        total = len(self.unread)
        windows = max(1, round(total / (self.window_chunks * self.layout.chunk_tokens)))
        position, pieces = 0, [list[list[int]]() for _ in range(windows)]
        for run in sorted(self._runs(), key=lambda run: len(run) < self.layout.chunk_tokens):  # whole chunks first
            for place in run:
                offset = self._offset(place)
                if offset in self.documents or offset - 1 not in place_of:
                    piece = [offset]
                    while piece[-1] + 1 in place_of and piece[-1] + 1 not in self.documents:
                        piece.append(piece[-1] + 1)
                    pieces[position * windows // total].append(piece)
            position += len(run)
        for number, of_window in enumerate(pieces):
            full = [[p[i * width : (i + 1) * width]] for p in of_window for i in range(len(p) // width)]
            rest = [p[len(p) // width * width :] for p in of_window if len(p) % width]
            for sequence in self._permuted(full + _best_fit(rest, width), "whole", number):
                sequence = sorted(sequence, key=lambda piece: piece[0] in self.documents)
                yield {place_of[offset] for piece in sequence for offset in piece}, self._row(sequence, width)

    def _row(self, sequence: list[list[int]], width: int) -> Row:
        first = sequence[0][0]
        offsets, seams = [None if first in self.documents else first - 1], set[int]()
        for number, piece in enumerate(sequence):
            ends = number == 0 or sequence[number - 1][-1] + 1 in self.documents | {self.layout.tokens}
            if number and not (ends and piece[0] in self.documents):
                seams.add(len(offsets))
            offsets += piece  # type: ignore[arg-type]
        if len(offsets) <= width:
            seams.add(len(offsets))
        return Row(offsets + [None] * (width + 1 - len(offsets)), seams)

    def _permuted(self, items: list, name: str, number: int) -> list:  # type: ignore[type-arg]
        if not items:
            return []
        key = key_of(self.seed, self.layout.identity, self.epoch, name, number)
        return [items[each] for each in permute(np.arange(len(items)), len(items), key)]

    def _offset(self, place: int) -> int:
        chunk, chunks = self.layout.chunk_tokens, self.layout.tokens // self.layout.chunk_tokens
        number, inside = divmod(place, chunk)
        if number == chunks:
            return place
        key = key_of(self.seed, self.layout.identity, self.epoch)
        return int(permute(np.array([number]), chunks, key)[0]) * chunk + inside


def _best_fit(pieces: list[list[int]], width: int) -> list[list[list[int]]]:
    sequences, filled = list[list[list[int]]](), list[int]()  # when each was filled last
    for time, piece in enumerate(sorted(pieces, key=len, reverse=True)):
        rooms = [width - sum(map(len, sequence)) for sequence in sequences]
        fitting = [(room, -filled[number], number) for number, room in enumerate(rooms) if room >= len(piece)]
        number = min(fitting)[2] if fitting else len(sequences)
        if not fitting:
            sequences.append([])
            filled.append(0)
        sequences[number].append(piece)
        filled[number] = time
    return sequences


def slow_turns(shares: Sequence[int]) -> list[int]:
    """Return the source of each sequence of a period, as docs/formats.md states it, in exact fractions."""
    period, slack = sum(shares), max(1, 2 * len(shares) - 2)
    taken, turns = [0] * len(shares), list[int]()
    for time in range(1, period + 1):
        may_begin = [
            (Fraction(slack * turn + slack - 1, share), source)
            for source, (turn, share) in enumerate(zip(taken, shares, strict=True))
            if time * slack * share >= period * (slack * turn + 1)
        ]
        _, source = min(may_begin)
        taken[source] += 1
        turns.append(source)
    return turns
