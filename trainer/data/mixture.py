"""The order in which sources take turns, so that their shares hold at every step and not only in the long run.

Tijdeman's chairman assignment over integer shares: with k sources, after any number t of sequences each source has had
its share of t to within 1 − 1/(2k − 2) sequences. The order repeats with a period of the sum of the shares, and one
period is tabulated.
Source: Tijdeman 1980, "The chairman assignment problem", Discrete Mathematics 32.

Legend: K sources, P sequences of a period, N sequences.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_PERIOD = 10_000


def integer_shares(shares: Mapping[str, float]) -> dict[str, int]:
    """Return shares as integers without a common divisor, sorted by name, without shares of 0.

    They are exact if their sum is at most MAX_PERIOD (as with shares in hundredths of a percent). Otherwise they are
    rounded to that sum by largest remainder, with at least 1 each.
    """
    exact = {name: Fraction(str(share)) for name, share in sorted(shares.items()) if share > 0}
    total = sum(exact.values())
    exact = {name: share / total for name, share in exact.items()}
    common = lcm(*(share.denominator for share in exact.values()))
    if common <= MAX_PERIOD:
        return {name: int(share * common) for name, share in exact.items()}
    # Largest remainder: round down, then give what is left to the shares that lost most.
    scaled = {name: share * MAX_PERIOD for name, share in exact.items()}
    rounded = {name: max(1, int(share)) for name, share in scaled.items()}
    by_remainder = sorted(scaled, key=lambda name: rounded[name] - scaled[name])
    for name in by_remainder[: max(0, MAX_PERIOD - sum(rounded.values()))]:
        rounded[name] += 1
    divisor = gcd(*rounded.values())
    return {name: share // divisor for name, share in rounded.items()}


class SourceOrder(NamedTuple):
    """One period of the order. Sequence t of a phase is from source `source_P[t % P]`."""

    shares_K: NDArray[np.int64]
    source_P: NDArray[np.int64]
    turn_P: NDArray[np.int64]  # number of earlier turns of the same source in the period

    def turns(self, sequences_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source of each sequence, and its number among the sequences of that source in the phase."""
        periods_N, within_N = np.divmod(sequences_N, len(self.source_P))
        source_N = self.source_P[within_N]
        return source_N, periods_N * self.shares_K[source_N] + self.turn_P[within_N]

    def taken(self, sequences: int) -> NDArray[np.int64]:
        """Return how many of the first `sequences` are from each source [K]."""
        periods, rest = divmod(sequences, len(self.source_P))
        return periods * self.shares_K + np.bincount(self.source_P[:rest], minlength=len(self.shares_K))


@lru_cache(maxsize=64)
def source_order(shares: tuple[int, ...]) -> SourceOrder:
    """Return the order of sources with these integer shares, each at least 1."""
    source_P = np.array(_chairmen(shares), np.int64)
    turn_P = np.empty_like(source_P)
    for source in range(len(shares)):
        is_turn_P = source_P == source
        turn_P[is_turn_P] = np.arange(is_turn_P.sum())
    return SourceOrder(np.array(shares, np.int64), source_P, turn_P)


def _chairmen(shares: Sequence[int]) -> list[int]:
    """Assign each turn of a period.

    Among the sources that are at least 1/(2k − 2) behind their share, the one with the earliest deadline is next.
    """
    period, sources = sum(shares), len(shares)
    if sources == 1:
        return [0] * period
    slack = 2 * sources - 2
    taken = [0] * sources
    chosen = []
    for t in range(1, period + 1):
        best, best_deadline = -1, (0, 1)
        for source, share in enumerate(shares):
            behind = share * t - period * taken[source]  # in sequences, times the period
            if behind * slack < period:
                continue
            # Time until the deadline, times slack, as a fraction (numerator, denominator): integers stay exact.
            deadline = (period * (slack - 1) - behind * slack, share)
            if best < 0 or deadline[0] * best_deadline[1] < best_deadline[0] * deadline[1]:
                best, best_deadline = source, deadline
        assert best >= 0
        taken[best] += 1
        chosen.append(best)
    return chosen
