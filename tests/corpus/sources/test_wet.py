"""WET files, and metadata in the headers of records.

Planted once: the language of several taken for that of the first (the made records failed).
"""

import json
import re
from pathlib import Path

import pytest

from corpus.document import Record
from corpus.errors import InputError
from corpus.recipe import read_recipe
from corpus.sources import common_crawl
from tests.corpus.formats.warc_files import SETTINGS, found, http, outcomes, packed, record

WET = SETTINGS.model_copy(update={"files": "wet"})


def conversion(content: bytes, *headers: str, content_type: str = "text/plain") -> bytes:
    return record(content, kind="conversion", headers=[f"Content-Type: {content_type}", *headers])


def test_a_real_wet_file_gives_its_text_unchanged(data: Path) -> None:
    path = data / "commoncrawl/whirlwind.warc.wet.gz"
    spans = found(path, WET)
    assert outcomes(spans) == {"record": 1, "skipped(warcinfo)": 1}
    (page,) = (span for span in spans if isinstance(span, Record))
    assert (page.url, page.date, page.language) == (
        *("https://an.wikipedia.org/wiki/Escopete", "2024-05-18T01:58:10Z", "es"),
    )
    made = common_crawl.document(page, WET)
    assert (
        made.text.encode() == page.content
        and len(page.content) == 4456
        and made.text.startswith("Escopete - Biquipedia, a enciclopedia libre\nIr al contenido\n")
    )
    assert dict(made.signals) == {"mended_mojibake": 0}  # nothing is left of the page that could say more
    assert made.license is None


def test_mojibake_of_the_crawler_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(packed("gz", [conversion("Itâ€™s a cafÃ©".encode())]))
    (page,) = found(path, WET)
    assert isinstance(page, Record)
    made = common_crawl.document(page, WET)
    assert made.text == "It’s a café" and dict(made.signals) == {"mended_mojibake": 2}


def test_wet_and_warc_records_are_not_both_read(data: Path) -> None:
    page = data / "commoncrawl/whirlwind.warc.gz"
    assert outcomes(found(page, WET)) == {
        f"skipped({kind})": 1 for kind in ("warcinfo", "request", "response", "metadata")
    }


@pytest.mark.parametrize(
    ("stated", "language"),
    [("eng", "en"), (" DEU ", "de"), ("ceb", "ceb"), ("fra,eng", None), ("", None), ("en", None), ("x" * 3000, None)],
)
def test_a_single_stated_language_is_used(tmp_path: Path, stated: str, language: str | None) -> None:
    path = tmp_path / "x"
    path.write_bytes(packed("gz", [conversion(b"words", f"WARC-Identified-Content-Language: {stated}")]))
    (page,) = found(path, WET)
    assert isinstance(page, Record) and page.language == language


def test_records_without_text_are_skipped(tmp_path: Path) -> None:
    records = [
        conversion(b"<p>x", content_type="text/html"),
        conversion(b" \n"),
        conversion(b"x" * 5000),
        conversion(b"cut", "WARC-Truncated: length"),
        conversion("Straße \xff\0".encode("latin-1"), content_type="text/plain; charset=latin-1"),
    ]
    path = tmp_path / "x"
    path.write_bytes(packed("gz", records))
    spans = found(path, WET.model_copy(update={"max_record_bytes": 1000}))
    assert [getattr(span, "reason", "record") for span in spans] == [
        *("not_text", "empty", "too_large", "truncated_payload", "record")
    ]
    assert isinstance(spans[-1], Record) and common_crawl.document(spans[-1], WET).text == "Stra\ufffde \ufffd\0"


def test_truncated_payloads_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x"
    records = [record(http(b"<p>x"), headers=[f"WARC-Truncated: {why}"]) for why in ("length", "time", "disconnect")]
    records += [record(http(b"x", status="302 Found"), headers=["WARC-Truncated: length"]), record(http(b"<p>x"))]
    path.write_bytes(packed("plain", records))
    assert outcomes(found(path)) == {"skipped(truncated_payload)": 3, "skipped(redirect)": 1, "record": 1}


def test_robots_headers_become_signals(tmp_path: Path) -> None:
    path = tmp_path / "x"
    heads = [
        [],
        ["X-Robots-Tag: noindex"],
        ["x-robots-tag: nofollow", "X-Robots-Tag: googlebot: noindex", "X-ROBOTS-TAG: noai"],
    ]
    path.write_bytes(packed("gz", [record(http(b"<p>x", headers=headers)) for headers in heads]))
    signals = [dict(common_crawl.document(span, SETTINGS).signals) for span in found(path) if isinstance(span, Record)]
    assert [(each["robots_noai"], each["robots_noindex"]) for each in signals] == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("name", "pages"), [("resiliparse-warcfile.warc", 16), ("resiliparse-clueweb-quirk.warc.gz", 29)]
)
def test_header_meta_and_detection_give_encodings_of_real_pages(data: Path, name: str, pages: int) -> None:
    records = [span for span in found(data / "warc-edge-cases" / name) if isinstance(span, Record)]
    whole = SETTINGS.model_copy(update={"extract": "full_text"})
    for page in records:
        meta = re.search(rb"(?i)<meta[^>]*charset=[\"']?([\w-]+)", page.content)
        assert meta is not None
        bare = re.sub(rb"(?i)charset=[\"']?[\w-]+", b"", page.content)
        by_header = common_crawl.document(page._replace(content=bare, charset=meta[1].decode()), whole).text
        by_meta = common_crawl.document(page._replace(charset=None), whole).text
        by_itself = common_crawl.document(page._replace(content=bare, charset=None), whole).text
        assert by_header == by_meta == by_itself and "\ufffd" not in by_meta
    assert len(records) == pages


def test_the_header_wins_over_meta_and_meta_over_detection(data: Path) -> None:
    pages = found(data / "warc-edge-cases/resiliparse-warcfile.warc")
    (page,) = (span for span in pages if isinstance(span, Record) and span.charset == "windows-1251")
    whole = SETTINGS.model_copy(update={"extract": "full_text"})
    right = common_crawl.document(page, whole).text
    misled = page._replace(content=page.content.replace(b"windows-1251", b"koi8-r"))
    assert common_crawl.document(misled, whole).text == right
    assert common_crawl.document(misled._replace(charset=None), whole).text.startswith(
        right[:30].encode("cp1251").decode("koi8-r")
    )


def settings_of(folder: Path, **written: object) -> common_crawl.CommonCrawlSettings:
    source = {"name": "web", "reader": "common_crawl", "share": 1, "license": "unknown", **written}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps({"format_version": 1, "name": "x", "sources": [source]}))
    (settings,) = read_recipe(path).sources
    assert isinstance(settings, common_crawl.CommonCrawlSettings)
    return settings


def test_settings_of_a_crawl_are_read(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "no.txt").write_text("example.org\n")
    settings = settings_of(
        tmp_path,
        crawl=["CC-MAIN-2024-26", "CC-MAIN-2024-22"],
        segments="0.5%",
        select={"languages": ["eng"], "domains": ["Example.ORG"], "mime": ["text/html"], "status": [200]},
        opt_out=["lists/no.txt"],
    )
    assert settings.crawls == ("CC-MAIN-2024-22", "CC-MAIN-2024-26") and settings.segments == 0.005
    assert settings.select is not None and settings.select.domains == ("example.org",) and settings.selects
    assert settings.lists == ("lists/no.txt",) and settings.at == "https://data.commoncrawl.org"
    assert settings_of(tmp_path, crawl="CC-NEWS/2024/05", segments=1).segments == 1
    told = {"language": {"keep": ["en"]}, "identify_language": False}  # the texts say which language they are in
    assert settings_of(tmp_path, crawl="CC-MAIN-2024-22", files="wet", **told).language is not None
    with pytest.raises(InputError, match="no language is known"):
        settings_of(tmp_path, crawl="CC-MAIN-2024-22", **told)
    assert "list_files" not in settings.model_dump() and {"at", "opt_out", "paths"} <= settings.location_fields
    assert set(settings.model_dump()) > settings.location_fields


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, "expected either `paths` or `crawl`"),
        ({"paths": ["recipe.yaml"], "crawl": "CC-MAIN-2024-22"}, "expected either `paths` or `crawl`"),
        ({"paths": ["recipe.yaml"], "segments": 1}, "`segments` needs `crawl:`, not `paths:`"),
        ({"crawl": "CC-MAIN-2024-22", "segments": 0}, "expected a number of files"),
        ({"crawl": "CC-MAIN-2024-22", "segments": "200%"}, "expected a number of files"),
        ({"crawl": "CC-MAIN-2024-22", "segments": 1.5}, "expected a number of files"),
        ({"crawl": "../2024-22"}, "crawl"),
        ({"crawl": "CC-MAIN-2024-22", "at": "mirror"}, "expected an address such as s3://commoncrawl, or a folder"),
        ({"crawl": "CC-MAIN-2024-22", "files": "wet", "select": {"languages": ["eng"]}}, "works on WARC files only"),
        ({"crawl": "CC-MAIN-2024-22", "select": {}}, "at least one of languages"),
        ({"crawl": "CC-MAIN-2024-22", "select": {"languages": ["en"]}}, "languages"),
        ({"crawl": "CC-MAIN-2024-22", "select": {"domains": ["https://a.org/"]}}, "a domain such as example.org"),
        ({"crawl": "CC-MAIN-2024-22", "select": {"status": ["200"]}}, "status"),
    ],
)
def test_contradictory_settings_are_errors(tmp_path: Path, written: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        settings_of(tmp_path, **written)
