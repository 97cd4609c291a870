"""The bytes that WARC records stand in, of a plain file or inflated, and where in the file they lie.

A position counts the stream's own bytes; `offset` gives the file's. In a plain file the two agree. Within a member
that holds several records, offsets are interpolated between the points at which compressed bytes were consumed.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

from corpus.formats.warc_members import BrokenError, FileBytes, Member

_RETAIN_BYTES = 1 << 20  # kept behind the position, so that most ways back need no second inflating
_BOMB_BYTES, _BOMB_RATIO = 1 << 26, 200


class Stream(Protocol):
    """Bytes in order. `end`: the file offset behind the last one, once it is known to be sound."""

    end: int | None
    broken: BrokenError | None
    seekable: bool
    inflated: int  # bytes inflated in all, ways back included
    reach: int  # the farthest file offset looked at

    @property
    def position(self) -> int: ...

    def mark(self) -> None:
        """Notes that a record begins at the position: positions before it are asked for no more."""

    def offset(self, position: int) -> int: ...

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end. Raises BrokenError if the stream breaks before."""

    def glimpse(self, count: int) -> bytes:
        """Like `peek`, but gives what stands before a break."""

    def step(self, count: int) -> None:
        """Goes past bytes that a peek gave."""

    def take(self, count: int) -> bytes:
        """The next `count` bytes of a record's content; goes past them. Raises BrokenError."""

    def skip(self, count: int) -> int:
        """Goes past `count` bytes of a record's content, and says how many there were. Raises BrokenError."""

    def go_back(self) -> None:
        """Goes to the byte behind the mark, or, where that would cost too much, stays."""


class Body:
    """A record's content, while the walk stands on it."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream, self._left, self.size = stream, size, size

    def peek(self, count: int) -> bytes:
        """Its next `count` bytes, fewer where a member ends."""
        return self._stream.peek(min(count, self._left))

    def read(self) -> bytes:
        """What is left of it."""
        data = self._stream.take(self._left)
        self._left -= len(data)
        return data

    def skip(self, count: int) -> None:
        self._left -= self._stream.skip(min(count, self._left))

    def finish(self) -> None:
        """Steps past the rest. Raises BrokenError if it is not all there."""
        self.skip(self._left)
        if self._left:
            raise BrokenError("truncated")


class PlainStream:
    """An uncompressed file."""

    seekable = True
    inflated = 0

    def __init__(self, file: FileBytes, start: int) -> None:
        self._file, self.position, self._mark, self.reach = file, start, start, start
        self.end: int | None = file.size
        self.broken: BrokenError | None = None

    def mark(self) -> None:
        self._mark = self.position

    def offset(self, position: int) -> int:
        return position

    def peek(self, count: int) -> bytes:
        return bytes(self._file.at(self.position, count))

    def glimpse(self, count: int) -> bytes:
        return self.peek(count)

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


class InflatedStream:
    """A member, and those after it that go on with a record of it (wrongly chunked files)."""

    seekable = False

    def __init__(
        self,
        file: FileBytes,
        start: int,
        member: Callable[[FileBytes, int], Member],
        head: Callable[[FileBytes, int], bytes | None],
        record: re.Pattern[bytes],
    ) -> None:
        self._file, self._start, self._open_member, self._head, self._record = file, start, member, head, record
        self.inflated = 0
        self.reach = start
        self._reopened = False
        self._open()

    def _open(self) -> None:
        self._member = self._open_member(self._file, self._start)
        self._buffer, self._base, self._at, self._mark = b"", 0, 0, 0
        self._anchors = [(0, self._start)]  # (position, file offset consumed by then)
        self.end: int | None = None
        self.broken: BrokenError | None = None

    @property
    def position(self) -> int:
        return self._base + self._at

    def mark(self) -> None:
        self._mark = self.position
        del self._anchors[: bisect_right(self._anchors, self._mark, key=lambda anchor: anchor[0]) - 1]

    def offset(self, position: int) -> int:
        index = bisect_right(self._anchors, position, key=lambda anchor: anchor[0]) - 1
        inflated, consumed = self._anchors[index]
        if index + 1 == len(self._anchors):
            return consumed
        next_inflated, next_consumed = self._anchors[index + 1]
        return consumed + (position - inflated) * (next_consumed - consumed) // (next_inflated - inflated)

    def peek(self, count: int) -> bytes:
        while len(self._buffer) - self._at < count and (piece := self._piece(in_record=False)):
            self._append(piece)
        return self._buffer[self._at : self._at + count]

    def glimpse(self, count: int) -> bytes:
        try:
            return self.peek(count)
        except BrokenError:
            return self._buffer[self._at : self._at + count]

    def step(self, count: int) -> None:
        self._at += count

    def take(self, count: int) -> bytes:
        while len(self._buffer) - self._at < min(count, _RETAIN_BYTES) and (piece := self._piece(in_record=True)):
            self._append(piece)
        parts = [self._buffer[self._at : self._at + count]]
        self._at += len(parts[0])
        missing = count - len(parts[0])
        while missing and (piece := self._piece(in_record=True)):
            parts.append(piece[:missing])
            self._replace(piece, len(parts[-1]))
            missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, count: int) -> int:
        missing = count
        while True:
            step = min(missing, len(self._buffer) - self._at)
            self._at += step
            missing -= step
            if not missing or not (piece := self._piece(in_record=True)):
                return count - missing
            self._append(piece)

    def go_back(self) -> None:
        if self._mark + 1 >= self._base:
            self._at = self._mark + 1 - self._base
        elif not self._reopened or self.inflated <= going_back_bytes(self.reach - self._start):
            position = self._mark + 1
            self._reopened = True
            self._open()
            self.skip(position)

    def _append(self, piece: bytes) -> None:
        """Adds a piece, and drops what no one will go back to."""
        behind = self.position - self._mark
        keep = max(0, self._mark - self._base) if behind <= _RETAIN_BYTES else self._at
        self._buffer = self._buffer[keep:] + piece
        self._base += keep
        self._at -= keep

    def _replace(self, piece: bytes, at: int) -> None:
        self._base += len(self._buffer)
        self._buffer, self._at = piece, at

    def _piece(self, in_record: bool) -> bytes:
        """The next inflated bytes, b"" at the end. Inside a record's content the next member may go on with it."""
        if self.broken:
            raise self.broken
        try:
            while not (piece := self._member.piece()):
                following = self._head(self._file, self._member.at) if in_record else None
                if not following or self._record.match(following):
                    self.end = self._member.at
                    return b""
                self._member = self._open_member(self._file, self._member.at)
            self._count(piece)
            return piece
        except BrokenError as broken:
            self.broken = broken
            raise
        finally:
            self.reach = max(self.reach, self._member.reach)

    def _count(self, piece: bytes) -> None:
        self.inflated += len(piece)
        position = self._base + len(self._buffer) + len(piece)
        consumed = self._member.at
        self._anchors.append((position, consumed))
        if position > _BOMB_BYTES and position > _BOMB_RATIO * (consumed - self._start):
            raise BrokenError("bomb")


def going_back_bytes(compressed_bytes: int) -> int:
    """How many bytes may be inflated, again and again, for one damaged stretch of a file: more is an attack."""
    return 32 * compressed_bytes + (1 << 20)
