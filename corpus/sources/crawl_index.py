"""Files and records of a crawl to read: by the lists that it publishes, and by its columnar index.

Source of the index's columns: https://github.com/commoncrawl/cc-index-table, cc-index-schema-flat.json.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from math import ceil
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from corpus.errors import InputError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError
from corpus.formats.compressed import StreamDamage, container_of, pieces_of
from corpus.settings import Strict

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

Listed = Literal["warc", "wet", "cc-index-table"]

# A crawl has about 90,000 WARC files; their list has 0.3 MB, unpacked 12 MB.
_LIST_BYTES, _LIST_BYTES_UNPACKED, _LIST_NAMES = 1 << 24, 1 << 26, 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")
_NAME_CHARACTERS = 500
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


def files_of(at: str, crawls: Sequence[str], kind: Listed, access: Access) -> list[str]:
    """Return the names of a kind of file that the crawls publish, sorted; of indexes, those of WARC files of pages.

    Raises InputError if there is no such crawl, or its list is malformed.
    """
    names = {name for crawl in crawls for name in _names(at, crawl, kind, access)}
    return sorted(name for name in names if kind != "cc-index-table" or "/subset=warc/" in name)


def chosen(names: Sequence[str], wanted: int | float | None, seed: int) -> list[str]:
    """Return a number of the names, or a share but at least one, by a seed. A larger choice contains a smaller one."""
    if wanted is None:
        return sorted(names)
    count = wanted if isinstance(wanted, int) else max(1, ceil(wanted * len(names)))
    key = f"segments:{seed}".encode()
    return sorted(sorted(names, key=lambda name: blake2b(name.encode(), key=key).digest())[:count])


def addresses_of(at: str, names: Sequence[str]) -> list[str]:
    """Return the addresses of the names. Raises InputError if a folder lacks one of them."""
    addresses = [f"{at}/{name}" for name in names]
    if not client.is_remote(at):
        missing = [address for address in addresses if not Path(address).is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: missing, with {len(missing) - 1} more of the {len(addresses)} files that the crawl's "
                f"list has; download them, or name the ones that you have in `paths`"
            )
    return addresses


def check_name(name: str, where: str) -> str:
    """Return the name. Raises InputError unless it is a plain path below the folder of the crawls."""
    if len(name) > _NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise InputError(f"{where}: names the file {name[:100]!a}, which no crawl has; check the address")
    return name


def _names(at: str, crawl: str, kind: Listed, access: Access) -> list[str]:
    address = f"{at}/crawl-data/{crawl}/{kind}.paths.gz"
    try:
        data = client.read_small(address, access, _LIST_BYTES)
    except AbsentError:
        raise InputError(
            f"{address}: not found; either {crawl} is no crawl (https://index.commoncrawl.org/collinfo.json lists the "
            f"ids), or it has no {kind} files, or `at` is wrong"
        ) from None
    names: list[str] = []
    for line in io.BytesIO(_unpacked(data, address)):
        if name := line.decode("utf-8", "replace").strip():
            names.append(check_name(name, address))
        if len(names) > _LIST_NAMES:
            raise InputError(f"{address}: over {_LIST_NAMES} names, more than any crawl has files")
    if not names:
        raise InputError(f"{address}: an empty list; expected the name of a file a line")
    return names


def _unpacked(data: bytes, address: str) -> bytes:
    unpacked = bytearray()
    for piece in pieces_of(io.BytesIO(data), 0, len(data), container_of(data)):
        if isinstance(piece, StreamDamage):
            raise InputError(f"{address}: broken gzip; expected a list of files")
        unpacked += piece.data
        if len(unpacked) > _LIST_BYTES_UNPACKED:
            raise InputError(f"{address}: over {_LIST_BYTES_UNPACKED} bytes when unpacked, more than any list of files")
    return bytes(unpacked)


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
    groups = [group for group in range(table.num_row_groups) if _may_hold(table, group, wanted)]
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups, columns=[*tests, *_PLACE]):
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
