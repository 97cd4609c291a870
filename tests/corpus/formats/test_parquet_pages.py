"""Page headers of Parquet files, written by hand in Thrift's compact protocol."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.document import UnreadableError
from corpus.formats.parquet_pages import ColumnCost, column_cost, longest_entry

I32, STRUCT, STOP = 5, 12, b"\0"


def field(step: int, number: int) -> bytes:
    """Return an integer field, `step` after the one before; the number is below 64."""
    return bytes([step << 4 | I32, 2 * number])


def header(kind: int, size: int, *, data: bytes | None = None) -> bytes:
    """Return the header of a page of `size` bytes, with the header of a data page if given."""
    inner = bytes([2 << 4 | STRUCT]) + data + STOP if data is not None else b""
    return field(1, kind) + field(1, size) + field(1, size) + inner + STOP


def test_values_and_bytes_of_pages_are_counted() -> None:
    page = header(0, 3, data=field(1, 10) + field(1, 0)) + b"abc"
    assert column_cost(io.BytesIO(2 * page), 0, 2 * len(page)) == ColumnCost(6, 3, 20, 0)


def test_page_of_no_known_kind_is_unreadable() -> None:
    page = header(9, 1) + b"x"
    with pytest.raises(UnreadableError, match="bad_parquet"):
        column_cost(io.BytesIO(page), 0, len(page))


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
def test_longest_string_of_a_dictionary(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"tags": [["a", "b" * 300, ""], ["a"]] * 50}), path, compression=compression)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    with path.open("rb") as file:
        cost = column_cost(file, column.dictionary_page_offset, column.total_compressed_size)
        assert cost.dictionary is not None and cost.values == 200
        assert longest_entry(file, cost.dictionary, column.compression) == 300
        damaged = cost.dictionary._replace(offset=cost.dictionary.offset + 1, size=10)
        assert longest_entry(file, damaged, column.compression) == 10


def test_lists_of_few_words_in_many_rows_are_read(tmp_path: Path) -> None:
    from corpus.formats.parquet_rows import ParquetRow, rows

    path = tmp_path / "table.parquet"
    words = [f"license-{number}" for number in range(5_000)]
    pq.write_table(pa.table({"tags": [words[row % 5_000 :][:4] for row in range(100_000)]}), path, compression="zstd")
    found = list(rows(path, 0, path.stat().st_size, ["tags"]))
    assert len(found) == 100_000 and all(isinstance(row, ParquetRow) for row in found)
