"""Shares and quotas are exact for all numbers."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError
from corpus.tokens.shares import apportion, exact
from corpus.tokens.token_quotas import Mix, partition_keys, quotas

SHARES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 1000).map(lambda n: n / 1000), min_size=1).filter(
    lambda shares: sum(shares.values()) > 0
)
WHOLE = st.integers(0, 10**15)


def test_shares_are_exact_decimals() -> None:
    assert exact({"a": 0.1, "b": 0.2, "c": 0.7}) == {"a": Fraction(1, 10), "b": Fraction(1, 5), "c": Fraction(7, 10)}
    assert exact({"a": 1e-7, "b": 0.9999999})["a"] == Fraction(1, 10**7)


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": -0.1, "b": 1.1}])
def test_shares_without_a_positive_sum_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares must be"):
        exact(shares)


@given(WHOLE, SHARES)
def test_parts_add_up_and_are_within_one(whole: int, shares: dict[str, float]) -> None:
    fractions = exact(shares)
    parts = apportion(whole, fractions)
    assert sum(parts.values()) == whole
    assert all(abs(parts[name] - whole * fractions[name]) < 1 for name in fractions)
    assert parts == apportion(whole, dict(reversed(fractions.items())))


def test_the_largest_remainder_gets_what_is_left() -> None:
    assert apportion(10, exact({"a": 0.25, "b": 0.25, "c": 0.5})) == {"a": 3, "b": 2, "c": 5}
    assert apportion(10, exact({"a": 0.21, "b": 0.28, "c": 0.51})) == {"a": 2, "b": 3, "c": 5}


AVAILABLE = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10**13), min_size=8, max_size=8)


@given(SHARES, AVAILABLE, WHOLE.filter(bool))
def test_accept_gives_the_share_or_all_tokens(shares: dict[str, float], available: dict[str, int], tokens: int) -> None:
    asked = apportion(tokens, exact(shares))
    assert quotas(shares, available, tokens, "accept") == {name: min(asked[name], available[name]) for name in shares}


@given(SHARES, AVAILABLE, st.none() | WHOLE.filter(bool))
def test_scale_gives_the_largest_corpus_for_which_all_have_enough(
    shares: dict[str, float], available: dict[str, int], tokens: int | None
) -> None:
    fractions, given_ = exact(shares), quotas(shares, available, tokens, "scale")
    whole = sum(given_.values())
    assert given_ == apportion(whole, fractions)
    assert all(given_[name] <= available[name] for name in shares)
    assert tokens is None or whole <= tokens
    short = any((whole + 1) * share > available[name] for name, share in fractions.items())
    assert short or whole == tokens


def test_stop_names_each_short_source() -> None:
    shares, available = {"web": 0.5, "books": 0.3, "code": 0.2}, {"web": 100, "books": 59, "code": 39}
    assert quotas(shares, available, 190, "stop") == {"web": 95, "books": 57, "code": 38}
    with pytest.raises(CorpusError) as caught:
        quotas(shares, available, 200, "stop")
    assert "books: needs 60 tokens, has 59" in str(caught.value)
    assert "code: needs 40 tokens, has 39" in str(caught.value)
    assert "web" not in str(caught.value)


@pytest.mark.parametrize("shortfall", ["accept", "stop"])
def test_without_a_total_all_tokens_are_taken(shortfall: str) -> None:
    shares, available = {"web": 0.9, "books": 0.1, "off": 0.0}, {"web": 5, "books": 70, "off": 9}
    assert quotas(shares, available, None, shortfall) == {"web": 5, "books": 70, "off": 0}  # type: ignore[arg-type]


@given(st.integers(1, 1024))
def test_partitions_cover_all_keys(partitions: int) -> None:
    ranges = [partition_keys(number, partitions) for number in range(partitions)]
    assert ranges[0][0] == 0 and ranges[-1][1] == 2**64
    assert all(one[1] == other[0] for one, other in pairwise(ranges))
    assert max(high - low for low, high in ranges) - min(high - low for low, high in ranges) <= 1


def test_settings_are_bounded() -> None:
    assert Mix.model_validate({"tokens": "2M", "shard_bytes": "64MB"}).shard_bytes == 64_000_000
    for wrong in ({"tokens": 0}, {"shard_bytes": "513MB"}, {"partitions": 0}, {"shortfall": "guess"}, {"chunk": 1}):
        with pytest.raises(ValueError, match="validation error"):
            Mix.model_validate(wrong)
