"""In which order sources take turns: their shares are kept at every step, not just in the long run.

Tijdeman's chairman assignment over integer shares: with k sources, after any number t of sequences each source has been
taken within 1 − 1/(2k − 2) of its share of t. The order repeats after the sum of the shares; one period is tabulated.
Source: Tijdeman 1980, "The chairman assignment problem", Discrete Mathematics 32.

Legend: K sources, P sequences of one period, N sequences asked for.
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
    """Shares as integers without a common divisor, in the order of the names; what has no share is left out.

    As written where their sum is at most MAX_PERIOD (so are shares in hundredths of a percent), else rounded to that by
    largest remainder, with at least 1 each.
    """
    exact = {name: Fraction(str(share)) for name, share in sorted(shares.items()) if share > 0}
    total = sum(exact.values())
    exact = {name: share / total for name, share in exact.items()}
    common = lcm(*(share.denominator for share in exact.values()))
    if common <= MAX_PERIOD:
        return {name: int(share * common) for name, share in exact.items()}
    wanted = {name: share * MAX_PERIOD for name, share in exact.items()}
    whole = {name: max(1, int(share)) for name, share in wanted.items()}
    by_need = sorted(wanted, key=lambda name: whole[name] - wanted[name])
    left = MAX_PERIOD - sum(whole.values())
    for name in by_need[: max(0, left)]:
        whole[name] += 1
    divisor = gcd(*whole.values())
    return {name: share // divisor for name, share in whole.items()}


class SourceOrder(NamedTuple):
    """One period. Sequence t of a phase comes from source `source_P[t % P]`."""

    shares_K: NDArray[np.int64]
    source_P: NDArray[np.int64]
    turn_P: NDArray[np.int64]  # how often that source was taken before, within the period

    def turns(self, sequences_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source of each sequence, and how many sequences of that source stand before it in the phase."""
        periods_N, within_N = np.divmod(sequences_N, len(self.source_P))
        source_N = self.source_P[within_N]
        return source_N, periods_N * self.shares_K[source_N] + self.turn_P[within_N]

    def taken(self, sequences: int) -> NDArray[np.int64]:
        """How many of the first `sequences` come from each source."""
        periods, rest = divmod(sequences, len(self.source_P))
        return periods * self.shares_K + np.bincount(self.source_P[:rest], minlength=len(self.shares_K))


@lru_cache(maxsize=64)
def order(shares: tuple[int, ...]) -> SourceOrder:
    """The period of these integer shares, each at least 1."""
    source_P = np.array(_chairmen(shares), np.int64)
    turn_P = np.empty_like(source_P)
    for source in range(len(shares)):
        mine = source_P == source
        turn_P[mine] = np.arange(mine.sum())
    return SourceOrder(np.array(shares, np.int64), source_P, turn_P)


def _chairmen(shares: Sequence[int]) -> list[int]:
    """Of the sources that have earned a turn (are at least 1/(2k − 2) behind), the one whose deadline comes first."""
    period, sources = sum(shares), len(shares)
    if sources == 1:
        return [0] * period
    slack = 2 * sources - 2
    taken = [0] * sources
    chosen = []
    for t in range(1, period + 1):
        best, best_late = -1, (0, 1)
        for source, share in enumerate(shares):
            behind = share * t - period * taken[source]  # in sequences, times the period
            if behind * slack < period:
                continue
            late = (period * (slack - 1) - behind * slack, share)  # the time to the deadline, times slack
            if best < 0 or late[0] * best_late[1] < best_late[0] * late[1]:
                best, best_late = source, late
        assert best >= 0
        taken[best] += 1
        chosen.append(best)
    return chosen
