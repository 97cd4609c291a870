"""Compressed and plain files as pieces of data, each with the bytes of the file that it came from.

A stream is a gzip member, a zstd frame, a bzip2 or an xz stream. Input is fed in blocks of a fixed size that start
anew with each stream, so what is yielded for a stream does not depend on where reading began.
"""

import bz2
import lzma
import os
import re
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol

Container = Literal["plain", "gzip", "zstd", "bz2", "xz"]

BLOCK_BYTES = 1 << 16  # compressed input fed at a time
OUTPUT_BYTES = 1 << 22  # decompressed output held at a time (zstd: and what one slice of input gives)
ZSTD_SLICE_BYTES = 1 << 9  # a zstd block is 4 bytes or more for up to 128 KiB: at most 16 MiB from one slice
XZ_MEMORY_BYTES = 100_000_000  # `xz -9`, the most that it makes of itself, takes 65 MiB to read
SCAN_BYTES = 1 << 20

# Where a stream may begin. gzip: deflate, no reserved flag, a known XFL and OS, so that chance hits are rare (5e-12 a
# byte). Source: RFC 1952, section 2.3.1; RFC 8878, section 3.1.1; bzip2's magic and its first block's (pi); the .xz
# file format, section 2.1.1.
_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]", re.DOTALL),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    "xz": re.compile(rb"\xfd7zXZ\x00\x00[\x00\x01\x04\x0a]"),
}
_MAGIC_BYTES = 10  # the longest of them
_HEADS = (
    ("gzip", re.compile(rb"\x1f\x8b")),
    ("zstd", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),  # or a skippable frame
    ("bz2", re.compile(rb"BZh[1-9]")),
    ("xz", re.compile(rb"\xfd7zXZ\x00")),
)


class Piece(NamedTuple):
    """Decompressed data out of bytes [start, end) of the file; some pieces hold bytes of the file but no data."""

    start: int
    end: int
    data: bytes
    first: bool  # whether a stream, or a plain range, begins here


class Damage(NamedTuple):
    """Bytes of the file that could not be decompressed; the next piece, if any, begins a stream."""

    start: int
    end: int
    reason: str
    first: bool = False  # whether nothing of its stream could be read


def container(path: Path) -> Container:
    """What the file is, told by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_MAGIC_BYTES)
    for kind, magic in _HEADS:
        if magic.match(head):
            return kind  # type: ignore[return-value]  # the keys of _HEADS are the literals
    return "plain"


def pieces(path: Path, start: int, stop: int, kind: Container) -> Iterator[Piece | Damage]:
    """The data of bytes [start, stop), which both are places where a stream begins, 0, or the file's size.

    What is yielded tiles [start, stop). After damage reading resumes at the next stream's magic. Memory is bounded
    whatever the bytes expand to.
    """
    with path.open("rb") as file:
        if kind == "plain":
            yield from _plain(file, start, stop)
            return
        while start < stop:
            end = yield from _stream(file, start, stop, kind)
            assert end > start
            start = end


def offset(piece: Piece, index: int) -> int:
    """Where byte `index` of the piece's data lies in the file: linear between its ends."""
    return piece.start + (piece.end - piece.start) * index // max(len(piece.data), 1)


def head(path: Path, kind: Container, limit: int) -> bytes:
    """The first `limit` decompressed bytes of the file; fewer if it is shorter or damaged."""
    found = bytearray()
    for piece in pieces(path, 0, path.stat().st_size, kind):
        if isinstance(piece, Damage):
            break
        found += piece.data
        if len(found) >= limit:
            break
    return bytes(found[:limit])


def next_match(file: BinaryIO, pattern: re.Pattern[bytes], longest: int, start: int, stop: int) -> int:
    """The first offset in [start, stop) at which `pattern`, of at most `longest` bytes, matches; else `stop`."""
    while start < stop:
        file.seek(start)
        block = file.read(SCAN_BYTES + longest - 1)
        match = pattern.search(block)
        if match:
            return min(start + match.start(), stop)
        start += SCAN_BYTES
    return stop


def next_stream(file: BinaryIO, kind: Container, start: int, stop: int) -> int:
    """The first offset in [start, stop) at which a stream seems to begin; else `stop`."""
    return next_match(file, _MAGIC[kind], _MAGIC_BYTES, start, stop)


def _plain(file: BinaryIO, start: int, stop: int) -> Iterator[Piece]:
    file.seek(start)
    at = start
    while at < stop:
        data = file.read(min(SCAN_BYTES, stop - at))
        if not data:
            return
        yield Piece(at, at + len(data), data, at == start)
        at += len(data)


def _stream(file: BinaryIO, start: int, stop: int, kind: Container) -> Generator[Piece | Damage, None, int]:
    """One stream, with the damage that ends it, if any. Returns where it ends.

    The last piece is held back: a decompressor may run on into the next stream for a while before it notices.
    """
    stream, broken = _opened(kind), False
    last: Piece | None = None
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
                if last is not None:
                    yield last
                begin = start if last is None else last.end
                last, grew = Piece(begin, begin, output, last is None), True
            if last is not None and (grew or stream.eof):  # of several outputs the last takes the block's bytes
                last = last._replace(end=at - len(stream.unused_data))
    except stream.errors:
        broken = True
    if stream.eof:
        yield last or Piece(start, at - len(stream.unused_data), b"", True)
        return at - len(stream.unused_data)
    end = next_stream(file, kind, max(start + 1, start if last is None else last.start), stop)
    if last is not None:
        last = last._replace(end=min(last.end, end))
        yield last
    reason = f"bad_{kind}" if broken or end < file.seek(0, os.SEEK_END) else "truncated"
    yield Damage(start if last is None else last.end, end, reason, last is None)
    return end


def _opened(kind: Container) -> "_Decompressor":
    return _Zstd() if kind == "zstd" else _Limited(kind)


class _Decompressor(Protocol):
    @property
    def errors(self) -> tuple[type[Exception], ...]: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def feed(self, block: bytes) -> Iterator[bytes]: ...


class _Limited:
    """A decompressor that gives no more than it is asked for; zlib's hands back what it did not read."""

    errors = (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)

    def __init__(self, kind: Container) -> None:
        self._inner = (
            zlib.decompressobj(wbits=31)
            if kind == "gzip"
            else bz2.BZ2Decompressor()
            if kind == "bz2"
            else lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)
        )

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, block: bytes) -> Iterator[bytes]:
        output = self._inner.decompress(block, OUTPUT_BYTES)
        while output:
            yield output
            left: bytes = getattr(self._inner, "unconsumed_tail", b"")
            output = b"" if self.eof else self._inner.decompress(left, OUTPUT_BYTES)


class _Zstd:
    def __init__(self) -> None:
        import zstandard

        self.errors: tuple[type[Exception], ...] = (zstandard.ZstdError,)
        self._inner = zstandard.ZstdDecompressor().decompressobj()  # libzstd's own limit: windows up to 128 MiB
        self._left = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data + self._left

    def feed(self, block: bytes) -> Iterator[bytes]:
        outputs, size, at = [], 0, 0
        while at < len(block) and not self.eof:
            output = self._inner.decompress(block[at : at + ZSTD_SLICE_BYTES])
            at += ZSTD_SLICE_BYTES
            outputs.append(output)
            size += len(output)
            if size >= OUTPUT_BYTES:
                yield b"".join(outputs)
                outputs, size = [], 0
        self._left = block[at:]
        if size:
            yield b"".join(outputs)
