"""arXiv's LaTeX sources: its bulk tars (`arXiv_src_1911_001.tar`), and single submissions (`.tar.gz`, `.gz`).

One document is one paper. Submissions that are only a PDF, that were withdrawn, or that are not TeX are skipped.
"""

import io
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span, UnreadableError
from corpus.formats.archive_member import BULK_LIMITS, ArchiveMember, in_memory
from corpus.formats.tar_members import BLOCK_BYTES, PlainBytes, is_tar, tar_members
from corpus.sources.base import Reader, SourceSettings, covers_start
from corpus.sources.submission import submission

_GZIP = b"\x1f\x8b"
# Source: arXiv, "Understanding the arXiv identifier"; before April 2007 the archive stood before the number.
_NEW = re.compile(r"(\d{4}\.\d{4,5}(?:v\d+)?)(?:\.[a-z.]+)?")
_OLD = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)[/_]?(\d{7}(?:v\d+)?)(?:\.[a-z.]+)?")


class ArxivSettings(SourceSettings):
    """LaTeX sources of papers."""

    reader: Literal["arxiv"]


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """Yield a record for each paper; see Reader. A tar's headers belong to the paper behind them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(BLOCK_BYTES)
        if not is_tar(head):
            if covers_start(start, end, size):
                yield _single(path, size, settings) if head.startswith(_GZIP) else _no_archive(size)
            return
        wanted = in_memory(lambda name, length: length <= settings.max_record_bytes)
        papers = tar_members(PlainBytes(file, start, BULK_LIMITS), wanted)
        while start < end:
            member = next(papers, None) or Skipped(start, size, "padding")
            yield _paper(member) if isinstance(member, ArchiveMember) else member
            if member.end >= size:
                return
            start = member.end


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Return the nearest papers of a tar, found by its headers from its start on; a single submission is never cut."""
    size = path.stat().st_size
    places = array("q", [0])
    with path.open("rb") as file:
        if is_tar(file.read(BLOCK_BYTES)):
            papers = tar_members(PlainBytes(file, 0, BULK_LIMITS), lambda name, length: None)
            places.extend(paper.end for paper in papers)
    return [places[index] if (index := bisect_left(places, offset)) < len(places) else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the paper's text and the number of missing input files. Raises UnreadableError."""
    from corpus.extract.latex_text import latex_text

    files, main, why_not = submission(record.content)
    if main is None:
        raise UnreadableError(why_not)
    made = latex_text(files, main)
    return record.document(made.text, signals={"missing_inputs": len(made.missing)})


def _no_archive(size: int) -> Span:
    return Failed(0, size, "not_an_archive") if size else Skipped(0, 0, "empty")


def _single(path: Path, size: int, settings: SourceSettings) -> Span:
    content = io.BytesIO(path.read_bytes()) if size <= settings.max_record_bytes else None
    return _paper(ArchiveMember(0, size, path.name, size, content))


def _paper(member: ArchiveMember) -> Span:
    """Return the outcome of a member of a bulk tar, or of a file by itself."""
    start, end, name, content = member.start, member.end, member.name, member.content
    if content is None:
        return Skipped(start, end, "too_large")
    if not content.strip():
        return Skipped(start, end, "empty")
    if not content.startswith(_GZIP):
        return Skipped(start, end, "pdf_only" if content.startswith(b"%PDF") else "not_tex")
    try:
        paper = submission(content)
    except UnreadableError as error:
        return Failed(start, end, error.reason)
    if paper.main is None:
        return Skipped(start, end, paper.why_not)
    identity = _identity(name)
    url = f"https://arxiv.org/abs/{identity}" if identity else None
    return Record(start, end, identity or name.rpartition("/")[2].partition(".")[0], content, url=url)


def _identity(name: str) -> str:
    """Return the arXiv id, with its version where the name has it; "" for another name."""
    base = name.rpartition("/")[2]
    if match := _NEW.fullmatch(base):
        return match[1]
    match = _OLD.fullmatch(base)
    return f"{match[1]}/{match[2]}" if match else ""


READER = Reader(ArxivSettings, read, cuts, document, revision=2)
