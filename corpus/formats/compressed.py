"""Files, plain or compressed, read as pieces of data, each with the bytes of the file that it came from.

A stream is a gzip member, a zstd frame, a bzip2 stream or an xz stream. Input is fed in blocks of a fixed size that
start anew with each stream, so the pieces of a stream do not depend on where reading began.

Data are suspect until their checksum was seen, so no piece is yielded before: of a damaged stream nothing is kept.
"""

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO, Literal, NamedTuple

from corpus.document import UnreadableError
from corpus.formats.decompressor import Decompressor
from corpus.parse_limits import rearm

Container = Literal["plain", "gzip", "zstd", "bz2", "xz"]

BLOCK_BYTES = 1 << 16  # compressed input fed at a time
OUTPUT_BYTES = 1 << 22  # decompressed output held at a time (for zstd, plus the output of one input slice)
SCAN_BYTES = 1 << 20
HELD_BYTES = 1 << 25  # suspect data held in memory; more goes to a temporary file
SPOOLED_BYTES = 1 << 30  # suspect data held there; a stream that gives more is decompressed twice
BZ2_BLOCK_BYTES = 46_620_000  # a block holds 900,000 bytes, of which 5 may stand for a run of 259

# Patterns of the first bytes of a stream. gzip: deflate, no reserved flag, a known XFL and OS, so that chance matches
# are rare (5e-12 a byte). Source: RFC 1952, section 2.3.1; RFC 8878, section 3.1.1; bzip2's magic number and that of
# its first block (pi); the .xz file format, section 2.1.1.
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\x00\x00[\x00\x01\x04\x0a]"),
}
_MAGIC_BYTES = 10  # the longest of them
_CONTAINERS: Mapping[Container, re.Pattern[bytes]] = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # or a skippable frame
    "bz2": re.compile(rb"BZh[1-9]"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}


class StreamPiece(NamedTuple):
    """Decompressed data of bytes [start, end) of the file; some pieces cover bytes of the file but hold no data."""

    start: int
    end: int
    data: bytes
    first: bool  # True if a stream, or a plain range, begins here


class StreamDamage(NamedTuple):
    """Bytes of the file that could not be decompressed; the next piece, if any, begins a stream."""

    start: int
    end: int
    reason: str
    first: bool = False  # True if nothing of its stream is kept


PieceWalk = Iterator[StreamPiece | StreamDamage]
StreamReader = Callable[[BinaryIO, int, int, Container], PieceWalk]  # reads one stream that begins at an offset


def container(path: Path) -> Container:
    """Return the container of the file, recognized by its first bytes."""
    with path.open("rb") as file:
        return container_of(file.read(_MAGIC_BYTES))


def container_of(begin: bytes) -> Container:
    """Return the container that begins with these bytes."""
    return next((kind for kind, magic in _CONTAINERS.items() if magic.match(begin)), "plain")


def pieces(path: Path, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield the pieces of the file at a path; see `pieces_of`."""
    with path.open("rb") as file:
        yield from pieces_of(file, start, stop, kind)


def pieces_of(file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield the data of bytes [start, stop), both of which are starts of streams, 0, or the file's size.

    The spans tile [start, stop). A damaged stream is one StreamDamage (of bzip2, from its first block that is in doubt
    on). Reading resumes at the next magic number. Memory and disk are bounded whatever the bytes expand to.
    """
    stream = _checked_at_end if kind in ("gzip", "zstd", "xz") else _checked_by_block if kind == "bz2" else _plain
    yield from _streams(stream, file, start, stop, kind)


def offset(piece: StreamPiece, index: int) -> int:
    """Return the place in the file of byte `index` of the piece's data: linear between its ends."""
    return piece.start + (piece.end - piece.start) * index // max(len(piece.data), 1)


def head(path: Path, kind: Container, limit: int) -> bytes:
    """Return the first `limit` decompressed bytes of the file; fewer if it is shorter or damaged.

    They are suspect: use them to recognize a format, not as text.
    """
    begin = bytearray()
    with path.open("rb") as file:
        for piece in _streams(_plain if kind == "plain" else _suspect, file, 0, path.stat().st_size, kind):
            if isinstance(piece, StreamDamage):
                break
            begin += piece.data
            if len(begin) >= limit:
                break
    return bytes(begin[:limit])


def next_match(file: BinaryIO, pattern: re.Pattern[bytes], longest: int, start: int, stop: int) -> int:
    """Return the first offset in [start, stop) at which `pattern`, of at most `longest` bytes, matches; else `stop`."""
    while start < stop:
        file.seek(start)
        block = file.read(SCAN_BYTES + longest - 1)
        match = pattern.search(block)
        if match:
            return min(start + match.start(), stop)
        start += SCAN_BYTES
    return stop


def next_stream(file: BinaryIO, kind: Container, start: int, stop: int) -> int:
    """Return the first offset in [start, stop) at which a stream seems to begin; else `stop`."""
    return next_match(file, _MAGIC[kind], _MAGIC_BYTES, start, stop)


def _streams(stream: StreamReader, file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield the pieces of the streams in [start, stop), each read by `stream`."""
    while start < stop:
        end = start
        for piece in stream(file, start, stop, kind):
            yield piece
            end = piece.end
        if end == start:  # the file has become shorter
            return
        start = end


def _plain(file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    at = file.seek(start)
    while data := file.read(min(SCAN_BYTES, stop - at)):
        rearm()
        yield StreamPiece(at, at + len(data), data, at == start)
        at += len(data)


def _checked_at_end(file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield a stream once its end was seen, and with it its checksum; if it is damaged, only the damage."""
    held: list[tuple[StreamPiece, int]] = []  # pieces without their data, and its length
    fits = True
    with tempfile.SpooledTemporaryFile(HELD_BYTES) as spool:
        for piece in _suspect(file, start, stop, kind):
            if isinstance(piece, StreamDamage):
                yield StreamDamage(start, piece.end, piece.reason, first=True)
                return
            fits = fits and spool.tell() + len(piece.data) <= SPOOLED_BYTES and _has_room(spool, piece.data)
            if fits:
                held.append((piece._replace(data=b""), len(piece.data)))
        if fits:
            spool.seek(0)
            for piece, length in held:
                yield piece._replace(data=spool.read(length))
            return
    yield from _suspect(file, start, stop, kind)


def _has_room(spool: IO[bytes], data: bytes) -> bool:
    """Write the data to a temporary file; return False if the disk has no room for it."""
    try:
        spool.write(data)
    except OSError:
        return False
    return True


def _checked_by_block(file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield a bzip2 stream, each piece once so much follows it that the checksum of its last block was seen."""
    held = deque[StreamPiece]()
    held_bytes, first = 0, True
    for piece in _suspect(file, start, stop, kind):
        if isinstance(piece, StreamDamage):
            yield StreamDamage(held[0].start if held else piece.start, piece.end, piece.reason, first)
            return
        held.append(piece)
        held_bytes += len(piece.data)
        while held_bytes - len(held[0].data) >= BZ2_BLOCK_BYTES:
            held_bytes -= len(held[0].data)
            yield held.popleft()
            first = False
    yield from held


def _suspect(file: BinaryIO, start: int, stop: int, kind: Container) -> PieceWalk:
    """Yield one stream as it is decompressed, with the damage that ends it, if any."""
    assert kind != "plain"
    stream, broken = Decompressor(kind, OUTPUT_BYTES), ""
    last: StreamPiece | None = None  # held back: a decompressor may run on into the next stream before it notices
    at = start
    file.seek(start)
    try:
        while not stream.eof and at < stop:
            block = file.read(min(BLOCK_BYTES, stop - at))
            if not block:
                break
            at += len(block)
            grew = False
            for output in stream.feed(block):
                rearm()
                if last is not None:
                    yield last
                begin = start if last is None else last.end
                last, grew = StreamPiece(begin, begin, output, last is None), True
            if last is not None and (grew or stream.eof):  # of several outputs the last takes the block's bytes
                last = last._replace(end=at - len(stream.left if stream.eof else b""))
    except UnreadableError as error:
        broken = error.reason
    if stream.eof:
        end = at - len(stream.left)
        yield last or StreamPiece(start, end, b"", True)
        return
    # The stream is damaged or incomplete. Its end is not known, so resume at the next magic number.
    end = next_stream(file, kind, max(start + 1, start if last is None else last.start), stop)
    if last is not None:
        last = last._replace(end=min(last.end, end))
        yield last
    reason = broken or (f"bad_{kind}" if end < file.seek(0, os.SEEK_END) else "truncated")
    yield StreamDamage(start if last is None else last.end, end, reason, last is None)
