"""Byte ranges of a file: nearby ranges share a request, and no request is larger than fits in memory."""

from collections.abc import Iterator, Sequence

from corpus.errors import CorpusError
from corpus.fetch import response_headers
from corpus.fetch.base_store import ChangedError, FileInfo, Response, Store, changed_error, display_url
from corpus.fetch.politeness import TransientError, retry

GAP_BYTES = 1 << 16  # largest gap within one request: reading it costs less than another request
REQUEST_BYTES = 8_000_000
ByteRange = tuple[int, int]  # [start, end)


class RangeReader:
    """Byte ranges of one version of a file: the described one if `info` is given, else the first one seen.

    Raises CorpusError if the file changes.
    """

    def __init__(self, store: Store, url: str, info: FileInfo | None = None) -> None:
        self._store, self._url, self._info = store, url, info
        kind, _, value = info.version.partition(":") if info else ("", "", "")
        self._versions = {kind: value} if value else {}
        self._verified = kind != "sha256"  # False until a response or a second look states the digest

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end), all of which must exist."""
        spans = [(at, min(at + REQUEST_BYTES, end)) for at in range(start, end, REQUEST_BYTES)]
        data = b"".join(retry(display_url(self._url), lambda span=span: self._request(*span)) for span in spans)  # type: ignore[misc]
        if not self._verified:  # few servers state a digest in the response to a range request
            if retry(display_url(self._url), lambda: self._store.describe(self._url)) != self._info:
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
        name = display_url(self._url)
        too_short = CorpusError(
            f"{name}: has no bytes {start} to {end}: it is shorter than its index says; build again"
        )
        try:
            with self._store.get(self._url, {"Range": f"bytes={start}-{end - 1}"}) as response:
                span = response_headers.content_range(response.headers)
                if response.status == 200:  # the whole file: skip the bytes before the range, if it is small
                    skipped, size = start, response_headers.length(response.headers)
                    if size is None or size > REQUEST_BYTES:
                        raise CorpusError(
                            f"{name}: this server ignores Range, and the file is too large to read whole for a part of "
                            "it; set `stream: false`, or use a mirror"
                        )
                elif span is None or span.start != start:
                    raise TransientError("the server ignored the requested byte range")
                else:
                    skipped, size = 0, span.size
                self._check_version(response, size)
                if size is not None and size < end:
                    raise too_short
                data, length = bytearray(), skipped + end - start
                while len(data) < length and (block := response.read(length - len(data))):
                    data += block
        except ChangedError:
            raise (changed_error(self._url) if self._info else too_short) from None
        if len(data) < length:
            raise TransientError(f"connection closed after {len(data)} of {length} bytes")
        return bytes(data[skipped:])

    def _check_version(self, response: Response, size: int | None) -> None:
        """Raise CorpusError if the response belongs to another version, or to a file of another size."""
        versions = response_headers.versions(response.headers)
        differs = any(self._versions.get(name, value) != value for name, value in versions.items())
        if differs or (size is not None and self._info and size != self._info.size):
            raise changed_error(self._url)
        self._versions |= versions
        self._verified = self._verified or "sha256" in versions


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
