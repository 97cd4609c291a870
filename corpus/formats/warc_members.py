"""Compressed members of a WARC file (a gzip member, an LZ4 frame): where each ends, and what it inflates to.

Only bytes decide here: nothing is read ahead of what is asked for, and no member is held in memory.
"""

import os
import zlib
from typing import BinaryIO, Protocol

_WINDOW_BYTES = 1 << 18
_STEP_BYTES = 1 << 15  # compressed bytes given to the inflater at a time
_PIECE_BYTES = 1 << 18  # inflated bytes taken from it at a time
_PROBE_BYTES = 1 << 12  # compressed bytes looked at to learn how a member begins


class BrokenError(Exception):
    """What stands here cannot be read; `reason` is one of those that common_crawl lists."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FileBytes:
    """A file's bytes by offset, through one window."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.size = handle.seek(0, os.SEEK_END)
        self._window, self._start = memoryview(b""), 0

    def at(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset`, fewer at the end of the file."""
        count = max(0, min(count, self.size - offset))
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._window):
            self._handle.seek(offset)
            self._window = memoryview(self._handle.read(max(count, _WINDOW_BYTES)))
            self._start, begin = offset, 0
        return self._window[begin : begin + count]


class Member(Protocol):
    """One compressed member. `at`: the file offset it has consumed; `reach`: the farthest it has looked."""

    at: int

    @property
    def reach(self) -> int: ...

    def piece(self) -> bytes:
        """The next inflated bytes; b"" once the member has ended and its checksum holds. Raises BrokenError."""


class GzipMember:
    """One gzip member. Source: RFC 1952."""

    pattern = rb"\x1f\x8b\x08(?=[\x00-\x1f])"

    def __init__(self, file: FileBytes, start: int) -> None:
        self._file, self.at = file, start
        self._inflater = zlib.decompressobj(31)

    @property
    def reach(self) -> int:
        return self.at

    def piece(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            given = self._file.at(self.at, _STEP_BYTES)
            try:
                piece = inflater.decompress(given, _PIECE_BYTES)
            except zlib.error:
                raise BrokenError("bad_gzip") from None
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail  # at its end both may be set
            self.at += len(given) - len(left)
            if piece:
                return piece
            if not given and not inflater.eof:
                raise BrokenError("truncated")
        return b""

    @staticmethod
    def head(file: FileBytes, at: int) -> bytes | None:
        """The first inflated bytes of the member at `at`; None if there is none."""
        try:
            return zlib.decompressobj(31).decompress(file.at(at, _PROBE_BYTES), 64)
        except zlib.error:
            return None


class Lz4Frame:
    """One LZ4 frame; a skippable frame inflates to nothing. Source: LZ4 frame format 1.6.4.

    The frame's end is found from its block sizes, so that the library sees this frame alone.
    """

    pattern = rb"\x04\x22\x4d\x18(?=[\x40-\x7f])"
    _BLOCK_BYTES = (1 << 16, 1 << 18, 1 << 20, 1 << 22)

    def __init__(self, file: FileBytes, start: int) -> None:
        from fastwarc.stream_io import Lz4Reader

        self.at = start
        self._end, self._problem = _lz4_end(file, start)
        skippable = bytes(file.at(start + 1, 3)) == b"\x2a\x4d\x18"
        self._source = _Slice(file, self._end if skippable else start, self._end)
        self._reader = Lz4Reader(self._source)

    @property
    def reach(self) -> int:
        return self._end

    def piece(self) -> bytes:
        try:
            piece: bytes = self._reader.read(_PIECE_BYTES) if self._source.size else b""
        except OSError:
            raise BrokenError(self._problem or "bad_lz4") from None
        if not piece:
            if self._problem:
                raise BrokenError(self._problem)
            self.at = self._end
            return b""
        self.at = self._source.start + self._source.tell()
        return piece

    @staticmethod
    def head(file: FileBytes, at: int) -> bytes | None:
        """The literals that the frame's first block begins with; None if there is no frame."""
        blocks = _lz4_blocks(file, at)
        if blocks is None:
            return None
        size = int.from_bytes(file.at(blocks, 4), "little")
        block = bytes(file.at(blocks + 4, min(size & 0x7FFFFFFF, 80)))
        if not block or size >> 31:
            return block[:64]
        literals, begin = block[0] >> 4, 1
        if literals == 15:  # a length byte follows, and after each of 255 another
            while block[begin : begin + 1] == b"\xff":
                literals += 255
                begin += 1
            literals += sum(block[begin : begin + 1])
            begin += 1
        return block[begin : begin + min(literals, 64)]


class _Slice:
    """A part of a file as the library reads it."""

    def __init__(self, file: FileBytes, start: int, end: int) -> None:
        self._file, self.start, self.size, self._at = file, start, end - start, 0

    def read(self, size: int = -1) -> bytes:
        left = self.size - self._at
        data = bytes(self._file.at(self.start + self._at, left if size < 0 else min(size, left)))
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def close(self) -> None:
        pass


def _lz4_blocks(file: FileBytes, at: int) -> int | None:
    """Where the first block of the frame at `at` begins; None if its header is not one."""
    head = bytes(file.at(at, 6))
    if len(head) < 6 or head[:4] != b"\x04\x22\x4d\x18" or head[4] >> 6 != 1 or head[4] & 2:
        return None
    if head[5] & 0x8F or head[5] >> 4 < 4:
        return None
    return at + 7 + (8 if head[4] & 8 else 0) + (4 if head[4] & 1 else 0)


def _lz4_end(file: FileBytes, start: int) -> tuple[int, str | None]:
    """Where the frame ends; or how far its blocks are sound, and the reason that they go no farther."""
    head = bytes(file.at(start, 8))
    if len(head) == 8 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:
        end = start + 8 + int.from_bytes(head[4:], "little")
        return (end, None) if end <= file.size else (file.size, "truncated")
    at = _lz4_blocks(file, start)
    if at is None:
        return start, "bad_lz4"
    checksum = 4 if head[4] & 16 else 0
    largest = Lz4Frame._BLOCK_BYTES[(head[5] >> 4) - 4]
    while True:
        word = file.at(at, 4)
        if len(word) < 4:
            return file.size, "truncated"
        size = int.from_bytes(word, "little")
        if size == 0:
            break
        if size & 0x7FFFFFFF > largest:
            return at, "bad_lz4"
        at += 4 + (size & 0x7FFFFFFF) + checksum
    at += 4 + (4 if head[4] & 4 else 0)
    return (at, None) if at <= file.size else (file.size, "truncated")
