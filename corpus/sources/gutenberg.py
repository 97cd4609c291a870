"""Books of Project Gutenberg in plain text (`1342-0.txt`), alone or in a zip. One document is one book.

Parquet files whose column `text` holds such books, as data sets of them do, are read too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import decodes, head, known_charset, marked_charset
from corpus.extract.licenses import UNKNOWN
from corpus.formats.archive_member import ArchiveMember
from corpus.formats.archives import members
from corpus.formats.parquet_rows import ParquetRow, group_cuts, is_parquet, rows
from corpus.formats.zip_members import is_zip
from corpus.sources.base import Reader, SourceSettings, filled, never_cut

_HEAD_BYTES = 100_000  # in which a header is looked for
_MARKUP = (b"<?xml", b"<!doctype", b"<html", b"<rdf", b"{\\rtf", b"%pdf")


class GutenbergSettings(SourceSettings):
    """Books of Project Gutenberg."""

    reader: Literal["gutenberg"]


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """Yield a record for the book; of a zip, for each text in it; of Parquet, for each row. See Reader.

    Its identity is the book's number, else title and author, else the file's name.
    """
    limit = settings.max_record_bytes
    if is_parquet(path):
        stop = group_cuts(path, [end])[0]
        yield from filled(_rows(path, start, stop, limit), start, stop)
    elif start == 0:
        size = path.stat().st_size
        with path.open("rb") as file:
            zipped = is_zip(file.read(4))
        if zipped:
            yield from filled(_members(path, limit), 0, size)
        elif size > limit:
            yield Skipped(0, size, "too_large")
        else:
            yield _outcome(0, size, path.name, path.read_bytes())


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Return the row groups of Parquet; a book is never cut."""
    return group_cuts(path, wanted) if is_parquet(path) else never_cut(path, wanted, settings)


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the book without the header and license text of Project Gutenberg."""
    from corpus.extract.gutenberg_text import book_text

    return record.document(book_text(record.content.decode(record.charset or "utf-8")))


def _rows(path: Path, start: int, stop: int, limit: int) -> Iterator[Span]:
    for row in rows(path, start, stop, ["text", "id"]):
        if not isinstance(row, ParquetRow):
            yield row
        elif not isinstance(book := row.values.get("text"), str):
            yield Skipped(row.start, row.end, "no_text")
        elif len(content := book.encode("utf-8", "replace")) > limit:
            yield Skipped(row.start, row.end, "too_large")
        else:
            yield _outcome(row.start, row.end, str(row.values.get("id") or path.name), content)


def _members(path: Path, limit: int) -> Iterator[Span]:
    for member in members(path, lambda name, size: name.lower().endswith(".txt") and size <= limit):
        if not isinstance(member, ArchiveMember):
            yield member
        elif member.content is not None:
            yield _outcome(member.start, member.end, member.name, member.content)
        else:
            yield Skipped(member.start, member.end, "too_large" if member.size > limit else "not_text")


def _outcome(start: int, end: int, name: str, content: bytes) -> Span:
    from corpus.extract.gutenberg_text import read_header

    if not content.strip():
        return Skipped(start, end, "empty")
    if content[:100].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_MARKUP):
        return Skipped(start, end, "not_text")
    marked = marked_charset(content)
    if marked is None and b"\0" in content:
        return Skipped(start, end, "binary")
    header = read_header(content[:_HEAD_BYTES].decode(marked or "latin-1", "replace"))
    charset = marked or _charset(content, header.charset)
    if not decodes(content, charset):
        return Failed(start, end, "bad_encoding")
    header = read_header(head(content, charset, _HEAD_BYTES))
    named = " by ".join(filter(None, (header.title, header.author)))
    return Record(
        start,
        end,
        identity=f"ebook {header.number}" if header.number else named or name.rpartition("/")[2],
        content=content,
        charset=charset,
        url=f"https://www.gutenberg.org/ebooks/{header.number}" if header.number else None,
        date=header.date,
        license=UNKNOWN if header.copyrighted else None,
        language=header.language,
    )


def _charset(content: bytes, claimed: str | None) -> str:
    """Return UTF-8 if it is valid, as no other text is; else the charset that the header claims; else Latin-1."""
    claimed = claimed or ""
    known = known_charset(claimed) or ("iso8859-1" if "8859-1" in claimed or "latin" in claimed.lower() else None)
    return next((name for name in ("utf-8", known, "cp1252") if name and decodes(content, name)), "iso8859-1")


READER = Reader(GutenbergSettings, read, cuts, document, revision=4, libraries=("pyarrow",))
