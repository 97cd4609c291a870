"""Exact arithmetic with shares: integer parts that add up to the total."""

from collections.abc import Mapping
from fractions import Fraction


def exact(shares: Mapping[str, float]) -> dict[str, Fraction]:
    """Return shares as the decimals that were written (0.1 is 1/10), scaled to a sum of 1."""
    fractions = {name: Fraction(repr(share)) for name, share in shares.items()}
    total = sum(fractions.values())
    if total <= 0 or min(fractions.values()) < 0:
        raise ValueError(f"shares must be at least 0, and one of them over 0; found {dict(shares)}")
    return {name: fraction / total for name, fraction in fractions.items()}


def apportion(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Divide `total` into integer parts by shares that sum to 1, each within 1 of its exact part.

    What rounding down leaves goes one each to the largest remainders, and among equal ones to the first names.
    Source: the method of largest remainders (Hamilton 1792).
    """
    parts = {name: total * share.numerator // share.denominator for name, share in shares.items()}
    left = total - sum(parts.values())
    by_remainder = sorted(shares, key=lambda name: (parts[name] - total * shares[name], name))
    for name in by_remainder[:left]:
        parts[name] += 1
    return parts
