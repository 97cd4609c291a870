"""Addresses of packages' files, against an index on loopback."""

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import retry
from corpus.fetch.access import Access
from corpus.fetch.package_index import Address, Release, fetch, member_of, parse, resolve
from tests.corpus.fetch.fake_package_index import Index, serving, tar_gz, wheel

SDIST = tar_gz({"Some_Pkg-1.0/a.txt": b"a", "Some_Pkg-1.0/PKG-INFO": b"x"})
WHEEL = wheel({"some_pkg/a.txt": b"a"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with serving() as running:
        monkeypatch.setenv("GRISTMILL_INDEX", running.url)
        monkeypatch.setattr(retry, "BACKOFF_S", 0.001)
        running.add("some-pkg", "Some_Pkg-0.9.tar.gz", b"old")
        running.add("some-pkg", "Some_Pkg-1.0.tar.gz", SDIST)
        running.add("some-pkg", "some_pkg-1.0-cp311-cp311-manylinux1_x86_64.whl", b"binary")
        yield running


def asked(text: str, cache: Path) -> Release:
    address = parse(text)
    assert address is not None
    return resolve(address, Access(cache, "me@example.org"))


def test_an_address_is_told_from_a_path_and_normalised() -> None:
    assert parse("pypi:Some_Pkg==1.0/docs/**/*.txt") == Address("pypi", "some-pkg", "1.0", "docs/**/*.txt")
    assert parse("pypi-sdist:a==1!2.0+x/*") == Address("pypi-sdist", "a", "1!2.0+x", "*")
    assert [parse(path) for path in ("pypi/a==1/x", "/data/pypi:x", "s3://b/k", "data/*.gz", "C:/x")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pypi:a/*.txt", "one exact version"),
        ("pypi:a>=1/*.txt", "one exact version"),
        ("pypi:a==/x", "not a version"),
        ("pypi:a==1.*/x", "not a version"),
        ("pypi:-a==1/x", "not the name"),
        ("pypi:a==1", "which files"),
        ("pypi:a==1/", "which files"),
        ("pypi:a==1/../x", "no path within"),
        ("pypi:a==1//x", "no path within"),
        ("pypi:a==1/x\\y", "no path within"),
        ("pypi-egg:a==1/x", "allowed: pypi:, pypi-sdist:, pypi-wheel:"),
        ("PyPI:a==1/x", "allowed: pypi:"),
    ],
)
def test_a_malformed_address_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse(text)
    assert says in str(error.value)


def test_the_wheel_that_serves_all_platforms_is_preferred(index: Index, tmp_path: Path) -> None:
    assert asked("pypi:some.pkg==1.0/*", tmp_path / "1").filename == "Some_Pkg-1.0.tar.gz"
    index.add("some-pkg", "some_pkg-1.0-py2.py3-none-any.whl", WHEEL)
    index.add("some-pkg", "Some_Pkg-1.0.zip", b"another sdist")
    assert asked("pypi:some-pkg==1.0/*", tmp_path / "2").filename == "some_pkg-1.0-py2.py3-none-any.whl"
    assert asked("pypi-wheel:some-pkg==1.0.0/*", tmp_path / "2").filename == "some_pkg-1.0-py2.py3-none-any.whl"
    assert asked("pypi-sdist:some-pkg==1.0/*", tmp_path / "2").filename == "Some_Pkg-1.0.tar.gz"


def test_a_release_is_resolved_once_and_then_without_a_network(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asked("pypi:some-pkg==1.0/*", tmp_path)
    assert release.sha256 == hashlib.sha256(SDIST).hexdigest() and release.size == len(SDIST)
    assert asked("pypi:some-pkg==1.0/other", tmp_path) == release
    assert index.asked == ["/simple/some-pkg/"]
    monkeypatch.setenv("GRISTMILL_INDEX", index.url + "/other")
    with pytest.raises(InputError):  # another index may publish another file
        asked("pypi:some-pkg==1.0/*", tmp_path)
    for known in (tmp_path / "releases").iterdir():
        known.write_text('{"filename": "../../x"')
    monkeypatch.setenv("GRISTMILL_INDEX", index.url)
    assert asked("pypi:some-pkg==1.0/*", tmp_path) == release


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("pypi:nothing==1/*", InputError, "no package `nothing`"),
        ("pypi:some-pkg==1.1/*", InputError, "the nearest: 1.0"),
        ("pypi-wheel:some-pkg==1.0/*", InputError, "no wheel that serves every platform"),
        ("pypi:unhashed==1.0/*", CorpusError, "no SHA-256"),
        ("pypi:unsized==1.0/*", CorpusError, "no size"),
        ("pypi:local==1.0/*", CorpusError, "no web address"),
        ("pypi:html==1.0/*", CorpusError, "PEP 691"),
        ("pypi:climbing==1.0/*", InputError, "no version 1.0"),
    ],
)
def test_what_cannot_be_resolved_is_told(
    index: Index, tmp_path: Path, text: str, kind: type[CorpusError], says: str
) -> None:
    index.add("unhashed", "unhashed-1.0.tar.gz", SDIST, hashes={"md5": "0"})
    index.add("unsized", "unsized-1.0.tar.gz", SDIST, size=None)
    index.add("local", "local-1.0.tar.gz", SDIST, url="file:///etc/passwd")
    index.add("climbing", "x/../../climbing-1.0.tar.gz", SDIST)
    index.bodies["/simple/html/"] = b"<!DOCTYPE html><title>Links</title>"
    with pytest.raises(kind) as error:
        asked(text, tmp_path)
    assert says in str(error.value)
    assert type(error.value) is kind


def test_one_release_is_resolved_by_many_at_once(index: Index, tmp_path: Path) -> None:
    """As a plan does whose recipe names several files of one release; their temporary files had one name once."""
    index.add("mill", "mill-1.0.tar.gz", tar_gz({"mill-1.0/a.txt": b"a"}))
    for round_ in range(20):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda n: asked(f"pypi:mill==1.0/{n}.txt", tmp_path / str(round_)), range(8)))  # noqa: B023
        assert len(set(found)) == 1


def test_yanked_releases_are_still_found(index: Index, tmp_path: Path) -> None:
    index.add("yanked", "yanked-1.0.tar.gz", SDIST, yanked="broken")
    assert asked("pypi:yanked==1.0/*", tmp_path).filename == "yanked-1.0.tar.gz"


def test_no_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_S", 0.001)
    monkeypatch.setenv("GRISTMILL_INDEX", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    with pytest.raises(CorpusError, match="Is there a network"):
        asked("pypi:a==1/*", tmp_path)


@pytest.mark.parametrize("url", ["file:///opt/simple", "https://user:secret@host/simple", "host/simple"])
def test_an_index_that_is_no_plain_web_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("GRISTMILL_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(InputError) as error:
        asked("pypi:a==1/*", tmp_path)
    assert "secret" not in str(error.value)


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "sha256").rglob("*") if path.is_file() and path.name != ".lock")


def test_a_file_is_fetched_once_and_repaired(index: Index, tmp_path: Path) -> None:
    release, heard = asked("pypi:some-pkg==1.0/*", tmp_path), list[int]()
    path = fetch(release, Access(tmp_path, "me@example.org"), heard.append)
    assert path.read_bytes() == SDIST and path.name == release.filename and sum(heard) == len(SDIST)
    assert fetch(release, Access(tmp_path), heard.append) == path and sum(heard) == len(SDIST)
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == 1
    assert all(re.fullmatch(r"gristmill/\S+ \(\+me@example\.org\)", agent) for agent in index.agents)
    path.write_bytes(SDIST[:-1] + b"?")
    assert fetch(release, Access(tmp_path), heard.append).read_bytes() == SDIST
    assert left(tmp_path) == [release.filename]


@pytest.mark.parametrize("faults", [[503], [500, 503, 502], [10], [10, 503, 10]])
def test_what_another_try_may_mend_is_tried_again(index: Index, tmp_path: Path, faults: list[int]) -> None:
    release, heard = asked("pypi:some-pkg==1.0/*", tmp_path), list[int]()
    index.faults["/files/Some_Pkg-1.0.tar.gz"] = list(faults)
    assert fetch(release, Access(tmp_path), heard.append).read_bytes() == SDIST
    assert sum(heard) == len(SDIST)
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == len(faults) + 1


@pytest.mark.parametrize(("faults", "says"), [([503] * 9, "status 503"), ([10] * 9, "ended after"), ([403], "refused")])
def test_attempts_are_bounded_and_leave_nothing(index: Index, tmp_path: Path, faults: list[int], says: str) -> None:
    release = asked("pypi:some-pkg==1.0/*", tmp_path)
    index.faults["/files/Some_Pkg-1.0.tar.gz"] = list(faults)
    with pytest.raises(CorpusError, match=says):
        fetch(release, Access(tmp_path), lambda _: None)
    assert left(tmp_path) == []
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == (1 if says == "refused" else retry.ATTEMPTS)


def test_another_file_than_the_one_published_is_refused(index: Index, tmp_path: Path) -> None:
    index.add("swapped", "swapped-1.0.tar.gz", SDIST)
    index.bodies["/files/swapped-1.0.tar.gz"] = SDIST[:-1] + b"?"
    release = asked("pypi:swapped==1.0/*", tmp_path)
    with pytest.raises(CorpusError) as error:
        fetch(release, Access(tmp_path), lambda _: None)
    assert release.sha256 in str(error.value)
    assert hashlib.sha256(SDIST[:-1] + b"?").hexdigest() in str(error.value)
    index.bodies["/files/swapped-1.0.tar.gz"] = SDIST + b"more"
    with pytest.raises(CorpusError, match="longer than"):
        fetch(release, Access(tmp_path), lambda _: None)
    assert left(tmp_path) == []


def test_concurrent_fetchers_share_one_download(index: Index, tmp_path: Path) -> None:
    release = asked("pypi:some-pkg==1.0/*", tmp_path)
    partial = tmp_path / "sha256" / release.sha256[:2] / release.sha256 / f"{release.filename}.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"what a killed fetcher left behind")
    found: list[bytes] = []
    fetchers = [
        threading.Thread(target=lambda: found.append(fetch(release, Access(tmp_path), lambda _: None).read_bytes()))
        for _ in range(6)
    ]
    for fetcher in fetchers:
        fetcher.start()
    for fetcher in fetchers:
        fetcher.join()
    assert found == [SDIST] * 6
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == 1
    assert left(tmp_path) == [release.filename]


def test_a_member_is_known_by_its_folder_wherever_that_lies(tmp_path: Path) -> None:
    address = parse("pypi:Some_Pkg==1.0/*")
    assert address is not None
    for place in (tmp_path / "a", tmp_path / "odd==name" / "b-2.0"):
        assert member_of(place / address.folder / "docs" / "a.txt") == "some-pkg 1.0 docs/a.txt"
    assert member_of(tmp_path / "docs" / "a.txt") is None
