"""The pages of a MediaWiki dump, found in its text without parsing it as a whole, each with its span of the file.

A page belongs to the compressed stream in which its `<page>` begins (to its place in the file if that is not
compressed), and what begins in a stream tiles that stream, wherever it ends. So the spans do not depend on where
reading began: a page cut by the end of its stream keeps the span up to there, and the next tile begins there.
"""

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus.document import Failed, Skipped
from corpus.formats.compressed import Container, StreamDamage, StreamPiece, pieces

_TAG = re.compile(rb"</?page>")
_OPEN, _CLOSE = b"<page>", b"</page>"
_OPEN_STARTS = tuple(_OPEN[:n] for n in range(1, 6))
_OVERLAP = 6  # bytes at the end of a piece that may be the beginning of a tag
_ENDLESS = 1 << 62
_NO_PAGE = Skipped(0, 0, "no_page")


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
    dump = _DumpReader(stop, encoding, limit)
    for piece in pieces(path, start, stop, kind):
        dump.add(piece)
        yield from dump.tiles.ready()
    dump.end_range()
    beyond = pieces(path, stop, path.stat().st_size, kind)
    while not dump.complete and (further := next(beyond, None)):
        dump.add(further)
    dump.finish()
    yield from dump.tiles.ready()


def _to_utf8(encoding: str) -> Callable[[bytes], bytes]:
    """Return a function that turns the contiguous parts of a text into UTF-8."""
    if encoding == "utf-8":
        return bytes
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return lambda data: decoder.decode(data).encode("utf-8", "replace")


class _DumpReader:
    """The text still to be searched, and which bytes of the file it came from. Positions count bytes of text."""

    def __init__(self, stop: int, encoding: str, limit: int) -> None:
        self.tiles = _Tiles(stop)
        self._to_utf8, self._limit = _to_utf8(encoding), limit
        self._text = bytearray()
        self._at = self._searched = 0  # positions of its first byte, and of the first that was not searched
        self._page: int | None = None  # the position of the page that is open
        self._range_end = _ENDLESS  # the position of the range's end, once it is read
        self._streams: deque[tuple[int, int]] = deque()  # position and file offset of streams not yet opened
        self._recent: deque[tuple[int, int, StreamPiece]] = deque()  # position, length and (without its data) the piece

    @property
    def _end(self) -> int:
        return self._at + len(self._text)

    @property
    def complete(self) -> bool:
        """True unless a page, or what may be the tag of one, goes on after the text read so far."""
        return self._page is None and not self._text.endswith(_OPEN_STARTS)

    def end_range(self) -> None:
        """Note that no page counts that begins from here on."""
        self._range_end = self._end

    def finish(self) -> None:
        """End the last tile."""
        self._open_streams(self._end)
        self.tiles.finish("bad_xml" if self._range_end < self._end else "truncated")

    def add(self, piece: StreamPiece | StreamDamage) -> None:
        """Open and close pages at the tags that end in a piece."""
        if piece.first:
            self._streams.append((self._end, piece.start))
        if isinstance(piece, StreamDamage):
            self._add_damage(piece)
            return
        if data := self._to_utf8(piece.data):
            self._recent.append((self._end, len(data), piece._replace(data=b"")))
            self._text += data
        while tag := _TAG.search(self._text, self._searched - self._at):
            self._searched = self._at + tag.end()
            self._add_tag(self._at + tag.start(), opens=tag[0] == _OPEN)
        self._searched = max(self._searched, self._end - _OVERLAP)
        # Keep the open page while it is within the limit, else what may be the beginning of a tag.
        keep = self._end - _OVERLAP
        if self._page is not None and self._end - self._page <= self._limit:
            keep = self._page
        self._drop_to(keep)

    def _add_tag(self, position: int, *, opens: bool) -> None:
        self._open_streams(position)
        if opens and position >= self._range_end:
            self._page = None
            self.tiles.close_page(Failed(0, 0, "bad_xml"))
            self._drop_to(self._end)
        elif opens:
            self.tiles.open_page(self._offset(position))
            self._page = position
        elif self._page is not None:
            self.tiles.close_page(self._closed_page(self._page, position + len(_CLOSE)))
            self._page = None

    def _add_damage(self, damage: StreamDamage) -> None:
        self._open_streams(self._end)
        if self._range_end == _ENDLESS:
            self.tiles.add_damage(damage)
        else:
            self.tiles.close_page(Failed(0, 0, damage.reason))
        self._page = None
        self._recent.clear()
        self._drop_to(self._end)

    def _open_streams(self, position: int) -> None:
        """Open the streams that begin up to a position."""
        while self._streams and self._streams[0][0] <= position:
            self.tiles.open_stream(self._streams.popleft()[1])

    def _offset(self, position: int) -> int:
        """Return the file offset of a position; positions must be asked for in order."""
        while len(self._recent) > 1 and self._recent[1][0] <= position:
            self._recent.popleft()
        begin, length, piece = self._recent[0]
        return piece.start + (piece.end - piece.start) * (position - begin) // length

    def _closed_page(self, begin: int, end: int) -> WikiPage | Skipped:
        """Return the page between two positions."""
        xml = self._text[max(begin - self._at, 0) : end - self._at]
        complete = begin >= self._at and len(xml) <= self._limit  # else its begin was dropped
        return WikiPage(0, 0, bytes(xml)) if complete else Skipped(0, 0, "too_large")

    def _drop_to(self, position: int) -> None:
        count = max(position - self._at, 0)
        del self._text[:count]
        self._at += count


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

    def open_stream(self, at: int) -> None:
        self.end_at(at)
        if at < self._stop:
            self._tiles.append(_Tile(at, None, _NO_PAGE))

    def open_page(self, at: int) -> None:
        self.close_page(Failed(0, 0, "bad_xml"))  # a page that is still open never ended
        last = self._tiles[-1]
        if last.outcome == _NO_PAGE:
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
        if last is not None and last.end is None and (last is self._page or last.outcome == _NO_PAGE):
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
