"""Package addresses, against an index on loopback."""

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo
from corpus.fetch.client import describe, fetch
from corpus.fetch.package_index import PackageAddress, known_archive, member_of, parse_address
from tests.corpus.fetch.fake_package_index import PackageIndex, serving, tar_gz, wheel

SDIST = tar_gz({"Some_Pkg-1.0/a.txt": b"a", "Some_Pkg-1.0/PKG-INFO": b"x"})
WHEEL = wheel({"some_pkg/a.txt": b"a"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    with serving() as running:
        monkeypatch.setenv("GRISTMILL_INDEX", running.url)
        monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
        running.add("some-pkg", "Some_Pkg-0.9.tar.gz", b"old")
        running.add("some-pkg", "Some_Pkg-1.0.tar.gz", SDIST)
        running.add("some-pkg", "some_pkg-1.0-cp311-cp311-manylinux1_x86_64.whl", b"binary")
        yield running


def archive_of(text: str, cache: Path) -> FileInfo:
    (info,) = describe([text], Access(cache, "me@example.org"))
    return info


def filename(text: str, cache: Path) -> str:
    return archive_of(text, cache).url.rpartition("/")[2]


def test_an_address_is_distinguished_from_a_path_and_normalized() -> None:
    assert parse_address("pypi:Some_Pkg==1.0/docs/**/*.txt") == PackageAddress(
        "pypi", "some-pkg", "1.0", "docs/**/*.txt"
    )
    assert parse_address("pypi-sdist:a==1!2.0+x/*") == PackageAddress("pypi-sdist", "a", "1!2.0+x", "*")
    paths = ("pypi/a==1/x", "/data/pypi:x", "s3://b/k", "data/*.gz", "C:/x")
    assert [parse_address(path) for path in paths] == [None] * 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pypi:a/*.txt", "one exact version"),
        ("pypi:a>=1/*.txt", "one exact version"),
        ("pypi:a==/x", "not a version"),
        ("pypi:a==1.*/x", "not a version"),
        ("pypi:-a==1/x", "not a package name"),
        ("pypi:a==1", "which files"),
        ("pypi:a==1/", "which files"),
        ("pypi:a==1/../x", "not a path within"),
        ("pypi:a==1//x", "not a path within"),
        ("pypi:a==1/x\\y", "not a path within"),
        ("pypi-egg:a==1/x", "allowed: pypi:, pypi-sdist:, pypi-wheel:"),
        ("PyPI:a==1/x", "allowed: pypi:"),
    ],
)
def test_a_malformed_address_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        parse_address(text)
    assert says in str(error.value)


def test_a_wheel_for_all_platforms_is_preferred(index: PackageIndex, tmp_path: Path) -> None:
    assert filename("pypi:some.pkg==1.0/*", tmp_path / "1") == "Some_Pkg-1.0.tar.gz"
    index.add("some-pkg", "some_pkg-1.0-py2.py3-none-any.whl", WHEEL)
    index.add("some-pkg", "Some_Pkg-1.0.zip", b"another sdist")
    assert filename("pypi:some-pkg==1.0/*", tmp_path / "2") == "some_pkg-1.0-py2.py3-none-any.whl"
    assert filename("pypi-wheel:some-pkg==1.0.0/*", tmp_path / "2") == "some_pkg-1.0-py2.py3-none-any.whl"
    assert filename("pypi-sdist:some-pkg==1.0/*", tmp_path / "2") == "Some_Pkg-1.0.tar.gz"


@pytest.mark.parametrize(
    ("written", "published"),
    [
        ("1.0rc1", "1.0.rc1"),
        ("1.0a1", "1.0alpha1"),
        ("1.0.post1", "1.0-1"),
        ("2.0.dev1", "2.0dev1"),
        ("1.0+local.1", "1.0+local-1"),
        ("1.0+local.1", "1.0_local.1"),
        ("v1.0", "1.0.0"),
        ("1!2.0", "1!2"),
        ("2004d", "2004d"),  # from before PEP 440
    ],
)
def test_spellings_of_one_version_are_found(index: PackageIndex, tmp_path: Path, written: str, published: str) -> None:
    """Source: PEP 440, normalization. An address may have either spelling."""
    index.add("demo", f"demo-{published}.tar.gz", SDIST)
    index.add("demo", "demo-1.1.tar.gz", b"another version")
    for number, version in enumerate((written, published.replace("_", "+"))):
        assert filename(f"pypi:demo=={version}/**/*.txt", tmp_path / str(number)) == f"demo-{published}.tar.gz"


@pytest.mark.parametrize(
    ("written", "published"), [("1.0", "1.0rc1"), ("1.0", "1.0.post1"), ("1.0", "1.0+x"), ("1", "1!1")]
)
def test_different_versions_are_not_confused(index: PackageIndex, tmp_path: Path, written: str, published: str) -> None:
    index.add("demo", f"demo-{published}.tar.gz", SDIST)
    with pytest.raises(InputError, match=f"no version {written}"):
        archive_of(f"pypi:demo=={written}/*", tmp_path)


def test_a_release_is_looked_up_once_and_then_known_offline(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address("pypi:some-pkg==1.0/*")
    assert address is not None and known_archive(address, tmp_path) is None
    archive = archive_of("pypi:some-pkg==1.0/*", tmp_path)
    assert archive.version == f"sha256:{hashlib.sha256(SDIST).hexdigest()}" and archive.size == len(SDIST)
    assert archive_of("pypi:some-pkg==1.0/other", tmp_path) == archive == known_archive(address, tmp_path)
    assert index.asked == ["/simple/some-pkg/"]
    monkeypatch.setenv("GRISTMILL_INDEX", index.url + "/other")
    with pytest.raises(InputError):  # another index may publish another file
        archive_of("pypi:some-pkg==1.0/*", tmp_path)
    for damaged in (tmp_path / "releases").iterdir():
        damaged.write_text('{"filename": "../../x"')
    monkeypatch.setenv("GRISTMILL_INDEX", index.url)
    assert archive_of("pypi:some-pkg==1.0/*", tmp_path) == archive


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("pypi:nothing==1/*", InputError, "no package `nothing`"),
        ("pypi:some-pkg==1.1/*", InputError, "the nearest: 1.0"),
        ("pypi-wheel:some-pkg==1.0/*", InputError, "no wheel for every platform"),
        ("pypi:unhashed==1.0/*", CorpusError, "no SHA-256"),
        ("pypi:unsized==1.0/*", CorpusError, "no size"),
        ("pypi:local==1.0/*", CorpusError, "expected a web address"),
        ("pypi:renamed==1.0/*", CorpusError, "expected a web address"),
        ("pypi:html==1.0/*", CorpusError, "PEP 691"),
        ("pypi:climbing==1.0/*", InputError, "no version 1.0"),
    ],
)
def test_a_release_that_cannot_be_used_is_an_error(
    index: PackageIndex, tmp_path: Path, text: str, kind: type[CorpusError], says: str
) -> None:
    index.add("unhashed", "unhashed-1.0.tar.gz", SDIST, hashes={"md5": "0"})
    index.add("unsized", "unsized-1.0.tar.gz", SDIST, size=None)
    index.add("local", "local-1.0.tar.gz", SDIST, url="file:///etc/passwd")
    index.add("renamed", "renamed-1.0.tar.gz", SDIST, url="../../files/download")
    index.add("climbing", "x/../../climbing-1.0.tar.gz", SDIST)
    index.bodies["/simple/html/"] = b"<!DOCTYPE html><title>Links</title>"
    with pytest.raises(kind) as error:
        archive_of(text, tmp_path)
    assert says in str(error.value)
    assert type(error.value) is kind


def test_one_release_is_looked_up_by_many_threads(index: PackageIndex, tmp_path: Path) -> None:
    """As for a recipe that names several files of one release. Fails if their temporary files have one name."""
    index.add("mill", "mill-1.0.tar.gz", tar_gz({"mill-1.0/a.txt": b"a"}))
    for repeat in range(20):
        cache = tmp_path / str(repeat)
        with ThreadPoolExecutor(8) as threads:
            archives = set(threads.map(lambda number: archive_of(f"pypi:mill==1.0/{number}.txt", cache), range(8)))  # noqa: B023
        assert len(archives) == 1


def test_yanked_releases_are_still_found(index: PackageIndex, tmp_path: Path) -> None:
    index.add("yanked", "yanked-1.0.tar.gz", SDIST, yanked="broken")
    assert filename("pypi:yanked==1.0/*", tmp_path) == "yanked-1.0.tar.gz"


def test_an_unreachable_index_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "BACKOFF_S", 0.001)
    monkeypatch.setenv("GRISTMILL_INDEX", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    with pytest.raises(CorpusError, match=r"Check the network.*GRISTMILL_INDEX"):
        archive_of("pypi:a==1/*", tmp_path)


@pytest.mark.parametrize("url", ["file:///opt/simple", "https://user:secret@host/simple", "host/simple"])
def test_an_index_without_a_plain_web_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("GRISTMILL_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(InputError) as error:
        archive_of("pypi:a==1/*", tmp_path)
    assert "secret" not in str(error.value)


def fetched_files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "sha256").rglob("*") if path.is_file() and path.name != ".lock")


def test_an_archive_is_downloaded_once_and_repaired(index: PackageIndex, tmp_path: Path) -> None:
    archive, progress = archive_of("pypi:some-pkg==1.0/*", tmp_path), list[int]()
    path = fetch(archive, Access(tmp_path, "me@example.org"), progress.append, verify=True)
    assert path.read_bytes() == SDIST and path.name == "Some_Pkg-1.0.tar.gz" and sum(progress) == len(SDIST)
    assert fetch(archive, Access(tmp_path), progress.append, verify=True) == path and sum(progress) == len(SDIST)
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == 1
    assert all(re.fullmatch(r"gristmill/\S+ \(\+me@example\.org\)", agent) for agent in index.agents)
    path.write_bytes(SDIST[:-1] + b"?")
    assert fetch(archive, Access(tmp_path), progress.append, verify=True).read_bytes() == SDIST
    assert fetched_files(tmp_path) == ["Some_Pkg-1.0.tar.gz"]


@pytest.mark.parametrize("faults", [[503], [500, 503, 502], [10], [10, 503, 10]])
def test_transient_failures_are_retried(index: PackageIndex, tmp_path: Path, faults: list[int]) -> None:
    archive, progress = archive_of("pypi:some-pkg==1.0/*", tmp_path), list[int]()
    index.faults["/files/Some_Pkg-1.0.tar.gz"] = list(faults)
    assert fetch(archive, Access(tmp_path), progress.append).read_bytes() == SDIST
    assert sum(progress) == len(SDIST)
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == len(faults) + 1


@pytest.mark.parametrize(
    ("faults", "says"), [([503] * 9, "HTTP 503"), ([10] * 9, "connection closed after"), ([403], "refused")]
)
def test_attempts_are_limited_and_leave_no_files(
    index: PackageIndex, tmp_path: Path, faults: list[int], says: str
) -> None:
    archive = archive_of("pypi:some-pkg==1.0/*", tmp_path)
    index.faults["/files/Some_Pkg-1.0.tar.gz"] = list(faults)
    with pytest.raises(CorpusError, match=says):
        fetch(archive, Access(tmp_path), lambda _: None)
    assert fetched_files(tmp_path) == []
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == (1 if says == "refused" else politeness.ATTEMPTS)


def test_another_file_than_the_published_one_is_refused(index: PackageIndex, tmp_path: Path) -> None:
    index.add("swapped", "swapped-1.0.tar.gz", SDIST)
    index.bodies["/files/swapped-1.0.tar.gz"] = SDIST[:-1] + b"?"
    archive = archive_of("pypi:swapped==1.0/*", tmp_path)
    with pytest.raises(CorpusError) as error:
        fetch(archive, Access(tmp_path), lambda _: None)
    assert archive.version.removeprefix("sha256:") in str(error.value)
    assert hashlib.sha256(SDIST[:-1] + b"?").hexdigest() in str(error.value)
    index.bodies["/files/swapped-1.0.tar.gz"] = SDIST + b"more"
    with pytest.raises(CorpusError, match="longer than"):
        fetch(archive, Access(tmp_path), lambda _: None)
    assert fetched_files(tmp_path) == []


def test_concurrent_threads_share_one_download(index: PackageIndex, tmp_path: Path) -> None:
    archive = archive_of("pypi:some-pkg==1.0/*", tmp_path)
    sha256 = hashlib.sha256(SDIST).hexdigest()
    partial = tmp_path / "sha256" / sha256[:2] / sha256 / "Some_Pkg-1.0.tar.gz.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"left by a killed process")
    contents: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: contents.append(fetch(archive, Access(tmp_path), lambda _: None).read_bytes()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents == [SDIST] * 6
    assert index.asked.count("/files/Some_Pkg-1.0.tar.gz") == 1
    assert fetched_files(tmp_path) == ["Some_Pkg-1.0.tar.gz"]


def test_a_member_is_recognized_by_its_folder_anywhere(tmp_path: Path) -> None:
    address = parse_address("pypi:Some_Pkg==1.0/*")
    assert address is not None
    for folder in (tmp_path / "a", tmp_path / "odd==name" / "b-2.0"):
        assert member_of(folder / address.folder / "docs" / "a.txt") == "some-pkg 1.0 docs/a.txt"
    assert member_of(tmp_path / "docs" / "a.txt") is None
