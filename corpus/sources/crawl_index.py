"""Selection of a crawl's records by its columnar index.

Source of its columns: https://github.com/commoncrawl/cc-index-table, cc-index-schema-flat.json.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from corpus.errors import InputError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.settings import Strict
from corpus.sources.crawl_listing import check_name

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

_RECORD_BYTES = 1 << 26  # a record is at most 1 MiB, since March 2025 5 MiB, before compression
_BATCH_ROWS = 1 << 16
_CHUNK_BYTES = 1 << 31  # of one column of a row group, decompressed
_PLACE = ("warc_filename", "warc_record_offset", "warc_record_length")
_INTEGERS = {"fetch_status", *_PLACE[1:]}


def _domain(name: str) -> str:
    name = name.lower().strip(".")
    if not re.fullmatch(r"([a-z0-9_-]{1,63}\.)*[a-z][a-z0-9-]{1,62}", name) or len(name) > 253:
        raise ValueError(f"expected a domain such as example.org or de (beyond ASCII: as xn--…); found {name!r}")
    return name


class Select(Strict):
    """Conditions on the records of a crawl; a record must meet all that are given."""

    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{3}$")], ...] = ()  # ISO 639-3; a page's main one counts
    domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = ()  # with all below them
    mime: tuple[str, ...] = ()  # as detected from the content
    status: tuple[Annotated[int, Field(ge=100, le=999)], ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> "Select":
        if not (self.languages or self.domains or self.mime or self.status):
            raise ValueError("expected at least one of languages, domains, mime, status")
        return self


class RecordPlace(NamedTuple):
    """Bytes [start, end) of a WARC file that hold a record."""

    name: str
    start: int
    end: int


def select(index: BinaryIO, where: str, wanted: Select, at: str, access: Access, target: Path) -> None:
    """Write the `wanted` records of an index into `target`, sorted by file and place.

    The index is read by column and row group. Raises InputError if it is malformed, and the errors of the client.
    """
    with target.open("wb") as file:
        for name, places in groupby(places_of(index, where, wanted), key=itemgetter(0)):
            ranges = [(place.start, place.end) for place in places]
            for record in client.read_ranges(f"{at}/{name}", ranges, access):
                file.write(record)


def places_of(index: BinaryIO, where: str, wanted: Select) -> Iterator[RecordPlace]:
    """Yield the places of the `wanted` records of an index, in order and without duplicates or overlaps."""
    import pyarrow

    try:
        names, files, offsets, lengths = _matches(index, wanted)
    except (pyarrow.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not a columnar index of a crawl: {str(error)[:200]}") from None
    ranks = np.argsort(np.argsort(np.array(names)))[files] if names else files
    last = RecordPlace("", 0, 0)
    for row in np.lexsort((lengths, offsets, ranks)):
        place = RecordPlace(names[files[row]], int(offsets[row]), int(offsets[row] + lengths[row]))
        if place == last:
            continue
        if place.start < 0 or not 0 < place.end - place.start <= _RECORD_BYTES:
            raise InputError(f"{where}: has a record at {place.start}..{place.end} of {place.name}: a damaged index")
        if place.name != last.name:
            check_name(place.name, where)
        elif place.start < last.end:
            raise InputError(f"{where}: has two records in one place, {place.start} of {place.name}: a damaged index")
        yield place
        last = place


def _matches(index: BinaryIO, wanted: Select) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return names of files, and of each wanted record the number of its file, its offset and its length."""
    from pyarrow import parquet

    numbers: dict[str, int] = {}
    columns: list[np.ndarray] = [np.empty((3, 0), np.int64)]
    tests = _tests(wanted)
    table = parquet.ParquetFile(index)
    _check_columns(table, [*tests, *_PLACE])
    for group in range(table.num_row_groups):
        if not _may_hold(table, group, wanted):
            continue
        for batch in table.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[*tests, *_PLACE]):
            for column, passes in tests.items():
                batch = batch.filter(_mask(batch.column(column), passes))
            if len(batch):
                name = batch.column(_PLACE[0]).dictionary_encode()
                ids = [numbers.setdefault(file, len(numbers)) for file in map(str, name.dictionary.to_pylist())]
                files = np.array(ids, np.int64)[name.indices.to_numpy()]
                columns.append(np.stack([files, *(batch.column(key).cast("int64").to_numpy() for key in _PLACE[1:])]))
    files, offsets, lengths = np.concatenate(columns, axis=1)
    return list(numbers), files, offsets, lengths


def _check_columns(table: "ParquetFile", names: list[str]) -> None:
    """Raise ArrowInvalid unless all columns are there, and hold text or whole numbers as the schema has it."""
    import pyarrow

    schema = table.schema_arrow
    for name in names:
        at = schema.get_field_index(name)
        if at < 0:
            raise pyarrow.ArrowInvalid(f"it has no column {name}, or several")
        kind = schema.field(at).type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        integral = name in _INTEGERS
        fits = pyarrow.types.is_integer(kind) if integral else kind in (pyarrow.string(), pyarrow.large_string())
        if not fits:
            raise pyarrow.ArrowInvalid(f"its column {name} holds {kind}, not {'integers' if integral else 'text'}")


def _tests(wanted: Select) -> dict[str, Callable[[object], bool]]:
    """Return tests for the values of columns, by column."""
    tests: dict[str, Callable[[object], bool]] = {}
    if wanted.languages:
        tests["content_languages"] = lambda value: str(value).partition(",")[0] in wanted.languages
    if wanted.domains:
        domains = frozenset(wanted.domains)
        tests["url_host_name"] = lambda value: _lies_in(str(value), domains)
    if wanted.mime:
        tests["content_mime_detected"] = lambda value: value in wanted.mime
    if wanted.status:
        tests["fetch_status"] = lambda value: value in wanted.status
    return tests


def _mask(column: "pyarrow.Array", passes: Callable[[object], bool]) -> "pyarrow.BooleanArray":
    """Return True for each value that passes; each distinct one is tested once."""
    import pyarrow

    encoded = column.dictionary_encode()
    passing = pyarrow.array([value is not None and passes(value) for value in encoded.dictionary.to_pylist()], "bool")
    return passing.take(encoded.indices).fill_null(False)


def _lies_in(host: str, domains: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[first:]) in domains for first in range(len(labels)))


def _may_hold(table: "ParquetFile", group: int, wanted: Select) -> bool:
    """Return False if a row group holds no wanted record, by its least and greatest URL key: the table is sorted."""
    import pyarrow

    metadata, may = table.metadata.row_group(group), True
    for number in range(metadata.num_columns):
        column = metadata.column(number)
        if column.total_uncompressed_size > _CHUNK_BYTES:
            raise OverflowError(f"{column.total_uncompressed_size} bytes in one column of a row group")
        statistics = column.statistics
        if column.path_in_schema == "url_surtkey" and wanted.domains and statistics and statistics.has_min_max:
            least, greatest = statistics.min, statistics.max
            if not isinstance(least, str) or not isinstance(greatest, str):
                raise pyarrow.ArrowInvalid("its column url_surtkey does not hold text")
            may = any(least <= last and first <= greatest for first, last in map(_keys, wanted.domains))
    return may


@lru_cache(maxsize=1 << 16)
def _keys(domain: str) -> tuple[str, str]:
    """Return the bounds of a domain's URL keys: from `org,example`, which `)`, `,` or `:` may follow, to `;`."""
    key = ",".join(reversed(re.sub(r"^www\d*\.", "", domain).split(".")))
    return key, f"{key};"
