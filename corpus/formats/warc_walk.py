"""Records of a WARC or ARC file, whatever its container and however damaged.

The container (gzip, LZ4 or none) is recognised by the file's first bytes, or, if those are damaged, by the bytes at
each place where reading resumes. A record is sound if its header has a type and a length, its content is all there,
what follows its content is an empty line, another record or the end, and, in a compressed member, everything
decompresses up to there and the checksum holds if the member ends there. After anything else reading resumes at the
next header of the same member or plain file, and, failing that, at the next member that begins with one.

Where nothing is damaged, only what stands between records is looked at, so that an archive inside a record's content
is never mistaken for records. Inside a damaged stretch the two cannot be distinguished.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from corpus.document import UnreadableError
from corpus.formats.lz4_frames import Lz4Frame
from corpus.formats.warc_headers import ARC, HEADER_BYTES, WARC, RecordFields, RecordFormat
from corpus.formats.warc_streams import (
    FileBytes,
    GzipMember,
    MemberStream,
    PlainStream,
    RecordBody,
    WarcMember,
    WarcStream,
    going_back_bytes,
)

Taken = TypeVar("Taken")
Take = Callable[[RecordFields, RecordBody], Taken]

_NEWLINE_BYTES = 1 << 12  # more between two records is not padding
_SEARCH_BYTES = 1 << 18
_OPENING_BYTES = 64  # no opening that is searched for is longer
_SHORT_HEADER_BYTES = 1 << 12  # most headers are shorter, so this much is looked at first
_MEMBER_TYPES: tuple[type[WarcMember], ...] = (GzipMember, Lz4Frame)


class RecordSpan(NamedTuple, Generic[Taken]):
    """A record, or bytes that hold none, or (with `failure`) bytes that could not be read."""

    start: int
    end: int
    taken: Taken | None
    failure: str | None = None
    first: bool = False  # True if it begins a member, or a record of a plain file
    clean: bool = False  # True if it is sound, and no attempt that failed before it has looked at its bytes


def walk(path: Path, start: int, end: int, take: Take[Taken]) -> Iterator[RecordSpan[Taken]]:
    """Yield what begins in bytes [start, end), as contiguous spans; `start` is 0 or one of `cuts`.

    `take` makes a value of a record as the walk passes it; the value is thrown away if the record proves unsound.
    """
    with path.open("rb") as handle:
        failed: RecordSpan[Taken] | None = None
        for span in _Walk(FileBytes(handle), take).spans(start):
            if span.failure is not None and failed is not None:  # contiguous failures are one
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
    """Return for each wanted offset the first at or after it at which a sound record, and with it reading, may begin.

    Whatever is before them is walked, so this costs as much as reading does (in a plain file: as reading headers).
    """
    with path.open("rb") as handle:
        file = FileBytes(handle)
        cut_of = {offset: 0 if offset <= 0 else file.size for offset in wanted}
        left = sorted(offset for offset in cut_of if 0 < offset < file.size)
        records = _Walk(file, lambda fields, body: None)
        for span in records.spans(0) if left else ():
            if span.clean and span.start >= left[0] and records.begins_record(span.start):
                while left and left[0] <= span.start:
                    cut_of[left.pop(0)] = span.start
                if not left:
                    break
        return [cut_of[offset] for offset in wanted]


class _Container:
    """A way in which records may lie in a file: as they are, or in compressed members of a type."""

    def __init__(self, member_type: type[WarcMember] | None, record_format: RecordFormat) -> None:
        self._member_type, self._format = member_type, record_format
        self.pattern: bytes = member_type.pattern if member_type else record_format.opening.pattern

    def begins_with_record(self, file: FileBytes, at: int) -> bool:
        if self._member_type:
            return self._format.member.match(self._member_type.head(file, at) or b"") is not None
        data = bytes(file.at(at, _SHORT_HEADER_BYTES))
        if self._format.parse(data, 0) is None and not self._format.ending.search(data):
            data = bytes(file.at(at, HEADER_BYTES))
        return self._format.parse(data, 0) is not None

    def begins(self, file: FileBytes, at: int) -> bool:
        """Return True if a member, whatever it holds, or a record of a plain file begins here."""
        if self._member_type:
            return self._member_type.head(file, at) is not None
        return self.begins_with_record(file, at)

    def open(self, file: FileBytes, at: int) -> WarcStream:
        if self._member_type:
            return MemberStream(file, at, self._member_type, self._format.member)
        return PlainStream(file, at)


class _Walk(Generic[Taken]):
    def __init__(self, file: FileBytes, take: Take[Taken]) -> None:
        self._file, self._take = file, take
        self._format = _format_of(file)
        self._containers = [_Container(member_type, self._format) for member_type in (*_MEMBER_TYPES, None)]
        self._container = next((each for each in self._candidates(0) if each.begins(file, 0)), None)
        if self._container:  # else the file's first bytes are damaged
            self._containers = [self._container]
        self._next = 0
        # The tangle: the bytes that failed attempts have looked at. Cuts lie outside it.
        self._tangle_start = self._tangle_end = self._tangle_decompressed = 0

    def spans(self, start: int) -> Iterator[RecordSpan[Taken]]:
        """Yield contiguous spans up to the end of the file."""
        if start or not self._container:
            self._next = self._locate(start)
        if self._next > start:
            yield RecordSpan(start, self._next, None, self._format.strange, first=True)
        while self._next < self._file.size:
            yield from self._member(self._next)

    def begins_record(self, at: int) -> bool:
        """Return True if a record begins at `at`, and with it a member or a record of a plain file."""
        return any(container.begins_with_record(self._file, at) for container in self._candidates(at))

    def _candidates(self, at: int) -> list[_Container]:
        begin = self._file.at(at, _OPENING_BYTES)
        return [container for container in self._containers if re.match(container.pattern, begin)]

    def _member(self, start: int) -> Iterator[RecordSpan[Taken]]:
        """Yield the records of a member, or of the rest of a plain file; sets `_next`."""
        assert self._container is not None
        stream = self._container.open(self._file, start)
        begin, first, more = start, True, True
        clean = start >= self._tangle_end
        while more:
            # Read one record, and what pads it from the next.
            taken = failure = None
            try:
                more = _skip_newlines(stream)
                if more:  # else it is an empty member
                    stream.mark()
                    taken = self._record(stream)
                    more = _skip_newlines(stream)
            except UnreadableError as error:
                failure = (stream.broken or error).reason
                if begin == 0 and failure == "bad_header":
                    failure = self._format.strange
                more = failure != "bomb" and _find_header(stream, self._format)
                if not more:
                    break
            # Either the record is sound, or reading resumes at another header of the same stream.
            end = stream.offset(stream.position) if more else stream.end
            assert end is not None
            yield RecordSpan(begin, end, taken, failure, first, clean and first and not failure)
            begin, first = end, stream.seekable
        if failure:  # no header follows in this stream
            self._next = self._resume(start, begin, stream)
            yield RecordSpan(begin, self._next, None, failure, first)
        else:
            self._next = begin

    def _record(self, stream: WarcStream) -> Taken:
        """Take the record at the stream's position and step past its content. Raises UnreadableError."""
        # Parse its header, most often out of the first bytes alone.
        data = stream.peek(_SHORT_HEADER_BYTES)
        parse, opening, ending = self._format.parse, self._format.opening, self._format.ending
        header = parse(data, 0)
        if header is None and opening.match(data):
            header = parse(data := stream.peek(HEADER_BYTES), 0)
        if header is None:
            cut_short = len(data) < HEADER_BYTES and opening.match(data) and not ending.search(data)
            raise UnreadableError("truncated" if cut_short else "bad_header")
        stream.step(header.header_bytes)
        # Where going back is free, check first that something sound follows: else its content is not worth reading.
        if stream.seekable:
            RecordBody(stream, header.content_bytes).finish()
            self._check_what_follows(stream)
            stream.step(-header.content_bytes)
        body = RecordBody(stream, header.content_bytes)
        taken = self._take(header.fields, body)
        body.finish()
        self._check_what_follows(stream)
        return taken

    def _check_what_follows(self, stream: WarcStream) -> None:
        """Raise UnreadableError unless a record may end here."""
        if not self._format.may_follow(stream.peek(64)):
            raise UnreadableError("bad_length")

    def _resume(self, start: int, begin: int, stream: WarcStream) -> int:
        """Return where reading goes on after a failure at `begin` in the member at `start`."""
        if stream.end is not None:  # all of it decompresses, so its end is not in doubt
            return stream.end
        # The end of the member is unknown: search for the next one from its first byte on. To bound the work, jump
        # over the tangle once too much was decompressed again and again in it.
        if start >= self._tangle_end:
            self._tangle_start, self._tangle_decompressed = start, 0
        self._tangle_end = max(self._tangle_end, stream.reach)
        self._tangle_decompressed += stream.decompressed_bytes
        resume = max(begin, start) + 1
        if self._tangle_decompressed > going_back_bytes(self._tangle_end - self._tangle_start):
            resume = max(resume, self._tangle_end)
        return self._locate(resume)

    def _locate(self, at: int) -> int:
        """Return the first offset from `at` at which a record begins, else the file's size; sets the container."""
        pattern = re.compile(b"|".join(b"(%s)" % container.pattern for container in self._containers))
        while at < self._file.size:
            window = bytes(self._file.at(at, _SEARCH_BYTES))
            for match in pattern.finditer(window):
                container = self._containers[(match.lastindex or 1) - 1]
                if container.begins_with_record(self._file, at + match.start()):
                    self._container = container
                    return at + match.start()
            if len(window) < _SEARCH_BYTES:
                break
            at += len(window) - _OPENING_BYTES
        return self._file.size


def _format_of(file: FileBytes) -> RecordFormat:
    heads = [bytes(file.at(0, 9))]
    heads += [member.head(file, 0) or b"" for member in _MEMBER_TYPES if re.match(member.pattern, file.at(0, 9))]
    return ARC if any(head.startswith(b"filedesc:") for head in heads) else WARC


def _find_header(stream: WarcStream, record_format: RecordFormat) -> bool:
    """After a failure, move on to the next header in the same stream; return False if there is none."""
    stream.go_back()
    while True:
        data = stream.peek(_SEARCH_BYTES, strict=False)
        last = len(data) < _SEARCH_BYTES
        # A header near the end of these bytes may go on behind them, so it is left to the next round.
        sure = len(data) if last else len(data) - HEADER_BYTES
        for match in record_format.opening.finditer(data, 0, sure):
            if record_format.parse(data, match.start()):
                stream.step(match.start())
                return True
        if last:
            return False
        stream.step(sure - _OPENING_BYTES)


def _skip_newlines(stream: WarcStream) -> bool:
    """Step past what pads records; return True if anything follows. Raises UnreadableError."""
    data = stream.peek(64)
    if data and not data.strip(b"\r\n"):
        data = stream.peek(_NEWLINE_BYTES)
    rest = data.lstrip(b"\r\n")
    stream.step(len(data) - len(rest))
    return bool(stream.peek(1))
