"""The pages of a MediaWiki dump, found in its text without parsing it as a whole, each with its span of the file.

A page belongs to the compressed stream in which its `<page>` begins (to its place in the file if that is not
compressed), and what begins in a stream tiles that stream, wherever it ends. So the spans do not depend on where
reading began: a page cut by the end of its stream keeps the span up to there, and the next tile begins there.
"""

import codecs
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus.document import Failed, Skipped
from corpus.formats.compressed import Container, StreamDamage, StreamPiece, pieces

_TAG = re.compile(rb"</?page>")
_OPEN, _CLOSE = b"<page>", b"</page>"
_OPEN_STARTS = tuple(_OPEN[:n] for n in range(1, 6))
_OVERLAP = 6  # bytes at the end of a piece that may be the beginning of a tag


class WikiPage(NamedTuple):
    """The XML of one page, from `<page>` to `</page>`, in UTF-8."""

    start: int
    end: int
    xml: bytes


PageOutcome = WikiPage | Skipped | Failed


def pages(path: Path, start: int, stop: int, kind: Container, encoding: str, limit: int) -> Iterator[PageOutcome]:
    """Yield the pages that begin in [start, stop), which are offsets at which streams begin, or for plain files pages.

    The spans tile [start, stop). A page of more than `limit` bytes is skipped, and no more than that is held.
    """
    text, tiles = _DumpText(), _Tiles(stop)
    page: int | None = None  # the position of the page that is open
    range_end: int | None = None  # the position of the range's end, once it is read
    for piece in _pieces(path, start, stop, kind, encoding):
        # Behind the range's end, read on only for a page, or a tag, that began before it.
        if piece is None:
            if page is None and not text.data.endswith(_OPEN_STARTS):
                break
            range_end = text.end
            continue
        if piece.first:
            text.streams.append((text.end, piece.start))
        if isinstance(piece, StreamDamage):
            tiles.open_streams(text.streams_until(text.end))
            if range_end is not None:
                tiles.close_page(Failed(0, 0, piece.reason))
                break
            tiles.add_damage(piece)
            yield from tiles.ready()
            text, page = _DumpText(), None
            continue
        text.add(piece)
        # Open and close pages at the tags, up to the first page that begins behind the range.
        for index, opens in text.tags():
            position = text.at + index
            tiles.open_streams(text.streams_until(position))
            if opens and range_end is not None and position >= range_end:
                break
            if opens:
                tiles.open_page(text.offset(position))
                page = position
            elif page is not None:
                tiles.close_page(text.page(page, index + len(_CLOSE), limit))
                page = None
            yield from tiles.ready()
        else:
            if range_end is not None and page is None and text.end >= range_end + _OVERLAP:
                break
            # Keep the open page while it is within the limit, else what may be the begin of a tag.
            text.drop_to(page if page is not None and text.end - page <= limit else text.end - _OVERLAP)
            continue
        break
    tiles.open_streams(text.streams_until(text.end))
    tiles.finish("bad_xml" if range_end is not None and range_end < text.end else "truncated")
    yield from tiles.ready()


def _pieces(
    path: Path, start: int, stop: int, kind: Container, encoding: str
) -> Iterator[StreamPiece | StreamDamage | None]:
    """Yield all pieces from `start` on, in UTF-8, with None where the range ends."""
    yield from _decoded(pieces(path, start, stop, kind), encoding)
    yield None
    yield from _decoded(pieces(path, stop, path.stat().st_size, kind), encoding)


def _decoded(source: Iterator[StreamPiece | StreamDamage], encoding: str) -> Iterator[StreamPiece | StreamDamage]:
    if encoding == "utf-8":
        yield from source
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in source:
        if isinstance(piece, StreamPiece):
            piece = piece._replace(data=decoder.decode(piece.data).encode("utf-8", "replace"))
        yield piece


class _DumpText:
    """The text still to be searched, and which bytes of the file it came from. Positions count bytes of text."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at = 0  # the position of its first byte
        self.streams: deque[tuple[int, int]] = deque()  # position and file offset of streams not yet opened
        self._searched = 0
        self._recent: deque[tuple[int, int, StreamPiece]] = deque()  # position, length and (without its data) the piece

    @property
    def end(self) -> int:
        return self.at + len(self.data)

    def add(self, piece: StreamPiece) -> None:
        if piece.data:
            self._recent.append((self.end, len(piece.data), piece._replace(data=b"")))
            self.data += piece.data

    def offset(self, position: int) -> int:
        """Return the file offset of a position; positions must be asked for in order."""
        while len(self._recent) > 1 and self._recent[1][0] <= position:
            self._recent.popleft()
        begin, length, piece = self._recent[0]
        return piece.start + (piece.end - piece.start) * (position - begin) // length

    def streams_until(self, position: int) -> Iterator[int]:
        """Yield the file offsets of the streams that begin up to a position, once each."""
        while self.streams and self.streams[0][0] <= position:
            yield self.streams.popleft()[1]

    def tags(self) -> Iterator[tuple[int, bool]]:
        """Yield the index of each new tag, and True if it opens a page."""
        while match := _TAG.search(self.data, self._searched):
            self._searched = match.end()
            yield match.start(), match[0] == _OPEN
        self._searched = max(self._searched, len(self.data) - _OVERLAP)

    def page(self, begin: int, end_index: int, limit: int) -> WikiPage | Skipped:
        """Return the page from a position up to an index."""
        xml = self.data[max(begin - self.at, 0) : end_index]
        complete = begin >= self.at and len(xml) <= limit  # else its begin was dropped
        return WikiPage(0, 0, bytes(xml)) if complete else Skipped(0, 0, "too_large")

    def drop_to(self, position: int) -> None:
        count = max(position - self.at, 0)
        del self.data[:count]
        self.at += count
        self._searched = max(self._searched - count, 0)


@dataclass
class _Tile:
    start: int
    end: int | None
    outcome: PageOutcome | None  # None while its page is open


class _Tiles:
    """Spans that wait for their ends, or for the outcome of a page that is open; they leave in order."""

    def __init__(self, stop: int) -> None:
        self._stop = stop
        self._tiles: deque[_Tile] = deque()
        self._page: _Tile | None = None

    def open_streams(self, offsets: Iterator[int]) -> None:
        for offset in offsets:
            self.end_at(offset)
            if offset < self._stop:
                self._tiles.append(_Tile(offset, None, Skipped(0, 0, "no_page")))

    def open_page(self, at: int) -> None:
        self.close_page(Failed(0, 0, "bad_xml"))  # a page that is still open never ended
        last = self._tiles[-1]
        if last.outcome == Skipped(0, 0, "no_page"):
            last.outcome = None  # the bytes before a stream's first page belong to it
        else:
            self.end_at(at)
            self._tiles.append(_Tile(at, None, None))
        self._page = self._tiles[-1]

    def close_page(self, outcome: PageOutcome) -> None:
        if self._page is not None:
            self._page.outcome, self._page = outcome, None

    def add_damage(self, damage: StreamDamage) -> None:
        failed, last = Failed(0, 0, damage.reason), self._tiles[-1] if self._tiles else None
        if last is not None and last.end is None and (last is self._page or last.outcome == Skipped(0, 0, "no_page")):
            last.end, last.outcome = damage.end, failed
        else:
            self.end_at(damage.start)
            self._tiles.append(_Tile(damage.start, damage.end, failed))
        self.close_page(failed)

    def finish(self, reason: str) -> None:
        """End the range; a page that is still open failed."""
        self.close_page(Failed(0, 0, reason))
        self.end_at(self._stop)

    def end_at(self, at: int) -> None:
        """End the last tile, if it is open."""
        if self._tiles and self._tiles[-1].end is None:
            self._tiles[-1].end = at

    def ready(self) -> Iterator[PageOutcome]:
        while self._tiles and self._tiles[0].end is not None and self._tiles[0].outcome is not None:
            tile = self._tiles.popleft()
            assert tile.end is not None and tile.outcome is not None
            yield tile.outcome._replace(start=tile.start, end=tile.end)
