"""Files of packages as documents: code, documentation, plain text, HTML; one document a file.

The paths of such a source are `pypi:NAME==VERSION/PATTERN` addresses, which acquire unpacks, or files of one's own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import marked_charset
from corpus.fetch.package_index import member_of
from corpus.sources.base import Reader, SourceSettings


class PypiSettings(SourceSettings):
    """Files of packages."""

    reader: Literal["pypi"]
    format: Literal["text", "html"] = "text"
    main_content: bool = True  # of HTML: less navigation and the like


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """One record, the whole file; see Reader.

    Its identity is "package version member" where acquire unpacked it (`Address.folder`), and the
    file's name elsewhere: never anything of where the machine keeps it.
    """
    assert isinstance(settings, PypiSettings)
    size = path.stat().st_size
    if start == 0 and (end > 0 or not size):
        yield _found(path, size, settings)


def _found(path: Path, size: int, settings: PypiSettings) -> Span:
    if size > settings.max_record_bytes:
        return Skipped(0, size, "too_large")
    content = path.read_bytes()
    charset = marked_charset(content)
    if charset is None and b"\0" in content:
        return Skipped(0, size, "binary")
    if settings.format == "text" or charset is not None:
        try:
            blank = not content.decode(charset or "utf-8").strip()
        except UnicodeDecodeError:
            return Failed(0, size, "not_utf8")
    else:
        blank = not content.strip()  # HTML may name its own encoding
    if blank:
        return Skipped(0, size, "empty")
    return Record(0, size, identity=member_of(path) or path.name, content=content, charset=charset)


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """A file is never cut."""
    size = path.stat().st_size
    return [0 if offset <= 0 else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the file's text, extracted if it is HTML. Raises UnreadableError."""
    assert isinstance(settings, PypiSettings)
    if settings.format == "html":
        from corpus.extract.html import html_text

        return record.document(html_text(record.content, record.charset, settings.main_content))
    return record.document(record.content.decode(record.charset or "utf-8"))


READER = Reader(PypiSettings, read, cuts, document, revision=1, libraries=("resiliparse",))
