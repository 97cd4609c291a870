"""Records of a WARC or ARC file, whatever its container and however damaged.

The container (gzip, LZ4 or none) is recognized by the file's first bytes, or, if those are damaged, by the bytes at
each place where reading resumes. A record is sound if its header has a type and a length, its content is all there,
what follows its content is an empty line, another record or the end, and its compressed member decompresses to its end
with the right checksum. After anything else reading resumes at the next header of the same plain file or sound member,
and, failing that, at the next member that begins with one.

Where nothing is damaged, only what stands between records is looked at, so that an archive inside a record's content
is never mistaken for records. Inside a damaged stretch the two cannot be distinguished.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from corpus.document import Failed, Skipped, Span, UnreadableError
from corpus.formats.lz4_frames import Lz4Frame
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

_HEADER_BYTES = 1 << 16
_SHORT_HEADER_BYTES = 1 << 12  # most headers are shorter, so this much is looked at first
_NEWLINE_BYTES = 1 << 12  # more between two records is not padding
_SEARCH_BYTES = 1 << 18
_OPENING_BYTES = 64  # no opening that is searched for is longer
_MEMBER_TYPES: tuple[type[WarcMember], ...] = (GzipMember, Lz4Frame)
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|\x5d\x2a\x4d\x18")  # a frame, or the dictionary that `.warc.zst` begins with
_PADDING = Skipped(0, 0, "padding")  # a member without a record

RecordFields = Mapping[bytes, bytes]  # by lower-case name; of several, the first
TakeRecord = Callable[[RecordFields, RecordBody], Span]  # the outcome of a record, its span still missing

_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_ARC_SCHEME = rb"(?:https?|ftp|dns|filedesc|gopher|whois|file|metadata):"  # none is the end of another
_ARC_LINE = re.compile(_ARC_SCHEME + rb"[^\n]* [^ \n]* [0-9]{12,20} [^ \n]* [0-9]{1,18}\r?")
_ARC_OPENING = re.compile(rb"(?:(?<=\n)|\A)" + _ARC_SCHEME)


class RecordHeader(NamedTuple):
    """A header's fields, its own length, and that of the content after it."""

    fields: RecordFields
    header_bytes: int
    content_bytes: int


class RecordFormat(NamedTuple):
    """A format of records, each a header and as many bytes of content as it says."""

    opening: re.Pattern[bytes]  # the beginning of a candidate header, at most 64 bytes
    member: re.Pattern[bytes]  # the beginning of a compressed member that begins with a record, at most 64 bytes
    ending: re.Pattern[bytes]  # the end of a header
    parse: Callable[[bytes, int], RecordHeader | None]  # the header at an offset; None if there is none
    may_follow: Callable[[bytes], bool]  # True if a content may end before these bytes: the next 64, or all there are
    strange: str  # reason of the failure of a file that begins with no record


def parse_warc_header(data: bytes, at: int = 0) -> RecordHeader | None:
    """Parse the WARC header at `at`; None if there is none."""
    version = _VERSION.match(data, at)
    if version is None:
        return None
    # A header that was cut short runs into the next one: it must end before another version line.
    another = _VERSION.search(data, version.end(), at + _HEADER_BYTES)
    blank = _BLANK_LINE.search(data, version.end() - 1, another.start() if another else at + _HEADER_BYTES)
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
    return RecordHeader(fields, blank.end() - at, int(size))


def parse_arc_header(data: bytes, at: int = 0) -> RecordHeader | None:
    """Parse the ARC header at `at` into the fields of WARC, so that both formats are read alike; None if there is none.

    It is one line of five fields. Source: Internet Archive, "Arc File Format", version 1.0 and 1.1.
    """
    end = data.find(b"\n", at, at + _HEADER_BYTES)
    if end < 0 or _ARC_LINE.fullmatch(data, at, end) is None:
        return None
    from warcio.recordloader import ARC2WARCHeadersParser

    parsed = ARC2WARCHeadersParser().parse(io.BytesIO(data[at : end + 1])).headers
    fields = {name.lower().encode(): value.encode("utf-8", "replace") for name, value in parsed}
    fields[b"warc-target-uri"] = fields.get(b"warc-target-uri", b"").replace(b" ", b"%20")
    return RecordHeader(fields, end + 1 - at, int(fields[b"content-length"]))


def _may_follow_in_warc(data: bytes) -> bool:
    return data.startswith(b"\r\n\r\n") or b"WARC/".startswith(data[:16].lstrip(b"\r\n")[:5])


def _may_follow_in_arc(data: bytes) -> bool:
    return not data or data.startswith((b"\n", b"\r\n")) or _ARC_OPENING.match(data) is not None


WARC = RecordFormat(
    opening=_VERSION,
    member=re.compile(rb"[\r\n]*WARC/\d\.\d"),
    ending=_BLANK_LINE,
    parse=parse_warc_header,
    may_follow=_may_follow_in_warc,
    strange="not_warc",
)
ARC = RecordFormat(
    opening=_ARC_OPENING,
    member=re.compile(rb"[\r\n]*" + _ARC_SCHEME),
    ending=re.compile(rb"\n"),
    parse=parse_arc_header,
    may_follow=_may_follow_in_arc,
    strange="bad_header",
)


class _Step(NamedTuple):
    """The outcome of a stretch of the file, and its place in the walk."""

    span: Span
    damaged: bool  # True if these bytes could not be read, so that contiguous ones are one span
    first: bool  # True if it begins a member, or a record of a plain file
    clean: bool = False  # True if it is sound, and no attempt that failed before it has looked at its bytes


def walk(path: Path, start: int, end: int, take: TakeRecord) -> Iterator[Span]:
    """Yield what begins in bytes [start, end), as contiguous spans; `start` is 0 or one of `cuts`.

    `take` gives the outcome of a record as the walk passes it; it is thrown away if the record proves unsound.
    """
    with path.open("rb") as handle:
        for damaged, steps in groupby(_Walk(FileBytes(handle), take).steps(start), key=lambda step: step.damaged):
            for step in steps:
                if step.first and step.span.start >= end:
                    return
                span = step.span
                # Contiguous damage is one span: it takes in the other steps of its group.
                if damaged:
                    for other in steps:
                        span = span._replace(end=other.span.end)
                yield span


def cuts(path: Path, wanted: Sequence[int]) -> list[int]:
    """Return for each wanted offset the first at or after it at which a sound record, and with it reading, may begin.

    Whatever is before them is walked, so this costs as much as reading does (in a plain file: as reading headers).
    """
    with path.open("rb") as handle:
        file = FileBytes(handle)
        cut_of = {offset: 0 if offset <= 0 else file.size for offset in wanted}
        left = sorted(offset for offset in cut_of if 0 < offset < file.size)
        records = _Walk(file, lambda fields, body: _PADDING)
        for step in records.steps(0) if left else ():
            at = step.span.start
            if step.clean and at >= left[0] and records.begins_record(at):
                while left and left[0] <= at:
                    cut_of[left.pop(0)] = at
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
            data = bytes(file.at(at, _HEADER_BYTES))
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


class _Walk:
    def __init__(self, file: FileBytes, take: TakeRecord) -> None:
        self._file, self._take = file, take
        self._format = _format_of(file)
        self._containers = [_Container(member_type, self._format) for member_type in (*_MEMBER_TYPES, None)]
        self._container = next((way for way in self._candidates(0) if way.begins(file, 0)), None)
        if self._container:  # else the file's first bytes are damaged
            self._containers = [self._container]
        self._next = 0
        # The tangle: the bytes that failed attempts have looked at. Cuts lie outside it.
        self._tangle_start = self._tangle_end = self._tangle_decompressed = 0

    def steps(self, start: int) -> Iterator[_Step]:
        """Yield contiguous steps up to the end of the file."""
        if start or not self._container:
            self._next = self._locate(start)
        if self._next > start:
            yield _Step(Failed(start, self._next, self._strange()), damaged=True, first=True)
        while self._next < self._file.size:
            yield from self._member(self._next)

    def _strange(self) -> str:
        """Return the reason of the failure of a file that begins with no record."""
        return "unsupported_compression" if _ZSTD.match(bytes(self._file.at(0, 4))) else self._format.strange

    def begins_record(self, at: int) -> bool:
        """Return True if a record begins at `at`, and with it a member or a record of a plain file."""
        return any(container.begins_with_record(self._file, at) for container in self._candidates(at))

    def _candidates(self, at: int) -> list[_Container]:
        begin = self._file.at(at, _OPENING_BYTES)
        return [container for container in self._containers if re.match(container.pattern, begin)]

    def _member(self, start: int) -> Iterator[_Step]:
        """Yield the records of a member, or of the rest of a plain file; sets `_next`."""
        assert self._container is not None
        stream = self._container.open(self._file, start)
        begin, first, more = start, True, True
        clean = start >= self._tangle_end
        while more:
            # Read one record, and what pads it from the next.
            span: Span = _PADDING
            damaged = False
            try:
                more = _skip_newlines(stream)
                if more:  # else it is an empty member
                    stream.mark()
                    span = self._record(stream)
                    more = _skip_newlines(stream)
                if more:
                    stream.check_member()
            except UnreadableError as error:
                reason = (stream.broken or error).reason
                if begin == 0 and reason == "bad_header":
                    reason = self._format.strange
                span, damaged = Failed(0, 0, reason), True
                more = stream.broken is None and _find_header(stream, self._format)
                if not more:
                    break
            # Either the record is sound, or reading resumes at another header of the same stream.
            end = stream.offset(stream.position) if more else stream.end
            assert end is not None
            yield _Step(span._replace(start=begin, end=end), damaged, first, clean and first and not damaged)
            begin, first = end, stream.seekable
        if damaged:  # no header follows in this stream
            self._next = self._resume(start, begin, stream)
            yield _Step(span._replace(start=begin, end=self._next), damaged, first)
        else:
            self._next = begin

    def _record(self, stream: WarcStream) -> Span:
        """Take the record at the stream's position and step past its content. Raises UnreadableError."""
        # Parse its header, most often out of the first bytes alone.
        data = stream.peek(_SHORT_HEADER_BYTES)
        parse, opening, ending = self._format.parse, self._format.opening, self._format.ending
        header = parse(data, 0)
        if header is None and opening.match(data):
            header = parse(data := stream.peek(_HEADER_BYTES), 0)
        if header is None:
            cut_short = len(data) < _HEADER_BYTES and opening.match(data) and not ending.search(data)
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
        # A header near the end of these bytes may go on after them, so it is left to the next round.
        sure = len(data) if last else len(data) - _HEADER_BYTES
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
