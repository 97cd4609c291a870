"""Wikipedia and its sisters: the articles of a pages-articles dump, bzip2 or plain.

A file may hold one stream, many (`multistream`), or streams cut anywhere (pbzip2); bzip2 files are cut at their
streams, plain ones at pages. Pages are parsed one by one, each from its `<page>`, so a document type is an error and
only XML's own entities are expanded.
"""

import re
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote
from xml.parsers import expat

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.formats.compressed import Container, container, head, next_match, next_stream
from corpus.formats.mediawiki_dump import WikiPage, pages
from corpus.sources.base import Reader, SourceSettings

HEAD_BYTES = 1 << 20
_PAGE = re.compile(rb"<page>")
_XML = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[\s\0]*<")  # in UTF-8 or UTF-16
_XML_BYTES = 1000  # in which it begins


class WikipediaSettings(SourceSettings):
    """A dump as dumps.wikimedia.org publishes it."""

    reader: Literal["wikipedia"]


class WikiSite(NamedTuple):
    """The fields in the head of a dump that hold for all its pages."""

    encoding: str
    wiki: str  # `enwiki`; "" in a dump that does not say
    base: str | None  # `https://en.wikipedia.org/wiki/`


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """Yield a record for each article; see Reader."""
    kind, site = container(path), site_of(path)
    stop = _cut(path, end, kind, site.encoding)
    if kind == "plain" and start < stop and not _XML.match(head(path, kind, _XML_BYTES)):
        yield Failed(start, stop, "not_xml")
        return
    for page in pages(path, start, stop, kind, site.encoding, settings.max_record_bytes):
        yield outcome_of(page, site) if isinstance(page, WikiPage) else page


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Return starts of streams in a bzip2 file, of pages in a plain one; none in other containers or in UTF-16."""
    kind, encoding = container(path), site_of(path).encoding
    cut_of: dict[int, int] = {}
    cut = -1
    for offset in sorted(wanted):
        if offset > cut:  # else the cut of a smaller offset is also the first after this one
            cut = _cut(path, offset, kind, encoding)
        cut_of[offset] = cut
    return [cut_of[offset] for offset in wanted]


def _cut(path: Path, wanted: int, kind: Container, encoding: str) -> int:
    size = path.stat().st_size
    if wanted <= 0:
        return 0
    if wanted >= size or encoding != "utf-8" or kind not in ("bz2", "plain"):
        return size
    with path.open("rb") as file:
        if kind == "bz2":
            return next_stream(file, kind, wanted, size)
        first = next_match(file, _PAGE, len(b"<page>"), 0, size)  # this page's span begins at 0
        return next_match(file, _PAGE, len(b"<page>"), max(wanted, first + 1), size)


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the article's text. Raises UnreadableError."""
    from corpus.extract.wikitext import wikitext_text

    return record.document(wikitext_text(record.content.decode()))


def site_of(path: Path) -> WikiSite:
    """Return the encoding, wiki and base address, from the head of the file."""
    top = head(path, container(path), HEAD_BYTES)
    encoding = "utf-8"
    if top.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif top.startswith(b"<\0"):
        encoding = "utf-16-le"
    info = top.decode(encoding, "replace").partition("<page>")[0]
    wiki, base = (re.search(f"<{name}>([^<]{{1,2000}})</{name}>", info) for name in ("dbname", "base"))
    host = re.match(r"https?://[^/\s]+/", unescape(base[1])) if base else None
    return WikiSite(encoding, unescape(wiki[1]).strip() if wiki else "", f"{host[0]}wiki/" if host else None)


def outcome_of(page: WikiPage, site: WikiSite) -> Span:
    """Return the record of a page, or the reason that there is none."""
    start, end, xml = page
    fields = _fields(xml)
    if fields is None:
        return Failed(start, end, "bad_xml")
    if "page/redirect" in fields:
        return Skipped(start, end, "redirect")
    if fields.get("page/ns", "0").strip() != "0":
        return Skipped(start, end, "other_namespace")
    model, form = (fields.get(f"page/revision/{name}", "") for name in ("model", "format"))
    if model not in ("", "wikitext") or form not in ("", "text/x-wiki"):
        return Skipped(start, end, "not_wikitext")
    wikitext = fields.get("page/revision/text", "")
    if not wikitext.strip():
        return Skipped(start, end, "empty")
    title = fields.get("page/title", "").strip()
    return Record(
        start,
        end,
        identity=" ".join((site.wiki or "wiki", fields.get("page/id", ""), fields.get("page/revision/id", ""))),
        content=wikitext.encode(),
        charset="utf-8",
        url=site.base + quote(title.replace(" ", "_"), safe="/:,()!*@;$-._~'") if site.base and title else None,
        date=fields.get("page/revision/timestamp") or None,
    )


_WANTED = frozenset(("page/title", "page/ns", "page/id", "page/redirect"))
_WANTED |= {f"page/revision/{name}" for name in ("id", "timestamp", "model", "format", "text")}
MAX_DEPTH = 16


def _fields(xml: bytes) -> dict[str, str] | None:
    """Return the text of the _WANTED elements, of the last revision; None if this is not XML.

    Only these texts are held, so memory is bounded by the page's own size.
    """
    path: list[str] = []
    texts: dict[str, list[str]] = {}
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True

    def opened(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        if len(path) > MAX_DEPTH:
            raise ValueError
        if len(path) <= 3 and "/".join(path) in _WANTED:
            texts["/".join(path)] = []

    def closed(name: str) -> None:
        path.pop()

    def characters(data: str) -> None:
        if len(path) <= 3 and (parts := texts.get("/".join(path))) is not None:
            parts.append(data)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = opened, closed, characters
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError):
        return None
    return {name: "".join(parts) for name, parts in texts.items()}


READER = Reader(WikipediaSettings, read, cuts, document, revision=5, libraries=("mwparserfromhell",))
