"""Lines of plain and compressed files, each with its span of the file, however long they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corpus.document import Failed, Skipped, Span
from corpus.formats.compressed import Container, StreamDamage, next_match, offset, pieces

_NEWLINE = re.compile(rb"\n")


class Line(NamedTuple):
    """One line, less its end; None where it is longer than the limit."""

    start: int
    end: int
    data: bytes | None
    begun: bool  # whether it is known to begin where it seems to: not so behind damage
    ended: bool  # whether its end was there: not so for what the file or damage breaks off


def lines(path: Path, start: int, stop: int, kind: Container, limit: int) -> Iterator[Line | Failed]:
    """The lines of [start, stop), which are offsets at which a line (in a compressed file: a stream) begins.

    What is yielded is contiguous from `start` on; bytes that hold no data may be left over before `stop`. Of a line of
    more than `limit` bytes nothing is kept.
    """
    part, too_long, begun = bytearray(), False, True
    for piece in pieces(path, start, stop, kind):
        if isinstance(piece, StreamDamage):
            yield Failed(start, piece.end, piece.reason)
            start, too_long, begun = piece.end, False, False
            part.clear()
            continue
        at = 0
        while (newline := piece.data.find(b"\n", at)) >= 0:
            too_long = too_long or len(part) + newline - at > limit
            end = offset(piece, newline + 1)
            yield Line(start, end, None if too_long else bytes(part + piece.data[at:newline]), begun, True)
            start, at, too_long, begun = end, newline + 1, False, True
            part.clear()
        too_long = too_long or len(part) + len(piece.data) - at > limit
        if too_long:
            part.clear()
        else:
            part += piece.data[at:]
    if part or too_long:
        yield Line(start, stop, None if too_long else bytes(part), begun, False)


def line_start(path: Path, wanted: int) -> int:
    """The first offset at or after `wanted` at which a line of a plain file begins; its size if there is none."""
    size = path.stat().st_size
    if wanted <= 0:
        return 0
    with path.open("rb") as file:
        newline = next_match(file, _NEWLINE, 1, wanted - 1, size)
    return min(newline + 1, size)


def whole(found: Iterator[Span], start: int, stop: int) -> Iterator[Span]:
    """The same, with the last one drawn out to `stop`; if there is none, `skipped(empty)` for all of it."""
    last: Span | None = None
    for each in found:
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last._replace(end=stop)
    elif start < stop:
        yield Skipped(start, stop, "empty")
