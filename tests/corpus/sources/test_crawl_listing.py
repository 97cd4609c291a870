"""Lists of a crawl's files, real and hostile, and the choice among them.

Planted once: names with `..` let through (the list was believed, and a file outside the folder was read).
"""

import gzip
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.fetch.access import Access
from corpus.sources import common_crawl
from corpus.sources.common_crawl import CommonCrawlSettings
from corpus.sources.crawl_index import Select, chosen, files_of
from tests.fake_crawl import CRAWL, http_server, read_members, write_crawl

REAL = "CC-MAIN-2025-33"


def access(folder: Path) -> Access:
    return Access(folder / "cache")


def settings(**given: object) -> CommonCrawlSettings:
    return CommonCrawlSettings.model_validate(
        {"name": "web", "reader": "common_crawl", "share": 1.0, "license": "unknown", "crawl": CRAWL, **given}
    )


def listed(folder: Path, lines: bytes, *, packed: bool = True) -> list[str]:
    path = folder / f"crawl-data/{CRAWL}/warc.paths.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(lines) if packed else lines)
    return files_of(str(folder), [CRAWL], "warc", access(folder))


@pytest.fixture
def real(data: Path, tmp_path: Path) -> Path:
    """Make a folder with the first lines of a real crawl's lists."""
    folder = tmp_path / f"crawl-data/{REAL}"
    folder.mkdir(parents=True)
    for kind in ("warc", "wet"):
        (folder / f"{kind}.paths.gz").write_bytes((data / f"commoncrawl/{kind}.paths.gz").read_bytes())
    return tmp_path


def test_real_lists_are_read(real: Path) -> None:
    warc = files_of(str(real), [REAL], "warc", access(real))
    wet = files_of(str(real), [REAL], "wet", access(real))
    assert len(warc) == len(wet) == 2000 and warc == sorted(warc)
    assert warc[0] == (
        f"crawl-data/{REAL}/segments/1754151279521.11/warc/CC-MAIN-20250802220907-20250803010907-00000.warc.gz"
    )
    assert [name.replace("/warc/", "/wet/").replace(".gz", ".wet.gz") for name in warc] == wet


def test_a_choice_is_stable_and_grows(real: Path) -> None:
    names = files_of(str(real), [REAL], "warc", access(real))
    few, more = chosen(names, 5, 1), chosen(names, 50, 1)
    assert len(few) == 5 and set(few) < set(more) and more == sorted(more)
    assert few == chosen(names[::-1], 5, 1) != chosen(names, 5, 2)
    assert [len(chosen(names, share, 1)) for share in (0.01, 0.0001, 1.0)] == [20, 1, 2000]
    assert len(chosen(names, 5000, 1)) == 2000 and chosen(names, None, 1) == names
    without = [name for name in names if name != few[0]]  # one file less changes the choice by one file
    assert len(set(chosen(without, 50, 1)) & set(more)) == 49
    places = [names.index(name) for name in chosen(names, 400, 1)]
    assert 850 < sum(places) / 400 < 1150  # from anywhere in the list


def test_the_same_choice_wherever_the_crawl_lies(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crawl"
    names = write_crawl(folder, read_members(data / "warc-edge-cases/dolma-sample-0000.warc.gz"))
    with http_server(folder) as server:
        for given in ({"segments": 2}, {"segments": "60%", "files": "wet"}, {}):
            here = common_crawl.listing(settings(at=str(folder), **given), access(tmp_path))
            there = common_crawl.listing(settings(at=f"{server.url}/", **given), access(tmp_path))
            assert [name.removeprefix(f"{folder}/") for name in here] == [
                name.removeprefix(f"{server.url}/") for name in there
            ]
            assert len(here) == {0: 4, 1: 2, 2: 3}[len(given)] and all("//" not in name[8:] for name in there)
        select = {"select": Select(languages=("eng",))}
        indexes = common_crawl.listing(settings(at=server.url, **select), access(tmp_path))
        assert len(indexes) == 2 and all("/subset=warc/part-" in name for name in indexes)
        every = common_crawl.listing(settings(at=str(folder)), access(tmp_path))
        assert every == [f"{folder}/{name}" for name in names]
    assert common_crawl.listing(settings(crawl=(), paths=("x",)), access(tmp_path)) == []


def test_an_unknown_crawl_is_an_error(real: Path, data: Path) -> None:
    with pytest.raises(
        InputError, match=r"CC-MAIN-2024-22 is no crawl \(https://index\.commoncrawl\.org/collinfo\.json"
    ):
        common_crawl.listing(settings(at=str(real)), access(real))
    with http_server(real) as server, pytest.raises(InputError, match=r"or it has no warc files, or `at` is wrong"):
        common_crawl.listing(settings(at=server.url), access(real))
    with pytest.raises(InputError, match=r"missing, with 1999 more of the 2000 files"):
        common_crawl.listing(settings(at=str(real), crawl=REAL), access(real))


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd", "/etc/passwd", "crawl-data/../../x", "crawl-data/./x", "crawl-data//x", "a\\b", "x?y"),
        *(
            "https://elsewhere.example/x",
            "s3://bucket/x",
            "crawl-data/*.gz",
            "-rf",
            "~/x",
            "a" * 600,
            "caf\u00e9",
            "a\0b",
        ),
        *("crawl-data/.hidden", "x/"),
    ],
)
def test_names_that_no_crawl_has_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="which no crawl has"):
        listed(tmp_path, f"crawl-data/a.warc.gz\n{name}\n".encode())


@pytest.mark.parametrize(
    ("content", "packed", "told"),
    [
        (b"", True, "an empty list"),
        (b"\n\n", False, "an empty list"),
        (gzip.compress(b"crawl-data/x\n" * 100)[:-12], False, "broken gzip"),
        (b"\x1f\x8b" + bytes(100), False, "broken gzip"),
        (b"<html><p>Forbidden", False, "which no crawl has"),
        (b"x\n" * 1_000_001, True, "over 1000000 names"),
        (bytes(80_000_000), True, "over 67108864 bytes when unpacked"),
    ],
    ids=["empty", "blank", "cut", "not gzip", "a page", "too many", "bomb"],
)
def test_malformed_lists_are_refused(tmp_path: Path, content: bytes, packed: bool, told: str) -> None:
    with pytest.raises(InputError, match=told):
        listed(tmp_path, content, packed=packed)


def test_uncompressed_lists_are_read(tmp_path: Path) -> None:
    assert listed(tmp_path, b"b/x.gz\r\na/x.gz\nb/x.gz", packed=False) == ["a/x.gz", "b/x.gz"]
