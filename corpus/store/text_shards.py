"""Text shards: Parquet + zstd, a row a document, its signals beside its text."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

FORMAT_VERSION = 1
BATCH_TEXT_BYTES = 16_000_000
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
CLEAN_COLUMNS = (
    ("rule", pa.string()),  # the rule that dropped it, null if kept
    ("failed_rules", pa.list_(pa.string())),  # all that said no, in recipe order
)
RECORD_COLUMNS = (
    ("file", pa.dictionary(pa.int32(), pa.string())),
    ("start", pa.int64()),
    ("end", pa.int64()),
    ("outcome", pa.dictionary(pa.int8(), pa.string())),
    ("reason", pa.dictionary(pa.int16(), pa.string())),
    ("id", pa.string()),  # null where no document was made
)


def shard_schema(signals: Sequence[str], more: Sequence[tuple[str, pa.DataType]] = ()) -> pa.Schema:
    """The schema of a text shard with these signals; `more` are a job's own columns."""
    measured = [(name, pa.int64()) for name in signals]
    metadata = {"format_version": str(FORMAT_VERSION), "kind": "text shard"}
    return pa.schema([*COLUMNS, *more, *measured], metadata=metadata)


def records_schema() -> pa.Schema:
    """The schema of the record ledger: a row for every span of every file."""
    return pa.schema(list(RECORD_COLUMNS), metadata={"format_version": str(FORMAT_VERSION), "kind": "records"})


class RowWriter:
    """Writes rows to a Parquet file in row groups of bounded size; the bytes depend on the rows alone."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._rows, self._bytes = schema, [], 0  # type: ignore[var-annotated]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=3)
        self.rows = 0

    def add(self, row: Mapping[str, object]) -> None:
        """Adds a row; a column that it lacks is null."""
        self._rows.append(row)
        self._bytes += len(str(row.get("text") or ""))
        self.rows += 1
        if len(self._rows) >= BATCH_ROWS or self._bytes >= BATCH_TEXT_BYTES:
            self._flush()

    def _flush(self) -> None:
        columns = {name: [row.get(name) for row in self._rows] for name in self._schema.names}
        self._writer.write_table(pa.table(columns, schema=self._schema))
        self._rows, self._bytes = [], 0

    def close(self) -> None:
        """Writes what is left, and the footer. No row group is ever empty: some readers stumble over that."""
        if self._rows:
            self._flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, object]]:
    """Rows of a Parquet file in order, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=columns).to_pylist()


def read_one(path: Path, row: int, column: str) -> object:
    """One value: only the row group that holds it is read, and the last such group is kept at hand."""
    ends = _ends(path)
    group = bisect_right(ends, row)
    return _column(path, group, column)[row - ends[group - 1] if group else row].as_py()


@lru_cache(maxsize=1024)
def _ends(path: Path) -> tuple[int, ...]:
    """The first row behind each row group."""
    with pq.ParquetFile(path) as file:
        return tuple(accumulate(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)))


@lru_cache(maxsize=8)
def _column(path: Path, group: int, column: str) -> pa.ChunkedArray:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column])[column]
