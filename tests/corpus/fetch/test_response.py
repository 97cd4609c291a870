"""Published digests are checked against the file; headers that only look like digests are ignored."""

import base64
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.client import describe, fetch
from corpus.fetch.politeness import UnreachableError
from corpus.fetch.response import Response
from tests.hostile_server import HostileServer, Mode, hostile_server

BODY = random.Random(8).randbytes(600_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    with hostile_server() as running:
        running.add("/a.gz", BODY)
        yield running


def fetched(server: HostileServer, access: Access) -> Path:
    (remote,) = describe([server.url + "/a.gz"], access)
    return fetch(remote, access, lambda _: None)


def left(access: Access) -> list[str]:
    return sorted(each.name for each in access.cache.rglob("*.part*"))


def response(headers: dict[str, str], status: int = 200) -> Response:
    return Response("https://h/a", status, headers, lambda count: b"")


SHA256 = hashlib.sha256(BODY)
MD5 = hashlib.md5(BODY, usedforsecurity=False)
WRONG = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("headers", "version", "right"),
    [
        ({"x-amz-checksum-sha256": base64.b64encode(SHA256.digest()).decode()}, "sha256", True),
        ({"x-amz-checksum-sha256": WRONG}, "sha256", False),
        ({"x-amz-checksum-sha256": WRONG, "x-amz-checksum-type": "COMPOSITE"}, "etag", True),
        ({"x-amz-checksum-sha256": f"{WRONG}-3"}, "etag", True),
        ({"Repr-Digest": f"sha-256=:{base64.b64encode(SHA256.digest()).decode()}:"}, "sha256", True),
        ({"Repr-Digest": f"sha-512=:AAAA:, sha-256=:{WRONG}:"}, "sha256", False),
        ({"Content-MD5": base64.b64encode(MD5.digest()).decode()}, "etag", True),
        ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, "etag", False),
    ],
)
def test_published_digests_are_checked(
    server: HostileServer, access: Access, headers: dict[str, str], version: str, right: bool
) -> None:
    server.standing["/a.gz"] = server.heads["/a.gz"] = Mode(headers=headers)
    (remote,) = describe([server.url + "/a.gz"], access)
    assert remote.version.partition(":")[0] == version
    if right:
        assert fetch(remote, access, lambda _: None).read_bytes() == BODY
    else:
        with pytest.raises(CorpusError, match="not the file that was published"):
            fetch(remote, access, lambda _: None)
        assert left(access) == []
    assert server.count("/a.gz") == 1


def test_a_damaged_partial_file_fails_its_digest_and_is_downloaded_from_scratch(
    server: HostileServer, access: Access
) -> None:
    headers = {"Repr-Digest": f"sha-256=:{base64.b64encode(SHA256.digest()).decode()}:"}
    server.heads["/a.gz"] = Mode(headers=headers)
    server.script["/a.gz"] = [Mode(truncate=200_000)] + [Mode(status=500)] * (politeness.ATTEMPTS - 1)
    with pytest.raises(UnreachableError):
        fetched(server, access)
    (part,) = access.cache.rglob("*.part")
    part.write_bytes(bytes(200_000))
    asked = server.count("/a.gz")
    assert fetched(server, access).read_bytes() == BODY
    assert server.ranges("/a.gz")[asked:] == ["bytes=200000-", None]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"server": "AmazonS3", "etag": f'"{MD5.hexdigest()}"'}, MD5.hexdigest()),
        ({"server": "AmazonS3", "etag": f'"{MD5.hexdigest()}"', "x-amz-server-side-encryption": "AES256"},
         MD5.hexdigest()),
        ({"server": "AmazonS3", "etag": f'"{MD5.hexdigest()}"', "x-amz-server-side-encryption": "aws:kms"}, None),
        ({"server": "AmazonS3", "etag": f'"{MD5.hexdigest()}"',
          "x-amz-server-side-encryption-customer-algorithm": "AES256"}, None),
        ({"server": "AmazonS3", "etag": f'"{MD5.hexdigest()}-7"'}, None),
        ({"server": "AmazonS3", "etag": f'W/"{MD5.hexdigest()}"'}, None),
        ({"server": "nginx", "etag": f'"{MD5.hexdigest()}"'}, None),
        ({"content-md5": "*** no base64 ***"}, None),
    ],
)  # fmt: skip
def test_an_etag_is_an_md5_for_unencrypted_single_part_s3_objects(headers: dict[str, str], found: str | None) -> None:
    assert response(headers).digests.get("md5") == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-0/1", (0, 1, 1)),
        ("bytes 5-9/*", (5, 10, None)),
        ("bytes */5", None),
        ("items 0-1/2", None),
        ("", None),
    ],
)
def test_content_range_is_parsed(text: str, found: tuple[int, int, int | None] | None) -> None:
    assert response({"content-range": text}, 206).body_range == found


@pytest.mark.parametrize("text", ["", "-1", "soon", "1e9", "9" * 5000, "Mon, 99 Foo 2026 00:00:00 GMT", "\x00"])
def test_an_invalid_retry_after_is_none(text: str) -> None:
    assert response({"retry-after": text}).retry_after is None
