"""s3:// addresses against moto's server: anonymous, signed, requester pays, another endpoint."""

import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness, s3
from corpus.fetch.access import S3, Access
from corpus.fetch.base_store import AbsentError, FileInfo
from corpus.fetch.client import describe, expand, fetch, read_ranges, read_small, remote_path
from corpus.fetch.politeness import RefusedError, TransientError, UnreachableError
from corpus.fetch.response import Response
from tests.hostile_server import Mode, hostile_server

BODY = random.Random(7).randbytes(700_000)


class Bucket:
    """Bucket, and the requests that its server got: method, path, Range, signature, payer."""

    def __init__(self, endpoint: str, client: Any) -> None:
        self.endpoint, self.client = endpoint, client
        self.asked: list[dict[str, str]] = []

    def put(self, key: str, body: bytes, **more: str) -> str:
        self.client.put_object(Bucket="texts", Key=key, Body=body, **{"ACL": "public-read", **more})
        self.asked.clear()
        return f"s3://texts/{key}"


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    import botocore.session
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    asked: list[dict[str, str]] = []
    noted = WSGIRequestHandler.make_environ

    def make_environ(handler: WSGIRequestHandler) -> Any:
        environ = noted(handler)
        names = {"range": "HTTP_RANGE", "signed": "HTTP_AUTHORIZATION", "payer": "HTTP_X_AMZ_REQUEST_PAYER"}
        told = {name: str(environ.get(key, "")) for name, key in names.items()}
        agent = str(environ.get("HTTP_USER_AGENT", ""))
        asked.append({"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "agent": agent, **told})
        return environ

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.make_environ = make_environ  # type: ignore[method-assign]
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    endpoint = "http://{}:{}".format(*running.get_host_and_port())
    client = botocore.session.Session().create_client(
        "s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="texts", ACL="public-read")
    bucket = Bucket(endpoint, client)
    bucket.asked = asked
    try:
        yield bucket
    finally:
        running.stop()
        WSGIRequestHandler.make_environ = noted  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    s3._connect.cache_clear()


def access_to(server: Bucket, cache: Path, sign: Any = "auto", pays: bool = False) -> Access:
    return Access(cache, "me@example.org", s3=S3(sign=sign, requester_pays=pays, endpoint=server.endpoint))


def test_an_object_is_described_downloaded_and_read_by_range(server: Bucket, tmp_path: Path) -> None:
    url, access = server.put("a/b c#?.gz", BODY), access_to(server, tmp_path)
    (remote,) = describe([url], access)
    assert remote.url == url and remote.size == len(BODY) and remote.version.startswith("etag:")
    progress: list[int] = []
    found = fetch(remote, access, progress.append)
    assert found.read_bytes() == BODY and sum(progress) == len(BODY)
    assert fetch(remote, access, progress.append) == found
    assert [each["method"] for each in server.asked] == ["HEAD", "GET"]
    assert all("gristmill/" in each["agent"] and "me@example.org" in each["agent"] for each in server.asked)
    assert list(read_ranges(url, [(5, 10), (600_000, 600_500)], access)) == [BODY[5:10], BODY[600_000:600_500]]
    assert [each["range"] for each in server.asked[2:]] == ["bytes=5-9", "bytes=600000-600499"]
    assert read_small(url, access, len(BODY)) == BODY
    with remote_path(remote, access).open() as file:
        assert file.seek(-10, 2) and file.read() == BODY[-10:]


@pytest.mark.parametrize(
    ("keys", "sign", "signed"),
    [(True, "auto", True), (False, "auto", False), (True, "never", False), (True, "always", True)],
)
def test_requests_are_signed_if_there_are_keys(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: bool, sign: str, signed: bool
) -> None:
    url = server.put("a", b"abc")
    if keys:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    access = access_to(server, tmp_path, sign)
    assert fetch(describe([url], access)[0], access, lambda _: None).read_bytes() == b"abc"
    assert {bool(each["signed"]) for each in server.asked} == {signed}
    assert {each["payer"] for each in server.asked} == {""}


def test_a_changed_endpoint_in_the_environment_takes_effect(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, access = server.put("moved", BODY), Access(tmp_path, s3=S3(sign="never"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(UnreachableError):
        describe([url], access)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert describe([url], access)[0].size == len(BODY)


def test_signing_without_keys_is_an_error(server: Bucket, tmp_path: Path) -> None:
    url = server.put("a", b"abc")
    with pytest.raises(InputError, match="no keys to sign with"):
        describe([url], access_to(server, tmp_path, "always"))
    assert server.asked == []


def test_requester_pays_is_sent_if_set(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url, access = server.put("paid/a", b"abc"), access_to(server, tmp_path, pays=True)
    assert list(expand("s3://texts/paid/*", access)) == [url]
    fetch(describe([url], access)[0], access, lambda _: None)
    of_object = [each for each in server.asked if each["path"] == "/texts/paid/a"]
    assert [each["method"] for each in of_object] == ["HEAD", "GET"]
    assert {each["payer"] for each in of_object} == {"requester"}


def test_patterns_are_expanded(server: Bucket, tmp_path: Path) -> None:
    access = access_to(server, tmp_path)
    for key in ("l/1.gz", "l/2.gz", "l/m/3.gz", "l/4.txt"):
        server.put(key, b"x")
    assert list(expand("s3://texts/l/*.gz", access)) == ["s3://texts/l/1.gz", "s3://texts/l/2.gz"]
    assert list(expand("s3://texts/l/**/*.gz", access))[-1] == "s3://texts/l/m/3.gz"
    assert list(expand("s3://texts/l/[1-2].gz", access)) == ["s3://texts/l/1.gz", "s3://texts/l/2.gz"]
    for nothing in ("s3://texts/l/*.zip", "s3://nobucket/*"):
        with pytest.raises(InputError, match="matches no file"):
            expand(nothing, access)


def test_a_listing_tells_what_head_tells(server: Bucket, tmp_path: Path) -> None:
    """Verified to fail if the ETag of an object with a SHA-256 counts as its version."""
    access = access_to(server, tmp_path)
    plain = [server.put(f"t/{number}", b"x" * number) for number in range(3)]
    hashed = server.put("t/hashed", b"y", ChecksumAlgorithm="SHA256")
    listed = expand("s3://texts/t/*", access)
    assert list(listed) == [*plain, hashed]
    assert not [each for each in server.asked if each["path"].startswith("/texts/t/")], "no request for an object"
    assert [listed[url] for url in plain] == describe(plain, access)
    assert listed[hashed] is None and describe([hashed], access)[0].sha256


def test_absent_objects_and_invalid_addresses_are_errors(server: Bucket, tmp_path: Path) -> None:
    access = access_to(server, tmp_path)
    server.asked.clear()
    with pytest.raises(AbsentError):
        describe(["s3://texts/nothing"], access)
    with pytest.raises(AbsentError):
        read_small("s3://texts/nothing", access, 10)
    assert len(server.asked) == 2
    for odd in ("s3://texts", "s3:///a", "s3://Not A Bucket/key"):
        with pytest.raises(InputError):
            describe([odd], access)


def test_a_published_sha256_is_the_version_and_is_checked(server: Bucket, tmp_path: Path) -> None:
    import hashlib

    url, access = server.put("sum", BODY, ChecksumAlgorithm="SHA256"), access_to(server, tmp_path)
    (remote,) = describe([url], access)
    assert remote.version == f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    assert fetch(remote, access, lambda _: None).read_bytes() == BODY
    wrong = FileInfo(url, len(BODY), f"sha256:{'0' * 64}")
    with pytest.raises(CorpusError, match="not the file that was published"):
        fetch(wrong, access, lambda _: None)
    assert list(tmp_path.rglob("*.part*")) == []


def test_a_download_is_resumed_unless_the_object_changed(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, access = server.put("r", BODY), access_to(server, tmp_path)
    (remote,) = describe([url], access)
    read, sizes = Response.read, list[int]()

    def breaking(response: Response, size: int) -> bytes:
        if len(sizes) == 1:
            sizes.append(0)
            raise TransientError("reset")
        block = read(response, 200_000)
        sizes.append(len(block))
        return block

    monkeypatch.setattr(Response, "read", breaking)
    assert fetch(remote, access, lambda _: None).read_bytes() == BODY
    assert [each["range"] for each in server.asked if each["method"] == "GET"] == ["", f"bytes={sizes[0]}-"]
    monkeypatch.setattr(Response, "read", read)
    changed = describe([server.put("changes", BODY)], access)[0]
    server.put("changes", BODY[::-1])
    with pytest.raises(CorpusError, match="changed since the plan was made"):
        fetch(changed, access, lambda _: None)
    with (
        remote_path(changed, access).open() as file,
        pytest.raises(CorpusError, match="changed since the plan was made"),
    ):
        file.read(1)


def test_refused_access_stops_with_advice(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, access = server.put("private", BODY, ACL="private"), access_to(server, tmp_path)
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"HTTP 403.*Forbidden.*requester_pays"):
            read_small(url, access, len(BODY))
    assert len(server.asked) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert read_small(url, access, len(BODY)) == BODY  # at once: another identity


def test_overload_gets_few_requests_and_a_broken_download_is_resumed(tmp_path: Path) -> None:
    slow = Mode(
        status=503, says="<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    with hostile_server() as worst:
        access = Access(tmp_path, s3=S3(endpoint=worst.url))
        worst.add("/texts/a", BODY)
        worst.standing["/texts/a"] = slow
        with pytest.raises(UnreachableError, match="HTTP 503"):
            read_small("s3://texts/a", access, len(BODY))
        assert worst.count() == politeness.ATTEMPTS
        worst.standing.clear()
        (remote,) = describe(["s3://texts/a"], access)
        worst.asked.clear()
        worst.script["/texts/a"] = [Mode(truncate=300_000, pace_s=0.05), slow]
        assert fetch(remote, access, lambda _: None).read_bytes() == BODY
        first, second, third = worst.ranges("/texts/a")
        assert first is None and second == third is not None  # the offset depends on the client's buffer
        assert worst.asked[-1].headers["If-Match"] == worst.etags["/texts/a"]


def test_an_unreachable_server_is_an_error_after_a_few_attempts(tmp_path: Path) -> None:
    access = Access(tmp_path, s3=S3(endpoint="http://127.0.0.1:9"))  # the discard port: nobody listens
    with pytest.raises(UnreachableError, match=f"after {politeness.ATTEMPTS} attempts"):
        describe(["s3://texts/a"], access)
    with pytest.raises(UnreachableError):
        expand("s3://texts/*", access)


def test_without_s3fs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"pip install 'gristmill\[s3\]'"):
        describe(["s3://texts/a"], Access(tmp_path))
