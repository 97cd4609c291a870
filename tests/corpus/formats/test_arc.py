"""ARC files: agreement with warcio, and records around damage.

Planted once: a content's length taken one too short (every record after it was lost, and the oracle test failed).
"""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import Record
from corpus.formats.warc_walk import parse_arc_header
from corpus.sources.common_crawl import cuts, read
from tests.corpus.formats.warc_files import (
    CONTAINERS,
    EVERYTHING,
    NOISE,
    SETTINGS,
    failures,
    found,
    http,
    outcomes,
    packed,
    urls,
)

HEAD = b"1 0 LiveWeb Capture\nURL IP-address Archive-date Content-type Archive-length\n"
OPENING = b"filedesc://a.arc.gz 127.0.0.1 20140216050221 text/plain %d\n%s\n" % (len(HEAD), HEAD)
HEAD_1_1 = HEAD.replace(b"1 0 LiveWeb", b"1 1 InternetArchive") + b"\n<arcmetadata><a/></arcmetadata>\n"
OPENING_1_1 = b"filedesc://a.arc.gz 127.0.0.1 20140216050221 text/plain %d\n%s\n" % (len(HEAD_1_1), HEAD_1_1)


def record(content: bytes, url: str = "http://a.example/", *, length: str | None = None, date: str = "") -> bytes:
    fields = [url, "127.0.0.1", date or "20140216050221", "text/html", length or str(len(content))]
    return " ".join(fields).encode() + b"\n" + content + b"\n"


def page(number: int) -> bytes:
    return record(http(f"<p>Page {number}</p>".encode() * (1 + number % 7)), f"http://good.example/{number}")


GOOD = [page(number) for number in range(60)]
GOOD_URLS = [f"http://good.example/{number}" for number in range(60)]


def written(folder: Path, container: str, records: list[bytes], opening: bytes = OPENING) -> Path:
    path = folder / "x"
    path.write_bytes(packed(container, [opening, *records]))
    return path


@pytest.mark.parametrize("name", ["warcio-example.arc", "warcio-example.arc.gz"])
def test_real_files_match_warcio(data: Path, name: str) -> None:
    from warcio.archiveiterator import ArchiveIterator

    path = data / "warc-edge-cases" / name
    with path.open("rb") as file:
        (expected,) = (
            (each.rec_headers.get_header("WARC-Target-URI"), each.rec_headers.get_header("WARC-Date"),
             each.content_stream().read())
            for each in ArchiveIterator(file, arc2warc=True) if each.rec_type == "response"
        )  # fmt: skip
    (ours,) = (span for span in found(path) if isinstance(span, Record))
    assert (ours.url, ours.date, ours.content) == expected
    assert ours.identity == f"{expected[0]} {expected[1]}"


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("opening", [OPENING, OPENING_1_1])
def test_every_container_gives_every_page(tmp_path: Path, container: str, opening: bytes) -> None:
    spans = found(written(tmp_path, container, GOOD, opening))
    assert urls(spans) == GOOD_URLS and outcomes(spans) == {"skipped(warcinfo)": 1, "record": 60}


@given(st.text("0123456789", min_size=12, max_size=20))
def test_dates_match_warcio(date: str) -> None:
    from warcio.timeutils import timestamp_to_iso_date

    parsed = parse_arc_header(record(b"", date=date))
    assert parsed is not None and parsed.fields[b"warc-date"].decode() == timestamp_to_iso_date(date)


def test_urls_with_spaces_are_quoted() -> None:
    parsed = parse_arc_header(record(b"", "http://a.example/?t=From The Web&x=1"))
    assert parsed is not None and parsed.fields[b"warc-target-uri"] == b"http://a.example/?t=From%20The%20Web&x=1"


@pytest.mark.parametrize("container", ["gz", "plain"])
def test_reads_from_cuts_add_up_to_one_read(tmp_path: Path, container: str) -> None:
    path = written(tmp_path, container, GOOD)
    size, whole = path.stat().st_size, found(path)
    edges = cuts(path, [size * part // 5 for part in range(6)], SETTINGS)
    parts = [list(read(path, *edges[at : at + 2], SETTINGS)) for at in range(5)]
    assert all(parts) and [span for part in parts for span in part] == whole


BAD = {
    "length too large": record(http(b"<p>bad</p>"), length="900"),
    "length too small": record(http(b"<p>bad</p>"), length="9"),
    "terabytes": record(http(b"<p>bad</p>"), length="4000000000000"),
    "negative length": record(http(b"<p>bad</p>"), length="-1"),
    "no length": record(http(b"<p>bad</p>"), length="abc"),
    "noise": NOISE + b"\n",
    "header of 100 kB": record(b"", "http://a.example/" + "y" * 100_000),
    "headers without end": b"\nhttp://a.example/ 127.0.0.1 20140216050221 text/html 999999" * 300 + b"\n",
}


@pytest.mark.parametrize("container", ["gz", "plain", "gz_whole", "lz4"])
@pytest.mark.parametrize("bad", BAD)
def test_records_around_damage_are_read(tmp_path: Path, container: str, bad: str) -> None:
    spans = found(written(tmp_path, container, [*GOOD[:30], BAD[bad], *GOOD[30:]]))
    lost = set(GOOD_URLS) - set(urls(spans))
    if "length too" in bad and container != "gz":  # it reaches into its neighbors, or ends before its end
        assert len(lost) <= 4
    else:
        assert not lost and len(failures(spans)) == 1


def test_records_that_are_not_pages_are_skipped(tmp_path: Path) -> None:
    others = [
        record(b"20140216050221\n127.0.0.1\n", "dns:a.example"),
        record(http(b"", status="302 Found")),
        record(http(b"no", status="404 Not Found")),
        record(http(b"{}", content_type="application/json")),
        record(http(b"x" * 5000)),
        record(b""),
    ]
    spans = found(written(tmp_path, "plain", others), SETTINGS.model_copy(update={"max_record_bytes": 2000}))
    assert [getattr(span, "reason", "record") for span in spans] == [
        *("warcinfo", "not_http", "redirect", "not_200", "not_html", "too_large", "empty")
    ]


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    import zlib

    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(b"http://a.example/ 127.0.0.1 20140216050221 text/html 200000000\n")
    bomb += b"".join(packer.compress(bytes(10_000_000)) for _ in range(20)) + packer.flush()
    path = tmp_path / "x"
    path.write_bytes(packed("gz", [OPENING, *GOOD[:1]]) + bomb + packed("gz", GOOD[1:3]))
    tracemalloc.start()
    spans = found(path, SETTINGS.model_copy(update={"max_record_bytes": 1_000_000}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [failed.reason for failed in failures(spans)] == ["bomb"] and urls(spans) == GOOD_URLS[:3]
    assert peak < 8_000_000


@given(st.lists(st.one_of(st.sampled_from([*GOOD[:3], *BAD.values(), OPENING]), st.binary(max_size=200)), max_size=8))
def test_any_bytes_behind_an_arc_opening_give_spans(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.arc"
    path.write_bytes(OPENING + b"".join(parts))
    spans = found(path)  # it checks that the spans tile the file
    assert spans and all(span.reason != "not_warc" for span in spans if not isinstance(span, Record))
    assert list(read(path, 0, EVERYTHING, SETTINGS)) == found(path)
