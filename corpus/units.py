"""Parses and formats sizes, counts, percentages and durations."""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from corpus.errors import InputError

_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)


def quantity(value: float | str) -> int:
    """Parse `64MB`, `1.5 GiB`, `20M` or `4096` to an integer. Raises InputError on anything else."""
    if isinstance(value, float) and value.is_integer():  # such as 2e9
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InputError(
            f"expected a number with an optional k, M, G, T, Ki, Mi, Gi or Ti, such as 64MB or 256Ki; found {value!r}"
        )
    if isinstance(value, int) and value >= 0:
        return value
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise InputError(
            f"expected a number with an optional k, M, G, T, Ki, Mi, Gi or Ti, such as 64MB or 256Ki; found {value!r}"
        )
    return round(Fraction(match[1].replace("_", "")) * _SUFFIX[(match[2] or "").lower()])


def share(value: float | str) -> float:
    """Parse `1%` or `0.01` to 0.01. Raises InputError unless it lies in 0..1."""
    text = str(value).strip()
    try:
        number = float(Decimal(text[:-1]) / 100) if text.endswith("%") else float(text)
    except (ValueError, ArithmeticError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise InputError(f"expected a share between 0 and 1, or a percentage such as 1%; found {value!r}")
    return number


def human_bytes(count: float) -> str:
    """Format 1234567 as `1.2 MB` (powers of ten)."""
    return f"{_scaled(count)}B" if count >= 1000 else f"{count:.0f} B"


def human_count(count: float) -> str:
    """Format 1234567 as `1.2 M`; numbers under 10,000 in full."""
    return f"{count:,.0f}" if count < 10_000 else _scaled(count).strip()


def _scaled(count: float) -> str:
    for suffix in ("", "k", "M", "G", "T"):
        if count < 999.5 or suffix == "T":
            return f"{count:.3g} {suffix}" if count < 100 else f"{count:.0f} {suffix}"
        count /= 1000
    raise AssertionError


def human_seconds(seconds: float) -> str:
    """Format 75.2 as `1 min 15 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort by count, the largest first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def largest(counts: Mapping[str, int], most: int) -> str:
    """Return the largest counts in words: `en 1,200, de 7 and 3 more`."""
    shown = [f"{name} {count:,}" for name, count in list(by_count(counts).items())[:most]]
    return ", ".join(shown) + (f" and {len(counts) - most:,} more" if len(counts) > most else "")
