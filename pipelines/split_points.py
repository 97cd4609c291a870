"""Cuts the files of a source into parts, from their sizes alone."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class FileParts(NamedTuple):
    """The parts of one file. The reader moves each wanted start to the next record."""

    first_part: int  # the part that holds the file's first byte
    wanted: tuple[int, ...]  # offsets at which parts first_part + 1, first_part + 2 … begin


class CutFile(NamedTuple):
    """A file with the offsets at which its parts after the first begin, as the reader moved them."""

    size: int
    first_part: int
    cuts: Sequence[int]


class PartRange(NamedTuple):
    """Bytes [start, end) of one file of a list."""

    file: int  # index in the list
    start: int
    end: int


def part_count(total_bytes: int, task_bytes: int) -> int:
    """Return the number of parts for that many bytes; at least one."""
    return max(1, -(-total_bytes // task_bytes))


def parts_of(sizes: Sequence[int], parts: int) -> list[FileParts]:
    """Cut concatenated files into parts of equal size: part k begins at byte k·T // parts of all T."""
    total = sum(sizes)
    borders = [part * total // parts for part in range(1, parts)]
    file_parts, before = [], 0
    for size in sizes:
        part = bisect_right(borders, before)
        end = bisect_left(borders, before + size, lo=part)
        file_parts.append(FileParts(part, tuple(border - before for border in borders[part:end])))
        before += size
    return file_parts


def ranges_of(part: int, files: Sequence[CutFile]) -> list[PartRange]:
    """Return the ranges of a part. Each file begins in the part in which the file before it ends, or in a later one."""
    first = bisect_left(files, part, key=lambda file: file.first_part + len(file.cuts))
    end = bisect_right(files, part, key=lambda file: file.first_part)
    ranges = []
    for number in range(first, end):
        size, first_part, cuts = files[number]
        edges = [0, *cuts, size]
        start, stop = edges[part - first_part], edges[part - first_part + 1]
        if start < stop or size == 0:
            ranges.append(PartRange(number, start, stop))
    return ranges
