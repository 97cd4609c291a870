"""Web pages out of WARC files.

Documents are `response` records of status 200 whose Content-Type is HTML, and `resource` records whose own is.

Skipped: arc (the whole file), padding (a member that holds no record), the record types warcinfo request metadata
revisit conversion continuation other_type, then not_http redirect not_200 not_html empty too_large content_encoding
(one that is not known).

Failed, one row for each record of sound extent: bad_http (a head that is not HTTP), bad_content_encoding, no_uri.
Failed, one row for each contiguous span: not_warc (what a file begins with), bad_header, bad_length (what follows the
content is neither a record nor its end), truncated, bad_gzip, bad_lz4, bomb (over 64 MiB, and over 200 times its
compressed size).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from corpus.document import Failed, Found, Record, Skipped
from corpus.sources import http_response, warc
from corpus.sources.base import Source, SourceSettings
from corpus.sources.warc_streams import Body

_TYPES = {b"warcinfo", b"request", b"metadata", b"revisit", b"conversion", b"continuation"}
_HEAD_BYTES = 1 << 16


class CommonCrawlSettings(SourceSettings):
    """Web pages: WARC files, compressed by record or not."""

    reader: Literal["common_crawl"]
    extract: Literal["main_content", "full_text"] = "main_content"


class _Page(NamedTuple):
    identity: str
    content: bytes
    charset: str | None
    url: str
    date: str | None


class _Skip(NamedTuple):
    reason: str


class _Failure(NamedTuple):
    reason: str


_Taken = _Page | _Skip | _Failure


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Found]:
    """The records that begin in bytes [start, end) of a file. See Source.read."""
    if warc.is_arc(path):
        size = path.stat().st_size
        if start < size:
            yield Skipped(start, size, "arc")
        return
    limit = settings.max_record_bytes
    for span in warc.walk(path, start, end, lambda header, body: _take(header, body, limit)):
        match span.taken:
            case _Page() as page:
                yield Record(span.start, span.end, page.identity, page.content, page.charset, page.url, page.date)
            case _Skip(reason):
                yield Skipped(span.start, span.end, reason)
            case _Failure(reason):
                yield Failed(span.start, span.end, reason)
            case None if span.failure is not None:
                yield Failed(span.start, span.end, span.failure)
            case None:
                yield Skipped(span.start, span.end, "padding")


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """See Source.cuts. Exact, so it inflates a compressed file up to the last wanted offset."""
    if warc.is_arc(path):
        return [0 if offset <= 0 else path.stat().st_size for offset in wanted]
    return warc.cuts(path, wanted)


def text(record: Record, settings: SourceSettings) -> str:
    """The page's text. Raises UnreadableError."""
    from corpus.extract.html import html_text

    assert isinstance(settings, CommonCrawlSettings)
    return html_text(record.content, record.charset, main_content=settings.extract == "main_content")


def _take(header: warc.Header, body: Body, limit: int) -> _Taken:
    kind = header[b"warc-type"].lower()
    if kind in _TYPES:
        return _Skip(kind.decode())
    if kind == b"response":
        return _response(header, body, limit)
    if kind != b"resource":
        return _Skip("other_type")
    content_type = header.get(b"content-type", b"").decode("latin-1")
    if not http_response.is_html(content_type):
        return _Skip("not_html")
    return _page(header, body, content_type, {}, limit)


def _response(header: warc.Header, body: Body, limit: int) -> _Taken:
    if body.peek(5) != b"HTTP/":
        return _Skip("empty" if body.size == 0 else "not_http")
    data = body.peek(1 << 12)
    head = http_response.parse_head(data, whole=body.size == len(data))
    if head is None:
        data = body.peek(_HEAD_BYTES)
        head = http_response.parse_head(data, whole=body.size == len(data))
    if head is None:
        return _Failure("bad_http")
    if head.status != 200:
        return _Skip("redirect" if 300 <= head.status < 400 else "not_200")
    content_type = head.headers.get("content-type", "")
    if not http_response.is_html(content_type):
        return _Skip("not_html")
    body.skip(head.size)
    return _page(header, body, content_type, head.headers, limit)


def _page(header: warc.Header, body: Body, content_type: str, headers: http_response.Headers, limit: int) -> _Taken:
    url = header.get(b"warc-target-uri", b"").decode("utf-8", "replace").strip().removeprefix("<").removesuffix(">")
    date = header.get(b"warc-date", b"").decode("utf-8", "replace")
    if not url:
        return _Failure("no_uri")
    if body.size > limit:
        return _Skip("too_large")
    try:
        content = http_response.decoded(body.read(), headers, limit)
    except http_response.TooLargeError:
        return _Skip("too_large")
    except http_response.UnknownCodingError:
        return _Skip("content_encoding")
    except http_response.BadCodingError:
        return _Failure("bad_content_encoding")
    if not content.strip():
        return _Skip("empty")
    return _Page(f"{url} {date}", content, http_response.charset(content_type), url, _iso_date(date))


def _iso_date(date: str) -> str | None:
    try:
        datetime.fromisoformat(date)
    except ValueError:
        return None
    return date


SOURCE = Source(
    settings=CommonCrawlSettings,
    read=read,
    cuts=cuts,
    text=text,
    revision=1,
    libraries=("fastwarc", "resiliparse"),
)
