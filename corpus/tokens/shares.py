"""Shares of a whole, in exact arithmetic: what is asked of each source adds up to the whole, to the last token."""

from collections.abc import Mapping
from fractions import Fraction


def exact(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """Shares as the decimals that were written (0.1 is 1/10), scaled so that they sum to 1."""
    fractions = {name: Fraction(repr(share)) for name, share in shares.items()}
    whole = sum(fractions.values())
    if whole <= 0 or min(fractions.values()) < 0:
        raise ValueError(f"shares must be at least 0, and one of them over 0; found {dict(shares)}")
    return {name: fraction / whole for name, fraction in fractions.items()}


def apportion(whole: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """`whole` in integer parts by shares that sum to 1, each within 1 of its exact part.

    What rounding down leaves goes, one each, to the largest remainders; of equal ones to the first name.
    Source: the method of largest remainders (Hamilton 1792).
    """
    parts = {name: whole * share.numerator // share.denominator for name, share in shares.items()}
    left = whole - sum(parts.values())
    by_remainder = sorted(shares, key=lambda name: (parts[name] - whole * shares[name], name))
    for name in by_remainder[:left]:
        parts[name] += 1
    return parts
