"""hf:// addresses against a small hub on loopback; its large files (LFS) have a published SHA-256."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError
from corpus.fetch.client import describe, expand, fetch, read_ranges, remote_path
from corpus.fetch.politeness import RefusedError
from tests.hostile_server import HostileServer, Mode, hostile_server

SMALL, LARGE = b'{"text": "small"}\n', bytes(range(256)) * 400
_API, _FILES = "/api/datasets/owner/name", "/datasets/owner/name/resolve/main"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HostileServer]:
    from huggingface_hub import constants

    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    with hostile_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        sha256 = hashlib.sha256(LARGE).hexdigest()
        listing = [
            {"type": "file", "path": "a.jsonl", "size": len(SMALL), "oid": "1" * 40},
            {"type": "file", "path": "b c.parquet", "size": len(LARGE), "oid": "2" * 40,
             "lfs": {"oid": sha256, "size": len(LARGE), "pointerSize": 130}},
        ]  # fmt: skip
        about = {"_id": "1", "id": "owner/name", "sha": "3" * 40, "private": False, "tags": [], "siblings": []}
        for path in (_API, f"{_API}/revision/main"):
            server.add(path, json.dumps(about).encode(), etag=None)
        for path in (f"{_API}/tree/main", f"{_API}/tree/main/"):
            server.add(path, json.dumps(listing).encode(), etag=None)
        server.add(f"{_FILES}/a.jsonl", SMALL)
        server.standing[f"{_FILES}/b%20c.parquet"] = Mode(status=302, location="/cdn/b")
        server.add("/cdn/b", LARGE)
        yield server


def test_files_of_the_hub_are_listed_described_and_fetched(hub: HostileServer, access: Access) -> None:
    urls = ["hf://datasets/owner/name/a.jsonl", "hf://datasets/owner/name/b c.parquet"]
    assert list(expand("hf://datasets/owner/name/*", access)) == urls
    assert list(expand("hf://datasets/owner/name/*.parquet", access)) == urls[1:]
    small, large = describe(urls, access)
    assert list(expand("hf://datasets/owner/name/*", access).values()) == [
        None,
        large,
    ]  # only HEAD tells the small one's
    assert (small.size, small.version) == (len(SMALL), f"etag:{hub.etags[f'{_FILES}/a.jsonl'][1:-1]}")
    assert (large.size, large.version) == (len(LARGE), f"sha256:{hashlib.sha256(LARGE).hexdigest()}")
    assert fetch(small, access, lambda _: None).read_bytes() == SMALL
    hub.script["/cdn/b"] = [Mode(truncate=50_000)]
    assert fetch(large, access, lambda _: None).read_bytes() == LARGE
    assert hub.ranges("/cdn/b") == [None, "bytes=50000-"]
    assert list(read_ranges(urls[0], [(2, 6)], access)) == [SMALL[2:6]]
    with remote_path(large, access).open() as file:
        assert file.seek(-3, 2) and file.read() == LARGE[-3:]


def test_the_published_digest_is_checked(hub: HostileServer, access: Access) -> None:
    (large,) = describe(["hf://datasets/owner/name/b c.parquet"], access)
    hub.add("/cdn/b", LARGE[:-1] + b"?")
    with pytest.raises(CorpusError, match="not the file that was published"):
        fetch(large, access, lambda _: None)


def test_the_token_is_sent_to_the_hub_only(hub: HostileServer, access: Access) -> None:
    with hostile_server() as cdn:
        cdn.add("/b", LARGE)
        hub.standing[f"{_FILES}/b%20c.parquet"] = Mode(status=302, location=cdn.url + "/b")
        (large,) = describe(["hf://datasets/owner/name/b c.parquet"], access)
        fetch(large, access, lambda _: None)
        assert cdn.count("/b") == 1 and "Authorization" not in cdn.asked[0].headers
    ours = [each for each in hub.asked if each.path.startswith(_FILES)]
    assert ours and all(each.headers["Authorization"] == "Bearer hf_secret" for each in ours)


def test_absent_files_and_invalid_addresses_are_errors(hub: HostileServer, access: Access) -> None:
    for absent in ("hf://datasets/owner/name/nothing", "hf://datasets/owner/other/a"):
        with pytest.raises(AbsentError):
            describe([absent], access)
    with pytest.raises(InputError, match="matches no file"):
        expand("hf://datasets/owner/name/*.zip", access)
    for odd in ("hf://name", "hf://datasets/owner/name", "hf://datasets/owner"):
        with pytest.raises(InputError, match="expected hf://datasets/OWNER/NAME/PATH"):
            describe([odd], access)


def test_refused_access_says_to_log_in(hub: HostileServer, access: Access) -> None:
    (small,) = describe(["hf://datasets/owner/name/a.jsonl"], access)
    hub.standing["*"] = Mode(status=403, says="gated")
    for _ in range(2):
        with pytest.raises(RefusedError, match=r"gated.*HF_TOKEN"):
            fetch(small, access, lambda _: None)
    assert hub.count(f"{_FILES}/a.jsonl") == 1


def test_a_listing_is_retried_or_refused(hub: HostileServer, access: Access) -> None:
    hub.script[_API] = [Mode(status=500)]
    assert len(expand("hf://datasets/owner/name/*", access)) == 2
    assert hub.count(_API) == 2
    hub.script[_API] = [Mode(status=403, says="gated")]
    with pytest.raises(RefusedError, match="HF_TOKEN"):
        expand("hf://datasets/owner/name/*", access)
    assert hub.count(_API) == 3
