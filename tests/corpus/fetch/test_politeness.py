"""Polite access: User-Agent, request slots, redirects, refusals, and servers that ask for long waits."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import http, politeness
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError
from corpus.fetch.client import describe, fetch, read_small
from corpus.fetch.politeness import RefusedError, UnreachableError
from tests.hostile_server import HostileServer, Mode, hostile_server

_CHILD = """
import json, sys
from pathlib import Path
from corpus.errors import CorpusError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.client import describe, fetch
cache, connections, urls = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
politeness.BACKOFF_S = 0.01
access = Access(cache, connections=connections)
try:
    print(json.dumps([len(fetch(each, access, lambda _: None).read_bytes()) for each in describe(urls, access)]))
except CorpusError as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileServer]:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    monkeypatch.setattr(politeness, "STALL_S", 0.3)
    with hostile_server() as running:
        running.add("/a", b"a" * 1000)
        yield running


def started(access: Access, *urls: str) -> "subprocess.Popen[str]":
    """Start another process that downloads the files."""
    command = [sys.executable, "-c", _CHILD, str(access.cache), str(access.connections), *urls]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def said(process: "subprocess.Popen[str]") -> object:
    output, _ = process.communicate(timeout=60)
    return json.loads(output)


def test_two_processes_share_one_download(server: HostileServer, access: Access) -> None:
    server.add("/big", bytes(300_000))
    server.standing["/big"] = Mode(pace_s=0.05)
    children = [started(access, server.url + "/big") for _ in range(2)]
    assert [said(child) for child in children] == [[300_000]] * 2
    assert server.count("/big") == 1


def test_connections_are_counted_over_processes(server: HostileServer, tmp_path: Path) -> None:
    access = Access(tmp_path / "cache", connections=2)
    urls = [server.add(f"/{number}", bytes(70_000)) for number in range(18)]
    server.standing["*"] = Mode(pace_s=0.02)
    children = [started(access, *urls[start::3]) for start in range(3)]
    assert [said(child) for child in children] == [[70_000] * 6] * 3
    assert server.most_at_once == 2


def test_retry_after_holds_for_all_processes(server: HostileServer, tmp_path: Path) -> None:
    access = Access(tmp_path / "cache", connections=1)
    server.closed_s = 0.9  # from the first request on; it says "Retry-After: 1"
    urls = [server.add(f"/{number}", b"x") for number in range(6)]
    children = [started(access, *urls[start::3]) for start in range(3)]
    assert [said(child) for child in children] == [[1, 1]] * 3
    assert server.count() == 7  # only the first request was refused


def test_a_delay_is_reported_once_per_host(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(politeness, "_reported_hosts", set())
    server.add("/b", b"b")
    server.standing["*"] = Mode(status=503)
    for each in describe([server.url + "/a", server.url + "/b"], access):
        with pytest.raises(UnreachableError):
            fetch(each, access, lambda _: None)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"corpus: {server.url}/a: ") and line.endswith("HTTP 503; retrying")


def test_a_storm_of_503_ends_after_a_few_requests(server: HostileServer, access: Access) -> None:
    server.standing["/a"] = Mode(status=503)
    children = [started(access, server.url + "/a") for _ in range(2)]
    assert all("HTTP 503" in str(said(child)) for child in children)
    assert server.count("/a") == 2 * politeness.ATTEMPTS


def test_403_stops_all_requests_to_the_host(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote,) = describe([server.url + "/a"], access)
    server.forbidden_after = 1
    with pytest.raises(RefusedError) as error:
        fetch(remote, access, lambda _: None)
    message = str(error.value)
    assert "HTTP 403" in message and "server message: Enough! [31mYou ask too much" in message and "\x1b" not in message
    assert "contact" in message and "mirror" in message
    with pytest.raises(RefusedError, match="HTTP 403"):
        read_small(server.url + "/other", access, 10)
    assert "RefusedError" in str(said(started(access, server.url + "/third")))
    assert len(server.asked) == 2
    server.forbidden_after = None
    with_contact = Access(access.cache, contact="me@example.org")  # another identity for the server
    assert read_small(server.url + "/a", with_contact, 1000) == b"a" * 1000
    monkeypatch.setattr(politeness, "REFUSED_S", -1.0)
    assert fetch(remote, access, lambda _: None).is_file()


def test_403_in_mid_download_keeps_the_received_bytes(server: HostileServer, access: Access) -> None:
    (remote,) = describe([server.add("/big", bytes(300_000))], access)
    server.script["/big"] = [Mode(truncate=100_000), Mode(status=401, says="who are you?")]
    with pytest.raises(RefusedError, match=r"HTTP 401.*who are you\?"):
        fetch(remote, access, lambda _: None)
    assert [each.stat().st_size for each in access.cache.rglob("*.part")] == [100_000]
    assert server.count("/big") == 2


def test_a_retry_after_above_the_limit_is_a_refusal(server: HostileServer, access: Access) -> None:
    server.standing["/a"] = Mode(status=503, retry_after="86400")
    (remote,) = describe([server.url + "/a"], access)
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"asks to wait 86400 s \(HTTP 503"):
            fetch(remote, access, lambda _: None)
    assert server.count("/a") == 1


@pytest.mark.parametrize("status", [400, 402, 405, 451, 501, 204, 304, 300])
def test_other_statuses_are_final(server: HostileServer, access: Access, status: int) -> None:
    server.standing["/a"] = Mode(status=status)
    with pytest.raises(CorpusError, match=f"request failed .HTTP {status}"):
        read_small(server.url + "/a", access, 1000)
    assert server.count() == 1


def test_absent_files_are_not_retried(server: HostileServer, access: Access) -> None:
    with pytest.raises(AbsentError, match="404"):
        describe([server.url + "/nothing"], access)
    server.standing["/gone"] = Mode(status=410)
    with pytest.raises(AbsentError, match="410"):
        read_small(server.url + "/gone", access, 1)
    assert (server.count(method="HEAD"), server.count()) == (1, 1)


def test_redirects_are_followed_up_to_a_limit(server: HostileServer, access: Access) -> None:
    with hostile_server() as other:
        other.add("/there", b"found")
        server.standing["/one"] = server.heads["/one"] = Mode(status=302, location="/two?sig=secret")
        server.standing["/two"] = server.heads["/two"] = Mode(status=307, location=other.url + "/there")
        (remote,) = describe([server.url + "/one"], access)
        assert remote.url == server.url + "/one"
        assert fetch(remote, access, lambda _: None).read_bytes() == b"found"
        assert other.count("/there") == 1
    server.standing["/loop"] = server.heads["/loop"] = Mode(status=301, location="/loop")
    with pytest.raises(CorpusError, match="redirected more than 10 times"):
        describe([server.url + "/loop"], access)
    assert server.count("/loop", "HEAD") == 11 and server.count("/loop") == 0


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/x", "s3://b/k", "javascript:1"])
def test_redirects_to_other_schemes_are_refused(server: HostileServer, access: Access, location: str) -> None:
    server.standing["/x"] = Mode(status=302, location=location)
    with pytest.raises(CorpusError, match=r"redirects to .* not a web address"):
        read_small(server.url + "/x", access, 10)
    assert server.count() == 1


@pytest.mark.parametrize("address", ["http://", "http://h:port/x", "http:///x", "https://u:secret@h/x", "ftp://h/x"])
def test_invalid_addresses_are_refused(access: Access, address: str) -> None:
    with pytest.raises(InputError) as error:
        describe([address], access)
    assert "secret" not in str(error.value)


def test_the_contact_cannot_inject_headers() -> None:
    assert http.agent("me@example.org\r\nX-Evil: 1\x00é)(").endswith(" (+me@example.orgX-Evil: 1)")
    assert http.agent("\n") == http.agent(None) and "(" not in http.agent(None)


def test_a_proxy_from_the_environment_is_used(
    server: HostileServer, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["http://example.invalid/x"] = b"through"
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://user:word@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert read_small("http://example.invalid/x", access, 10) == b"through"
    assert server.asked[0].headers["proxy-authorization"].startswith("Basic ")
    assert read_small(server.url + "/a", access, 1000) == b"a" * 1000
    monkeypatch.setenv("http_proxy", "socks9://h:1")
    with pytest.raises(InputError, match="unsupported proxy"):
        read_small("http://example.invalid/x", access, 10)


def test_an_untrusted_certificate_is_not_retried(access: Access, tmp_path: Path) -> None:
    import ssl
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-keyout", "key.pem", "-out", "cert.pem"], cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs openssl to make a certificate")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    web = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    web.socket = tls.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with pytest.raises(CorpusError, match=r"certificate cannot be trusted.*SSL_CERT_FILE") as error:
            describe([f"https://127.0.0.1:{web.server_port}/x"], access)
        assert not isinstance(error.value, UnreachableError)
    finally:
        web.shutdown()
        web.server_close()
        thread.join()


def test_a_cache_without_write_permission_is_an_error(server: HostileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="set `cache` in the profile"):
        describe([server.url + "/a"], Access(tmp_path / "file"))
    assert server.asked == []


def test_damaged_notes_in_the_cache_are_ignored(server: HostileServer, access: Access) -> None:
    """Half-written notes of other processes, or absurd values in them."""
    describe([server.url + "/a"], access)
    (folder,) = (access.cache / "hosts").iterdir()
    for garbage in ("", "nan", "1e300", "[]", '{"until": 1e300, "message": "x"}', "\x00"):
        (folder / "not-before").write_text(garbage)
        (folder / f"refused-{politeness._identity(access)}").write_text(garbage)
        describe([server.url + "/a"], access)
