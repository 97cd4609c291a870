"""Parsing and formatting of sizes, shares and durations."""

import pytest

from corpus.errors import InputError
from corpus.units import human_bytes, human_count, human_seconds, quantity, share


@pytest.mark.parametrize(
    ("text", "value"), [("64MB", 64_000_000), ("1.5 GiB", 1_610_612_736), ("20M", 20_000_000), (7, 7), ("1_000", 1000)]
)
def test_quantities_are_parsed(text: str | int, value: int) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "many", "-5", -5, True, "1e3", "5 elephants", "NaN"])
def test_invalid_quantities_are_refused(text: str | int) -> None:
    with pytest.raises(InputError, match="such as 64MB"):
        quantity(text)


def test_huge_quantities_are_exact() -> None:
    assert quantity("9" * 400) == int("9" * 400)


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("33.3%", 0.333), ("0.25", 0.25), (1, 1.0), ("100%", 1.0)])
def test_shares_are_parsed(text: str | float, value: float) -> None:
    assert share(text) == value


@pytest.mark.parametrize("text", ["101%", "-1%", "1/2%", "half", True, "nan", 1.5])
def test_invalid_shares_are_refused(text: str | float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        share(text)


def test_human_readable_formats() -> None:
    assert [human_bytes(size) for size in (0, 999, 1500, 1_234_567)] == ["0 B", "999 B", "1.5 kB", "1.23 MB"]
    assert [human_count(count) for count in (0, 9999, 1_234_567)] == ["0", "9,999", "1.23 M"]
    assert [human_seconds(taken) for taken in (1.23, 75, 3700)] == ["1.2 s", "1 min 15 s", "1 h 01 min"]
