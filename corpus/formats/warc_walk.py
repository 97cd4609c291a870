"""Walks the records of a WARC file (or of another Format), whatever its container and however damaged.

The container (gzip, LZ4 or none) is told by the file's first bytes, or, if those are damaged, by the bytes at each
place where reading resumes. A record is sound if its header has a type and a length, its content is all there, what
follows its content is an empty line, another record or the end, and, in a compressed member, everything inflates up to
there and the checksum holds if the member ends there. After anything else reading resumes at the next `WARC/1.` header
of the same member or plain file, and, failing that, at the next member that begins with one.

Where nothing is damaged, only what stands between records is looked at, so that an archive inside a record's content
is never mistaken for records. Inside a damaged stretch there is no telling.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from corpus.formats.warc_format import HEADER_BYTES, WARC, Format, Header
from corpus.formats.warc_members import BrokenError, FileBytes, GzipMember, Lz4Frame
from corpus.formats.warc_streams import Body, InflatedStream, PlainStream, Stream, going_back_bytes

Taken = TypeVar("Taken")

_NEWLINE_BYTES = 1 << 12  # more between two records is not padding
_SEARCH_BYTES = 1 << 18
_OPENING_BYTES = 64  # no opening that is looked for is longer


class Span(NamedTuple, Generic[Taken]):
    """A record, or bytes that hold none, or (with `failure`) bytes that could not be read."""

    start: int
    end: int
    taken: Taken | None
    failure: str | None = None
    first: bool = False  # whether it begins a member, or a record of a plain file
    clean: bool = False  # whether it is sound, and nothing before it that was given up reaches into it


def walk(
    path: Path, start: int, end: int, take: Callable[[Header, Body], Taken], form: Format = WARC
) -> Iterator[Span[Taken]]:
    """What begins in bytes [start, end), as contiguous spans; `start` is 0 or one of `cuts`.

    `take` makes what is wanted of a record as the walk passes it; it is thrown away if the record proves unsound.
    """
    with path.open("rb") as handle:
        failed: Span[Taken] | None = None
        for span in _Walk(FileBytes(handle), take, form).spans(start):
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


def cuts(path: Path, wanted: Sequence[int], form: Format = WARC) -> list[int]:
    """For each wanted offset the first at or after it at which reading may begin: the start of a sound record.

    Whatever is before them is walked, so this costs as much as reading does (in a plain file: as reading headers).
    """
    with path.open("rb") as handle:
        file = FileBytes(handle)
        found = {offset: 0 if offset <= 0 else file.size for offset in wanted}
        left = sorted(offset for offset in found if 0 < offset < file.size)
        walk = _Walk(file, lambda header, body: None, form)
        for span in walk.spans(0) if left else ():
            if span.clean and span.start >= left[0] and walk.begins_record(span.start):
                while left and left[0] <= span.start:
                    found[left.pop(0)] = span.start
                if not left:
                    break
        return [found[offset] for offset in wanted]


class _Container(NamedTuple):
    pattern: bytes
    begins: Callable[[FileBytes, int], bool]  # with a record
    inflates: Callable[[FileBytes, int], bool]  # to whatever
    open: Callable[[FileBytes, int], Stream]


def _compressed(kind: type[GzipMember] | type[Lz4Frame], form: Format) -> _Container:
    def begins(file: FileBytes, at: int) -> bool:
        return form.member.match(kind.head(file, at) or b"") is not None

    def inflates(file: FileBytes, at: int) -> bool:
        return kind.head(file, at) is not None

    def opened(file: FileBytes, at: int) -> Stream:
        return InflatedStream(file, at, kind, kind.head, form.member)

    return _Container(kind.pattern, begins, inflates, opened)


def _plain(form: Format) -> _Container:
    def begins(file: FileBytes, at: int) -> bool:
        data = bytes(file.at(at, 1 << 12))
        if form.parse(data, 0) is None and not form.ending.search(data):
            data = bytes(file.at(at, HEADER_BYTES))
        return form.parse(data, 0) is not None

    return _Container(form.opening.pattern, begins, begins, PlainStream)


class _Walk(Generic[Taken]):
    def __init__(self, file: FileBytes, take: Callable[[Header, Body], Taken], form: Format) -> None:
        self._file, self._take, self._form = file, take, form
        self._containers = [_compressed(GzipMember, form), _compressed(Lz4Frame, form), _plain(form)]
        self._container = next((each for each in self._standing(0) if each.inflates(file, 0)), None)
        if self._container:  # else the file's first bytes are damaged
            self._containers = [self._container]
        self._next = 0
        # The tangle: bytes that an attempt which failed has looked at. Cuts lie outside it.
        self._tangle_start = self._tangle_end = self._tangle_inflated = 0

    def spans(self, start: int) -> Iterator[Span[Taken]]:
        """Contiguous spans up to the end of the file."""
        if start or not self._container:
            self._next = self._locate(start)
        if self._next > start:
            yield Span(start, self._next, None, self._form.strange, first=True)
        while self._next < self._file.size:
            yield from self._member(self._next)

    def begins_record(self, at: int) -> bool:
        """Whether a record begins at `at`, and with it a member or a record of a plain file."""
        return any(container.begins(self._file, at) for container in self._standing(at))

    def _standing(self, at: int) -> list[_Container]:
        return [each for each in self._containers if re.match(each.pattern, self._file.at(at, _OPENING_BYTES))]

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
                    failure = self._form.strange
                more = failure != "bomb" and _search(stream, self._form)
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
        form = self._form
        parsed = form.parse(data, 0)
        if parsed is None and form.opening.match(data):
            parsed = form.parse(data := stream.peek(HEADER_BYTES), 0)
        if parsed is None:
            cut_short = len(data) < HEADER_BYTES and form.opening.match(data) and not form.ending.search(data)
            raise BrokenError("truncated" if cut_short else "bad_header")
        header, header_size, size = parsed
        if stream.seekable:  # its content is worth reading only if something sound follows it
            stream.step(header_size)
            Body(stream, size).finish()
            self._check_what_follows(stream)
            stream.step(-size)
        else:
            stream.step(header_size)
        body = Body(stream, size)
        taken = self._take(header, body)
        body.finish()
        self._check_what_follows(stream)
        return taken

    def _check_what_follows(self, stream: Stream) -> None:
        """Raises BrokenError unless a record may end here."""
        if not self._form.may_follow(stream.peek(64)):
            raise BrokenError("bad_length")

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
            at += len(window) - _OPENING_BYTES
        return self._file.size


def _search(stream: Stream, form: Format) -> bool:
    """After a failure: moves on to the next header in the same stream, if there is one."""
    stream.go_back()
    while True:
        data = stream.glimpse(_SEARCH_BYTES)
        last = len(data) < _SEARCH_BYTES
        # What begins near the end of these bytes may be a header that goes on behind them.
        sure = len(data) if last else len(data) - HEADER_BYTES
        for found in form.opening.finditer(data, 0, sure):
            if form.parse(data, found.start()):
                stream.step(found.start())
                return True
        if last:
            return False
        stream.step(sure - _OPENING_BYTES)


def _skip_newlines(stream: Stream) -> bool:
    """Steps past what stands between records; whether anything follows. Raises BrokenError."""
    data = stream.peek(64)
    if data and not data.strip(b"\r\n"):
        data = stream.peek(_NEWLINE_BYTES)
    rest = data.lstrip(b"\r\n")
    stream.step(len(data) - len(rest))
    return bool(stream.peek(1))
