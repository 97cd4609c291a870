"""Outcomes of real WARC files, file by file.

The numbers were worked out from the files themselves (members inflated one by one, headers listed), and agree with
what fastwarc's own iterator counts in those that it can read.
"""

import re
from pathlib import Path

import pytest

from corpus.document import Failed, Record, Skipped
from corpus.sources import common_crawl
from tests.corpus.formats.warc_files import EVERYTHING, SETTINGS, found, outcomes, scan_gzip, scan_lz4, scan_plain, urls

EDGE_CASES = {
    "dolma-sample-0000.warc.gz": "1 warcinfo 22 request 22 record 1 metadata 2 not_html",
    "dolma-sample-0001.warc.gz": "1 warcinfo 15 request 15 record 1 metadata 2 not_html",
    "resiliparse-block-sized-records.warc": "3 other_type",
    "resiliparse-block-sized-records.warc.gz": "3 other_type",
    "resiliparse-block-sized-records.warc.lz4": "3 other_type",
    "resiliparse-clipped.warc.gz": "1 failed(truncated)",  # one member without its end
    "resiliparse-clueweb-quirk.warc.gz": "1 warcinfo 29 record",  # WARC/0.18, lone newlines in HTTP heads
    "resiliparse-warcfile.warc": "1 warcinfo 17 request 16 record 16 metadata",
    "resiliparse-warcfile.warc.gz": "1 warcinfo 17 request 16 record 16 metadata",
    "resiliparse-warcfile.warc.lz4": "1 warcinfo 17 request 16 record 16 metadata",
    "warcio-bad.arc": "2 failed(bad_header) 1 not_http",  # lengths of -1, 1 and abc
    "warcio-example-bad-non-chunked.warc.gz": "2 warcinfo 1 record 2 request 1 revisit",  # six records in one member
    "warcio-example-bad.warc.gz.bad": "1 warcinfo 1 record 2 request 1 revisit 1 redirect",  # likewise; the last a 302
    "warcio-example-digest.warc": "4 request",
    "warcio-example-iana.org-chunked.warc": "1 warcinfo 1 record 1 request",
    "warcio-example-resource.warc.gz": "2 warcinfo 1 record",  # the record is a text/html resource
    "warcio-example-space-in-target-uri.warc.gz": "1 warcinfo 1 not_html",  # image/png
    "warcio-example-space-in-url.arc": "1 warcinfo 1 failed(truncated)",  # its lines have lost their carriage returns
    "warcio-example-trunc.warc": "2 warcinfo 1 failed(bad_length) 1 request",  # the response claims 973 of 975 bytes
    "warcio-example-wget-bad-target-uri.warc.gz": "1 warcinfo 1 request 1 record 1 metadata 2 not_html",
    "warcio-example-wrong-chunks.warc.gz": "1 record 1 request",  # the response lies in two members, as one record
    "warcio-example.arc": "1 warcinfo 1 record",
    "warcio-example.arc.gz": "1 warcinfo 1 record",
    "warcio-example.warc": "2 warcinfo 1 record 2 request 1 revisit",
    "warcio-example.warc.gz": "2 warcinfo 1 record 2 request 1 revisit",
    "warcio-post-test.warc.gz": "3 not_html 3 request",  # application/json
}
OTHERS = {
    "web/pages-00000.warc.gz": "1 warcinfo 178 record",
    "web/pages-00001.warc.gz": "1 warcinfo 182 record",
    "web/manuals-multilingual.warc.gz": "1 warcinfo 268 record",
    "commoncrawl/whirlwind.warc.gz": "1 warcinfo 1 request 1 record 1 metadata",
    "commoncrawl/whirlwind.warc.wet.gz": "1 warcinfo 1 conversion",
    "commoncrawl/whirlwind.warc.wat.gz": "1 warcinfo 1 metadata",
    "commoncrawl/warc.paths.gz": "1 failed(not_warc)",
}
NOT_A_MEMBER_EACH = {
    "resiliparse-clipped.warc.gz",
    "warcio-example-bad-non-chunked.warc.gz",
    "warcio-example-wrong-chunks.warc.gz",
}


def expected(words: str) -> dict[str, int]:
    pairs = re.findall(r"(\d+) (\S+)", words)
    return {name if name == "record" or "(" in name else f"skipped({name})": int(count) for count, name in pairs}


@pytest.mark.parametrize("name", [f"warc-edge-cases/{name}" for name in EDGE_CASES] + list(OTHERS))
def test_outcomes_of_each_real_file(data: Path, name: str) -> None:
    words = OTHERS.get(name) or EDGE_CASES[Path(name).name]
    assert outcomes(found(data / name)) == expected(words)  # `found` checks that the spans tile the file


def test_every_edge_case_file_is_tested(data: Path) -> None:
    assert {path.name for path in (data / "warc-edge-cases").iterdir()} == set(EDGE_CASES)


@pytest.mark.parametrize(
    "name",
    [f"warc-edge-cases/{name}" for name in EDGE_CASES if name.endswith(".warc.gz") and name not in NOT_A_MEMBER_EACH]
    + [name for name in OTHERS if "paths" not in name],
)
def test_each_gzip_span_decompresses_alone_to_one_record(data: Path, name: str) -> None:
    members = scan_gzip((data / name).read_bytes())
    spans = found(data / name)
    assert [(span.start, span.end) for span in spans] == [(start, end) for start, end, _ in members]
    for span, (_, _, inflated) in zip(spans, members, strict=True):
        kind = re.match(rb"WARC/\d\.\d+\r\n(?:[^\n]+\n)*?WARC-Type: (\w+)", inflated)
        assert kind is not None
        if isinstance(span, Record):
            assert kind[1] in (b"response", b"resource")
            assert span.content[-200:] in inflated or b"Content-Encoding: gzip" in inflated
            assert span.url is not None and span.url.encode() in inflated
        elif isinstance(span, Skipped) and span.reason in ("warcinfo", "request", "metadata", "revisit", "conversion"):
            assert kind[1].decode() == span.reason


@pytest.mark.parametrize("name", [name for name in EDGE_CASES if name.endswith((".warc", ".lz4"))])
def test_each_plain_or_lz4_span_is_a_record_or_a_frame(data: Path, name: str) -> None:
    path = data / "warc-edge-cases" / name
    scan = scan_lz4 if name.endswith(".lz4") else scan_plain
    assert [(span.start, span.end) for span in found(path)] == scan(path.read_bytes())


def test_records_of_one_member_share_its_bytes(data: Path) -> None:
    spans = found(data / "warc-edge-cases/warcio-example-bad-non-chunked.warc.gz")
    assert all(span.end - span.start > 100 for span in spans)


def test_the_containers_of_one_archive_give_the_same_documents(data: Path) -> None:
    folder = data / "warc-edge-cases"
    plain, *others = (
        [span[2:] for span in found(folder / f"resiliparse-warcfile.warc{suffix}") if isinstance(span, Record)]
        for suffix in ("", ".gz", ".lz4")
    )
    assert len(plain) == 16 and others == [plain, plain]


def test_every_container_gives_the_document_of_the_example(data: Path) -> None:
    names = [
        "example.warc",
        "example.warc.gz",
        "example-bad-non-chunked.warc.gz",
        "example-wget-bad-target-uri.warc.gz",
    ]
    names += ["example.arc", "example.arc.gz"]
    names += ["example-bad.warc.gz.bad", "example-wrong-chunks.warc.gz"]
    contents = []
    for name in names:
        (document,) = (span for span in found(data / "warc-edge-cases" / f"warcio-{name}") if isinstance(span, Record))
        contents.append(document.content.strip())
    assert len(set(contents)) == 1 and contents[0].startswith(b"<!doctype html>") and contents[0].endswith(b"</html>")


def test_identity_date_and_charset_of_records(data: Path) -> None:
    folder = data / "warc-edge-cases"
    assert urls(found(folder / "warcio-example-wget-bad-target-uri.warc.gz")) == ["http://example.com/"]  # not <…>
    (document,) = (span for span in found(folder / "warcio-example.warc") if isinstance(span, Record))
    assert document.identity == "http://example.com/ 2017-03-06T04:02:06Z"
    assert (document.date, document.charset, len(document.content)) == ("2017-03-06T04:02:06Z", None, 1270)
    quirks = [span for span in found(folder / "resiliparse-clueweb-quirk.warc.gz") if isinstance(span, Record)]
    assert {(span.charset, span.date) for span in quirks} == {("EUC-JP", None)}  # the date's day has three digits
    assert all(span.identity.endswith("-0700") for span in quirks)


def test_text_of_real_pages_in_each_encoding(data: Path) -> None:
    pages = [span for span in found(data / "warc-edge-cases/resiliparse-warcfile.warc") if isinstance(span, Record)]
    texts = [common_crawl.document(span, SETTINGS).text for span in pages if span.charset in ("windows-1251", "gb2312")]
    assert any(re.search("[а-я]{4} [а-я]{4}", text) for text in texts)
    assert any(re.search("[一-龥]{8}", text) for text in texts)
    assert all("\ufffd" not in text for text in texts)


@pytest.mark.parametrize("name", ["web/pages-00000.warc.gz", "warc-edge-cases/resiliparse-warcfile.warc"])
def test_reads_from_cuts_add_up_to_one_read(data: Path, name: str) -> None:
    path = data / name
    size, whole = path.stat().st_size, found(path)
    wanted = [size * part // 5 for part in range(6)]
    edges = common_crawl.cuts(path, wanted, SETTINGS)
    assert edges == [next((span.start for span in whole if span.start >= offset), size) for offset in wanted]
    parts = [list(common_crawl.read(path, *edges[at : at + 2], SETTINGS)) for at in range(5)]
    assert all(parts) and [span for part in parts for span in part] == whole


def test_an_archive_that_is_not_warc_is_one_span(data: Path) -> None:
    paths = data / "commoncrawl/warc.paths.gz"
    assert list(common_crawl.read(paths, 0, EVERYTHING, SETTINGS)) == [Failed(0, paths.stat().st_size, "not_warc")]
