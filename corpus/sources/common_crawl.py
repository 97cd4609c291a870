"""Web pages: the crawls of Common Crawl by their ids, or any WARC, WET and ARC files.

Documents are `response` records of status 200 with HTML content, and `resource` records of HTML; with `files: wet`,
`conversion` records of plain text.

Reasons of skipped records: padding (a member without a record), the record types warcinfo request metadata revisit
conversion response resource continuation other_type, then not_http redirect not_200 not_html not_text opt_out
truncated_payload (marked so by the crawler) empty too_large content_encoding (an unknown one) binary (an image, a PDF,
an archive, served as HTML).

Reasons of failures, one span per record: bad_http (its head is not HTTP), bad_content_encoding, no_uri. One span per
damaged stretch: not_warc (at the beginning of a file), unsupported_compression (`.warc.zst`), bad_header, bad_length
(neither a record nor its end follows the content), truncated, bad_gzip, bad_lz4, bomb (over 64 MiB, and over 200 times
its compressed size).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from corpus import units
from corpus.document import NO_SIGNALS, Document, Failed, Record, Skipped, Span, UnreadableError
from corpus.errors import InputError
from corpus.extract.charsets import is_binary
from corpus.extract.mojibake import mend
from corpus.extract.page_claims import claims, header_robots
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.formats import http_response, warc_walk
from corpus.formats.warc_streams import RecordBody
from corpus.formats.warc_walk import RecordFields
from corpus.sources import crawl_index, opt_out
from corpus.sources.base import Reader, SourceSettings
from corpus.sources.languages import single_language

_TYPES = {b"warcinfo", b"request", b"metadata", b"revisit", b"conversion", b"continuation", b"response", b"resource"}
_HEAD_BYTES = 1 << 16  # searched for an HTTP head

CrawlId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}(/[0-9]{1,4}){0,2}$")]  # or of news: CC-NEWS/2024/05


def _number_or_share(value: object) -> object:
    """Return a number of files (`100`) or a share of them (`1%` or `0.01`)."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str | float):
        try:
            if share := units.share(value):
                return share
        except InputError:
            pass
    raise ValueError(f"expected a number of files, such as 100, or a share of them, such as 1%; found {value!r}")


def _address(at: str) -> str:
    if client.is_remote(at) or at.startswith("/"):
        return at.rstrip("/")
    raise ValueError(f"expected an address such as s3://commoncrawl, or a folder from / on; found {at!r}")


class CommonCrawlSettings(SourceSettings):
    """Web pages, of crawls by id or of files."""

    reader: Literal["common_crawl"]
    paths: tuple[str, ...] = ()
    crawl: CrawlId | tuple[CrawlId, ...] = ()  # in place of paths
    at: Annotated[str, AfterValidator(_address)] = "https://data.commoncrawl.org"
    files: Literal["warc", "wet"] = "warc"
    segments: Annotated[int | float | None, BeforeValidator(_number_or_share)] = None
    segments_seed: Annotated[int, Field(ge=0)] = 1
    select: crawl_index.Select | None = None
    opt_out: tuple[str, ...] = ()
    extract: Literal["main_content", "full_text"] = "main_content"
    list_files: Annotated[tuple[Path, ...], Field(exclude=True, repr=False)] = ()  # local copies of `opt_out`

    location_fields: ClassVar[frozenset[str]] = SourceSettings.location_fields | {"at", "opt_out"}

    @model_validator(mode="after")
    def _paths_or_crawl(self) -> "CommonCrawlSettings":
        if bool(self.paths) == bool(self.crawl):
            raise ValueError("expected either `paths` or `crawl`, such as CC-MAIN-2024-22")
        if self.paths and (given := {"segments", "segments_seed", "select", "at"} & self.model_fields_set):
            raise ValueError(f"`{min(given)}` needs `crawl:`, not `paths:`")
        if self.list_files:
            raise ValueError("`list_files` is set by the build; name lists under `opt_out`")
        if self.select is not None and self.files != "warc":
            raise ValueError("`select` works on WARC files only; leave out `files: wet`")
        return self

    @property
    def crawls(self) -> tuple[str, ...]:
        """Ids of the crawls, sorted."""
        return (self.crawl,) if isinstance(self.crawl, str) else tuple(sorted(set(self.crawl)))

    @property
    def selects(self) -> bool:
        """See SourceSettings."""
        return self.select is not None

    @property
    def lists(self) -> tuple[str, ...]:
        """See SourceSettings."""
        return self.opt_out


def listing(settings: CommonCrawlSettings, access: Access) -> list[str]:
    """Return the chosen files of the crawls, or with `select` those of their indexes. See Reader.listing."""
    if not settings.crawls:
        return []
    kind: crawl_index.Listed = "cc-index-table" if settings.select else settings.files
    names = crawl_index.files_of(settings.at, settings.crawls, kind, access)
    return crawl_index.addresses_of(settings.at, crawl_index.chosen(names, settings.segments, settings.segments_seed))


def select(index: Path, settings: CommonCrawlSettings, access: Access, target: Path) -> None:
    """See Reader.select."""
    assert settings.select
    with index.open("rb") as file:
        crawl_index.select(file, str(index), settings.select, settings.at, access, target)


class _Selection(NamedTuple):
    """Conditions on the records to read, and limits."""

    text: bool  # the texts of WET, not the pages of WARC
    limit: int  # the most bytes of a document
    opted_out: Callable[[str], bool] | None  # by its URL


def read(path: Path, start: int, end: int, settings: CommonCrawlSettings) -> Iterator[Span]:
    """Yield the records that begin in bytes [start, end) of a file. See Reader.read."""
    opted_out = opt_out.opted_out(settings.list_files) if settings.list_files else None
    selection = _Selection(settings.files == "wet", settings.max_record_bytes, opted_out)
    yield from warc_walk.walk(path, start, end, lambda fields, body: _outcome(fields, body, selection))


def cuts(path: Path, wanted: Sequence[int], settings: CommonCrawlSettings) -> list[int]:
    """See Reader.cuts. Exact, so it decompresses a file up to the last wanted offset."""
    return warc_walk.cuts(path, wanted)


# The outcomes of records have no span yet: the walk knows it once the record proves sound.


def _outcome(fields: RecordFields, body: RecordBody, selection: _Selection) -> Span:
    kind = fields[b"warc-type"].lower()
    if selection.text and kind == b"conversion":
        return _conversion(fields, body, selection)
    if not selection.text and kind == b"response":
        return _response(fields, body, selection)
    if not selection.text and kind == b"resource":
        return _resource(fields, body, selection)
    return Skipped(0, 0, kind.decode() if kind in _TYPES else "other_type")


def _conversion(fields: RecordFields, body: RecordBody, selection: _Selection) -> Span:
    if not _content_type(fields).lower().startswith("text/plain"):
        return Skipped(0, 0, "not_text")
    language = single_language(fields.get(b"warc-identified-content-language", b"").decode("latin-1"))
    return _page(fields, body, {}, selection, charset="utf-8", language=language)


def _resource(fields: RecordFields, body: RecordBody, selection: _Selection) -> Span:
    content_type = _content_type(fields)
    if not http_response.is_html(content_type):
        return Skipped(0, 0, "not_html")
    return _page(fields, body, {}, selection, charset=http_response.charset(content_type))


def _response(fields: RecordFields, body: RecordBody, selection: _Selection) -> Span:
    if body.peek(5) != b"HTTP/":
        return Skipped(0, 0, "empty" if body.size == 0 else "not_http")
    data = body.peek(_HEAD_BYTES)
    head = http_response.parse_head(data, complete=body.size == len(data))
    if head is None:
        return Failed(0, 0, "bad_http")
    if head.status != 200:
        return Skipped(0, 0, "redirect" if 300 <= head.status < 400 else "not_200")
    content_type = head.headers.get("content-type", "")
    if not http_response.is_html(content_type):
        return Skipped(0, 0, "not_html")
    body.skip(head.size)
    signals = header_robots(head.headers.get("x-robots-tag", ""))
    charset = http_response.charset(content_type)
    return _page(fields, body, head.headers, selection, charset=charset, signals=signals)


def _content_type(fields: RecordFields) -> str:
    return fields.get(b"content-type", b"").decode("latin-1")


def _page(
    fields: RecordFields,
    body: RecordBody,
    headers: http_response.Headers,
    selection: _Selection,
    *,
    charset: str | None,
    language: str | None = None,
    signals: Mapping[str, int] = NO_SIGNALS,
) -> Span:
    """Read the body, unless the record is out of scope or too large."""
    url = fields.get(b"warc-target-uri", b"").decode("utf-8", "replace").strip().removeprefix("<").removesuffix(">")
    date = fields.get(b"warc-date", b"").decode("utf-8", "replace")
    if not url:
        return Failed(0, 0, "no_uri")
    if selection.opted_out and selection.opted_out(url):
        return Skipped(0, 0, "opt_out")
    if fields.get(b"warc-truncated"):
        return Skipped(0, 0, "truncated_payload")
    if body.size > selection.limit:
        return Skipped(0, 0, "too_large")
    coded = body.read()  # damage to the member is raised here, and is the walk's to report
    try:
        content = http_response.decoded(coded, headers, selection.limit)
    except http_response.SkippedBodyError as error:
        return Skipped(0, 0, str(error))
    except UnreadableError as error:
        return Failed(0, 0, error.reason)
    if not content.strip():
        return Skipped(0, 0, "empty")
    if not selection.text and is_binary(content):
        return Skipped(0, 0, "binary")
    identity = f"{url} {date}"
    return Record(0, 0, identity, content, charset, url, _iso_date(date), language=language, signals=signals)


def _iso_date(date: str) -> str | None:
    try:
        datetime.fromisoformat(date)
    except ValueError:
        return None
    return date


def document(record: Record, settings: CommonCrawlSettings) -> Document:
    """Return the page's text, license and robots signals, or the text of a WET record. Raises UnreadableError."""
    if settings.files == "wet":
        text, mended = mend(record.content.decode("utf-8", "replace"))
        return record.document(text, signals={"mended_mojibake": mended})
    from corpus.extract.html import html_text

    page = html_text(record.content, record.charset, main_content=settings.extract == "main_content")
    text, mended = mend(page)
    stated = claims(record.content, record.signals)
    return record.document(text, license=stated.license, signals={**stated.signals, "mended_mojibake": mended})


READER = Reader(
    settings=CommonCrawlSettings,
    read=read,
    cuts=cuts,
    document=document,
    revision=6,
    libraries=("fastwarc", "resiliparse", "warcio"),
    listing=listing,
    select=select,
)
