"""How a source's files are cut into parts, from sizes alone."""

from collections.abc import Sequence
from typing import NamedTuple


class FileParts(NamedTuple):
    """Where the parts of one file begin, as wanted; the reader moves each to the next record's start."""

    first_part: int  # the part that the file's first byte belongs to
    wanted: tuple[int, ...]  # offsets at which parts first_part + 1, first_part + 2 … begin


class Range(NamedTuple):
    """Bytes [start, end) of the n-th file of a list."""

    file: int
    start: int
    end: int


def part_count(total_bytes: int, task_bytes: int) -> int:
    """How many parts a number of bytes makes: at least one."""
    return max(1, -(-total_bytes // task_bytes))


def parts_of(sizes: Sequence[int], parts: int) -> list[FileParts]:
    """Cuts files that lie end to end into parts of equal size: part k begins at byte k·T // parts of all T."""
    total = sum(sizes)
    borders = [part * total // parts for part in range(1, parts)]
    found, before, part = [], 0, 0
    for size in sizes:
        while part < len(borders) and borders[part] <= before:
            part += 1
        inside = tuple(border - before for border in borders[part:] if border < before + size)
        found.append(FileParts(part, inside))
        before += size
    return found


def ranges_of(part: int, files: Sequence[tuple[int, int, Sequence[int]]]) -> list[Range]:
    """The ranges that a part reads, given (size, first part, real cuts) of each file."""
    found = []
    for number, (size, first_part, cuts) in enumerate(files):
        edges = [0, *cuts, size]
        index = part - first_part
        if 0 <= index < len(edges) - 1 and (edges[index] < edges[index + 1] or size == 0):
            found.append(Range(number, edges[index], edges[index + 1]))
    return found
