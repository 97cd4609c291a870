"""Remote files read by range: file objects, and the readers on top of them."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pyarrow
import pyarrow.parquet
import pytest

from corpus.errors import CorpusError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.client import describe, fetch, remote_path
from corpus.fetch.ranges import FIRST_BYTES
from corpus.sources.base import SourceSettings, catalog
from tests.hostile_server import GOOD, HostileServer, Mode, hostile_server

BODY = random.Random(9).randbytes(3_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    with hostile_server() as running:
        running.add("/a", BODY)
        yield running


def test_a_remote_file_reads_like_a_local_one(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.url + "/a"], access)
    choice, here = random.Random(6), io.BytesIO(BODY)
    with remote_path(remote, access).open() as there:
        for _ in range(60):
            whence = choice.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
            base = {io.SEEK_SET: 0, io.SEEK_CUR: here.tell(), io.SEEK_END: len(BODY)}[whence]
            offset = choice.randrange(len(BODY) + 100) - base
            assert there.seek(offset, whence) == here.seek(offset, whence)
            count = choice.choice([0, 1, 100, 5000, 400_000])
            assert there.read(count) == here.read(count) and there.tell() == here.tell()
        assert there.seek(0) == 0 and there.read() == BODY


def test_read_ahead_doubles_while_reading_in_order(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.url + "/a"], access)
    with remote_path(remote, access).open() as file:
        assert b"".join(iter(lambda: file.read(10_000), b"")) == BODY
    sizes = [int(end) - int(start) + 1 for start, end in
             (str(each).removeprefix("bytes=").split("-") for each in server.ranges("/a"))]  # fmt: skip
    assert sizes[:5] == [FIRST_BYTES << step for step in range(5)] and sum(sizes) == len(BODY)


def test_a_remote_file_that_changed_is_not_read(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.url + "/a"], access)
    server.add("/a", BODY[::-1])
    with (
        remote_path(remote, access).open() as file,
        pytest.raises(CorpusError, match="changed since the plan was made"),
    ):
        file.read(1)


def digest(body: bytes) -> Mode:
    return Mode(headers={"Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"})


@pytest.mark.parametrize("beside_parts", [True, False])
def test_a_published_digest_holds_for_byte_ranges(server: HostileServer, access: Access, beside_parts: bool) -> None:
    url = server.add("/b", BODY, etag=None)

    def publish(body: bytes) -> None:
        server.add("/b", body, etag=None)
        server.heads["/b"] = digest(body)
        server.standing["/b"] = digest(body) if beside_parts else GOOD

    publish(BODY)
    (remote,) = describe([url], access)
    assert remote.version.startswith("sha256:")
    with remote_path(remote, access).open() as file:
        assert file.read() == BODY
    assert server.count("/b", "HEAD") == (1 if beside_parts else 2)  # a second look, once
    publish(BODY[::-1])
    with (
        remote_path(remote, access).open() as file,
        pytest.raises(CorpusError, match="changed since the plan was made"),
    ):
        file.read(1)


@pytest.mark.parametrize("body", [BODY + b"x", BODY[:-1], BODY[:10], b""])
def test_a_remote_file_of_another_size_is_not_read(server: HostileServer, access: Access, body: bytes) -> None:
    url = server.add("/b", BODY, etag=None)
    (remote,) = describe([url], access)
    assert remote.version == "size"
    server.files["/b"] = body
    with (
        remote_path(remote, access).open() as file,
        pytest.raises(CorpusError, match=r"changed since the plan was made.*Build again"),
    ):
        file.seek(100)
        file.read(1)


def test_a_dated_file_of_the_same_size_and_another_date_is_not_read(server: HostileServer, access: Access) -> None:
    """As on plain web servers, without an ETag. Fails if only the size is compared, when planning or when reading."""
    old, new = ({"Last-Modified": f"Mon, 0{day} Jun 2026 00:00:00 GMT"} for day in (1, 8))
    url = server.add("/b", BODY, etag=None)
    server.standing["/b"] = server.heads["/b"] = Mode(headers=old)
    (remote,) = describe([url], access)
    with remote_path(remote, access).open() as file:
        assert file.read(10) == BODY[:10]
    server.add("/b", BODY[::-1], etag=None)
    server.standing["/b"] = server.heads["/b"] = Mode(headers=new)
    assert describe([url], access) != [remote]
    with (
        remote_path(remote, access).open() as file,
        pytest.raises(CorpusError, match="changed since the plan was made"),
    ):
        file.read(10)
    with pytest.raises(CorpusError, match="changed since the plan was made"):
        fetch(remote, access, lambda _: None)


def test_a_local_file_that_changed_is_not_read(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(BODY)
    (remote,) = describe([f"file://{path}"], access)
    with remote_path(remote, access).open() as file:
        assert file.read(10) == BODY[:10]
        path.write_bytes(BODY[::-1])
        os.utime(path, ns=(1, 1))
        with pytest.raises(CorpusError, match=r"changed since the plan was made.*Build again"):
            file.seek(-10, io.SEEK_END)
            file.read(1)
        path.write_bytes(b"")
        with pytest.raises(CorpusError, match=r"changed since the plan was made.*Build again"):
            file.read(1)


def parquet() -> bytes:
    table = pyarrow.table({"text": [f"row {number} " + "word " * 20 for number in range(3000)]})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, row_group_size=500)
    return buffer.getvalue()


LINES = b"".join(json.dumps({"text": f"line {number} " + "x" * 50}).encode() + b"\n" for number in range(3000))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("cut.jsonl.gz", gzip.compress(LINES)[:-2000]),
        ("cut.jsonl.bz2", bz2.compress(LINES)[:-2000]),
        ("torn.jsonl.gz", gzip.compress(LINES)[:3000] + bytes(1000) + gzip.compress(LINES)),
        ("a.parquet", parquet()),
        ("cut.parquet", parquet()[:-2000]),
        ("empty.jsonl", b""),
    ],
)
def test_records_read_by_range_equal_those_of_a_local_copy(
    server: HostileServer, access: Access, tmp_path: Path, name: str, content: bytes
) -> None:
    settings = {"name": "a", "reader": "records", "paths": ["x"], "share": 1.0, "license": "unknown"}
    assert_same_records("records", settings, server, access, tmp_path, name, content)


def test_warc_and_wikipedia_read_by_range_equal_a_local_copy(
    server: HostileServer, access: Access, tmp_path: Path, data: Path
) -> None:
    for reader, pattern in (("common_crawl", "**/*.warc.gz"), ("wikipedia", "**/*pages-articles*.bz2")):
        path = min((each for each in data.glob(pattern) if each.is_file()), key=lambda each: each.stat().st_size)
        content = path.read_bytes()
        settings = {"name": "a", "reader": reader, "paths": ["x"], "share": 1.0, "license": "unknown"}
        assert_same_records(reader, settings, server, access, tmp_path, path.name, content)


def assert_same_records(
    reader: str, told: object, server: HostileServer, access: Access, folder: Path, name: str, content: bytes
) -> None:
    """Compare cuts and records with those of a local copy; the cache must stay empty."""
    source = catalog()[reader]
    settings = cast(SourceSettings, source.settings.model_validate_json(json.dumps(told)))
    (folder / name).write_bytes(content)
    (remote,) = describe([server.add(f"/{name}", content)], access)
    path = remote_path(remote, access)
    assert (path.name, path.suffix, path.stat().st_size) == (name, Path(name).suffix, len(content))
    assert path.read_bytes() == content and str(path) == remote.url
    wanted = [len(content) * part // 3 for part in range(1, 3)]
    here, there = folder / name, cast(Path, path)
    cuts = source.cuts(here, wanted, settings)
    assert source.cuts(there, wanted, settings) == cuts
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        assert list(source.read(there, start, end, settings)) == list(source.read(here, start, end, settings))
    assert not [each for each in access.cache.rglob("*") if each.is_file() and each.parent.parent.name != "hosts"]
