"""Sizes without bodies, small files, byte ranges, and local files."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError, FileInfo
from corpus.fetch.client import describe, expand, fetch, is_address, is_remote, read_ranges, read_small, remote_path
from corpus.fetch.politeness import UnreachableError
from corpus.fetch.ranges import GAP_BYTES, REQUEST_BYTES, group_ranges
from tests.hostile_server import HostileServer, Mode, hostile_server

BODY = random.Random(5).randbytes(3_000_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    monkeypatch.setattr(politeness, "STALL_S", 0.3)
    with hostile_server() as running:
        running.add("/a", BODY)
        yield running


def test_urls_are_distinguished_from_paths() -> None:
    assert all(is_remote(f"{each}://x/y") for each in ("http", "https", "s3", "hf", "file", "HTTPS"))
    assert not any(is_remote(each) for each in ("a/b", "/a", "pypi:a==1/*", "ftp://x", "C:/x", "data/s3:/x"))
    assert all(is_address(each) for each in ("pypi:a==1/*", "s3://x/y")) and not is_address("a/pypi:b")


def test_files_are_described_in_order_without_downloading_them(server: HostileServer, access: Access) -> None:
    urls = [server.add(f"/{number}", bytes(number)) for number in range(1, 41)]
    assert [each.size for each in describe(urls, access)] == list(range(1, 41))
    assert (server.count(method="HEAD"), server.count(), server.sent) == (40, 0, {})
    assert server.most_at_once <= access.connections
    assert describe([], access) == []


@pytest.mark.parametrize(
    "head", [Mode(status=405), Mode(status=403), Mode(status=501), Mode(no_length=True), Mode(length=0)]
)
def test_a_server_without_head_is_asked_for_one_byte(server: HostileServer, access: Access, head: Mode) -> None:
    server.heads["/a"] = head
    (remote,) = describe([server.url + "/a"], access)
    assert remote == FileInfo(server.url + "/a", len(BODY), f"etag:{server.etags['/a'][1:-1]}")
    assert server.ranges("/a") == ["bytes=0-0"] and server.sent["/a"] <= 1


def test_describing_does_not_read_the_body_if_range_is_ignored(server: HostileServer, access: Access) -> None:
    server.heads["/a"] = Mode(status=405)
    server.standing["/a"] = Mode(ignore_range=True, pace_s=0.01)
    assert describe([server.url + "/a"], access)[0].size == len(BODY)
    server.over.wait(0.1)
    assert server.sent["/a"] < len(BODY)
    server.heads["/a"] = server.standing["/a"] = Mode(no_length=True, ignore_range=True, pace_s=0.01)
    with pytest.raises(CorpusError, match="does not state the file's size"):
        describe([server.url + "/a"], access)


def test_one_error_cancels_the_remaining_requests(server: HostileServer, tmp_path: Path) -> None:
    urls = [f"{server.url}/nothing/{number}" for number in range(200)]
    with pytest.raises(AbsentError):
        describe(urls, Access(tmp_path, connections=1))
    assert len(server.asked) < 100


def test_small_files_are_read_completely_or_refused(server: HostileServer, access: Access, tmp_path: Path) -> None:
    server.add("/s", b"small")
    assert read_small(server.url + "/s", access, 5) == b"small"
    server.script["/s"] = [Mode(truncate=2), Mode(status=500), Mode(reset=0), Mode(chunked=True, truncate=3)]
    assert read_small(server.url + "/s", access, 5) == b"small"
    server.script["/s"] = [Mode(chunked=True)]
    assert read_small(server.url + "/s", access, 5) == b"small"
    with pytest.raises(CorpusError, match="over 4 bytes"):
        read_small(server.url + "/s", access, 4)
    server.standing["/s"] = Mode(no_length=True)
    with pytest.raises(CorpusError, match="over 4 bytes"):
        read_small(server.url + "/s", access, 4)
    server.standing["/a"] = Mode(pace_s=0.01)
    with pytest.raises(CorpusError, match="over 100 bytes"):
        read_small(server.url + "/a", access, 100)
    assert server.sent["/a"] < len(BODY)
    here = tmp_path / "a%20b.txt"
    here.write_bytes(b"here")
    assert read_small(str(here), access, 4) == read_small(f"file://{tmp_path}/a%2520b.txt", access, 4) == b"here"
    with pytest.raises(AbsentError):
        read_small(str(tmp_path / "nothing"), access, 4)
    with pytest.raises(CorpusError, match="over 3 bytes"):
        read_small(str(here), access, 3)
    with pytest.raises(InputError):
        read_small(str(tmp_path), access, 3)
    with pytest.raises(AbsentError):
        list(read_ranges(str(tmp_path / "nothing"), [(0, 1)], access))


def test_nearby_ranges_share_a_request(server: HostileServer, access: Access, tmp_path: Path) -> None:
    ranges = [(0, 10), (10, 10), (20, 90_000), (89_000, 89_500), (90_001, 90_002), (2_000_000, 2_900_000), (5, 6)]
    wanted = [BODY[start:end] for start, end in ranges]
    assert list(read_ranges(server.url + "/a", ranges, access)) == wanted
    assert server.ranges("/a") == ["bytes=0-90001", "bytes=2000000-2899999", "bytes=5-5"]
    (tmp_path / "here").write_bytes(BODY)
    assert list(read_ranges(str(tmp_path / "here"), ranges, access)) == wanted
    assert list(read_ranges(f"file://{tmp_path}/here", ranges, access)) == wanted


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**7)), max_size=30))
def test_ranges_are_grouped_in_order_and_within_limits(spans: list[tuple[int, int]]) -> None:
    ranges = [(start, start + size) for start, size in spans]
    groups = list(group_ranges(ranges))
    assert [each for group in groups for each in group] == ranges
    for group in groups:
        starts = [start for start, _ in group]
        assert starts == sorted(starts)
        covered = max(end for _, end in group) - group[0][0]
        assert len(group) == 1 or covered <= REQUEST_BYTES
        unused_bytes = covered - sum(max(0, end - start) for start, end in group)
        assert unused_bytes <= GAP_BYTES * (len(group) - 1)


def test_a_large_range_takes_several_requests(server: HostileServer, access: Access) -> None:
    body = BODY * 6
    server.add("/large", body)
    assert list(read_ranges(server.url + "/large", [(1, len(body))], access)) == [body[1:]]
    assert server.count("/large") == 3


@pytest.mark.parametrize("fault", [Mode(truncate=10), Mode(stall=10), Mode(reset=10), Mode(status=503)])
def test_ranges_are_retried(server: HostileServer, access: Access, fault: Mode) -> None:
    server.script["/a"] = [fault]
    assert list(read_ranges(server.url + "/a", [(100, 900), (950, 1000)], access)) == [BODY[100:900], BODY[950:1000]]
    assert server.ranges("/a") == ["bytes=100-999"] * 2


def test_wrong_ranges_are_errors(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(politeness, "ATTEMPTS", 3)
    server.standing["/a"] = Mode(content_range="bytes 0-99/3000000")
    with pytest.raises(UnreachableError, match="ignored the requested byte range"):
        list(read_ranges(server.url + "/a", [(100, 200)], access))
    assert server.count("/a") == 3
    server.standing.clear()
    for start, end in ((len(BODY) - 10, len(BODY) + 1), (len(BODY) + 5, len(BODY) + 9)):
        with pytest.raises(CorpusError, match="shorter than its index says"):
            list(read_ranges(server.url + "/a", [(start, end)], access))
    (tmp_path / "here").write_bytes(b"abc")
    with pytest.raises(CorpusError, match="shorter than its index says"):
        list(read_ranges(str(tmp_path / "here"), [(2, 4)], access))
    server.flapping.add("/a")
    with pytest.raises(CorpusError, match="or while it was read"):
        list(read_ranges(server.url + "/a", [(0, 10), (1_000_000, 1_000_010)], access))


@pytest.mark.parametrize("status", [412, 416])
def test_an_unexpected_412_or_416_is_an_error(server: HostileServer, access: Access, status: int) -> None:
    server.standing["/a"] = server.heads["/a"] = Mode(status=status)
    with pytest.raises(CorpusError, match=f"/a: .*HTTP {status}.*build again"):
        read_small(server.url + "/a", access, len(BODY))
    with pytest.raises(CorpusError, match=f"/a: .*HTTP {status}.*build again"):
        describe([server.url + "/a"], access)


def test_a_large_file_is_not_read_for_a_range_if_range_is_ignored(server: HostileServer, access: Access) -> None:
    server.standing["*"] = Mode(ignore_range=True, pace_s=0.005)
    large = server.add("/large", bytes(REQUEST_BYTES + 1))
    with pytest.raises(CorpusError, match="ignores Range"):
        list(read_ranges(large, [(100, 200)], access))
    server.over.wait(0.05)
    assert server.count("/large") == 1 and server.sent["/large"] < REQUEST_BYTES // 2
    server.standing["*"] = Mode(ignore_range=True)
    assert list(read_ranges(server.url + "/a", [(100, 200)], access)) == [BODY[100:200]]  # small enough to be whole


def test_local_files_are_read_in_place(access: Access, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b c.txt", "a%41.txt", "sub/d.txt"):
        (tmp_path / name).write_text(name)
    found = list(expand(f"FILE://{tmp_path}/**/*.txt", access))
    assert found == [f"file://{tmp_path}/{each}" for each in ("a%2541.txt", "b%20c.txt", "sub/d.txt")]
    remotes = describe(found, access)
    assert [each.size for each in remotes] == [8, 7, 9] and all(each.version.startswith("etag:") for each in remotes)
    assert fetch(remotes[0], access, lambda _: None) == tmp_path / "a%41.txt"
    assert not access.cache.exists()
    with remote_path(remotes[1], access).open() as file:
        assert file.read() == b"b c.txt"
    (tmp_path / "b c.txt").write_text("other")
    with pytest.raises(CorpusError, match="changed since the plan"):
        fetch(remotes[1], access, lambda _: None)
    with pytest.raises(InputError, match="matches no file"):
        expand(f"file://{tmp_path}/*.gz", access)
    with pytest.raises(AbsentError):
        describe([f"file://{tmp_path}/nothing"], access)
    for odd in ("file://host/x", "file://x", "file:///a%00b", f"file://{tmp_path}"):
        with pytest.raises(CorpusError):
            describe([odd], access)


def test_http_addresses_are_not_expanded(access: Access) -> None:
    assert list(expand("HTTPS://h/a?b=*", access)) == ["https://h/a?b=*"]
