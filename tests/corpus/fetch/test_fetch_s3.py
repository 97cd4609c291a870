"""s3:// against moto's server: anonymous, signed, at the requester's cost, at an endpoint of its own."""

import logging
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import retry, s3
from corpus.fetch.access import S3, Access
from corpus.fetch.client import (
    AbsentError,
    RefusedError,
    Remote,
    UnreachableError,
    describe,
    expand,
    fetch,
    open_remote,
    read_ranges,
    read_small,
)
from tests.hostile_server import Mode, hostile_server

BODY = random.Random(7).randbytes(700_000)


class Bucket:
    """A bucket, and what its server was asked: method, path, Range, whether signed, who pays."""

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
    monkeypatch.setattr(retry, "BACKOFF_S", 0.001)
    s3._connected.cache_clear()


def access_to(server: Bucket, cache: Path, sign: Any = "auto", pays: bool = False) -> Access:
    return Access(cache, "me@example.org", s3=S3(sign=sign, requester_pays=pays, endpoint=server.endpoint))


def test_an_object_is_described_fetched_and_read_by_range(server: Bucket, tmp_path: Path) -> None:
    url, access = server.put("a/b c#?.gz", BODY), access_to(server, tmp_path)
    (remote,) = describe([url], access)
    assert remote.url == url and remote.size == len(BODY) and remote.version.startswith("etag:")
    heard: list[int] = []
    found = fetch(remote, access, heard.append)
    assert found.read_bytes() == BODY and sum(heard) == len(BODY)
    assert fetch(remote, access, heard.append) == found
    assert [each["method"] for each in server.asked] == ["HEAD", "GET"]
    assert all("gristmill/" in each["agent"] and "me@example.org" in each["agent"] for each in server.asked)
    assert list(read_ranges(url, [(5, 10), (600_000, 600_500)], access)) == [BODY[5:10], BODY[600_000:600_500]]
    assert [each["range"] for each in server.asked[2:]] == ["bytes=5-9", "bytes=600000-600499"]
    assert read_small(url, access, len(BODY)) == BODY
    with open_remote(remote, access) as file:
        assert file.seek(-10, 2) and file.read() == BODY[-10:]


@pytest.mark.parametrize(
    ("keys", "sign", "signed"),
    [(True, "auto", True), (False, "auto", False), (True, "never", False), (True, "always", True)],
)
def test_requests_are_signed_where_there_are_keys(
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


def test_another_server_in_the_environment_is_asked_from_then_on(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, access = server.put("moved", BODY), Access(tmp_path, s3=S3(sign="never"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(UnreachableError):
        describe([url], access)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert describe([url], access)[0].size == len(BODY)


def test_signing_without_keys_is_told(server: Bucket, tmp_path: Path) -> None:
    url = server.put("a", b"abc")
    with pytest.raises(InputError, match="no keys to sign with"):
        describe([url], access_to(server, tmp_path, "always"))
    assert server.asked == []


def test_the_requester_pays_where_told(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url, access = server.put("paid/a", b"abc"), access_to(server, tmp_path, pays=True)
    assert expand("s3://texts/paid/*", access) == [url]
    fetch(describe([url], access)[0], access, lambda _: None)
    of_object = [each for each in server.asked if each["path"] == "/texts/paid/a"]
    assert [each["method"] for each in of_object] == ["HEAD", "GET"]
    assert {each["payer"] for each in of_object} == {"requester"}


def test_patterns_are_listed(server: Bucket, tmp_path: Path) -> None:
    access = access_to(server, tmp_path)
    for key in ("l/1.gz", "l/2.gz", "l/m/3.gz", "l/4.txt"):
        server.put(key, b"x")
    assert expand("s3://texts/l/*.gz", access) == ["s3://texts/l/1.gz", "s3://texts/l/2.gz"]
    assert expand("s3://texts/l/**/*.gz", access)[-1] == "s3://texts/l/m/3.gz"
    assert expand("s3://texts/l/[1-2].gz", access) == ["s3://texts/l/1.gz", "s3://texts/l/2.gz"]
    for nothing in ("s3://texts/l/*.zip", "s3://nobucket/*"):
        with pytest.raises(InputError, match="matches no file"):
            expand(nothing, access)


def test_what_is_not_there_or_no_address_is_told(server: Bucket, tmp_path: Path) -> None:
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
    wrong = Remote(url, len(BODY), f"sha256:{'0' * 64}")
    with pytest.raises(CorpusError, match="not the file that was published"):
        fetch(wrong, access, lambda _: None)
    assert list(tmp_path.rglob("*.part*")) == []


def test_an_object_is_gone_on_with_and_one_that_changed_is_not(
    server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, access = server.put("r", BODY), access_to(server, tmp_path)
    (remote,) = describe([url], access)
    read, sizes = s3.S3Answer.read, list[int]()

    def breaking(answer: s3.S3Answer, size: int) -> bytes:
        if len(sizes) == 1:
            sizes.append(0)
            raise s3.TransientError("reset")
        block = read(answer, 200_000)
        sizes.append(len(block))
        return block

    monkeypatch.setattr(s3.S3Answer, "read", breaking)
    assert fetch(remote, access, lambda _: None).read_bytes() == BODY
    assert [each["range"] for each in server.asked if each["method"] == "GET"] == ["", f"bytes={sizes[0]}-"]
    monkeypatch.setattr(s3.S3Answer, "read", read)
    changed = describe([server.put("changes", BODY)], access)[0]
    server.put("changes", BODY[::-1])
    with pytest.raises(CorpusError, match="changed on the server"):
        fetch(changed, access, lambda _: None)
    with open_remote(changed, access) as file, pytest.raises(CorpusError, match="changed on the server"):
        file.read(1)


def test_a_refusal_stops_with_what_may_help(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, access = server.put("private", BODY, ACL="private"), access_to(server, tmp_path)
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"status 403.*Forbidden.*requester_pays"):
            read_small(url, access, len(BODY))
    assert len(server.asked) == 1
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert read_small(url, access, len(BODY)) == BODY  # at once: it is another who asks


def test_a_storm_meets_few_requests_and_what_breaks_off_is_gone_on_from(tmp_path: Path) -> None:
    slow = Mode(
        status=503, says="<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    with hostile_server() as worst:
        access = Access(tmp_path, s3=S3(endpoint=worst.url))
        worst.add("/texts/a", BODY)
        worst.standing["/texts/a"] = slow
        with pytest.raises(UnreachableError, match="status 503"):
            read_small("s3://texts/a", access, len(BODY))
        assert worst.count() == retry.ATTEMPTS
        worst.standing.clear()
        (remote,) = describe(["s3://texts/a"], access)
        worst.asked.clear()
        worst.script["/texts/a"] = [Mode(truncate=300_000, pace_s=0.05), slow]
        assert fetch(remote, access, lambda _: None).read_bytes() == BODY
        first, second, third = worst.ranges("/texts/a")
        assert first is None and second == third is not None  # from where, depends on what its client had in hand
        assert worst.asked[-1].headers["If-Match"] == worst.etags["/texts/a"]


def test_nobody_there_is_told_after_a_few_attempts(tmp_path: Path) -> None:
    access = Access(tmp_path, s3=S3(endpoint="http://127.0.0.1:9"))  # the discard port: nobody listens
    with pytest.raises(UnreachableError, match=f"in {retry.ATTEMPTS} attempts"):
        describe(["s3://texts/a"], access)
    with pytest.raises(UnreachableError):
        expand("s3://texts/*", access)


def test_without_s3fs_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"pip install 'gristmill\[s3\]'"):
        describe(["s3://texts/a"], Access(tmp_path))
