"""Web pages: the crawls of Common Crawl by their ids, or any WARC, WET and ARC files.

Documents are `response` records of status 200 whose Content-Type is HTML, and `resource` records whose own is; with
`files: wet`, `conversion` records of plain text.

Skipped: padding (a member that holds no record), the record types warcinfo request metadata revisit conversion
response resource continuation other_type, then not_http redirect not_200 not_html not_text opt_out truncated_payload
(so says the crawler) empty too_large content_encoding (one that is not known).

Failed, one row for each record of sound extent: bad_http (a head that is not HTTP), bad_content_encoding, no_uri.
Failed, one row for each contiguous span: not_warc (what a file begins with), bad_header, bad_length (what follows the
content is neither a record nor its end), truncated, bad_gzip, bad_lz4, bomb (over 64 MiB, and over 200 times its
compressed size).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from corpus import units
from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.errors import InputError
from corpus.extract.page_claims import claims
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.formats import arc, warc_walk
from corpus.formats.warc_format import WARC
from corpus.sources import captures, crawl_index, crawl_listing, opt_out
from corpus.sources.base import Reader, SourceSettings

CrawlId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}(/[0-9]{1,4}){0,2}$")]  # or of news: CC-NEWS/2024/05


def _number_or_share(value: object) -> object:
    """`100` as 100 files, `1%` and `0.01` as a hundredth of them."""
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
    """Web pages: a crawl by its id, or files, compressed by record or not."""

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
    list_files: Annotated[tuple[Path, ...], Field(exclude=True, repr=False)] = ()  # of `opt_out`, once they are there

    @model_validator(mode="after")
    def _paths_or_crawl(self) -> "CommonCrawlSettings":
        if bool(self.paths) == bool(self.crawl):
            raise ValueError("expected either `paths` or `crawl`, such as CC-MAIN-2024-22")
        if self.paths and (given := {"segments", "segments_seed", "select", "at"} & self.model_fields_set):
            raise ValueError(f"`{min(given)}` is said of a crawl; name it as `crawl`, in place of `paths`")
        if self.list_files:
            raise ValueError("`list_files` is filled by the build; name lists under `opt_out`")
        if self.select is not None and self.files != "warc":
            raise ValueError("`select` finds records of WARC files; leave out `files: wet`")
        return self

    @property
    def crawls(self) -> tuple[str, ...]:
        """The ids of the crawls, sorted."""
        return (self.crawl,) if isinstance(self.crawl, str) else tuple(sorted(set(self.crawl)))

    @property
    def location_fields(self) -> frozenset[str]:
        """See SourceSettings."""
        return super().location_fields | {"at", "opt_out"}

    @property
    def selects(self) -> bool:
        """See SourceSettings."""
        return self.select is not None

    @property
    def lists(self) -> tuple[str, ...]:
        """See SourceSettings."""
        return self.opt_out


def listing(settings: SourceSettings, access: Access) -> list[str]:
    """See Reader.listing: the chosen files of the crawls, or, to select from, of their indexes."""
    assert isinstance(settings, CommonCrawlSettings)
    if not settings.crawls:
        return []
    kind: crawl_listing.Listed = "cc-index-table" if settings.select else settings.files
    names = crawl_listing.files_of(settings.at, settings.crawls, kind, access)
    return crawl_listing.full(settings.at, crawl_listing.chosen(names, settings.segments, settings.segments_seed))


def select(index: Path, settings: SourceSettings, access: Access, target: Path) -> None:
    """See Reader.select."""
    assert isinstance(settings, CommonCrawlSettings) and settings.select
    with index.open("rb") as file:
        crawl_index.select(file, str(index), settings.select, settings.at, access, target)


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """The records that begin in bytes [start, end) of a file. See Reader.read."""
    assert isinstance(settings, CommonCrawlSettings)
    wanted = captures.Wanted(settings.files == "wet", settings.max_record_bytes, opt_out.opted_out(settings.list_files))
    form = arc.ARC if arc.is_arc(path) else WARC
    for span in warc_walk.walk(path, start, end, lambda header, body: captures.take(header, body, wanted), form):
        match span.taken:
            case captures.Page() as page:
                yield Record(
                    span.start, span.end, page.identity, page.content, page.charset, page.url, page.date,
                    language=page.language, signals=page.signals,
                )  # fmt: skip
            case captures.Skip(reason):
                yield Skipped(span.start, span.end, reason)
            case captures.Failure(reason):
                yield Failed(span.start, span.end, reason)
            case None if span.failure is not None:
                yield Failed(span.start, span.end, span.failure)
            case None:
                yield Skipped(span.start, span.end, "padding")


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """See Reader.cuts. Exact, so it inflates a compressed file up to the last wanted offset."""
    return warc_walk.cuts(path, wanted, arc.ARC if arc.is_arc(path) else WARC)


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the page's text, license and robots signals, or the text of a WET record. Raises UnreadableError."""
    assert isinstance(settings, CommonCrawlSettings)
    if settings.files == "wet":
        return record.document(record.content.decode("utf-8", "replace"))
    from corpus.extract.html import html_text

    page = html_text(record.content, record.charset, main_content=settings.extract == "main_content")
    stated = claims(record.content, record.signals)
    return record.document(page, license=stated.license, signals=stated.signals)


READER = Reader(
    settings=CommonCrawlSettings,
    read=read,
    cuts=cuts,
    document=document,
    revision=4,
    libraries=("fastwarc", "resiliparse", "warcio"),
    listing=listing,
    select=select,
)
