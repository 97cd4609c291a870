"""A file elsewhere as a file object: read by range, and farther ahead the longer it is read in order."""

import io
from collections import deque
from typing import TYPE_CHECKING, Protocol

from corpus.fetch.ranges import REQUEST_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

FIRST_BYTES = 1 << 16  # asked for at a place that was jumped to; doubled for each next piece in order
KEPT_BYTES = 2 * REQUEST_BYTES  # of the pieces read last


class Parts(Protocol):
    """See ranges.Parts."""

    def read(self, start: int, end: int) -> bytes: ...


class Pieces:
    """What was read of a file last: shared by all that read it, since readers look at its head again and again."""

    def __init__(self, parts: Parts, size: int) -> None:
        self.size = size
        self._parts = parts
        self._kept: deque[tuple[int, bytes]] = deque()
        self._next, self._ahead = -1, FIRST_BYTES  # where reading in order would go on, and by how much

    def at(self, offset: int, wanted: int) -> bytes:
        """1 to `wanted` bytes from `offset`; b"" behind the end."""
        if offset >= self.size or wanted <= 0:
            return b""
        for start, data in self._kept:
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + wanted]
        self._ahead = min(self._ahead * 2, REQUEST_BYTES) if offset == self._next else FIRST_BYTES
        end = min(offset + max(self._ahead, min(wanted, REQUEST_BYTES)), self.size)
        data = self._parts.read(offset, end)
        self._next = end
        self._kept.appendleft((offset, data))
        while sum(len(each) for _, each in self._kept) > KEPT_BYTES:
            self._kept.pop()
        return data[:wanted]


class RemoteFile(io.RawIOBase):
    """Seekable and read-only. Raises CorpusError where its host cannot be read from."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces, self._at = pieces, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase.seek."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._pieces.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the file's beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "Buffer", /) -> int:
        """See io.RawIOBase.readinto."""
        view = memoryview(buffer).cast("B")
        data = self._pieces.at(self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
