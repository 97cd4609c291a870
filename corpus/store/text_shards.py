"""Text shards: Parquet files with one document per row, its signals in columns beside the text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.document import Document

FORMAT_VERSION = 1
BATCH_TEXT_CHARACTERS = 16_000_000
BATCH_ROWS = 10_000

COLUMNS = (
    ("id", pa.string()),  # 32 hex digits
    ("text", pa.large_string()),
    ("url", pa.string()),
    ("date", pa.string()),
    ("language", pa.string()),
    ("language_score", pa.int16()),  # in 1/1024
    ("license", pa.string()),
    ("source", pa.string()),
    ("origin_file", pa.string()),
    ("origin_start", pa.int64()),
    ("origin_end", pa.int64()),
    ("text_bytes", pa.int64()),
)
VERDICT_COLUMNS = (
    ("rule", pa.string()),  # the rule that the drop is credited to, null if kept
    ("failed_rules", pa.list_(pa.string())),  # every rule that failed, in recipe order
)
RECORD_SCHEMA = pa.schema(  # of the record ledger: a row for every span of every input file
    [
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("outcome", pa.dictionary(pa.int8(), pa.string())),
        ("reason", pa.dictionary(pa.int16(), pa.string())),
        ("id", pa.string()),  # null where no document was made
    ],
    metadata={"format_version": str(FORMAT_VERSION), "kind": "records"},
)


class RecordRow(NamedTuple):
    """A row of the record ledger: the outcome of one span of an input file."""

    file: str
    start: int
    end: int
    outcome: str
    reason: str
    id: str | None


def document_schema(signals: Sequence[str], more: Sequence[tuple[str, pa.DataType]] = ()) -> pa.Schema:
    """Return the schema of a text shard with these signals; `more` are columns between the metadata and the signals."""
    metadata = {"format_version": str(FORMAT_VERSION), "kind": "text shard"}
    return pa.schema([*COLUMNS, *more, *((name, pa.int64()) for name in signals)], metadata=metadata)


class TableWriter:
    """Writes rows to a Parquet file in row groups of bounded size; the bytes depend on the rows alone."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Sequence[object]] = []
        self._characters = 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=3)

    def write(self, row: Sequence[object], text_characters: int = 0) -> None:
        """Add a row of values in the order of the schema."""
        self._rows.append(row)
        self._characters += text_characters
        if len(self._rows) >= BATCH_ROWS or self._characters >= BATCH_TEXT_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        columns = [list(column) for column in zip(*self._rows, strict=True)]
        self._writer.write_table(pa.table(dict(zip(self._schema.names, columns, strict=True)), schema=self._schema))
        self._rows, self._characters = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._rows:  # no row group is ever empty, because some readers fail on one
            self._flush()
        self._writer.close()


class DocumentWriter(TableWriter):
    """Writes judged documents: their columns, the verdict of the rules, and the signals in the given order."""

    def __init__(self, path: Path, signals: Sequence[str]) -> None:
        super().__init__(path, document_schema(signals, VERDICT_COLUMNS))
        self._signals = tuple(signals)

    def add(
        self, document: Document, text_bytes: int, failed_rules: Sequence[str] = (), *, keep_text: bool = True
    ) -> None:
        """Add a document whose text has so many bytes as UTF-8; a signal that was not measured is null."""
        signals = document.signals
        row = (
            document.id,
            document.text if keep_text else None,
            document.url,
            document.date,
            document.language,
            signals.get("language_score"),
            document.license,
            document.source,
            *document.origin,
            text_bytes,
            failed_rules[0] if failed_rules else None,
            list(failed_rules),
            *(signals.get(name) for name in self._signals),
        )
        self.write(row, len(document.text) if keep_text else 0)


RowType = TypeVar("RowType", bound=NamedTuple)


def read_rows(path: Path, kind: type[RowType]) -> Iterator[RowType]:
    """Yield the rows of a Parquet file as named tuples, one row group in memory at a time.

    Only the columns that `kind` names are read.
    """
    names = list(kind._fields)
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=names)
            yield from map(kind._make, zip(*(table[name].to_pylist() for name in names), strict=True))
