"""A remote file as the path that readers open: read by range, and further ahead the longer it is read in order."""

import io
from collections import deque
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from corpus.fetch.base_store import path_parts
from corpus.fetch.ranges import REQUEST_BYTES, RangeReader

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

FIRST_BYTES = 1 << 16  # requested after a seek, doubled for each further piece in order
CACHED_BYTES = 2 * REQUEST_BYTES


class RemoteStat(NamedTuple):
    """Part of os.stat_result that readers use."""

    st_size: int


class RemotePath:
    """The part of pathlib.Path that readers use: name, size and open."""

    def __init__(self, url: str, size: int, reader: RangeReader) -> None:
        self._url = url
        self._pieces = PieceCache(reader, size)
        path = PurePosixPath("/", *path_parts(url)[1:])
        self.name, self.suffix, self.parts = path.name, path.suffix, path.parts

    def __str__(self) -> str:
        return self._url

    def stat(self) -> RemoteStat:
        """Return the size."""
        return RemoteStat(self._pieces.size)

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Open a new file object; all file objects share the pieces read last."""
        assert mode == "rb"
        return io.BufferedReader(RemoteFileObject(self._pieces))

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        with self.open() as file:
            return file.read()


class PieceCache:
    """Pieces of a file read last, as readers look at its beginning several times."""

    def __init__(self, reader: RangeReader, size: int) -> None:
        self.size = size
        self._reader = reader
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._next, self._ahead_bytes = -1, FIRST_BYTES  # offset behind the last piece, and size of the next

    def read(self, offset: int, count: int) -> bytes:
        """Return 1 to `count` bytes from `offset`, b"" at the end of the file."""
        if offset >= self.size or count <= 0:
            return b""
        for start, data in self._pieces:
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + count]
        self._ahead_bytes = min(self._ahead_bytes * 2, REQUEST_BYTES) if offset == self._next else FIRST_BYTES
        end = min(offset + max(self._ahead_bytes, min(count, REQUEST_BYTES)), self.size)
        data = self._reader.read(offset, end)
        self._next = end
        self._pieces.appendleft((offset, data))
        while sum(len(piece) for _, piece in self._pieces) > CACHED_BYTES:
            self._pieces.pop()
        return data[:count]


class RemoteFileObject(io.RawIOBase):
    """Seekable, read-only file object. Raises CorpusError if the host cannot be read from."""

    def __init__(self, pieces: PieceCache) -> None:
        self._pieces, self._offset = pieces, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase.seek."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._pieces.size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._offset = base + offset
        return self._offset

    def readinto(self, buffer: "Buffer", /) -> int:
        """See io.RawIOBase.readinto."""
        view = memoryview(buffer).cast("B")
        data = self._pieces.read(self._offset, len(view))
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)
