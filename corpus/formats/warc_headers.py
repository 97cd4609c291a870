"""Record headers of WARC, and of ARC, the format before it.

An ARC header is one line of five fields. warcio turns it into the fields of a WARC record, so that pages are taken out
of both in the same way. Source: Internet Archive, "Arc File Format", version 1.0 and 1.1.
"""

import io
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from warcio.recordloader import ARC2WARCHeadersParser

RecordFields = Mapping[bytes, bytes]  # by lower-case name; of several, the first

HEADER_BYTES = 1 << 16
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_ARC_SCHEME = rb"(?:https?|ftp|dns|filedesc|gopher|whois|file|metadata):"  # none is the end of another
_ARC_LINE = re.compile(_ARC_SCHEME + rb"[^\n]* [^ \n]* [0-9]{12,20} [^ \n]* [0-9]{1,18}\r?")
_ARC_OPENING = re.compile(rb"(?:(?<=\n)|\A)" + _ARC_SCHEME)


class RecordHeader(NamedTuple):
    """A header's fields, its own length, and that of the content behind it."""

    fields: RecordFields
    header_bytes: int
    content_bytes: int


class RecordFormat(NamedTuple):
    """A format of records, each a header and as many bytes of content as it says."""

    opening: re.Pattern[bytes]  # the begin of a candidate header, at most 64 bytes
    member: re.Pattern[bytes]  # the begin of a compressed member that begins with a record, at most 64 bytes
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
    return RecordHeader(fields, blank.end() - at, int(size))


def parse_arc_header(data: bytes, at: int = 0) -> RecordHeader | None:
    """Parse the ARC header at `at` into the fields of WARC; None if there is none."""
    end = data.find(b"\n", at, at + HEADER_BYTES)
    if end < 0 or _ARC_LINE.fullmatch(data, at, end) is None:
        return None
    parsed = _arc_parser().parse(io.BytesIO(data[at : end + 1])).headers
    fields = {name.lower().encode(): value.encode("utf-8", "replace") for name, value in parsed}
    fields[b"warc-target-uri"] = fields.get(b"warc-target-uri", b"").replace(b" ", b"%20")
    return RecordHeader(fields, end + 1 - at, int(fields[b"content-length"]))


@cache
def _arc_parser() -> "ARC2WARCHeadersParser":
    from warcio.recordloader import ARC2WARCHeadersParser

    return ARC2WARCHeadersParser()


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
