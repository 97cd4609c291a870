"""Lines of plain and compressed files, each with its span of the file, however long they are."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from corpus.document import Failed
from corpus.formats.compressed import Container, StreamDamage, next_match, next_stream, offset, pieces_of

_NEWLINE = re.compile(rb"\n")


class FileLine(NamedTuple):
    """One line, less its end; None if it is longer than the limit."""

    start: int
    end: int
    data: bytes | None
    begun: bool  # False after damage, where the start of the line is unknown
    ended: bool  # False if the file or damage breaks it off
    opens: bool = False  # True if a stream (or the range) begins with it, right after a complete line


def lines(file: BinaryIO, start: int, stop: int, kind: Container, limit: int) -> Iterator[FileLine | Failed]:
    """Yield the lines in [start, stop): both are starts of lines (in a compressed file, of streams) or the file size.

    The spans are contiguous from `start` on; bytes that hold no data may be left over before `stop`. Of a line of more
    than `limit` bytes nothing is kept.
    """
    line, too_long, begun, opens = bytearray(), False, True, False
    for piece in pieces_of(file, start, stop, kind):
        if isinstance(piece, StreamDamage):
            yield Failed(start, piece.end, piece.reason)
            start, too_long, begun = piece.end, False, False
            line.clear()
            continue
        if not line and not too_long:
            opens = begun and piece.first and piece.start == start
        at = 0
        while (newline := piece.data.find(b"\n", at)) >= 0:
            too_long = too_long or len(line) + newline - at > limit
            end = offset(piece, newline + 1)
            yield FileLine(start, end, None if too_long else bytes(line + piece.data[at:newline]), begun, True, opens)
            start, at, too_long, begun, opens = end, newline + 1, False, True, False
            line.clear()
        # The rest of the piece begins a line that the next piece may end.
        too_long = too_long or len(line) + len(piece.data) - at > limit
        if too_long:
            line.clear()
        else:
            line += piece.data[at:]
    if line or too_long:
        yield FileLine(start, stop, None if too_long else bytes(line), begun, False, opens)


def stream_cuts(path: Path, wanted: Sequence[int], kind: Container) -> list[int]:
    """Return for each wanted offset the first at or after it at which both a stream and a line of a file begin.

    A stream that goes on with a line of the stream before it is no cut, nor is one after damage, so the lines and their
    spans are the same however the file is cut. This decompresses the file up to the last cut.
    """
    size = path.stat().st_size
    cut_of = {offset: 0 if offset <= 0 else size for offset in wanted}
    left = sorted(offset for offset in cut_of if 0 < offset < size)
    with path.open("rb") as file:
        if left and next_stream(file, kind, left[0], size) < size:  # a file of one stream need not be read
            for line in lines(file, 0, size, kind, limit=0):
                while left and isinstance(line, FileLine) and line.opens and left[0] <= line.start:
                    cut_of[left.pop(0)] = line.start
                if not left:
                    break
    return [cut_of[offset] for offset in wanted]


def line_start(path: Path, wanted: int) -> int:
    """Return the first offset at or after `wanted` at which a line of a plain file begins; else the file's size."""
    size = path.stat().st_size
    if wanted <= 0:
        return 0
    with path.open("rb") as file:
        newline = next_match(file, _NEWLINE, 1, wanted - 1, size)
    return min(newline + 1, size)
