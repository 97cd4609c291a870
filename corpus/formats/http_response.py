"""An HTTP response as a crawler stored it: its head, and its body with the codings undone.

Many archives store decoded bodies under headers that still name an encoding; such a body is returned unchanged.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from corpus.document import UnreadableError
from corpus.formats.decompressor import Codec, decompress

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:+-]{1,40})", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_HTML = ("text/html", "application/xhtml+xml")
_GZIP = b"\x1f\x8b"
# Content codings, each with the codecs to try in turn: deflate has a zlib header in the standard, on some servers none.
_CODINGS: Mapping[str, tuple[Codec, ...]] = {
    "gzip": ("gzip",),
    "x-gzip": ("gzip",),
    "deflate": ("zlib", "deflate"),
    "br": ("br",),
    "zstd": ("zstd",),
}

Headers = Mapping[str, str]  # lower-case names; first value of a repeated header, all values of _REPEATED, one per line
_REPEATED = {"x-robots-tag"}


class HttpHead(NamedTuple):
    """The status, the headers, and the length of the head in bytes."""

    status: int
    headers: Headers
    size: int


class SkippedBodyError(Exception):
    """A body that is `too_large` without its codings, or in a `content_encoding` that is not supported."""


def parse_head(data: bytes, *, complete: bool) -> HttpHead | None:
    """Parse the head at the start of `data`; if `complete`, the head may end at the end of `data`."""
    status = _STATUS.match(data)
    blank = _BLANK_LINE.search(data)
    if status is None or (blank is None and not complete):
        return None
    end = blank.start() if blank else len(data)
    headers: dict[str, str] = {}
    for line in data[:end].decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name in _REPEATED and name in headers:
            headers[name] += f"\n{value}"
        elif colon:
            headers.setdefault(name, value)
    return HttpHead(int(status[1]), headers, blank.end() if blank else len(data))


def is_html(content_type: str) -> bool:
    """Return True if a Content-Type is that of HTML or XHTML."""
    return re.split("[;,]", content_type, maxsplit=1)[0].strip().lower() in _HTML


def charset(content_type: str) -> str | None:
    """Return the charset that a Content-Type names."""
    match = _CHARSET.search(content_type)
    return match[1] if match else None


def decoded(body: bytes, headers: Headers, limit: int) -> bytes:
    """Return the body without its transfer and content codings.

    Raises SkippedBodyError, and UnreadableError if the body is neither what its Content-Encoding says nor markup.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _unchunked(body)
    codings = [coding.strip().lower() for coding in headers.get("content-encoding", "").split(",")]
    for coding in reversed([coding for coding in codings if coding not in ("", "identity", "none")]):
        if coding not in _CODINGS:
            raise SkippedBodyError("content_encoding")
        if body:
            body = _without_coding(body, coding, limit)
    return body


def _without_coding(body: bytes, coding: str, limit: int) -> bytes:
    codecs = _CODINGS[coding]
    if codecs == ("gzip",) and not body.startswith(_GZIP):
        return body
    for codec in codecs:
        try:
            data = decompress(body, codec, limit)
        except UnreadableError:
            continue
        if len(data) > limit:
            raise SkippedBodyError("too_large")
        return data
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return body
    raise UnreadableError("bad_content_encoding")


def _unchunked(body: bytes) -> bytes:
    """Return the chunks' data, as far as they go; the body itself if it does not begin with a chunk."""
    chunks: list[bytes] = []
    at = 0
    while (size := _CHUNK.match(body, at)) and (length := int(size[1], 16)):
        chunk = body[size.end() : size.end() + length]
        at = size.end() + length
        if not chunks and body[at : at + 2] != b"\r\n" and body[at : at + 1] not in (b"\n", b""):
            return body
        chunks.append(chunk)
        at += 2 if body[at : at + 2] == b"\r\n" else 1
    return b"".join(chunks) if chunks or size else body
