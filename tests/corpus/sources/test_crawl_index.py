"""Selection by the columnar index: exactly the matching records, without reading more than needed.

Planted once: the bound of a domain's URL keys put before its subdomains (their row groups were passed over).
"""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from corpus.errors import InputError
from corpus.fetch.access import Access
from corpus.sources import common_crawl, crawl_index
from corpus.sources.common_crawl import CommonCrawlSettings
from corpus.sources.crawl_index import Select, places_of
from tests.corpus.formats.warc_files import found, urls
from tests.fake_crawl import (
    CRAWL,
    LANGUAGES,
    SCHEMA,
    FolderServer,
    Member,
    http_server,
    read_members,
    surt,
    write_crawl,
)


@pytest.fixture(scope="module")
def members(data: Path) -> list[Member]:
    return read_members(data / "web/pages-00000.warc.gz")[:60]


@pytest.fixture(scope="module")
def crawl(members: list[Member], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    write_crawl(folder, members)
    return folder


@pytest.fixture(scope="module")
def server(crawl: Path) -> Iterator[FolderServer]:
    with http_server(crawl) as served:
        yield served


def settings(at: str, **select: object) -> CommonCrawlSettings:
    given = {"name": "web", "reader": "common_crawl", "share": 1.0, "license": "unknown", "crawl": CRAWL, "at": at}
    return CommonCrawlSettings.model_validate({**given, "select": Select.model_validate(select)})


def selected(at: str, folder: Path, crawl: Path, **select: object) -> bytes:
    """Return the selections of all indexes, concatenated."""
    folder.mkdir(exist_ok=True)
    given, data = settings(at, **select), b""
    for index in common_crawl.listing(settings(str(crawl), **select), Access(folder)):
        common_crawl.select(Path(index), given, Access(folder), folder / "selected")
        data += (folder / "selected").read_bytes()
    return data


def languages(members: Sequence[Member], files: int = 4) -> dict[str, str | None]:
    """Return the language that the fake crawl states for each page."""
    return {
        member.url: LANGUAGES[(number % files + number // files) % len(LANGUAGES)]
        for number, member in enumerate(members)
    }


def expected(members: Sequence[Member], select: Mapping[str, Sequence[object]]) -> set[str]:
    """Return the URLs that match, by the simplest code."""
    said = languages(members)
    found = set()
    for member in members:
        host = member.url.split("/")[2]
        tests = {
            "languages": (said[member.url] or "").split(",")[0],
            "mime": "application/xhtml+xml" if member.url.endswith("/") else "text/html",
            "status": 200,
        }
        near = any(f".{host}".endswith(f".{domain}") for domain in select.get("domains", [host]))
        if near and all(value in select.get(name, [value]) for name, value in tests.items()):
            found.add(member.url)
    return found


@pytest.mark.parametrize(
    "select",
    [
        {"languages": ("eng",)},
        {"languages": ("eng", "nld")},
        {"languages": ("spa",)},
        {"status": (200,)},
        {"status": (404,)},
        {"mime": ("text/html",)},
        {"domains": ("chefkoch.de", "kochbar.de")},
        {"domains": ("www.chefkoch.de",)},
        {"domains": ("koch.de",)},
        {"domains": ("de", "co.uk", "uk.com")},
        {"domains": ("au",), "languages": ("eng", "deu"), "mime": ("application/xhtml+xml",)},
    ],
)
def test_selection_gives_the_records_that_match(
    select: dict[str, tuple[object, ...]], members: list[Member], crawl: Path, server: FolderServer, tmp_path: Path
) -> None:
    data = selected(str(crawl), tmp_path / "a", crawl, **select)
    assert selected(server.url, tmp_path / "b", crawl, **select) == data  # wherever it lies
    path = tmp_path / "all"
    path.write_bytes(data)
    pages = found(path)  # each a sound gzip member; those of one index by file and place
    assert sorted(map(str, urls(pages))) == sorted(expected(members, select))
    packed = {member.url: member.packed for member in members}
    assert sum(len(packed[str(url)]) for url in urls(pages)) == len(data)  # and nothing else


def test_only_selected_records_are_fetched(
    members: list[Member], crawl: Path, server: FolderServer, tmp_path: Path
) -> None:
    server.requests.clear()
    server.sent_bytes = 0
    data = selected(server.url, tmp_path / "a", crawl, domains=("chefkoch.de", "kochbar.de"))
    asked = [(path, span) for method, path, span in server.requests if method == "GET"]
    assert data and len(asked) <= 2 and all(span and "/warc/" in path for path, span in asked)
    assert server.sent_bytes == len(data)


def test_row_groups_without_the_domain_are_not_read(
    crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    batches = parquet.ParquetFile.iter_batches

    def noted(table: parquet.ParquetFile, *args: object, row_groups: list[int], **kwargs: object) -> object:
        read.extend(row_groups)
        return batches(table, *args, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", noted)
    assert selected(str(crawl), tmp_path / "a", crawl, domains=("chefkoch.de",))
    groups = sum(parquet.ParquetFile(path).num_row_groups for path in crawl.rglob("subset=warc/*.parquet"))
    assert groups == 8 and len(read) == 1


def test_an_empty_selection_is_an_empty_file(crawl: Path, tmp_path: Path) -> None:
    assert selected(str(crawl), tmp_path / "a", crawl, languages=("zul",)) == b""
    assert found(tmp_path / "a/selected") == []
    assert common_crawl.cuts(tmp_path / "a/selected", [0, 5], settings("s3://x", status=(200,))) == [0, 0]


def test_url_keys_follow_the_schema() -> None:
    assert surt("https://www.Example.org/Path?q=1") == "org,example)/path?q=1"  # Source: the schema's own example


ROW = {
    "url_surtkey": "org,mill)/",
    "url_host_name": "mill.org",
    "fetch_status": 200,
    "warc_filename": "crawl-data/x/segments/1/warc/a.warc.gz",
    "warc_record_offset": 100,
    "warc_record_length": 50,
}


def index(*rows: Mapping[str, object], schema: pa.Schema = SCHEMA) -> BytesIO:
    target = BytesIO()
    parquet.write_table(pa.Table.from_pylist([{**ROW, **row} for row in rows], schema), target)
    return target


def test_places_are_sorted_and_unique() -> None:
    rows = index(
        {"warc_record_offset": 900}, {}, {"warc_filename": "crawl-data/b.warc.gz"}, {"warc_record_offset": 150}, {}
    )
    places = [tuple(place)[1:] for place in places_of(rows, "x", Select(status=(200,)))]
    assert places == [(100, 150), (100, 150), (150, 200), (900, 950)]


@pytest.mark.parametrize(
    "row",
    [
        {"warc_record_offset": -1},
        {"warc_record_length": 0},
        {"warc_record_length": -50},
        {"warc_record_length": 2**31 - 1},
        {"warc_record_offset": 120},  # inside the one before
        {"warc_filename": "../../etc/passwd"},
        {"warc_filename": "https://elsewhere.example/a.warc.gz"},
        {"warc_filename": None},
        {"warc_record_offset": None},
    ],
)
def test_a_hostile_index_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"x\.parquet: "):
        list(places_of(index({}, row), "x.parquet", Select(status=(200,))))


def retyped(**kinds: pa.DataType) -> pa.Schema:
    return pa.schema([field.with_type(kinds.get(field.name, field.type)) for field in SCHEMA])


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ({"url_surtkey": b"org,mill)/"}, {"url_surtkey": pa.binary()}),
        ({"url_surtkey": 7}, {"url_surtkey": pa.int32()}),
        ({"url_host_name": b"mill.org"}, {"url_host_name": pa.binary()}),
        ({"fetch_status": 200.0}, {"fetch_status": pa.float64()}),
        ({"warc_filename": b"a"}, {"warc_filename": pa.binary()}),
        ({"warc_record_offset": 100.0}, {"warc_record_offset": pa.float32()}),
        ({"warc_record_length": "50"}, {"warc_record_length": pa.string()}),
        ({"warc_record_offset": 2**64 - 1}, {"warc_record_offset": pa.uint64()}),
    ],
)
def test_columns_of_other_types_are_refused(row: dict[str, object], kinds: dict[str, pa.DataType]) -> None:
    wanted = Select(status=(200,), domains=("mill.org",))
    with pytest.raises(InputError, match="not a columnar index of a crawl"):
        list(places_of(index(row, schema=retyped(**kinds)), "x", wanted))


def test_columns_of_similar_types_are_read() -> None:
    kinds = {"warc_record_offset": pa.uint64(), "warc_filename": pa.dictionary(pa.int32(), pa.string())}
    places = list(places_of(index({}, schema=retyped(**kinds)), "x", Select(status=(200,), domains=("mill.org",))))
    assert [tuple(place)[1:] for place in places] == [(100, 150)]


def test_column_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl_index, "_CHUNK_BYTES", 10_000)
    large = index({"warc_segment": "".join(map(str, range(5000)))})
    with pytest.raises(InputError, match="bytes in one column"):
        list(places_of(large, "x", Select(domains=("mill.org",))))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1" + bytes(100) + b"PAR1",
        b"<html>",
        index({}).getvalue()[:-20],
        index({}, schema=pa.schema([field for field in SCHEMA if field.name != "warc_filename"])).getvalue(),
        index({}, schema=pa.schema([field for field in SCHEMA if field.name != "fetch_status"])).getvalue(),
    ],
)  # fmt: skip
def test_malformed_indexes_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="not a columnar index of a crawl"):
        list(places_of(BytesIO(content), "x", Select(status=(200,))))
