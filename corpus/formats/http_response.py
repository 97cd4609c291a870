"""An HTTP response as a crawler stored it: its head, and its body with the codings undone.

Many archives hold bodies whose codings were undone before and whose headers still name them; such a body is taken as
it is.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)")
_BLANK_LINE = re.compile(rb"\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:+-]{1,40})", re.IGNORECASE)
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_HTML = ("text/html", "application/xhtml+xml")
_PIECE_BYTES = 1 << 18


Headers = Mapping[str, str]  # by lower-case name; of several, the first, but of _EACH all of them, a line each
_EACH = {"x-robots-tag"}


class Head(NamedTuple):
    """The status, the headers, and the length of the head in bytes."""

    status: int
    headers: Headers
    size: int


class TooLargeError(Exception):
    """A body that grows past the limit when its codings are undone."""


class UnknownCodingError(Exception):
    """A Content-Encoding that is not read."""


class BadCodingError(Exception):
    """A body that is not what its Content-Encoding says, nor plain."""


def parse_head(data: bytes, *, whole: bool) -> Head | None:
    """The head that `data` begins with; `whole`: no more follows, so a head may end with it."""
    status = _STATUS.match(data)
    blank = _BLANK_LINE.search(data)
    if status is None or (blank is None and not whole):
        return None
    end = blank.start() if blank else len(data)
    headers: dict[str, str] = {}
    for line in data[:end].decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name in _EACH and name in headers:
            headers[name] += f"\n{value}"
        elif colon:
            headers.setdefault(name, value)
    return Head(int(status[1]), headers, blank.end() if blank else len(data))


def is_html(content_type: str) -> bool:
    return re.split("[;,]", content_type, maxsplit=1)[0].strip().lower() in _HTML


def charset(content_type: str) -> str | None:
    """The charset that a Content-Type names."""
    found = _CHARSET.search(content_type)
    return found[1] if found else None


def decoded(body: bytes, headers: Headers, limit: int) -> bytes:
    """The body without its transfer and content codings.

    Raises TooLargeError over `limit` bytes, UnknownCodingError, and BadCodingError.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _unchunked(body)
    codings = [coding.strip().lower() for coding in headers.get("content-encoding", "").split(",")]
    for coding in reversed([coding for coding in codings if coding not in ("", "identity", "none")]):
        if coding not in _CODINGS:
            raise UnknownCodingError(coding)
        try:
            body = _CODINGS[coding](body, limit) if body else body
        except BadCodingError:
            if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
                raise
    return body


def _unchunked(body: bytes) -> bytes:
    """The chunks' data, as far as they go; the body itself if it does not begin with a chunk."""
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


def _gzip(body: bytes, limit: int) -> bytes:
    return _inflated(body, limit, 31) if body.startswith(b"\x1f\x8b") else body


def _deflate(body: bytes, limit: int) -> bytes:
    """With a zlib header, as the standard has it, or without, as some servers do."""
    try:
        return _inflated(body, limit, 15)
    except BadCodingError:
        return _inflated(body, limit, -15)


def _inflated(body: bytes, limit: int, window_bits: int) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    try:
        data = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise BadCodingError from None
    if len(data) > limit:
        raise TooLargeError
    if not inflater.eof:
        raise BadCodingError
    return data


def _brotli(body: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import BrotliReader

    return _read(BrotliReader, body, limit)


def _zstd(body: bytes, limit: int) -> bytes:
    from fastwarc.stream_io import ZstdReader

    return _read(ZstdReader, body, limit)


class _Reader(Protocol):
    def read(self, size: int) -> bytes: ...


def _read(reader: Callable[..., _Reader], body: bytes, limit: int) -> bytes:
    import io

    pieces, size = [], 0
    try:
        source = reader(io.BytesIO(body))
        while piece := source.read(_PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise TooLargeError
    except (OSError, ValueError):
        raise BadCodingError from None
    return b"".join(pieces)


_CODINGS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
