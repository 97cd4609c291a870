"""Turns of the sources, and the reading order of one, step by step as docs/formats.md describes them; slow."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from trainer.data.permutation import key_of, permute
from trainer.data.reading_order import SourceLayout


class SlowOrder:
    """Reads one source. Places are positions in the order of an epoch's chunks, offsets those in the source."""

    def __init__(self, layout: SourceLayout, seed: int, window_chunks: int) -> None:
        self.layout, self.seed, self.window_chunks = layout, seed, window_chunks
        self.epoch, self.unread = 0, set(range(layout.tokens))
        self.width, self.queue = 0, list[list[int]]()

    def read(self, width: int) -> list[int]:
        """Return the offsets of the next sequence and of the token after it; fewer at the end of an epoch."""
        if not self.unread:
            self.epoch, self.unread, self.queue = self.epoch + 1, set(range(self.layout.tokens)), []
        if width != self.width or not self.queue:
            self.width, self.queue = width, self._sequences(width)
        places = self.queue.pop(0)
        self.unread -= set(places[:width])
        return [self._offset(place) for place in places]

    def _sequences(self, width: int) -> list[list[int]]:
        chunk = self.layout.chunk_tokens
        whole = [
            place
            for first in range(0, self.layout.tokens - chunk + 1, chunk)
            for place in range(first, first + chunk)
            if self.unread.issuperset(range(first, first + chunk))
        ]
        reading = whole + sorted(self.unread - set(whole))
        count = len(reading) // width
        windows = max(1, min(count, round(len(reading) / (self.window_chunks * chunk))))
        order = list(range(-(-len(reading) // width)))
        for number in range(windows if count else 0):
            first, last = count * number // windows, count * (number + 1) // windows
            key = key_of(self.seed, self.layout.identity, self.epoch, "window", number)
            order[first:last] = (first + permute(np.arange(last - first), last - first, key)).tolist()
        return [reading[number * width : (number + 1) * width + 1] for number in order]

    def _offset(self, place: int) -> int:
        chunk, chunks = self.layout.chunk_tokens, self.layout.tokens // self.layout.chunk_tokens
        number, inside = divmod(place, chunk)
        if number == chunks:
            return place
        key = key_of(self.seed, self.layout.identity, self.epoch)
        return int(permute(np.array([number]), chunks, key)[0]) * chunk + inside


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
