"""The mixture: integer shares, and sources within Tijdeman's bound of their share.

Legend: K sources, P sequences of a period, B sequences of a part of it, N sequences.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import gcd
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.data.slow_order import slow_turns
from trainer.data import mixture
from trainer.data.mixture import MAX_PERIOD, Longs, SourceOrder, integer_shares, source_order

SMALL = st.lists(st.integers(1, 60), min_size=2, max_size=12)
LOPSIDED = st.lists(st.sampled_from([1, 1, 1, 2, 3, 97, 500, 999]), min_size=2, max_size=9)
VECTORS = (SMALL | LOPSIDED).map(tuple)
WORST = [
    (1, 9_999),
    (9_999, 1),
    (5_000, 5_000),
    (1, 1),
    (4_999, 5_001),
    (3_333, 3_333, 3_334),
    (1, 4_999, 5_000),
    (1,) * 60,
    (1,) * 49 + (9_951,),
    (9_901,) + (1,) * 99,
    (7,) * 20 + (9_860,),
    tuple(range(1, 40)),
    tuple(2**n for n in range(13)),
]


ZIPF = tuple(integer_shares({f"s{rank:03d}": 1 / rank**1.5 for rank in range(1, 301)}).values())
RARE = tuple(integer_shares({"rare": 1e-7, "seldom": 3e-7, "web": 0.9999996}).values())


def sources_of(shares: tuple[int, ...]) -> list[int]:
    """Return the source of each sequence of a period."""
    sources: list[int] = source_order(shares).turns(np.arange(sum(shares)))[0].tolist()
    return sources


def parts_of(order: SourceOrder, count: int = 1 << 18) -> Iterator[tuple[Longs, Longs, Longs]]:
    """Yield the sequences of a period with their sources and turns, part by part."""
    for start in range(0, order.period, count):
        sequence_B = np.arange(start, min(order.period, start + count))
        yield sequence_B, *order.turns(sequence_B)


def deviation(shares: tuple[int, ...]) -> Fraction:
    """Return the largest deviation of any source from its share at any step, in sequences.

    A source that has no turn falls behind evenly, so its deviation is largest before and after its turns.
    """
    order, worst, counts_K = source_order(shares), 0, np.zeros(len(shares), np.int64)
    for sequence_B, source_B, turn_B in parts_of(order):
        behind_B = sequence_B * order.shares_K[source_B] - turn_B * order.period  # in sequences, times the period
        ahead_B = (turn_B + 1) * order.period - (sequence_B + 1) * order.shares_K[source_B]
        worst = max(worst, int(behind_B.max()), int(ahead_B.max()))
        counts_K += np.bincount(source_B, minlength=len(shares))
    assert counts_K.tolist() == list(shares)
    return Fraction(worst, order.period)


@given(VECTORS)
def test_each_sequence_is_of_the_source_that_the_reference_says(shares: tuple[int, ...]) -> None:
    """Fails if of equal deadlines the last source is next, or if a heap loses its order."""
    assert sources_of(shares) == slow_turns(shares)


@given(VECTORS, st.sampled_from([1, 7, 64]), st.data())
def test_blocks_and_the_order_in_which_they_are_read_change_nothing(
    shares: tuple[int, ...], block: int, data: st.DataObject
) -> None:
    """Fails if a block begins with the turns of another, or if reading one changes those kept before it."""
    expected, period = slow_turns(shares), sum(shares)
    with patch.object(mixture, "BLOCK_SEQUENCES", block):
        order = SourceOrder(shares)
        for at in data.draw(st.lists(st.integers(0, period), max_size=6), label="sequences"):
            assert order.taken(at).tolist() == [expected[:at].count(source) for source in range(len(shares))]
            source_N, turn_N = order.turns(np.arange(at, at + 9))
            assert source_N.tolist() == [expected[number % period] for number in range(at, at + 9)]
            first, source = int(turn_N[0]), int(source_N[0])
            assert first == (at // period) * shares[source] + expected[: at % period].count(source)


@pytest.mark.parametrize("shares", [ZIPF, RARE], ids=["300 Zipf sources", "a share of 10^-7"])
def test_the_bound_holds_over_a_period_of_ten_million(shares: tuple[int, ...]) -> None:
    """Fails if the products of the kernel overflow, or if blocks do not join."""
    assert sum(shares) == MAX_PERIOD and len(shares) in (300, 3)
    assert deviation(shares) <= 1 - Fraction(1, 2 * len(shares) - 2)


def test_a_far_step_is_read_from_nothing() -> None:
    """Fails if the turns of earlier periods are lost, or if threads that read at once disturb each other."""
    far = 10**6 * 512 + 3
    from_nothing = SourceOrder(ZIPF)
    source_N, turn_N = from_nothing.turns(np.arange(far, far + 512))
    before_K = from_nothing.taken(far)
    assert before_K.sum() == far
    counts = Counter({source: int(taken) for source, taken in enumerate(before_K)})
    for source, turn in zip(source_N.tolist(), turn_N.tolist(), strict=True):
        assert turn == counts[source]
        counts[source] += 1
    assert from_nothing.taken(far + 512).tolist() == [counts[source] for source in range(len(ZIPF))]


@given(VECTORS)
def test_each_source_is_within_the_bound_of_its_share_at_every_step(shares: tuple[int, ...]) -> None:
    """Fails if the source furthest behind is next instead of the one with the earliest deadline."""
    assert deviation(shares) <= 1 - Fraction(1, 2 * len(shares) - 2)


@pytest.mark.parametrize("shares", WORST, ids=lambda shares: f"{len(shares)}-of-{sum(shares)}")
def test_the_bound_holds_in_the_worst_cases(shares: tuple[int, ...]) -> None:
    """Fails if a source can be next too early (without `if behind * slack < period`)."""
    assert deviation(shares) <= 1 - Fraction(1, 2 * len(shares) - 2)


def test_the_bound_is_reached() -> None:
    """Fails if `deviation` measures nothing: with two equal shares it is the bound, 1/2."""
    assert deviation((1, 1)) == Fraction(1, 2)
    assert deviation((1,) * 10) == Fraction(9, 10)  # of at most 17/18


def test_one_source_takes_every_turn() -> None:
    found = source_order((1,))
    source_N, turn_N = found.turns(np.arange(5))
    assert (source_N.tolist(), turn_N.tolist(), found.taken(5).tolist()) == ([0] * 5, list(range(5)), [5])


@given(VECTORS, st.data())
def test_turns_and_taken_equal_counting(shares: tuple[int, ...], data: st.DataObject) -> None:
    """Fails if `taken` is off by one, or if `turns` ignores earlier periods."""
    found, period, sources = source_order(shares), sum(shares), sources_of(shares)
    count = data.draw(st.integers(0, 3 * period), label="sequences")
    counted: Counter[int] = Counter()
    expected = []
    for sequence in range(count):
        source = sources[sequence % period]
        expected.append((source, counted[source]))
        counted[source] += 1
    source_N, turn_N = found.turns(np.arange(count))
    assert list(zip(source_N.tolist(), turn_N.tolist(), strict=True)) == expected
    assert found.taken(count).tolist() == [counted[source] for source in range(len(shares))]


@given(VECTORS, st.integers(0, 10**12))
def test_turns_and_taken_agree_at_large_sequence_numbers(shares: tuple[int, ...], sequence: int) -> None:
    """Fails with 32-bit turns."""
    found = source_order(shares)
    source_N, turn_N = found.turns(np.array([sequence]))
    source = int(source_N[0])
    assert int(found.taken(sequence)[source]) == int(turn_N[0])
    assert int(found.taken(sequence + 1)[source]) == int(turn_N[0]) + 1
    assert sum(found.taken(sequence).tolist()) == sequence


def test_the_order_never_changes() -> None:
    """Fails if ties are broken differently: resumed runs would read other data."""
    assert sources_of((1, 2, 4)) == [2, 1, 2, 2, 0, 1, 2]
    assert sources_of((2, 2, 2, 1)) == [0, 1, 2, 3, 0, 1, 2]


@given(
    st.lists(st.integers(0, 2_000), min_size=1, max_size=12).filter(any),
    st.sampled_from([100, 10_000, 1_000_000, MAX_PERIOD]),
)
def test_multiples_of_a_ten_millionth_are_exact(parts: list[int], whole: int) -> None:
    """Fails if shares are truncated: 0.57 · 100 is 56.99… in floats."""
    parts = [min(part, whole // len(parts)) for part in parts]
    parts[0] += whole - sum(parts)
    names = [f"s{number:02d}" for number in range(len(parts))]
    found = integer_shares({name: part / whole for name, part in reversed(list(zip(names, parts, strict=True)))})
    written = {name: part for name, part in zip(names, parts, strict=True) if part}
    divisor = gcd(*written.values())
    assert list(found.items()) == [(name, part // divisor) for name, part in written.items()]  # in order of the names


TOKENS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 10**13), min_size=1, max_size=30)


@given(TOKENS)
def test_other_shares_are_rounded_by_less_than_one_unit(tokens: dict[str, int]) -> None:
    """Fails if the remainders are sorted in the opposite order, or not distributed.

    An integer share is within 1/MAX_PERIOD of the requested one, and exact if the tokens sum to no more. If some of k
    sources are raised to the smallest share, it is within k/MAX_PERIOD, and the period is longer by less than k.
    """
    found, whole = integer_shares(tokens), sum(tokens.values())
    period, sources = sum(found.values()), len(tokens)
    assert list(found) == sorted(tokens) and min(found.values()) >= 1 and gcd(*found.values()) == 1
    assert period < MAX_PERIOD + sources
    lifted = any(count * MAX_PERIOD < whole for count in tokens.values())
    bound = Fraction(sources if lifted else 1, MAX_PERIOD)
    for name, count in tokens.items():
        error = abs(Fraction(found[name], period) - Fraction(count, whole))
        assert error < bound if whole > MAX_PERIOD else not error, name
    if not lifted:
        wanted = {name: Fraction(count * MAX_PERIOD, whole) for name, count in tokens.items()}
        parts = {name: Fraction(share * MAX_PERIOD, period) for name, share in found.items()}
        raised = [each % 1 for name, each in wanted.items() if parts[name] > each]
        cut = [each % 1 for name, each in wanted.items() if parts[name] < each]
        assert not raised or not cut or min(raised) >= max(cut)


def test_rounding_favors_the_largest_remainders() -> None:
    """Fails if remainders go to the first names."""
    assert integer_shares({"a": 0.333333333, "b": 0.666666667}) == {"a": 3_333_333, "b": 6_666_667}
    assert integer_shares({"a": 1.0, "b": 10.0**9}) == {"a": 1, "b": 9_999_999}
    found = integer_shares({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert found == {"a": 1, "b": 1, "c": 1}


def test_shares_of_0_are_omitted() -> None:
    assert integer_shares({"web": 0.25, "off": 0.0, "books": 0.75}) == {"books": 3, "web": 1}
    assert integer_shares({"off": 0.0}) == {}
