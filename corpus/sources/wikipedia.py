"""Wikipedia and its sisters: the articles of a pages-articles dump, bzip2 or plain.

Files of one stream, of many (`multistream`), and of streams cut anywhere (pbzip2) are read; bzip2 files are cut at
their streams, plain ones at pages. Pages are parsed one by one, each from its `<page>`, so a document type is an error
and no entity but XML's own is ever expanded.
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
from corpus.formats.mediawiki_dump import Page, pages
from corpus.sources.base import Reader, SourceSettings

HEAD_BYTES = 1 << 20
_PAGE = re.compile(rb"<page>")


class WikipediaSettings(SourceSettings):
    """A dump as dumps.wikimedia.org publishes it."""

    reader: Literal["wikipedia"]


class Site(NamedTuple):
    """What the head of a dump says of all its pages."""

    encoding: str
    wiki: str  # `enwiki`; "" in a dump that does not say
    base: str | None  # `https://en.wikipedia.org/wiki/`


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """A record for each article; see Reader."""
    kind, site = container(path), site_of(path)
    stop = _cut(path, end, kind, site.encoding)
    for page in pages(path, start, stop, kind, site.encoding, settings.max_record_bytes):
        yield found(page, site) if isinstance(page, Page) else page


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """The streams of a bzip2 file, the pages of a plain one; none in other containers, nor in UTF-16."""
    kind, encoding = container(path), site_of(path).encoding
    known: dict[int, int] = {}
    cut = -1
    for each in sorted(wanted):
        if each > cut:  # else the cut of a smaller offset is also the first after this one
            cut = _cut(path, each, kind, encoding)
        known[each] = cut
    return [known[each] for each in wanted]


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


def site_of(path: Path) -> Site:
    """The encoding, wiki and addresses, from the head of the file."""
    top = head(path, container(path), HEAD_BYTES)
    encoding = "utf-8"
    if top.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif top.startswith(b"<\0"):
        encoding = "utf-16-le"
    info = top.decode(encoding, "replace").partition("<page>")[0]
    wiki, base = (re.search(f"<{name}>([^<]{{1,2000}})</{name}>", info) for name in ("dbname", "base"))
    host = re.match(r"https?://[^/\s]+/", unescape(base[1])) if base else None
    return Site(encoding, unescape(wiki[1]).strip() if wiki else "", f"{host[0]}wiki/" if host else None)


def found(page: Page, site: Site) -> Span:
    """The outcome of one page."""
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
    """The text of the elements wanted, of the last revision; None if this is not XML.

    Nothing but these texts is kept, so memory is bounded by the page's own size.
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
        if len(path) <= 3 and (kept := texts.get("/".join(path))) is not None:
            kept.append(data)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = opened, closed, characters
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError):
        return None
    return {name: "".join(parts) for name, parts in texts.items()}


READER = Reader(WikipediaSettings, read, cuts, document, revision=3, libraries=("mwparserfromhell",))
