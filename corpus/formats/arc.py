"""ARC, the format before WARC: a line of five fields for a header, then the content. Source: Internet Archive, "Arc
File Format", version 1.0 and 1.1.

warcio turns a header into that of a WARC record, so that a page is taken out of either in the same way.
"""

import io
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.formats.warc_format import HEADER_BYTES, Format, Header
from corpus.formats.warc_members import FileBytes, GzipMember, Lz4Frame

if TYPE_CHECKING:
    from warcio.recordloader import ARC2WARCHeadersParser

_SCHEME = rb"(?:https?|ftp|dns|filedesc|gopher|whois|file|metadata):"  # none is the end of another
_LINE = re.compile(_SCHEME + rb"[^\n]* [^ \n]* [0-9]{12,20} [^ \n]* [0-9]{1,18}\r?")
_OPENING = re.compile(rb"(?:(?<=\n)|\A)" + _SCHEME)


def is_arc(path: Path) -> bool:
    """Whether a file is in ARC."""
    with path.open("rb") as handle:
        file = FileBytes(handle)
        heads = (bytes(file.at(0, 9)), GzipMember.head(file, 0), Lz4Frame.head(file, 0))
        return any(head is not None and head.startswith(b"filedesc:") for head in heads)


def parse_header(data: bytes, at: int = 0) -> tuple[Header, int, int] | None:
    """The ARC header that stands at `at`, as WARC's fields, its length, and that of the content; else None."""
    end = data.find(b"\n", at, at + HEADER_BYTES)
    if end < 0 or _LINE.fullmatch(data, at, end) is None:
        return None
    fields = _parser().parse(io.BytesIO(data[at : end + 1])).headers
    header = {name.lower().encode(): value.encode("utf-8", "replace") for name, value in fields}
    header[b"warc-target-uri"] = header.get(b"warc-target-uri", b"").replace(b" ", b"%20")
    return header, end + 1 - at, int(header[b"content-length"])


@cache
def _parser() -> "ARC2WARCHeadersParser":
    from warcio.recordloader import ARC2WARCHeadersParser

    return ARC2WARCHeadersParser()


def _may_follow(data: bytes) -> bool:
    return not data or data.startswith((b"\n", b"\r\n")) or _OPENING.match(data) is not None


ARC = Format(
    _OPENING, re.compile(rb"[\r\n]*" + _SCHEME), re.compile(rb"\n"), parse_header, _may_follow, strange="bad_header"
)
