"""Reads columns and single rows of Parquet tables."""

from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.settings import Json

Row = dict[str, Json]


def columns(path: Path, *names: str) -> pa.Table:
    """Return columns of a Parquet file (all if none is named); dictionary columns become plain strings."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns=list(names) or None)
    fields = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields))


def row_of(path: Path, number: int) -> Row:
    """Return one row of a Parquet file; only the row group that holds it is read."""
    with pq.ParquetFile(path) as file:
        group = 0
        while number >= file.metadata.row_group(group).num_rows:
            number -= file.metadata.row_group(group).num_rows
            group += 1
        return cast(Row, file.read_row_group(group).slice(number, 1).to_pylist()[0])


def value_counts(values: pa.ChunkedArray, null: str = "") -> dict[str, int]:
    """Return the number of rows by value; missing values count as `null`."""
    rows = pc.value_counts(pc.fill_null(values, null)).to_pylist()
    return {row["values"]: row["counts"] for row in rows}
