"""Parts of files: near ranges in one request, small enough to be held, and never more read than was asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from corpus.errors import CorpusError
from corpus.fetch import published
from corpus.fetch.answer import AbsentError, Answer, ChangedError, Remote, Store, TransientError, shown
from corpus.fetch.asking import asked
from corpus.fetch.retry import tried

GAP_BYTES = 1 << 16  # between two ranges: what lies between costs less than another request
REQUEST_BYTES = 8_000_000
Range = tuple[int, int]


class Parts:
    """The bytes of one file elsewhere, by range; all of one version, if `remote` is given of that one.

    Raises CorpusError if the file changes under way.
    """

    def __init__(self, store: Store, url: str, remote: Remote | None = None) -> None:
        self._store, self._url, self._remote = store, url, remote
        kind, _, told = remote.version.partition(":") if remote else ("", "", "")
        self._marks = {kind: told} if told else {}
        self._sure = kind != "sha256"  # whether what is read now is known to be of the digest

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), which must all be there."""
        spans = [(at, min(at + REQUEST_BYTES, end)) for at in range(start, end, REQUEST_BYTES)]
        found = b"".join(tried(shown(self._url), lambda span=span: self._request(*span)) for span in spans)  # type: ignore[misc]
        if not self._sure:  # few servers tell a digest beside a part
            if tried(shown(self._url), lambda: self._store.describe(self._url)) != self._remote:
                raise self._changed()
            self._sure = True
        return found

    def _request(self, start: int, end: int) -> bytes:
        what = shown(self._url)
        short = CorpusError(f"{what}: has no bytes {start} to {end}; it is shorter than what points into it says")
        try:
            with asked(self._store, "GET", self._url, {"Range": f"bytes={start}-{end - 1}"}) as answer:
                span = published.content_range(answer.headers)
                if answer.status == 200:
                    before, size = start, published.length(answer.headers)
                    if size is None or size > REQUEST_BYTES:
                        raise CorpusError(
                            f"{what}: this server gives no parts of files (it ignores Range), and the whole was not "
                            "asked for. Fetch it whole, or name a mirror"
                        )
                elif span is None or span.start != start:
                    raise TransientError("it answered with other bytes than it was asked for")
                else:
                    before, size = 0, span.size
                self._compare(answer, size)
                if size is not None and size < end:
                    raise short
                found = bytearray()
                while len(found) < before + end - start and (block := answer.read(before + end - start - len(found))):
                    found += block
        except ChangedError:
            raise (self._changed() if self._remote else short) from None
        if len(found) < before + end - start:
            raise TransientError(f"it ended after {len(found)} of {before + end - start} bytes")
        return bytes(found[before:])

    def _compare(self, answer: Answer, size: int | None) -> None:
        """Raises CorpusError if the answer, about a file of `size` bytes, is of another version than ours."""
        marks = published.marks(answer.headers)
        other = any(self._marks.get(name, value) != value for name, value in marks.items())
        if other or (size is not None and self._remote and size != self._remote.size):
            raise self._changed()
        self._marks |= marks
        self._sure = self._sure or "sha256" in marks

    def _changed(self) -> CorpusError:
        what = shown(self._url)
        return CorpusError(f"{what}: changed on the server while it was read, or since the plan was made. Build again")


def from_parts(parts: Parts, ranges: Sequence[Range]) -> Iterator[bytes]:
    """Bytes [start, end) for each range, in order."""
    for group in merged(ranges):
        first, last = group[0][0], max(end for _, end in group)
        data = parts.read(first, last)
        for start, end in group:
            yield data[start - first : end - first]


def from_file(path: Path, ranges: Sequence[Range]) -> Iterator[bytes]:
    """The same of a local file."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise AbsentError(f"{path}: cannot be read ({error.strerror})") from None
    with file:
        for start, end in ranges:
            file.seek(start)
            data = file.read(end - start)
            if len(data) < end - start:
                raise CorpusError(f"{path}: has no bytes {start} to {end}; it is shorter than what points into it says")
            yield data


def merged(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    """The ranges in order, in groups that are worth one request each."""
    group: list[Range] = []
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
