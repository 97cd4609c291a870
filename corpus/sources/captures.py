"""What a record of a crawl holds: a page or its text, or why it is no document."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from corpus.extract.page_claims import header_robots
from corpus.formats import http_response
from corpus.formats.warc_format import Header
from corpus.formats.warc_streams import Body
from corpus.sources import languages

_TYPES = {b"warcinfo", b"request", b"metadata", b"revisit", b"conversion", b"continuation", b"response", b"resource"}
_HEAD_BYTES = 1 << 16


class Page(NamedTuple):
    """A document, less its place in the file."""

    identity: str
    content: bytes
    charset: str | None
    url: str
    date: str | None
    language: str | None
    signals: dict[str, int]


class Skip(NamedTuple):
    """A well-formed record out of scope."""

    reason: str


class Failure(NamedTuple):
    """A record of sound extent that could not be read."""

    reason: str


Taken = Page | Skip | Failure


class Wanted(NamedTuple):
    """What is taken."""

    text: bool  # the texts of WET, not the pages of WARC
    limit: int  # the most bytes of a document
    opted_out: Callable[[str], bool]  # by its URL


def take(header: Header, body: Body, wanted: Wanted) -> Taken:
    """What one record gives; `header` is that of WARC."""
    kind = header[b"warc-type"].lower()
    if wanted.text and kind == b"conversion":
        return _conversion(header, body, wanted)
    if not wanted.text and kind == b"response":
        return _response(header, body, wanted)
    if not wanted.text and kind == b"resource":
        return _resource(header, body, wanted)
    return Skip(kind.decode() if kind in _TYPES else "other_type")


def _conversion(header: Header, body: Body, wanted: Wanted) -> Taken:
    if not _content_type(header).lower().startswith("text/plain"):
        return Skip("not_text")
    taken = _page(header, body, {}, wanted)
    stated = header.get(b"warc-identified-content-language", b"").decode("latin-1")
    return taken._replace(charset="utf-8", language=languages.single(stated)) if isinstance(taken, Page) else taken


def _resource(header: Header, body: Body, wanted: Wanted) -> Taken:
    content_type = _content_type(header)
    if not http_response.is_html(content_type):
        return Skip("not_html")
    taken = _page(header, body, {}, wanted)
    return taken._replace(charset=http_response.charset(content_type)) if isinstance(taken, Page) else taken


def _response(header: Header, body: Body, wanted: Wanted) -> Taken:
    if body.peek(5) != b"HTTP/":
        return Skip("empty" if body.size == 0 else "not_http")
    data = body.peek(1 << 12)
    head = http_response.parse_head(data, whole=body.size == len(data))
    if head is None:
        data = body.peek(_HEAD_BYTES)
        head = http_response.parse_head(data, whole=body.size == len(data))
    if head is None:
        return Failure("bad_http")
    if head.status != 200:
        return Skip("redirect" if 300 <= head.status < 400 else "not_200")
    content_type = head.headers.get("content-type", "")
    if not http_response.is_html(content_type):
        return Skip("not_html")
    body.skip(head.size)
    taken = _page(header, body, head.headers, wanted)
    if not isinstance(taken, Page):
        return taken
    signals = header_robots(head.headers.get("x-robots-tag", ""))
    return taken._replace(charset=http_response.charset(content_type), signals=signals)


def _content_type(header: Header) -> str:
    return header.get(b"content-type", b"").decode("latin-1")


def _page(header: Header, body: Body, headers: http_response.Headers, wanted: Wanted) -> Taken:
    url = header.get(b"warc-target-uri", b"").decode("utf-8", "replace").strip().removeprefix("<").removesuffix(">")
    date = header.get(b"warc-date", b"").decode("utf-8", "replace")
    if not url:
        return Failure("no_uri")
    if wanted.opted_out(url):
        return Skip("opt_out")
    if header.get(b"warc-truncated"):
        return Skip("truncated_payload")
    if body.size > wanted.limit:
        return Skip("too_large")
    try:
        content = http_response.decoded(body.read(), headers, wanted.limit)
    except http_response.TooLargeError:
        return Skip("too_large")
    except http_response.UnknownCodingError:
        return Skip("content_encoding")
    except http_response.BadCodingError:
        return Failure("bad_content_encoding")
    if not content.strip():
        return Skip("empty")
    return Page(f"{url} {date}", content, None, url, _iso_date(date), None, {})


def _iso_date(date: str) -> str | None:
    try:
        datetime.fromisoformat(date)
    except ValueError:
        return None
    return date
