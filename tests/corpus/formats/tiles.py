"""Checks of the spans that every reader must give."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from corpus.document import Record, Span
from corpus.sources.base import Reader, SettingsT


def read_whole(source: Reader[SettingsT], path: Path, settings: SettingsT) -> list[Span]:
    """Read the whole file and check its spans."""
    size = path.stat().st_size
    return checked(list(source.read(path, 0, size, settings)), 0, size)


def read_cut(source: Reader[SettingsT], path: Path, wanted: Sequence[int], settings: SettingsT) -> list[Span]:
    """Read between the cuts for the wanted offsets, checking that each read tiles its range; return the union."""
    size = path.stat().st_size
    places = sorted({0, *source.cuts(path, wanted, settings), size})
    found: list[Span] = []
    for start, end in pairwise(places):
        found += checked(list(source.read(path, start, end, settings)), start, end)
    return found


def checked(found: list[Span], start: int, end: int) -> list[Span]:
    """Return the spans after checking that they tile [start, end)."""
    at = start
    for each in found:
        assert each.start == at <= each.end
        at = each.end
    assert at == end or (not found and start == end)
    return found


def outcomes(found: Sequence[Span]) -> Counter[str]:
    """Count spans by reason; records count as `record`."""
    return Counter("record" if isinstance(each, Record) else each.reason for each in found)


def records(found: Sequence[Span]) -> list[Record]:
    """Return only the records."""
    return [each for each in found if isinstance(each, Record)]
