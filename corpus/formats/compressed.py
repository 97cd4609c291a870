"""Decompression of every codec in use, and files read as pieces of data, each with the bytes that it came from.

A stream is a gzip member, a zstd frame, a bzip2 stream or an xz stream. Input is fed in blocks of a fixed size that
start anew with each stream, so the pieces of a stream do not depend on where reading began.
"""

import bz2
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol

from corpus.document import UnreadableError

Container = Literal["plain", "gzip", "zstd", "bz2", "xz"]
Codec = Literal["gzip", "zstd", "bz2", "xz", "zlib", "deflate", "br"]  # zlib: deflate with a header of two bytes

BLOCK_BYTES = 1 << 16  # compressed input fed at a time
OUTPUT_BYTES = 1 << 22  # decompressed output held at a time (for zstd, plus the output of one input slice)
ZSTD_SLICE_BYTES = 1 << 9  # a zstd block is 4 bytes or more for up to 128 KiB: at most 16 MiB from one slice
XZ_MEMORY_BYTES = 100_000_000  # reading a file of `xz -9`, the strongest preset, takes 65 MiB
BROTLI_BYTES = 1 << 18  # decompressed output taken from fastwarc's reader at a time
SCAN_BYTES = 1 << 20

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
    first: bool = False  # True if nothing of its stream could be read


class _StreamDecoder(Protocol):
    """The common interface of the libraries' decompressors, which is that of `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


class _ZstdDecoder:
    """zstandard's decompressor, which has no limit on its output, fed in slices small enough to bound it."""

    def __init__(self) -> None:
        import zstandard

        self._inner = zstandard.ZstdDecompressor().decompressobj()  # libzstd's own limit: windows up to 128 MiB
        self._error = zstandard.ZstdError
        self.unconsumed_tail = self.unused_data = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        outputs, size, at = [], 0, 0
        try:
            while at < len(data) and size < max_length and not self.eof:
                outputs.append(self._inner.decompress(data[at : at + ZSTD_SLICE_BYTES]))
                at += ZSTD_SLICE_BYTES
                size += len(outputs[-1])
        except self._error:
            raise ValueError from None
        self.unconsumed_tail = bytes(data[at:])
        self.unused_data = self._inner.unused_data + self.unconsumed_tail
        return b"".join(outputs)


class _BrotliDecoder:
    """fastwarc's Brotli reader; the first call must bring the whole stream."""

    unused_data = b""
    eof = False

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        from fastwarc.stream_io import BrotliReader

        reader, output = BrotliReader(io.BytesIO(data)), bytearray()
        while len(output) < max_length and (piece := reader.read(BROTLI_BYTES)):
            output += piece
        self.eof = len(output) < max_length
        return bytes(output)


_DECODERS: Mapping[Codec, Callable[[], _StreamDecoder]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": lambda: zlib.decompressobj(15),
    "deflate": lambda: zlib.decompressobj(-15),
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES),
    "zstd": _ZstdDecoder,
    "br": _BrotliDecoder,
}


class Decompressor:
    """Decompressor of one stream, giving about `output_bytes` at a time; `left` is input that it did not use yet."""

    def __init__(self, codec: Codec, output_bytes: int) -> None:
        self._codec, self._output_bytes, self._decoder = codec, output_bytes, _DECODERS[codec]()
        self.left = b""

    @property
    def eof(self) -> bool:
        """True once the stream has ended and its checksum was found right."""
        return self._decoder.eof

    def step(self, data: bytes | memoryview) -> bytes:
        """Decompress `data` as far as the limit allows. Raises UnreadableError (`bad_gzip` and so on)."""
        decoder = self._decoder
        try:
            output = decoder.decompress(data, self._output_bytes)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
            raise UnreadableError(f"bad_{self._codec}") from None
        # bz2 and lzma keep what they did not use; zlib may set both at the end of a stream.
        self.left = decoder.unused_data if decoder.eof else getattr(decoder, "unconsumed_tail", b"")
        return output

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield all output of a block of input, piece by piece."""
        output = self.step(block)
        while output:
            yield output
            output = b"" if self.eof else self.step(self.left)


def decompress(data: bytes, codec: Codec, limit: int) -> bytes:
    """Decompress a stream in memory (for zstd, all frames); output of more than `limit` bytes was cut off.

    Raises UnreadableError if it is damaged or incomplete.
    """
    parts, size = [], 0
    while data and size <= limit:
        decompressor = Decompressor(codec, limit + 1 - size)
        parts.append(decompressor.step(data))
        size += len(parts[-1])
        if size <= limit and not decompressor.eof:
            raise UnreadableError("truncated")
        data = decompressor.left if codec == "zstd" else b""
    return b"".join(parts)


def container(path: Path) -> Container:
    """Return the container of the file, recognized by its first bytes."""
    with path.open("rb") as file:
        return container_of(file.read(_MAGIC_BYTES))


def container_of(begin: bytes) -> Container:
    """Return the container that begins with these bytes."""
    return next((kind for kind, magic in _CONTAINERS.items() if magic.match(begin)), "plain")


def pieces(path: Path, start: int, stop: int, kind: Container) -> Iterator[StreamPiece | StreamDamage]:
    """Yield the pieces of the file at a path; see `pieces_of`."""
    with path.open("rb") as file:
        yield from pieces_of(file, start, stop, kind)


def pieces_of(file: BinaryIO, start: int, stop: int, kind: Container) -> Iterator[StreamPiece | StreamDamage]:
    """Yield the data of bytes [start, stop), both of which are starts of streams, 0, or the file's size.

    The spans tile [start, stop). After damage reading resumes at the next stream's magic number. Memory is bounded
    whatever the bytes expand to.
    """
    if kind == "plain":
        yield from _plain(file, start, stop)
        return
    while start < stop:
        end = yield from _stream(file, start, stop, kind)
        assert end > start
        start = end


def offset(piece: StreamPiece, index: int) -> int:
    """Return the place in the file of byte `index` of the piece's data: linear between its ends."""
    return piece.start + (piece.end - piece.start) * index // max(len(piece.data), 1)


def head(path: Path, kind: Container, limit: int) -> bytes:
    """Return the first `limit` decompressed bytes of the file; fewer if it is shorter or damaged."""
    begin = bytearray()
    for piece in pieces(path, 0, path.stat().st_size, kind):
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


def _plain(file: BinaryIO, start: int, stop: int) -> Iterator[StreamPiece]:
    at = file.seek(start)
    while data := file.read(min(SCAN_BYTES, stop - at)):
        yield StreamPiece(at, at + len(data), data, at == start)
        at += len(data)


def _stream(
    file: BinaryIO, start: int, stop: int, kind: Literal["gzip", "zstd", "bz2", "xz"]
) -> Generator[StreamPiece | StreamDamage, None, int]:
    """Yield one stream, with the damage that ends it, if any. Returns where it ends."""
    stream, broken = Decompressor(kind, OUTPUT_BYTES), False
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
                if last is not None:
                    yield last
                begin = start if last is None else last.end
                last, grew = StreamPiece(begin, begin, output, last is None), True
            if last is not None and (grew or stream.eof):  # of several outputs the last takes the block's bytes
                last = last._replace(end=at - len(stream.left if stream.eof else b""))
    except UnreadableError:
        broken = True
    if stream.eof:
        end = at - len(stream.left)
        yield last or StreamPiece(start, end, b"", True)
        return end
    # The stream is damaged or incomplete. Its end is not known, so resume at the next magic number.
    end = next_stream(file, kind, max(start + 1, start if last is None else last.start), stop)
    if last is not None:
        last = last._replace(end=min(last.end, end))
        yield last
    reason = f"bad_{kind}" if broken or end < file.seek(0, os.SEEK_END) else "truncated"
    yield StreamDamage(start if last is None else last.end, end, reason, last is None)
    return end
