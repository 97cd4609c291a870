"""Cuts the files of a source into parts, from their sizes alone."""

from collections.abc import Sequence
from typing import NamedTuple


class FileParts(NamedTuple):
    """The parts of one file. The reader moves each wanted start to the next record."""

    first_part: int  # the part that holds the file's first byte
    wanted: tuple[int, ...]  # offsets at which parts first_part + 1, first_part + 2 … begin


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
    file_parts, before, part = [], 0, 0
    for size in sizes:
        while part < len(borders) and borders[part] <= before:
            part += 1
        inside = tuple(border - before for border in borders[part:] if border < before + size)
        file_parts.append(FileParts(part, inside))
        before += size
    return file_parts


def ranges_of(part: int, files: Sequence[tuple[int, int, Sequence[int]]]) -> list[PartRange]:
    """Return the ranges of a part, given (size, first part, actual cuts) of each file."""
    ranges = []
    for number, (size, first_part, cuts) in enumerate(files):
        edges = [0, *cuts, size]
        index = part - first_part
        if 0 <= index < len(edges) - 1 and (edges[index] < edges[index + 1] or size == 0):
            ranges.append(PartRange(number, edges[index], edges[index + 1]))
    return ranges
