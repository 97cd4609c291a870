"""The bytes that WARC records stand in, of a plain file or decompressed, and where in the file they lie.

A position counts the stream's own bytes, an offset those of the file; in a plain file the two agree. Within a member
that holds several records, offsets are interpolated between the points at which compressed bytes were consumed.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Protocol

from corpus.document import UnreadableError
from corpus.formats.budget import UNLIMITED, Budget, Limits
from corpus.formats.decompressor import Decompressor

_WINDOW_BYTES = 1 << 18
_STEP_BYTES = 1 << 15  # compressed bytes given to the decompressor at a time
PIECE_BYTES = 1 << 18  # decompressed bytes taken from it at a time
PROBED_BYTES = 64  # decompressed bytes that show how a member begins
_PROBE_BYTES = 1 << 12  # compressed bytes that they are looked for in
_RETAIN_BYTES = 1 << 20  # kept before the position, so that most ways back need no second decompression
_STREAM_LIMITS = Limits(1 << 26, ratio=200, members=UNLIMITED)


class FileBytes:
    """A file's bytes by offset, through one window."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.size = handle.seek(0, os.SEEK_END)
        self._window, self._start = memoryview(b""), 0

    def at(self, offset: int, count: int) -> memoryview:
        """Return `count` bytes from `offset`, fewer at the end of the file."""
        count = max(0, min(count, self.size - offset))
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._window):
            self._handle.seek(offset)
            self._window = memoryview(self._handle.read(max(count, _WINDOW_BYTES)))
            self._start, begin = offset, 0
        return self._window[begin : begin + count]


class GzipMember:
    """Decompressor of one gzip member. Source: RFC 1952."""

    pattern: ClassVar[bytes] = rb"\x1f\x8b\x08(?=[\x00-\x1f])"

    def __init__(self, file: FileBytes, start: int) -> None:
        self._file, self.at = file, start
        self._decompressor = Decompressor("gzip", PIECE_BYTES)

    @property
    def reach(self) -> int:
        return self.at

    def piece(self) -> bytes:
        """Return the next bytes; b"" once the member has ended and its checksum holds. Raises UnreadableError."""
        decompressor = self._decompressor
        while not decompressor.eof:
            given = self._file.at(self.at, _STEP_BYTES)
            piece = decompressor.step(given)
            self.at += len(given) - len(decompressor.left)
            if piece:
                return piece
            if not given and not decompressor.eof:
                raise UnreadableError("truncated")
        return b""

    @staticmethod
    def head(file: FileBytes, at: int) -> bytes | None:
        """Return the first bytes of the member at `at`; None if there is none."""
        try:
            return Decompressor("gzip", PROBED_BYTES).step(file.at(at, _PROBE_BYTES))
        except UnreadableError:
            return None


class WarcMember(Protocol):
    """Decompressor of one member of a file.

    `at` is the file offset that it has consumed, `reach` the farthest that it has looked at.
    """

    pattern: ClassVar[bytes]
    at: int

    def __init__(self, file: FileBytes, start: int) -> None: ...
    @property
    def reach(self) -> int: ...
    @staticmethod
    def head(file: FileBytes, at: int) -> bytes | None: ...
    def piece(self) -> bytes: ...


class PlainStream:
    """An uncompressed file. The comments of `MemberStream` say what its methods mean."""

    seekable = True
    decompressed_bytes = 0

    def check_member(self) -> None: ...

    def __init__(self, file: FileBytes, start: int) -> None:
        self._file, self.position, self._mark, self.reach = file, start, start, start
        self.end: int | None = file.size
        self.broken: UnreadableError | None = None

    def mark(self) -> None:
        self._mark = self.position

    def offset(self, position: int) -> int:
        return position

    def peek(self, count: int, strict: bool = True) -> bytes:
        return bytes(self._file.at(self.position, count))

    def step(self, count: int) -> None:
        self.position += count

    def take(self, count: int) -> bytes:
        data = self.peek(count)
        self.position += len(data)
        return data

    def skip(self, count: int) -> int:
        count = min(count, self._file.size - self.position)
        self.position += count
        return count

    def go_back(self) -> None:
        self.position = self._mark + 1


class MemberStream:
    """The decompressed bytes of a member, and of those after it that go on with a record of it (badly chunked files).

    `end` is the file offset after the last byte, once the member is known to be sound; `broken` is the damage met;
    `decompressed_bytes` counts all bytes decompressed, ways back included; `reach` is the farthest offset looked at.
    """

    seekable = False

    def __init__(self, file: FileBytes, start: int, member_type: type[WarcMember], record: re.Pattern[bytes]) -> None:
        self._file, self._start, self._member_type, self._record = file, start, member_type, record
        self.decompressed_bytes = 0
        self.reach = start
        self._reopened = False
        self._checked: int | None = None  # start of the last member that was found sound before its end was reached
        self._open()

    def _open(self) -> None:
        self._member, self._member_start = self._member_type(self._file, self._start), self._start
        self._buffer, self._base, self._at, self._mark = b"", 0, 0, 0  # _base: the position of the buffer's first byte
        self._budget = Budget(_STREAM_LIMITS)
        self._anchors = [(0, self._start)]  # (position, file offset consumed by then)
        self.end: int | None = None
        self.broken: UnreadableError | None = None

    @property
    def position(self) -> int:
        return self._base + self._at

    def mark(self) -> None:
        """Note that a record begins at the position: no position before it is asked for again."""
        self._mark = self.position
        del self._anchors[: bisect_right(self._anchors, self._mark, key=lambda anchor: anchor[0]) - 1]

    def offset(self, position: int) -> int:
        """Return the file offset of a position, interpolated between the two anchors around it."""
        index = bisect_right(self._anchors, position, key=lambda anchor: anchor[0]) - 1
        before, consumed = self._anchors[index]
        if index + 1 == len(self._anchors):
            return consumed
        after, next_consumed = self._anchors[index + 1]
        return consumed + (position - before) * (next_consumed - consumed) // (after - before)

    def peek(self, count: int, strict: bool = True) -> bytes:
        """Return the next `count` bytes, fewer at the end.

        Raises UnreadableError if the stream breaks before, unless `strict` is false: then it gives what stands there.
        """
        try:
            while len(self._buffer) - self._at < count and (piece := self._piece(in_record=False)):
                self._append(piece)
        except UnreadableError:
            if strict:
                raise
        return self._buffer[self._at : self._at + count]

    def step(self, count: int) -> None:
        """Go past bytes that a peek gave."""
        self._at += count

    def take(self, count: int) -> bytes:
        """Go past the next `count` bytes of a record's content and return them. Raises UnreadableError."""
        return b"".join(self._pass(count))

    def skip(self, count: int) -> int:
        """Go past `count` bytes of a record's content, and return how many there were. Raises UnreadableError."""
        return sum(map(len, self._pass(count)))

    def _pass(self, count: int) -> Iterator[memoryview]:
        while True:
            part = memoryview(self._buffer)[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            yield part
            if not count or not (piece := self._piece(in_record=True)):
                return
            self._append(piece)

    def check_member(self) -> None:
        """Read ahead to the end of the member, where its checksum is. Raises UnreadableError if it is damaged.

        Most members hold one record and end with it. One that holds more is decompressed twice.
        """
        if self.end is not None or self._checked == self._member_start:
            return
        member, size, budget = self._member_type(self._file, self._member_start), 0, Budget(_STREAM_LIMITS)
        try:
            while piece := member.piece():
                size += len(piece)
                budget.spend(len(piece), member.at - self._member_start)
        except UnreadableError as broken:
            self.broken = broken
            raise
        finally:
            self.decompressed_bytes += size
            self.reach = max(self.reach, member.reach)
        self._checked = self._member_start

    def go_back(self) -> None:
        """Go to the byte after the mark, or, where that would cost too much, stay."""
        if self._mark + 1 >= self._base:
            self._at = self._mark + 1 - self._base
        elif not self._reopened or self.decompressed_bytes <= going_back_bytes(self.reach - self._start):
            position = self._mark + 1
            self._reopened = True
            self._open()
            self.skip(position)

    def _append(self, piece: bytes) -> None:
        """Add a piece to the buffer, and drop what no way back will need."""
        passed = self.position - self._mark
        keep = max(0, self._mark - self._base) if passed <= _RETAIN_BYTES else self._at
        self._buffer = self._buffer[keep:] + piece
        self._base += keep
        self._at -= keep

    def _piece(self, in_record: bool) -> bytes:
        """Return the next decompressed bytes, b"" at the end. Within a record the next member may go on with it."""
        if self.broken:
            raise self.broken
        try:
            while not (piece := self._member.piece()):
                following = self._member_type.head(self._file, self._member.at) if in_record else None
                if not following or self._record.match(following):
                    self.end = self._member.at
                    return b""
                self._member_start = self._member.at
                self._member = self._member_type(self._file, self._member_start)
            self._count(piece)
            return piece
        except UnreadableError as broken:
            self.broken = broken
            raise
        finally:
            self.reach = max(self.reach, self._member.reach)

    def _count(self, piece: bytes) -> None:
        self.decompressed_bytes += len(piece)
        position = self._base + len(self._buffer) + len(piece)
        consumed = self._member.at
        self._anchors.append((position, consumed))
        self._budget.spend(len(piece), consumed - self._start)


WarcStream = PlainStream | MemberStream


class RecordBody:
    """A record's content, while the walk stands on it."""

    def __init__(self, stream: WarcStream, size: int) -> None:
        self._stream, self._left, self.size = stream, size, size

    def peek(self, count: int) -> bytes:
        """Return its next `count` bytes, fewer where a member ends."""
        return self._stream.peek(min(count, self._left))

    def read(self) -> bytes:
        """Return what is left of it."""
        data = self._stream.take(self._left)
        self._left -= len(data)
        return data

    def skip(self, count: int) -> None:
        self._left -= self._stream.skip(min(count, self._left))

    def finish(self) -> None:
        """Step past the rest. Raises UnreadableError if it is not all there."""
        self.skip(self._left)
        if self._left:
            raise UnreadableError("truncated")


def going_back_bytes(compressed_bytes: int) -> int:
    """Return how many bytes may be decompressed again for one damaged stretch of a file: more is an attack."""
    return 32 * compressed_bytes + (1 << 20)
