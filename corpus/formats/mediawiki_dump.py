"""The pages of a MediaWiki dump, found in its text without parsing it as a whole, each with its span of the file.

A page belongs to the compressed stream in which its `<page>` begins (to its place in the file if that is not
compressed), and what begins in a stream tiles that stream, wherever it ends. So the spans do not depend on where
reading began, either: a page cut by the end of its stream keeps the span up to there, and the next tile begins there.
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
_OPEN_STARTS = tuple(b"<page>"[:n] for n in range(1, 6))
_OVERLAP = 6  # bytes at the end of a piece that may be the beginning of a tag


class Page(NamedTuple):
    """The XML of one page, from `<page>` to `</page>`, in UTF-8."""

    start: int
    end: int
    xml: bytes


def pages(
    path: Path, start: int, stop: int, kind: Container, encoding: str, limit: int
) -> Iterator[Page | Skipped | Failed]:
    """The pages that begin in [start, stop), which are offsets at which streams begin, or for plain files pages.

    What is yielded tiles [start, stop). A page of more than `limit` bytes is skipped, and no more than that is held.
    """
    tiles = _Tiles()
    for event in _events(_source(path, start, stop, kind, encoding), limit):
        if isinstance(event, _Stream):
            tiles.stream(event.at, event.at >= stop)
        elif isinstance(event, _Open):
            tiles.open(event.at)
        elif isinstance(event, _Close):
            tiles.close(event.outcome)
        else:
            tiles.damage(event)
        yield from tiles.ready()
    tiles.shut(stop)
    yield from tiles.ready()


class _Stream(NamedTuple):
    """A stream begins."""

    at: int


class _Open(NamedTuple):
    """A page begins."""

    at: int


class _Close(NamedTuple):
    """A page ends, well or not; its span is set by whoever tiles."""

    outcome: Page | Skipped | Failed


_Event = _Stream | _Open | _Close | StreamDamage


def _source(
    path: Path, start: int, stop: int, kind: Container, encoding: str
) -> Iterator[StreamPiece | StreamDamage | None]:
    """All pieces from `start` on, in UTF-8, with None where the range ends."""
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


class _Text:
    """The text not yet understood, and which bytes of the file it came from."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at = 0  # the place of its first byte among all bytes so far
        self.searched = 0
        self._recent: deque[tuple[int, int, StreamPiece]] = deque()  # place, length and (without its data) the piece

    @property
    def end(self) -> int:
        return self.at + len(self.data)

    def add(self, piece: StreamPiece) -> None:
        if piece.data:
            self._recent.append((self.end, len(piece.data), piece._replace(data=b"")))
            self.data += piece.data

    def offset(self, place: int) -> int:
        """Where a place lies in the file."""
        while len(self._recent) > 1 and self._recent[1][0] <= place:
            self._recent.popleft()  # places are asked for in order
        begin, length, piece = self._recent[0]
        return piece.start + (piece.end - piece.start) * (place - begin) // length

    def tags(self) -> Iterator[tuple[int, bool]]:
        """The index of each tag not told before, and whether it opens a page."""
        while match := _TAG.search(self.data, self.searched):
            self.searched = match.end()
            yield match.start(), match[0] == b"<page>"
        self.searched = max(self.searched, len(self.data) - _OVERLAP)

    def drop(self, count: int) -> None:
        del self.data[:count]
        self.at += count
        self.searched = max(self.searched - count, 0)


def _events(source: Iterator[StreamPiece | StreamDamage | None], limit: int) -> Iterator[_Event]:
    """What happens in the text, in its order, up to the end of the last page that begins before the range's end."""
    text = _Text()
    streams: deque[tuple[int, int]] = deque()  # those not yet told: place, offset in the file
    page: int | None = None  # the place of the page that goes on
    stop: int | None = None  # the place where the range ends, once it is known
    for piece in source:
        if piece is not None and piece.first:
            streams.append((text.end, piece.start))
        if isinstance(piece, StreamDamage):
            yield from _told(streams, text.end)
            yield _Close(Failed(0, 0, piece.reason)) if stop is not None else piece
            if stop is not None:
                return
            text, page = _Text(), None
            continue
        if piece is None:
            if page is None and not text.data.endswith(_OPEN_STARTS):
                break
            stop = text.end
            continue
        text.add(piece)
        for index, opens in text.tags():
            place = text.at + index
            yield from _told(streams, place)
            if stop is not None and opens and place >= stop:
                break
            if opens:
                yield _Open(text.offset(place))
                page = place
            elif page is not None:
                xml = text.data[max(page - text.at, 0) : index + 7]
                whole = page >= text.at and len(xml) <= limit
                yield _Close(Page(0, 0, bytes(xml)) if whole else Skipped(0, 0, "too_large"))
                page = None
        else:
            if stop is not None and page is None and text.end >= stop + _OVERLAP:
                break
            keep = page - text.at if page is not None and text.end - page <= limit else len(text.data) - _OVERLAP
            text.drop(max(keep, 0))
            continue
        break
    yield from _told(streams, text.end)
    if page is not None:
        yield _Close(Failed(0, 0, "bad_xml" if stop is not None and stop < text.end else "truncated"))


def _told(streams: deque[tuple[int, int]], place: int) -> Iterator[_Stream]:
    while streams and streams[0][0] <= place:
        yield _Stream(streams.popleft()[1])


@dataclass
class _Tile:
    start: int
    end: int | None
    outcome: Page | Skipped | Failed | None  # None while its page goes on


class _Tiles:
    """Spans that await their ends, or the outcome of a page that goes on; they leave in order."""

    def __init__(self) -> None:
        self._tiles: deque[_Tile] = deque()
        self._page: _Tile | None = None

    def stream(self, at: int, beyond: bool) -> None:
        self.shut(at)
        if not beyond:
            self._tiles.append(_Tile(at, None, Skipped(0, 0, "no_page")))

    def open(self, at: int) -> None:
        self.close(Failed(0, 0, "bad_xml"))  # if a page goes on: it never ended
        last = self._tiles[-1]
        if isinstance(last.outcome, Skipped) and last.outcome.reason == "no_page":
            last.outcome = None  # what stands before a stream's first page belongs to it
        else:
            self.shut(at)
            self._tiles.append(_Tile(at, None, None))
        self._page = self._tiles[-1]

    def close(self, outcome: Page | Skipped | Failed) -> None:
        if self._page is not None:
            self._page.outcome, self._page = outcome, None

    def damage(self, damage: StreamDamage) -> None:
        failed, last = Failed(0, 0, damage.reason), self._tiles[-1] if self._tiles else None
        if last is not None and last.end is None and (last is self._page or last.outcome == Skipped(0, 0, "no_page")):
            last.end, last.outcome = damage.end, failed
        else:
            self.shut(damage.start)
            self._tiles.append(_Tile(damage.start, damage.end, failed))
        self.close(failed)

    def shut(self, at: int) -> None:
        if self._tiles and self._tiles[-1].end is None:
            self._tiles[-1].end = at

    def ready(self) -> Iterator[Page | Skipped | Failed]:
        while self._tiles and self._tiles[0].end is not None and self._tiles[0].outcome is not None:
            tile = self._tiles.popleft()
            assert tile.end is not None and tile.outcome is not None
            yield tile.outcome._replace(start=tile.start, end=tile.end)
