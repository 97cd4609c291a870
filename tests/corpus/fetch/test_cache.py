"""Complete files from a faulty server: the right bytes or one clear error, with few requests."""

import base64
import hashlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.fetch import cache, politeness
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo
from corpus.fetch.client import describe, fetch
from corpus.fetch.politeness import UnreachableError
from tests.hostile_server import HostileServer, Mode, hostile_server

BODY = random.Random(4).randbytes(600_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    monkeypatch.setattr(politeness, "STALL_S", 0.3)
    with hostile_server() as running:
        running.add("/a.gz", BODY)
        yield running


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(tmp_path / "cache", contact="me@example.org")


def fetched(server: HostileServer, access: Access, path: str = "/a.gz") -> Path:
    """Download a file; the reported progress must add up to its size."""
    (remote,) = describe([server.url + path], access)
    progress: list[int] = []
    found = fetch(remote, access, progress.append)
    assert sum(progress) == remote.size
    return found


def left(access: Access) -> list[str]:
    return sorted(each.name for each in access.cache.rglob("*.part*"))


def test_a_file_is_downloaded_once_under_its_name(server: HostileServer, access: Access) -> None:
    found = fetched(server, access)
    assert found.read_bytes() == BODY and found.name == "a.gz" and left(access) == []
    (remote,) = describe([server.url + "/a.gz"], access)
    assert fetch(remote, access, lambda _: pytest.fail("nothing is fetched")) == found
    assert (server.count("/a.gz"), server.count("/a.gz", "HEAD")) == (1, 2)
    agents = {each.headers["User-Agent"] for each in server.asked}
    assert all(each.startswith("gristmill/") and each.endswith(" (+me@example.org)") for each in agents)
    assert remote == FileInfo(server.url + "/a.gz", len(BODY), f"etag:{server.etags['/a.gz'][1:-1]}")


def test_versions_and_hostile_names_get_separate_paths(server: HostileServer, access: Access) -> None:
    for path in ("/x/..%2F..%2Fetc", "/x/%00", "/x/", "/x/" + "n" * 300, "/x/.hidden"):
        server.add(path, path.encode())
        found = fetched(server, access, path)
        assert found.read_bytes() == path.encode() and access.cache in found.resolve().parents
        assert not found.name.startswith(".") and len(found.name) <= 120
    server.add("/a.gz", BODY[::-1])
    assert fetched(server, access).read_bytes() == BODY[::-1]


def test_an_empty_file_is_downloaded(server: HostileServer, access: Access) -> None:
    server.add("/empty", b"")
    assert fetched(server, access, "/empty").read_bytes() == b""


@pytest.mark.parametrize(
    "fault", [Mode(truncate=200_000), Mode(reset=200_000), Mode(stall=200_000), Mode(chunked=True, truncate=200_000)]
)
def test_an_interrupted_download_is_resumed(server: HostileServer, access: Access, fault: Mode) -> None:
    server.script["/a.gz"] = [fault]
    assert fetched(server, access).read_bytes() == BODY
    assert server.ranges("/a.gz") == [None, "bytes=200000-"]
    assert server.asked[-1].headers["If-Range"] == server.etags["/a.gz"]
    assert server.sent["/a.gz"] == len(BODY) and left(access) == []


def test_attempts_with_progress_start_the_count_anew_up_to_a_limit(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script["/a.gz"] = [Mode(truncate=50_000)] * (politeness.ATTEMPTS + 3)
    assert fetched(server, access).read_bytes() == BODY
    assert server.count("/a.gz") == politeness.ATTEMPTS + 4
    monkeypatch.setattr(politeness, "ATTEMPTS_IN_ALL", 8)
    server.add("/slow", BODY)
    server.standing["/slow"] = Mode(truncate=1)
    with pytest.raises(UnreachableError, match=r"closed after 8 of 600000 bytes"):
        fetched(server, access, "/slow")
    assert server.count("/slow") == 8
    assert left(access) == ["slow.part", "slow.part.json"]
    server.standing.clear()
    assert fetched(server, access, "/slow").read_bytes() == BODY
    assert server.ranges("/slow")[-1] == "bytes=8-" and left(access) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Mode(truncate=0), "closed after 0 of"),
        (Mode(stall=0), "timed out"),
        (Mode(status=500), "HTTP 500"),
        (Mode(status=502), "HTTP 502"),
        (Mode(status=503), "HTTP 503"),
        (Mode(status=504), "HTTP 504"),
        (Mode(status=429), "HTTP 429"),
    ],
)
def test_attempts_without_progress_are_bounded(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch, fault: Mode, says: str
) -> None:
    monkeypatch.setattr(politeness, "ATTEMPTS", 3)
    monkeypatch.setattr(politeness, "STALL_S", 0.1)
    server.standing["/a.gz"] = fault
    with pytest.raises(UnreachableError, match=says):
        fetched(server, access)
    assert server.count("/a.gz") == 3


def test_a_damaged_copy_with_a_published_digest_is_downloaded_again(server: HostileServer, access: Access) -> None:
    """With `verify`. Fails if only the size is compared."""
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    server.heads["/a.gz"] = Mode(headers={"Repr-Digest": f"sha-256=:{digest}:"})
    (remote,) = describe([server.url + "/a.gz"], access)
    path = fetch(remote, access, lambda _: None)
    path.write_bytes(BODY[:-1] + b"?")
    assert fetch(remote, access, lambda _: None, verify=True).read_bytes() == BODY


def test_a_trickle_is_a_stall(server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "MIN_BYTES_PER_S", 100_000_000)  # bytes a second: this one is slower
    monkeypatch.setattr(politeness, "STALL_S", 0.1)
    server.script["/a.gz"] = [Mode(pace_s=0.05)]
    assert fetched(server, access).read_bytes() == BODY
    assert server.count("/a.gz") > 1


@pytest.mark.parametrize(
    ("lie", "says", "requests"),
    [
        (Mode(length=len(BODY) - 1), "shorter than the 600000 published", 1),
        (Mode(length=len(BODY) + 1), "longer than the 600000 published", 1),
        (Mode(no_length=True, extra=b"more"), "longer than the 600000 published", 1),
    ],
)
def test_a_wrong_length_is_an_error(server: HostileServer, access: Access, lie: Mode, says: str, requests: int) -> None:
    server.standing["/a.gz"] = lie
    with pytest.raises(CorpusError, match=says):
        fetched(server, access)
    assert server.count("/a.gz") == requests and left(access) == []


def test_bytes_after_a_body_are_not_read_as_the_next_response(server: HostileServer, access: Access) -> None:
    server.script["/a.gz"] = [Mode(extra=b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", length=len(BODY))]
    assert fetched(server, access).read_bytes() == BODY
    server.add("/b", b"good")
    assert fetched(server, access, "/b").read_bytes() == b"good"


@pytest.mark.parametrize(
    "second",
    [
        Mode(ignore_range=True),
        Mode(content_range="bytes 0-399999/600000"),
        Mode(content_range="bytes 200000-599999/700000"),
        Mode(content_range="garbage"),
        Mode(status=416),
        Mode(status=412),
    ],
)
def test_a_resumption_that_goes_wrong_starts_over(server: HostileServer, access: Access, second: Mode) -> None:
    server.script["/a.gz"] = [Mode(truncate=200_000), second]
    assert fetched(server, access).read_bytes() == BODY
    anew = [] if second.ignore_range else [None]
    assert server.ranges("/a.gz") == [None, "bytes=200000-", *anew]


def test_a_file_that_changes_is_not_mixed(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.url + "/a.gz"], access)
    server.script["/a.gz"] = [Mode(truncate=200_000)]
    server.standing["/a.gz"] = Mode(status=500)
    with pytest.raises(UnreachableError):
        fetch(remote, access, lambda _: None)
    server.standing.clear()
    server.add("/a.gz", BODY[::-1])
    with pytest.raises(CorpusError, match="changed since the plan was made"):
        fetch(remote, access, lambda _: None)
    assert left(access) == []
    asked = server.count("/a.gz")
    server.flapping.add("/a.gz")
    with pytest.raises(CorpusError, match="changed since the plan was made"):
        fetched(server, access)
    assert server.count("/a.gz") == asked + 1


def test_parts_of_two_versions_are_not_joined(server: HostileServer, access: Access) -> None:
    """From servers that ignore If-Range and send a part of the current version."""
    old, new = (Mode(headers={"Last-Modified": f"Mon, 0{day} Jun 2026 00:00:00 GMT"}) for day in (1, 8))
    (remote,) = describe([server.add("/dated", BODY, etag=None)], access)
    server.script["/dated"] = [replace(old, truncate=200_000)] + [Mode(status=500)] * (politeness.ATTEMPTS - 1)
    with pytest.raises(UnreachableError):
        fetch(remote, access, lambda _: None)
    asked = server.count()
    server.add("/dated", BODY[::-1], etag=None)
    server.script["/dated"] = [replace(new, ignore_condition=True)]
    assert fetch(remote, access, lambda _: None).read_bytes() == BODY[::-1]
    assert server.ranges("/dated")[asked:] == ["bytes=200000-", None]


def test_a_date_is_the_validator_without_an_etag(server: HostileServer, access: Access) -> None:
    server.add("/dated", BODY, etag=None)
    dated = Mode(headers={"Last-Modified": "Mon, 01 Jun 2026 00:00:00 GMT"})
    server.standing["/dated"] = dated
    server.script["/dated"] = [replace(dated, truncate=200_000)]
    assert fetched(server, access, "/dated").read_bytes() == BODY
    assert server.ranges("/dated") == [None, "bytes=200000-"]


def test_without_a_validator_it_starts_over(server: HostileServer, access: Access) -> None:
    server.add("/plain", BODY, etag=None)
    server.script["/plain"] = [Mode(truncate=200_000)]
    assert fetched(server, access, "/plain").read_bytes() == BODY
    assert server.ranges("/plain") == [None, None]
    server.add("/weak", BODY, etag='W/"1"')
    server.script["/weak"] = [Mode(truncate=200_000)]
    assert fetched(server, access, "/weak").read_bytes() == BODY
    assert server.ranges("/weak") == [None, None]


def test_a_content_encoding_is_not_decoded(server: HostileServer, access: Access) -> None:
    server.standing["/a.gz"] = server.heads["/a.gz"] = Mode(headers={"Content-Encoding": "gzip"})
    assert fetched(server, access).read_bytes() == BODY
    assert {each.headers["Accept-Encoding"] for each in server.asked} == {"identity"}


def test_a_partial_file_from_before_a_reboot_is_not_resumed(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script["/a.gz"] = [Mode(truncate=200_000)] + [Mode(status=500)] * (politeness.ATTEMPTS - 1)
    with pytest.raises(UnreachableError):
        fetched(server, access)
    monkeypatch.setattr(cache, "_boot_id", lambda: "another")
    assert fetched(server, access).read_bytes() == BODY
    assert server.ranges("/a.gz")[-1] is None


def test_a_full_disk_is_an_error_before_the_download(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SPARE_BYTES", 1 << 60)
    with pytest.raises(CorpusError, match="make room"):
        fetched(server, access)
    assert server.count("/a.gz") == 0


def test_threads_share_one_download(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.url + "/a.gz"], access)
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(remote, access, lambda _: None).read_bytes()))
        for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [BODY] * 6 and server.count("/a.gz") == 1


def test_retry_after_makes_all_requests_to_the_host_wait(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(politeness.time, "sleep", waits.append)
    monkeypatch.setattr(politeness.Host, "pause", lambda self, seconds: waits.append(seconds))
    server.script["/a.gz"] = [Mode(status=429, retry_after="7"), Mode(status=503, retry_after="nonsense")]
    assert fetched(server, access).read_bytes() == BODY
    assert waits[0] == waits[1] >= 7 > waits[2] == waits[3]
    server.add("/b", b"b")
    server.script["/b"] = [Mode(status=503, retry_after=formatdate(2**31, usegmt=True))]
    with pytest.raises(CorpusError, match="asks to wait"):
        fetched(server, access, "/b")
    assert server.count("/b") == 1
