r"""arXiv's LaTeX sources: its bulk tars (`arXiv_src_1911_001.tar`), and single submissions (`.tar.gz`, `.gz`).

One document is one paper. Of a submission that is a PDF alone, that was withdrawn, or that is not TeX, nothing is read.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from corpus.document import Document, Failed, Record, Skipped, Span, UnreadableError
from corpus.formats.member import BrokenError, Member
from corpus.formats.tar_members import Tar, is_tar
from corpus.sources.base import Reader, SourceSettings
from corpus.sources.submission import submission

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 512
# Source: arXiv, "Understanding the arXiv identifier"; before April 2007 the archive stood before the number.
_NEW = re.compile(r"(\d{4}\.\d{4,5}(?:v\d+)?)(?:\.[a-z.]+)?")
_OLD = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)[/_]?(\d{7}(?:v\d+)?)(?:\.[a-z.]+)?")


class ArxivSettings(SourceSettings):
    """LaTeX sources of papers."""

    reader: Literal["arxiv"]


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """A record for each paper; see Reader. A tar's headers belong to the paper behind them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(_GZIP):
            if start == 0 and end > 0:
                yield _whole(path, size, settings)
            return
        if not is_tar(head):
            if start == 0 and (end > 0 or not size):
                yield Failed(0, size, "not_an_archive") if size else Skipped(0, 0, "empty")
            return
        data = _Plain(file, start, size)
        tar = Tar(data, lambda name, length: length <= settings.max_record_bytes)
        while start < end:
            try:
                found = tar.next()
            except BrokenError as error:
                yield Failed(start, size, error.reason)
                return
            if found is None:
                yield Skipped(start, size, "padding")
                return
            found = found._replace(start=start, end=data.place)
            yield _paper(found) if isinstance(found, Member) else found
            start = data.place


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """The nearest papers of a tar, found by its headers from its start on; a single submission is never cut."""
    size = path.stat().st_size
    places = array("q", [0])
    with path.open("rb") as file:
        if is_tar(file.read(_HEAD_BYTES)):
            data = _Plain(file, 0, size)
            tar = Tar(data, lambda name, length: False)
            try:
                while tar.next() is not None:
                    places.append(data.place)
            except BrokenError:
                pass  # what stands behind belongs to the last place
    return [places[index] if (index := bisect_left(places, offset)) < len(places) else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the paper's text and the number of missing input files. Raises UnreadableError."""
    from corpus.extract.latex_text import latex_text

    try:
        files, main, why_not = submission(record.content)
    except BrokenError as error:
        raise UnreadableError(error.reason) from None
    if main is None:
        raise UnreadableError(why_not)
    made = latex_text(files, main)
    return record.document(made.text, signals={"missing_inputs": len(made.missing)})


def _whole(path: Path, size: int, settings: SourceSettings) -> Span:
    content = path.read_bytes() if size <= settings.max_record_bytes else None
    return _paper(Member(0, size, path.name, size, content))


def _paper(member: Member) -> Span:
    """What a member of a bulk tar, or a file by itself, is."""
    start, end, name, _, content = member
    if content is None:
        return Skipped(start, end, "too_large")
    if not content.strip():
        return Skipped(start, end, "empty")
    if not content.startswith(_GZIP):
        return Skipped(start, end, "pdf_only" if content.startswith(b"%PDF") else "not_tex")
    try:
        found = submission(content)
    except BrokenError as error:
        return Failed(start, end, error.reason)
    if found.main is None:
        return Skipped(start, end, found.why_not)
    identity = _identity(name)
    url = f"https://arxiv.org/abs/{identity}" if identity else None
    return Record(start, end, identity or name.rpartition("/")[2].partition(".")[0], content, url=url)


def _identity(name: str) -> str:
    """The arXiv id, with its version where the name has it; "" for another name."""
    base = name.rpartition("/")[2]
    if match := _NEW.fullmatch(base):
        return match[1]
    match = _OLD.fullmatch(base)
    return f"{match[1]}/{match[2]}" if match else ""


class _Plain:
    """The bytes of a tar on the disk, as `Tar` reads them: contents that are not wanted are not read."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self.place, self._size = file, start, size

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left."""
        self._file.seek(self.place)
        block = self._file.read(size)
        self.place += len(block)
        return block

    def skip(self, size: int) -> int:
        """Passes over so many bytes; how many there were."""
        there = max(0, min(size, self._size - self.place))
        self.place += there
        return there

    def unread(self, block: bytes, place: int) -> None:
        """Goes back to where the block was read."""
        self.place = place

    def member(self) -> None:
        """Members are not held, so there may be any number."""


READER = Reader(ArxivSettings, read, cuts, document, revision=2)
