"""Walks the records of a WARC file, whatever its container and however damaged.

The container (gzip, LZ4 or none) is told by the file's first bytes, or, if those are damaged, by the bytes at each
place where reading resumes. A record is sound if its header has a type and a length, its content is all there, what
follows its content is an empty line, another record or the end, and, in a compressed member, everything inflates up to
there and the checksum holds if the member ends there. After anything else reading resumes at the next `WARC/1.` header
of the same member or plain file, and, failing that, at the next member that begins with one.

Where nothing is damaged, only what stands between records is looked at, so that an archive inside a record's content
is never mistaken for records. Inside a damaged stretch there is no telling.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from corpus.sources.warc_members import RECORD, BrokenError, FileBytes, GzipMember, Lz4Frame
from corpus.sources.warc_streams import Body, InflatedStream, PlainStream, Stream, going_back_bytes

Taken = TypeVar("Taken")
Header = Mapping[bytes, bytes]  # by lower-case name; of several, the first

HEADER_BYTES = 1 << 16
_NEWLINE_BYTES = 1 << 12  # more between two records is not padding
_SEARCH_BYTES = 1 << 18
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_VERSION_BYTES = 64  # no version line that is read is longer


class Span(NamedTuple, Generic[Taken]):
    """A record, or bytes that hold none, or (with `failure`) bytes that could not be read."""

    start: int
    end: int
    taken: Taken | None
    failure: str | None = None
    first: bool = False  # whether it begins a member, or a record of a plain file
    clean: bool = False  # whether it is sound, and nothing before it that was given up reaches into it


def walk(path: Path, start: int, end: int, take: Callable[[Header, Body], Taken]) -> Iterator[Span[Taken]]:
    """What begins in bytes [start, end), as contiguous spans; `start` is 0 or one of `cuts`.

    `take` makes what is wanted of a record as the walk passes it; it is thrown away if the record proves unsound.
    """
    with path.open("rb") as handle:
        failed: Span[Taken] | None = None
        for span in _Walk(FileBytes(handle), take).spans(start):
            if span.failure is not None and failed is not None:
                failed = failed._replace(end=span.end)
                continue
            if failed is not None:
                yield failed
                failed = None
            if span.first and span.start >= end:
                return
            if span.failure is not None:
                failed = span
            else:
                yield span
        if failed is not None:
            yield failed


def cuts(path: Path, wanted: Sequence[int]) -> list[int]:
    """For each wanted offset the first at or after it at which reading may begin: the start of a sound record.

    Whatever is before them is walked, so this costs as much as reading does (in a plain file: as reading headers).
    """
    with path.open("rb") as handle:
        file = FileBytes(handle)
        found = {offset: 0 if offset <= 0 else file.size for offset in wanted}
        left = sorted(offset for offset in found if 0 < offset < file.size)
        spans = _Walk(file, lambda header, body: None).spans(0) if left else iter(())
        for span in spans:
            if span.clean and span.start >= left[0] and _of_record(file, span.start):
                while left and left[0] <= span.start:
                    found[left.pop(0)] = span.start
                if not left:
                    break
        return [found[offset] for offset in wanted]


def is_arc(path: Path) -> bool:
    """Whether a file is in ARC, the format before WARC."""
    with path.open("rb") as handle:
        file = FileBytes(handle)
        heads = (bytes(file.at(0, 9)), GzipMember.head(file, 0), Lz4Frame.head(file, 0))
        return any(head is not None and head.startswith(b"filedesc:") for head in heads)


def parse_header(data: bytes, at: int = 0) -> tuple[Header, int, int] | None:
    """The WARC header that stands at `at`, its length, and that of the content; None if there is none."""
    version = _VERSION.match(data, at)
    if version is None:
        return None
    another = _VERSION.search(data, version.end(), at + HEADER_BYTES)
    blank = _BLANK_LINE.search(data, version.end() - 1, another.start() if another else at + HEADER_BYTES)
    if blank is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in data[version.end() : blank.start()].split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    size = fields.get(b"content-length", b"")
    if b"warc-type" not in fields or not size.isdigit() or len(size) > 18:
        return None
    return fields, blank.end() - at, int(size)


class _Container(NamedTuple):
    pattern: bytes
    begins: Callable[[FileBytes, int], bool]  # with a record
    inflates: Callable[[FileBytes, int], bool]  # to whatever
    open: Callable[[FileBytes, int], Stream]


def _begins_plain(file: FileBytes, at: int) -> bool:
    return parse_header(bytes(file.at(at, HEADER_BYTES))) is not None


def _compressed(kind: type[GzipMember] | type[Lz4Frame]) -> _Container:
    def begins(file: FileBytes, at: int) -> bool:
        return RECORD.match(kind.head(file, at) or b"") is not None

    def inflates(file: FileBytes, at: int) -> bool:
        return kind.head(file, at) is not None

    return _Container(kind.pattern, begins, inflates, lambda file, at: InflatedStream(file, at, kind, kind.head))


_PLAIN = _Container(_VERSION.pattern, _begins_plain, _begins_plain, PlainStream)
_CONTAINERS = (_compressed(GzipMember), _compressed(Lz4Frame), _PLAIN)


def _of_record(file: FileBytes, at: int) -> _Container | None:
    """The container, if any, of the record that begins at `at`."""
    return next((container for container in _standing(file, at) if container.begins(file, at)), None)


def _of_file(file: FileBytes) -> _Container | None:
    """The container of the file, unless its first bytes are damaged."""
    return next((container for container in _standing(file, 0) if container.inflates(file, 0)), None)


def _standing(file: FileBytes, at: int) -> list[_Container]:
    return [each for each in _CONTAINERS if re.match(each.pattern, file.at(at, _VERSION_BYTES))]


class _Walk(Generic[Taken]):
    def __init__(self, file: FileBytes, take: Callable[[Header, Body], Taken]) -> None:
        self._file, self._take = file, take
        self._container = _of_file(file)
        self._containers = (self._container,) if self._container else _CONTAINERS
        self._next = 0
        # The tangle: bytes that an attempt which failed has looked at. Cuts lie outside it.
        self._tangle_start = self._tangle_end = self._tangle_inflated = 0

    def spans(self, start: int) -> Iterator[Span[Taken]]:
        """Contiguous spans up to the end of the file."""
        if start or not self._container:
            self._next = self._locate(start)
        if self._next > start:
            yield Span(start, self._next, None, "not_warc", first=True)
        while self._next < self._file.size:
            yield from self._member(self._next)

    def _member(self, start: int) -> Iterator[Span[Taken]]:
        """The records of a member, or of the rest of a plain file; sets `_next`."""
        assert self._container is not None
        stream = self._container.open(self._file, start)
        begin, first, more = start, True, True
        clean = start >= self._tangle_end
        while more:
            taken = failure = None
            try:
                more = _skip_newlines(stream)
                if more:  # else it is an empty member
                    stream.mark()
                    taken = self._record(stream)
                    more = _skip_newlines(stream)
            except BrokenError as broken:
                failure = (stream.broken or broken).reason
                if begin == 0 and failure == "bad_header":
                    failure = "not_warc"
                more = failure != "bomb" and _search(stream)
                if not more:
                    break
            end = stream.offset(stream.position) if more else stream.end
            assert end is not None
            yield Span(begin, end, taken, failure, first, clean and first and not failure)
            begin, first = end, stream.seekable
        if failure:
            self._next = self._resume(start, begin, stream)
            yield Span(begin, self._next, None, failure, first)
        else:
            self._next = begin

    def _record(self, stream: Stream) -> Taken:
        """Takes the record at the stream's position and steps past its content. Raises BrokenError."""
        data = stream.peek(1 << 12)
        parsed = parse_header(data)
        if parsed is None and _VERSION.match(data):
            parsed = parse_header(data := stream.peek(HEADER_BYTES))
        if parsed is None:
            cut_short = len(data) < HEADER_BYTES and _VERSION.match(data) and not _BLANK_LINE.search(data)
            raise BrokenError("truncated" if cut_short else "bad_header")
        header, header_size, size = parsed
        if stream.seekable:  # its content is worth reading only if something sound follows it
            stream.step(header_size)
            Body(stream, size).finish()
            _check_what_follows(stream)
            stream.step(-size)
        else:
            stream.step(header_size)
        body = Body(stream, size)
        taken = self._take(header, body)
        body.finish()
        _check_what_follows(stream)
        return taken

    def _resume(self, start: int, begin: int, stream: Stream) -> int:
        """Where reading goes on after a failure that begins at `begin` in the member at `start`."""
        if stream.end is not None:  # all of it inflates, so its end is not in doubt
            return stream.end
        if start >= self._tangle_end:
            self._tangle_start, self._tangle_inflated = start, 0
        self._tangle_end = max(self._tangle_end, stream.reach)
        self._tangle_inflated += stream.inflated
        resume = max(begin, start) + 1
        if self._tangle_inflated > going_back_bytes(self._tangle_end - self._tangle_start):
            resume = max(resume, self._tangle_end)
        return self._locate(resume)

    def _locate(self, at: int) -> int:
        """The first offset from `at` at which a record begins, else the file's size."""
        pattern = re.compile(b"|".join(b"(%s)" % container.pattern for container in self._containers))
        while at < self._file.size:
            window = bytes(self._file.at(at, _SEARCH_BYTES))
            for found in pattern.finditer(window):
                container = self._containers[(found.lastindex or 1) - 1]
                if container.begins(self._file, at + found.start()):
                    self._container = container
                    return at + found.start()
            if len(window) < _SEARCH_BYTES:
                break
            at += len(window) - _VERSION_BYTES
        return self._file.size


def _search(stream: Stream) -> bool:
    """After a failure: moves on to the next header in the same stream, if there is one."""
    stream.go_back()
    while True:
        data = stream.glimpse(_SEARCH_BYTES)
        last = len(data) < _SEARCH_BYTES
        # What begins near the end of these bytes may be a header that goes on behind them.
        sure = len(data) if last else len(data) - HEADER_BYTES
        for found in _VERSION.finditer(data, 0, sure):
            if parse_header(data, found.start()):
                stream.step(found.start())
                return True
        if last:
            return False
        stream.step(sure - _VERSION_BYTES)


def _skip_newlines(stream: Stream) -> bool:
    """Steps past what stands between records; whether anything follows. Raises BrokenError."""
    data = stream.peek(64)
    if data and not data.strip(b"\r\n"):
        data = stream.peek(_NEWLINE_BYTES)
    rest = data.lstrip(b"\r\n")
    stream.step(len(data) - len(rest))
    return bool(stream.peek(1))


def _check_what_follows(stream: Stream) -> None:
    """Raises BrokenError unless a record may end here."""
    data = stream.peek(16)
    if not data.startswith(b"\r\n\r\n") and not b"WARC/".startswith(data.lstrip(b"\r\n")[:5]):
        raise BrokenError("bad_length")
