"""Page headers of Parquet files, written by hand in Thrift's compact protocol."""

import io

import pytest

from corpus.document import UnreadableError
from corpus.formats.parquet_pages import ColumnCost, column_cost

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
