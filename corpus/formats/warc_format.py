"""How the records of an archive begin and end: what tells WARC from ARC (corpus.formats.arc)."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

Header = Mapping[bytes, bytes]  # by lower-case name; of several, the first

HEADER_BYTES = 1 << 16
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\n\r?\n")


class Format(NamedTuple):
    """A format of records, each a header and as many bytes of content as it says."""

    opening: re.Pattern[bytes]  # what a header seems to begin with, in 64 bytes at most
    member: re.Pattern[bytes]  # what a member that begins with a record begins with, in 64 bytes at most
    ending: re.Pattern[bytes]  # what a header ends with
    parse: Callable[[bytes, int], tuple[Header, int, int] | None]  # as parse_header
    may_follow: Callable[[bytes], bool]  # whether a content may end before these bytes, which are 64 or all there are
    strange: str  # why a file cannot be read that begins with no record


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


def _may_follow(data: bytes) -> bool:
    return data.startswith(b"\r\n\r\n") or b"WARC/".startswith(data[:16].lstrip(b"\r\n")[:5])


WARC = Format(_VERSION, re.compile(rb"[\r\n]*WARC/\d\.\d"), _BLANK_LINE, parse_header, _may_follow, "not_warc")
