"""Rows of Parquet files. Files are cut at row groups; a row's span is its share of its group's bytes.

A group is decoded in slices of rows. The headers of its pages bound what a slice can take, and a budget what the group
can: beyond it, the group fails as a `bomb`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from corpus.document import Failed, Skipped, UnreadableError
from corpus.formats.budget import Budget, Limits
from corpus.formats.parquet_pages import ColumnCost, column_cost, longest_entry

if TYPE_CHECKING:
    from pyarrow import Scalar
    from pyarrow.parquet import ColumnChunkMetaData, ColumnSchema, FileMetaData, ParquetFile

BATCH_BYTES = 16_000_000
BATCH_ROWS = 1024
SLICE_BYTES = 64_000_000  # of a slice in which each row repeats the longest value that its column may repeat
VALUE_BYTES, ROW_BYTES = 16, 100  # in memory, besides the content
# Of one row group; the members are its rows. Text packs to a tenth, seldom to a fiftieth.
GROUP_LIMITS = Limits(100_000_000, ratio=200, members=10_000_000)
MAX_PAGE_BYTES = 400_000_000  # a page is decoded as a whole


class ParquetRow(NamedTuple):
    """One row: its values by column."""

    start: int
    end: int
    values: Mapping[str, object]


def is_parquet(path: Path) -> bool:
    """Return True if a file begins as Parquet does."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def group_cuts(path: Path, wanted: Sequence[int]) -> list[int]:
    """Return for each wanted offset the first row group at or after it; the file's size if there is none."""
    size = path.stat().st_size
    starts = group_starts(path) or [0, size]
    return [min((start for start in starts if start >= offset), default=size) for offset in wanted]


def group_starts(path: Path) -> list[int] | None:
    """Return the starts of the row groups, the first at 0, and the file's size; None if the file cannot be read."""
    import pyarrow

    try:
        with _opened(path) as file:
            return _starts(file.metadata, path.stat().st_size)
    except (pyarrow.ArrowException, OSError, ValueError):
        return None


def rows(path: Path, start: int, stop: int, columns: Sequence[str]) -> Iterator[ParquetRow | Skipped | Failed]:
    """Yield the rows of the groups that begin in [start, stop); both are values from `group_starts`.

    Missing columns are ignored; `a.b` names field `b` of struct `a`. Rows are counted as they are read:
    the footer is not trusted. A row with a string that is not UTF-8 fails alone; a group that cannot be read fails
    from its first lost row on.
    """
    import pyarrow

    starts = group_starts(path)
    if starts is None:
        yield Failed(start, stop, "bad_parquet")
        return
    with _opened(path) as file:
        present = [column for column in columns if _present(file, column)] or [file.schema.column(0).path]
        for group, (first, end) in enumerate(pairwise(starts)):
            if not start <= first < stop:
                continue
            at, reason = first, "bad_parquet"
            if not file.metadata.num_row_groups or file.metadata.row_group(group).num_rows == 0:
                yield Skipped(first, end, "empty")
                continue
            try:
                for row in _group(path, file, group, first, end, present):
                    yield row
                    at = row.end
            except MemoryError:  # Arrow's is an ArrowException too
                raise
            except UnreadableError as error:
                reason = error.reason
            except (pyarrow.ArrowException, OSError, ValueError):
                pass
            if at < end:
                yield Failed(at, end, reason)


def _opened(path: Path) -> "ParquetFile":
    import pyarrow
    from pyarrow.parquet import ParquetFile

    # Arrow's own allocators reserve 1 GiB at once, which a limit on memory would count, or not see the use of.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    source = path if isinstance(path, Path) else path.open("rb")
    return ParquetFile(source, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)


def _starts(metadata: "FileMetaData", size: int) -> list[int] | None:
    """Return the starts of the row groups; None unless they lie one after the other within the file."""
    starts = []
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        offsets = [
            offset
            for index in range(row_group.num_columns)
            for offset in (row_group.column(index).dictionary_page_offset, row_group.column(index).data_page_offset)
            if offset
        ]
        starts.append(min(offsets, default=-1))
    ends = [*starts[1:], size][: len(starts)]  # without row groups, none
    ordered = all(0 < one < other for one, other in zip(starts, ends, strict=True))
    return [0, *starts[1:], size] if ordered else None


def _present(file: "ParquetFile", column: str) -> bool:
    names = {file.schema.column(index).path for index in range(len(file.schema))}
    return any(name == column or name.startswith(f"{column}.") for name in names)


def _group(
    path: Path, file: "ParquetFile", group: int, first: int, end: int, columns: Sequence[str]
) -> Iterator[ParquetRow | Failed]:
    """Yield the rows of a group. Raises UnreadableError if they take more than a group may."""
    metadata = file.metadata.row_group(group)
    count, done, budget = metadata.num_rows, 0, Budget(GROUP_LIMITS)
    costs = _column_costs(path, file, group, columns)
    budget.member(count)
    if any(cost.largest_page_bytes > MAX_PAGE_BYTES for cost in costs):
        raise UnreadableError("bomb")
    budget.spend(count * ROW_BYTES + sum(cost.page_bytes + cost.values * VALUE_BYTES for cost in costs), end - first)
    repeated = max((cost.repeated_bytes for cost in costs), default=0)
    by_size, by_value = BATCH_BYTES * count // max(metadata.total_byte_size, 1), SLICE_BYTES // max(repeated, 1)
    batch_rows = max(1, min(BATCH_ROWS, by_size, by_value))
    for batch in file.iter_batches(batch_rows, row_groups=[group], columns=list(columns), use_threads=False):
        names = batch.schema.names
        for index in range(batch.num_rows):
            if done == count:
                raise ValueError("more rows than the footer says")
            row_start, row_end = (first + (end - first) * rank // count for rank in (done, done + 1))
            try:
                values = {name: _value(column[index]) for name, column in zip(names, batch.columns, strict=True)}
                budget.spend(_size(values), end - first)
                yield ParquetRow(row_start, row_end, values)
            except UnicodeDecodeError:
                yield Failed(row_start, row_end, "bad_utf8")
            done += 1


def _column_costs(path: Path, file: "ParquetFile", group: int, columns: Sequence[str]) -> list[ColumnCost]:
    """Return what the columns that are read may take in a group."""
    metadata, costs = file.metadata.row_group(group), []
    with path.open("rb") as raw:
        for index in range(metadata.num_columns):
            column = metadata.column(index)
            if any(column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.") for name in columns):
                starts = [at for at in (column.dictionary_page_offset, column.data_page_offset) if at]
                cost = column_cost(raw, min(starts), column.total_compressed_size)
                if file.schema.column(index).max_repetition_level:  # one row may hold all values: no slice is small
                    longest = max(cost.delta_bytes, _longest_entry(raw, cost, column, file.schema.column(index)))
                    cost = cost._replace(page_bytes=cost.page_bytes + cost.values * longest)
                costs.append(cost)
    return costs


def _longest_entry(raw: BinaryIO, cost: ColumnCost, column: "ColumnChunkMetaData", schema: "ColumnSchema") -> int:
    """Return the bytes of the longest value in a column's dictionary, at most; 0 without one."""
    if cost.dictionary is None or cost.largest_page_bytes > MAX_PAGE_BYTES:
        return 0
    if column.physical_type != "BYTE_ARRAY":
        return int(schema.length)
    return longest_entry(raw, cost.dictionary, column.compression)


def _size(value: object) -> int:
    """Return the length of all strings in a value."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0


def _value(scalar: "Scalar") -> object:
    """Return a value as a Python object; None, also within a struct, for the year 10000 and unknown time zones.

    Raises UnicodeDecodeError.
    """
    from pyarrow import StructScalar

    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        raise
    except (ArithmeticError, LookupError, ValueError):
        if isinstance(scalar, StructScalar):
            return {field.name: _value(scalar[index]) for index, field in enumerate(scalar.type)}
        return None
