"""Data sets as they are published: JSON lines (plain, gzip, zstd, bzip2, xz) and Parquet, told by their first bytes.

Which fields hold the text and what is known of it is set by the recipe; `meta.url` is the field `url` of `meta`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.formats.compressed import container
from corpus.formats.lines import Line, line_start, lines, whole
from corpus.formats.parquet_rows import group_cuts, is_parquet, rows
from corpus.sources.base import Reader, SourceSettings

_BOM = b"\xef\xbb\xbf"


class RecordsSettings(SourceSettings):
    """A data set of records."""

    reader: Literal["records"]
    text_field: str = "text"
    id_field: str | None = None
    url_field: str | None = None
    date_field: str | None = None
    license_field: str | None = None
    language_field: str | None = None


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """A record for each line or row; see Reader. A bad one fails alone."""
    assert isinstance(settings, RecordsSettings)
    stop = cuts(path, [end], settings)[0]
    if start >= stop:
        return
    found = _from_rows if is_parquet(path) else _from_lines
    yield from whole(found(path, start, stop, settings), start, stop)


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Lines of a plain file, row groups of a Parquet file; a compressed file is one piece."""
    size = path.stat().st_size
    if is_parquet(path):
        return group_cuts(path, wanted)
    if container(path) == "plain":
        return [line_start(path, offset) for offset in wanted]
    return [0 if offset <= 0 else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the text as published."""
    return record.document(record.content.decode())


def _from_rows(path: Path, start: int, stop: int, settings: RecordsSettings) -> Iterator[Span]:
    fields = (
        settings.text_field,
        settings.id_field,
        settings.url_field,
        settings.date_field,
        settings.license_field,
        settings.language_field,
    )
    for row in rows(path, start, stop, [*dict.fromkeys(field for field in fields if field)]):
        if isinstance(row, Failed | Skipped):
            yield row
        elif row.values is None:
            yield Failed(row.start, row.end, "bad_utf8")
        else:
            yield _outcome(row.start, row.end, row.values, settings)


def _from_lines(path: Path, start: int, stop: int, settings: RecordsSettings) -> Iterator[Span]:
    lost: Failed | None = None  # what damage took, and the rest of the line that it broke
    for line in lines(path, start, stop, container(path), settings.max_record_bytes):
        found = line if isinstance(line, Failed) else _from_line(line, settings)
        if lost is not None and isinstance(line, Line) and not line.begun and isinstance(found, Failed):
            lost = lost._replace(end=found.end)
            continue
        if lost is not None:
            yield lost
        lost = found if isinstance(line, Failed) and isinstance(found, Failed) else None
        if lost is None:
            yield found
    if lost is not None:
        yield lost


def _from_line(line: Line, settings: RecordsSettings) -> Span:
    start, end = line.start, line.end
    if line.data is None:
        return Skipped(start, end, "too_large")
    if not line.data.strip():
        return Skipped(start, end, "empty")
    try:
        values = json.loads(line.data.removeprefix(_BOM).decode())
    except UnicodeDecodeError:
        return Failed(start, end, "bad_utf8" if line.ended else "truncated")
    except (ValueError, RecursionError):
        return Failed(start, end, "bad_json" if line.ended else "truncated")
    if not isinstance(values, dict):
        return Failed(start, end, "bad_json")
    return _outcome(start, end, values, settings)


def _outcome(start: int, end: int, values: Mapping[str, object], settings: RecordsSettings) -> Span:
    found = _field(values, settings.text_field)
    if found is None:
        return Skipped(start, end, "no_text")
    try:
        content = _utf8(found) if isinstance(found, str) else bytes(found) if isinstance(found, bytes) else None
        blank = content is not None and not content.decode().strip()
    except UnicodeDecodeError:
        return Failed(start, end, "bad_utf8")
    if content is None:
        return Failed(start, end, "bad_text")
    if blank or len(content) > settings.max_record_bytes:
        return Skipped(start, end, "empty" if blank else "too_large")
    url = _string(_field(values, settings.url_field))
    return Record(
        start,
        end,
        identity=_string(_field(values, settings.id_field)) or url or "",
        content=content,
        charset="utf-8",
        url=url,
        date=_date(_field(values, settings.date_field)),
        license=_string(_field(values, settings.license_field)),
        language=_string(_field(values, settings.language_field)),
    )


def _field(values: Mapping[str, object], name: str | None) -> object:
    """The value of a field; of `meta.url` that of `url` in `meta`, unless a field has that very name."""
    if name is None:
        return None
    if name in values:
        return values[name]
    first, _, rest = name.partition(".")
    inner = values.get(first)
    return _field(inner, rest) if rest and isinstance(inner, dict) else None


def _string(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _utf8(str(value)).decode().strip() or None


def _utf8(value: str) -> bytes:
    """UTF-8, with U+FFFD for the halves of surrogate pairs that JSON can spell."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z


def _date(value: object) -> str | None:
    """ISO 8601, as published; of numbers, seconds (or milliseconds) since 1970."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= _LAST_SECOND * 1000:  # also of integers that no float can hold
            return None
        seconds = value / 1000 if value > 100_000_000_000 else value
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    return _string(value)


READER = Reader(RecordsSettings, read, cuts, document, revision=3, libraries=("pyarrow", "zstandard"))
