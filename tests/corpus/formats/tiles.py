"""What every reader promises of its spans, whatever the bytes."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from corpus.document import Found, Record
from corpus.sources.base import Source, SourceSettings


def read_whole(source: Source, path: Path, settings: SourceSettings) -> list[Found]:
    """One read of the whole file, its spans checked."""
    size = path.stat().st_size
    return checked(list(source.read(path, 0, size, settings)), 0, size)


def read_cut(source: Source, path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[Found]:
    """The union of the reads between the cuts for the offsets wanted; each read tiles its range."""
    size = path.stat().st_size
    places = sorted({0, *source.cuts(path, wanted, settings), size})
    found: list[Found] = []
    for start, end in pairwise(places):
        found += checked(list(source.read(path, start, end, settings)), start, end)
    return found


def checked(found: list[Found], start: int, end: int) -> list[Found]:
    """The same, once its spans are known to tile [start, end)."""
    at = start
    for each in found:
        assert each.start == at <= each.end
        at = each.end
    assert at == end or (not found and start == end)
    return found


def outcomes(found: Sequence[Found]) -> Counter[str]:
    """How many of each reason; records count as `record`."""
    return Counter("record" if isinstance(each, Record) else each.reason for each in found)


def records(found: Sequence[Found]) -> list[Record]:
    """The records alone."""
    return [each for each in found if isinstance(each, Record)]
