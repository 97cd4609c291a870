"""Data sets as they are published: JSON lines (plain, gzip, zstd, bzip2, xz) and Parquet, recognized by first bytes.

The recipe names the fields that hold the text and its metadata; `meta.url` is the field `url` of `meta`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.formats.compressed import container
from corpus.formats.lines import FileLine, line_start, lines, stream_cuts
from corpus.formats.parquet_rows import ParquetRow, group_cuts, is_parquet, rows
from corpus.sources.base import Reader, SourceSettings, filled

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


def read(path: Path, start: int, end: int, settings: RecordsSettings) -> Iterator[Span]:
    """Yield a record for each line or row; see Reader. A bad one fails alone."""
    if not is_parquet(path):
        return _from_lines(path, start, end, settings)
    stop = group_cuts(path, [end])[0]
    return filled(_from_rows(path, start, stop, settings), start, stop)


def cuts(path: Path, wanted: Sequence[int], settings: RecordsSettings) -> list[int]:
    """Return starts of lines in a plain file, of streams and lines in a compressed one, of row groups in Parquet."""
    if is_parquet(path):
        return group_cuts(path, wanted)
    kind = container(path)
    if kind == "plain":
        return [line_start(path, offset) for offset in wanted]
    return stream_cuts(path, wanted, kind)


def document(record: Record, settings: RecordsSettings) -> Document:
    """Return the text as published."""
    return record.document(record.content.decode())


def _from_rows(path: Path, start: int, stop: int, settings: RecordsSettings) -> Iterator[Span]:
    columns = dict.fromkeys(value for name, value in settings if name.endswith("_field") and value)
    for row in rows(path, start, stop, list(columns)):
        yield _outcome(row.start, row.end, row.values, settings) if isinstance(row, ParquetRow) else row


def _from_lines(path: Path, start: int, end: int, settings: RecordsSettings) -> Iterator[Span]:
    """Yield the spans that begin in [start, end), and end at the next cut of the file."""
    kind = container(path)
    stop = line_start(path, end) if kind == "plain" else path.stat().st_size
    last: Span | None = None  # held back: the rest of a line that damage broke is part of the damage
    with path.open("rb") as file:
        for line in lines(file, start, stop, kind, settings.max_record_bytes):
            if isinstance(line, FileLine) and line.opens and line.start >= end:
                stop = line.start
                break
            outcome = line if isinstance(line, Failed) else _from_line(line, settings)
            if last and isinstance(line, FileLine) and not line.begun and isinstance(outcome, Failed):
                last = last._replace(end=outcome.end)
                continue
            if last:
                yield last
            last = outcome
    if start < stop:
        yield (last or Skipped(start, stop, "empty"))._replace(end=stop)


def _from_line(line: FileLine, settings: RecordsSettings) -> Span:
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
    text = _field(values, settings.text_field)
    if text is None:
        return Skipped(start, end, "no_text")
    if not isinstance(text, str | bytes):
        return Failed(start, end, "bad_text")
    content = _utf8(text) if isinstance(text, str) else text
    try:
        blank = not content.decode().strip()
    except UnicodeDecodeError:
        return Failed(start, end, "bad_utf8")
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
    """Return the value of a field; of `meta.url` that of `url` in `meta`, unless a field is named `meta.url`."""
    if name is None:
        return None
    if name in values:
        return values[name]
    first, _, rest = name.partition(".")
    group = values.get(first)
    return _field(group, rest) if rest and isinstance(group, dict) else None


def _string(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return _utf8(str(value)).decode().strip() or None


def _utf8(value: str) -> bytes:
    """Encode in UTF-8, with U+FFFD for the halves of surrogate pairs that JSON can spell."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z


def _date(value: object) -> str | None:
    """Return a date in ISO 8601, as published; numbers are seconds (or milliseconds) since 1970."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= _LAST_SECOND * 1000:  # also of integers that no float can hold
            return None
        seconds = value / 1000 if value > 100_000_000_000 else value
        return datetime.fromtimestamp(int(seconds), UTC).isoformat()
    return _string(value)


READER = Reader(RecordsSettings, read, cuts, document, revision=6, libraries=("pyarrow", "zstandard"), extracts=False)
