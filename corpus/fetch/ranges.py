"""Files that are read by range: nearby ranges share a request, and reading in order reads further ahead."""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from corpus.errors import CorpusError
from corpus.fetch.base_store import ChangedError, FileInfo, Store, changed_error, closed_early, display_url, path_parts
from corpus.fetch.politeness import TransientError, retry
from corpus.fetch.response import Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

GAP_BYTES = 1 << 16  # largest gap within one request: reading it costs less than another request
REQUEST_BYTES = 8_000_000  # fits in memory
FIRST_BYTES = 1 << 16  # requested after a seek, doubled for each further piece in order
CACHED_BYTES = 2 * REQUEST_BYTES
ByteRange = tuple[int, int]  # [start, end)


class RangeReader:
    """Byte ranges of one version of a file: the described one if `info` is given, else the first one seen.

    Raises CorpusError if the file changes.
    """

    def __init__(self, store: Store, url: str, info: FileInfo | None = None) -> None:
        self._store, self._url, self._name, self._info = store, url, display_url(url), info
        self._versions = info.versions if info else {}
        self._verified = "sha256" not in self._versions  # False until a response or a second look states the digest

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end), all of which must exist."""
        requests = (partial(self._request, at, min(at + REQUEST_BYTES, end)) for at in range(start, end, REQUEST_BYTES))
        data = b"".join(retry(self._name, request) for request in requests)
        if not self._verified:  # few servers state a digest in the response to a range request
            if retry(self._name, lambda: self._store.describe(self._url)) != self._info:
                raise changed_error(self._url)
            self._verified = True
        return data

    def read_many(self, ranges: Sequence[ByteRange]) -> Iterator[bytes]:
        """Yield the bytes of each range, in order."""
        for group in group_ranges(ranges):
            first, last = group[0][0], max(end for _, end in group)
            data = self.read(first, last)
            for start, end in group:
                yield data[start - first : end - first]

    def _request(self, start: int, end: int) -> bytes:
        too_short = CorpusError(
            f"{self._name}: has no bytes {start} to {end}: it is shorter than its index says; build again"
        )
        try:
            with self._store.get(self._url, {"Range": f"bytes={start}-{end - 1}"}) as response:
                # The body must be the range, or all of a small file.
                body = response.body_range
                if body is None or (response.status == 206 and body.start != start):
                    raise TransientError("the server ignored the requested byte range")
                if response.status == 200 and (body.size is None or body.size > REQUEST_BYTES):
                    raise CorpusError(
                        f"{self._name}: this server ignores Range, and the file is too large to read whole for a part "
                        "of it; set `stream: false`, or use a mirror"
                    )
                self._check_version(response, body.size)
                if body.size is not None and body.size < end:
                    raise too_short
                # Read to the end of the range.
                length = end - body.start  # of all of the file: with the bytes before the range
                data = response.read_up_to(length)
        except ChangedError:
            raise (changed_error(self._url) if self._info else too_short) from None
        if len(data) < length:
            raise closed_early(len(data), length)
        return data[start - body.start :]

    def _check_version(self, response: Response, size: int | None) -> None:
        """Raise CorpusError if the response belongs to another version, or to a file of another size."""
        other_size = size is not None and self._info is not None and size != self._info.size
        if other_size or response.is_other_version(self._versions):
            raise changed_error(self._url)
        self._versions = self._versions | response.versions
        self._verified = self._verified or "sha256" in response.versions


def group_ranges(ranges: Sequence[ByteRange]) -> Iterator[list[ByteRange]]:
    """Yield the ranges in order, in groups of one request each."""
    group: list[ByteRange] = []
    last = 0
    for start, end in ranges:
        assert 0 <= start <= end
        near = group and group[-1][0] <= start <= last + GAP_BYTES and max(end, last) - group[0][0] <= REQUEST_BYTES
        if group and not near:
            yield group
            group, last = [], 0
        group.append((start, end))
        last = max(last, end)
    if group:
        yield group


class RemoteStat(NamedTuple):
    """Part of os.stat_result that readers use."""

    st_size: int


class RemotePath:
    """The part of pathlib.Path that readers use: name, size and open.

    All its file objects share the pieces read last, as readers look at a file's beginning several times.
    """

    def __init__(self, info: FileInfo, store: Store) -> None:
        self._info, self._reader = info, RangeReader(store, info.url, info)
        self._pieces: deque[tuple[int, bytes]] = deque()  # offset and content, the last one read first
        self._next, self._ahead_bytes = -1, FIRST_BYTES  # offset after the last piece, and size of the next
        path = PurePosixPath("/", *path_parts(info.url)[1:])
        self.name, self.suffix, self.parts = path.name, path.suffix, path.parts

    def __str__(self) -> str:
        return self._info.url

    def stat(self) -> RemoteStat:
        """Return the size."""
        return RemoteStat(self._info.size)

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Open a new file object."""
        assert mode == "rb"
        return io.BufferedReader(RemoteFileObject(self))

    def read_bytes(self) -> bytes:
        """Return the whole content."""
        with self.open() as file:
            return file.read()

    def read_at(self, offset: int, count: int) -> bytes:
        """Return 1 to `count` bytes from `offset`, b"" at the end of the file."""
        size = self._info.size
        if offset >= size or count <= 0:
            return b""
        for start, data in self._pieces:
            if start <= offset < start + len(data):
                return data[offset - start : offset - start + count]
        self._ahead_bytes = min(self._ahead_bytes * 2, REQUEST_BYTES) if offset == self._next else FIRST_BYTES
        end = min(offset + max(self._ahead_bytes, min(count, REQUEST_BYTES)), size)
        data = self._reader.read(offset, end)
        self._next = end
        self._pieces.appendleft((offset, data))
        while sum(len(piece) for _, piece in self._pieces) > CACHED_BYTES:
            self._pieces.pop()
        return data[:count]


class RemoteFileObject(io.RawIOBase):
    """Seekable, read-only file object. Raises CorpusError if the host cannot be read from."""

    def __init__(self, path: RemotePath) -> None:
        self._path, self._offset = path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase.seek."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset, io.SEEK_END: self._path.stat().st_size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._offset = base + offset
        return self._offset

    def readinto(self, buffer: "Buffer", /) -> int:
        """See io.RawIOBase.readinto."""
        view = memoryview(buffer).cast("B")
        data = self._path.read_at(self._offset, len(view))
        view[: len(data)] = data
        self._offset += len(data)
        return len(data)
