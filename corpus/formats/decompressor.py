"""Decompression of one stream, of every codec in use, with a limit on the output that is held at a time."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

from corpus.document import UnreadableError

Codec = Literal["gzip", "zstd", "bz2", "xz", "zlib", "deflate", "br"]  # zlib: deflate with a header of two bytes

ZSTD_SLICE_BYTES = 1 << 9  # a zstd block is 4 bytes or more for up to 128 KiB: at most 16 MiB from one slice
ZSTD_WINDOW_BYTES = 1 << 27  # libzstd's own limit: what `zstd --long=28` and above write is not read
ZSTD_HEADER_BYTES = 18  # of a frame, at most. Source: RFC 8878, section 3.1.1.1
XZ_MEMORY_BYTES = 100_000_000  # reading a file of `xz -9`, the strongest preset, takes 65 MiB
BROTLI_BYTES = 1 << 18  # decompressed output taken from fastwarc's reader at a time


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

        self._inner = zstandard.ZstdDecompressor().decompressobj()
        self._error = zstandard.ZstdError
        self.unconsumed_tail = self.unused_data = self._begin = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        self._begin = self._begin or bytes(data[:ZSTD_HEADER_BYTES])
        outputs, size, at = [], 0, 0
        try:
            while at < len(data) and size < max_length and not self.eof:
                outputs.append(self._inner.decompress(data[at : at + ZSTD_SLICE_BYTES]))
                at += ZSTD_SLICE_BYTES
                size += len(outputs[-1])
        except self._error:
            raise UnreadableError(_zstd_problem(self._begin)) from None
        self.unconsumed_tail = bytes(data[at:])
        self.unused_data = self._inner.unused_data + self.unconsumed_tail
        return b"".join(outputs)


def _zstd_problem(begin: bytes) -> str:
    """Return the reason why a frame that begins with these bytes cannot be decompressed."""
    import zstandard

    try:
        frame = zstandard.get_frame_parameters(begin)
    except zstandard.ZstdError:
        return "bad_zstd"
    return (
        "zstd_dictionary" if frame.dict_id else "zstd_window" if frame.window_size > ZSTD_WINDOW_BYTES else "bad_zstd"
    )


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
