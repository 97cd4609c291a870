"""Damaged and hostile WARC files: records before and after a defect are read, and spans tile the file."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.document import Failed, Record
from corpus.formats.lz4_frames import Lz4Frame
from corpus.formats.warc_streams import FileBytes
from corpus.sources.common_crawl import cuts, read
from tests.corpus.formats.warc_files import (
    CONTAINERS,
    EVERYTHING,
    GOOD,
    GOOD_URLS,
    NOISE,
    SETTINGS,
    assert_tiled,
    bomb,
    failures,
    found,
    http,
    lz4,
    outcomes,
    packed,
    record,
    skips,
    urls,
)

BAD = record(http(b"<p>bad</p>" * 50), url="http://bad.example/")

# Records with something wrong in them, whatever the container; each is one failure.
BAD_RECORDS = {
    "length too small": record(http(b"<p>bad</p>"), length=20),
    "length too large": record(http(b"<p>bad</p>"), length=3000),
    "length past any end": record(http(b"<p>bad</p>"), length=10**15),
    "length of too many digits": record(http(b"<p>bad</p>"), length="9" * 400),
    "negative length": record(http(b"<p>bad</p>"), length=-5),
    "no length": record(http(b"<p>bad</p>"), length=None),
    "no type": BAD.replace(b"WARC-Type", b"WARC-Tape"),
    "no version": BAD.replace(b"WARC/1.0", b"WURC/1.0"),
    "no blank line": BAD.partition(b"\r\n\r\n")[0] + b"\r\n",
    "header of 100 kB": BAD.replace(b"WARC-Date", b"X: " + b"y" * 100_000 + b"\r\nWARC-Date"),
    "cut in the content": BAD[:-200],
    "cut in the header": BAD[:60],
    "noise": b"\r\n" + NOISE,
    "newlines and noise": b"\n" * 9000 + NOISE,
    "HTTP head without an end": record(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000),
    "no target": record(http(b"<p>bad</p>"), url=None),
    "body not as coded": record(http(b"\x1f\x8b" + NOISE, headers=["Content-Encoding: gzip"])),
}


def flipped(member: bytes, at: int) -> bytes:
    return member[:at] + bytes([member[at] ^ 0x55]) + member[at + 1 :]


# Members that are broken as members.
GZIP = gzip.compress(BAD, mtime=0)
BAD_MEMBERS: dict[str, dict[str, Callable[[], bytes]]] = {
    "gz": {
        "flipped byte": lambda: flipped(GZIP, len(GZIP) // 2),
        "checksum": lambda: flipped(GZIP, len(GZIP) - 7),
        "size": lambda: flipped(GZIP, len(GZIP) - 2),
        "reserved flag": lambda: flipped(GZIP, 3),
        "magic": lambda: flipped(GZIP, 0),
        "clipped": lambda: GZIP[:-30],
        "clipped in the checksum": lambda: GZIP[:-3],
        "clipped in the header": lambda: GZIP[:7],
        "clipped stored block": lambda: gzip.compress(record(http(NOISE)), 0, mtime=0)[:2000],
        "noise": lambda: NOISE,
        "zeros": lambda: bytes(5000),
        "empty then noise": lambda: gzip.compress(b"", mtime=0) + NOISE,
        "not WARC": lambda: gzip.compress(b"<html>" * 100, mtime=0),
        "magics": lambda: b"\x1f\x8b\x08\x00" * 500,
        "magic before a magic": lambda: b"\x1f\x8b\x08",
        "bomb": bomb,
    },
    "lz4": {
        "flipped byte": lambda: flipped(lz4(BAD), 30),
        "flipped size": lambda: flipped(lz4(BAD), 8),
        "flipped descriptor": lambda: flipped(lz4(BAD), 4),
        "clipped": lambda: lz4(BAD)[:-30],
        "clipped in the header": lambda: lz4(BAD)[:5],
        "noise": lambda: NOISE,
        "not WARC": lambda: lz4(b"<html>" * 100),
        "magics": lambda: b"\x04\x22\x4d\x18" * 500,
    },
}
MEMBER_CASES = [(container, name) for container, names in BAD_MEMBERS.items() for name in names]


@pytest.mark.parametrize("name", BAD_RECORDS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_all_records_around_a_bad_one_are_read(tmp_path: Path, container: str, name: str) -> None:
    path = tmp_path / "x"
    for before in (0, 2):
        path.write_bytes(packed(container, [*GOOD[:before], BAD_RECORDS[name], *GOOD]))
        spans = found(path)
        assert urls(spans) == GOOD_URLS[:before] + GOOD_URLS
        assert len(failures(spans)) == 1 and len(spans) == before + 101
        if "whole" not in container:  # each good record is where it was put
            assert path.read_bytes()[spans[before + 1].start :] == packed(container, GOOD)
            assert [span.end - span.start for span in spans[-100:]] == [len(packed(container, [each])) for each in GOOD]
            assert cuts(path, [spans[before].start + 1], SETTINGS) == [spans[before + 1].start]


@pytest.mark.parametrize(("container", "name"), MEMBER_CASES)
def test_all_records_around_a_bad_member_are_read(tmp_path: Path, container: str, name: str) -> None:
    path, bad = tmp_path / "x", BAD_MEMBERS[container][name]()
    for before in (0, 2):
        start = packed(container, GOOD[:before])
        path.write_bytes(start + bad + packed(container, GOOD))
        spans = found(path)
        assert urls(spans) == GOOD_URLS[:before] + GOOD_URLS
        (failed,) = failures(spans)
        assert failed.end == len(start + bad)
        assert failed.start == len(start) + (20 if name == "empty then noise" else 0)


@pytest.mark.parametrize("container", CONTAINERS)
def test_records_behind_each_real_defect_are_read(data: Path, tmp_path: Path, container: str) -> None:
    suffix = {"gz": ".gz", "lz4": ".lz4"}.get(container.partition("_")[0], ".warc")
    names = [path for path in sorted((data / "warc-edge-cases").iterdir()) if path.suffix in (suffix, ".bad")]
    for case in names:
        if ".arc" in case.suffixes or (case.suffix == ".bad" and suffix != ".gz"):
            continue
        path = tmp_path / "x"
        path.write_bytes(case.read_bytes() + packed(container, GOOD))
        alone, together = found(case), found(path)
        assert urls(together) == urls(alone) + GOOD_URLS, case.name
        assert len(failures(together)) == len(failures(alone)) and len(together) == len(alone) + 100, case.name


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (http(b"<p>x", status="301 Moved"), "skipped(redirect)"),
        (http(b"<p>x", status="404 Not Found"), "skipped(not_200)"),
        (http(b"%PDF", content_type="application/pdf"), "skipped(not_html)"),
        (http(b"<p>x", content_type=None), "skipped(not_html)"),
        (http(b"<p>x", content_type="application/xhtml+xml ; charset=x"), "record"),
        (http(b"<p>x", content_type="TEXT/HTML"), "record"),
        (http(b" \r\n"), "skipped(empty)"),
        (b"", "skipped(empty)"),
        (b"20240506070809 a.example 1.2.3.4", "skipped(not_http)"),
        (http(b"<p>x").rstrip(b"<p>x").rstrip(b"\r\n"), "skipped(empty)"),
        (http(b"<p>x", headers=["Content-Encoding: compress"]), "skipped(content_encoding)"),
        (http(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "skipped(binary)"),
        (http(b"%PDF-1.7\n1 0 obj"), "skipped(binary)"),
        (http(gzip.compress(b"<p>x")), "skipped(binary)"),  # that no header names
        (http(b"<p>x" * 60), "skipped(too_large)"),
        (http(gzip.compress(b"<p>" + bytes(1000)), headers=["Content-Encoding: gzip"]), "skipped(too_large)"),
        (b"HTTP/1.1 OK\r\n\r\n<p>x", "failed(bad_http)"),
    ],
)
def test_which_responses_are_documents(tmp_path: Path, content: bytes, outcome: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(record(content) + GOOD[0])
    spans = found(path, SETTINGS.model_copy(update={"max_record_bytes": 200}))
    assert outcomes(spans[:1]) == {outcome: 1} and urls(spans)[-1] == GOOD_URLS[0]


@pytest.mark.parametrize(
    "kind", ["warcinfo", "request", "metadata", "revisit", "conversion", "continuation", "x-made-up"]
)
def test_other_records_are_skipped_by_type(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(record(http(b"<p>x"), kind=kind))
    assert [skip.reason for skip in skips(found(path))] == ["other_type" if kind == "x-made-up" else kind]


def test_a_range_includes_all_records_of_a_member_that_begins_in_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for container in ("gz_whole", "lz4_whole"):
        path.write_bytes(packed(container, GOOD[:50]) + packed(container, GOOD[50:]))
        assert urls(list(read(path, 0, 10, SETTINGS))) == GOOD_URLS[:50]
        assert cuts(path, [10], SETTINGS) == [len(packed(container, GOOD[:50]))]


@pytest.mark.parametrize("container", ["gz_whole", "lz4_whole", "plain"])
def test_records_far_behind_a_wrong_length_are_read(tmp_path: Path, container: str) -> None:
    path = tmp_path / "x"
    large = record(http(NOISE * 1000), kind="request")
    path.write_bytes(packed(container, [record(b"", length=2_000_000), *GOOD, large, *GOOD]))
    assert urls(found(path)) == GOOD_URLS * 2


@pytest.mark.parametrize("container", ["gz_whole", "plain"])
def test_headers_across_search_windows_are_found(tmp_path: Path, container: str) -> None:
    path = tmp_path / "x"
    for before in range((1 << 18) - 700, (1 << 18) + 50, 50):
        junk = b"x" * before
        path.write_bytes(packed(container, [GOOD[0], junk, *GOOD[:3]]))
        assert urls(found(path)) == [GOOD_URLS[0], *GOOD_URLS[:3]]


def test_a_member_inside_a_bad_record_of_a_sound_member_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    inner = packed("gz", GOOD[:3])
    path.write_bytes(gzip.compress(record(http(inner), length=20), 0, mtime=0) + packed("gz", GOOD[5:7]))
    assert urls(found(path)) == GOOD_URLS[5:7]


def test_the_head_of_an_lz4_frame_is_its_first_literals(tmp_path: Path) -> None:
    path = tmp_path / "x"
    varied = bytes(range(33, 127)) + bytes(range(160, 255))
    for length in (5, 14, 15, 16, 100, 189):
        data = b"WARC/1.0\r\n" + varied[:length] + b"~" * 300  # what repeats, so that the block is compressed
        path.write_bytes(b"--" + lz4(data))
        with path.open("rb") as handle:
            head = Lz4Frame.head(FileBytes(handle), 2)
            assert Lz4Frame.head(FileBytes(handle), 1) is None
        assert head is not None and head == data[: len(head)] and len(head) >= min(64, 10 + length)


@pytest.mark.parametrize("content", [b"", b"\n", b"\x1f", b"\x1f\x8b\x08", b"\x04\x22\x4d\x18", b"WARC/1.0\r\n", NOISE])
def test_a_file_without_records_is_one_failure_or_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert found(path) == ([Failed(0, len(content), "not_warc")] if content else [])


def test_members_without_records_are_padding(tmp_path: Path) -> None:
    path, empty = tmp_path / "x", gzip.compress(b"", mtime=0)
    skippable = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"
    for padding, container in ((empty, "gz"), (gzip.compress(b"\r\n\r\n"), "gz"), (skippable, "lz4")):
        path.write_bytes(packed(container, GOOD[:2]) + padding + packed(container, GOOD[2:4]))
        spans = found(path)
        assert urls(spans) == GOOD_URLS[:4] and [skip.reason for skip in skips(spans)] == ["padding"]


ARCHIVES = {container: packed(container, GOOD[:12]) for container in CONTAINERS}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data(), container=st.sampled_from(CONTAINERS))
def test_spans_tile_damaged_files_from_any_cuts(tmp_path: Path, drawn: st.DataObject, container: str) -> None:
    whole = ARCHIVES[container]
    at = drawn.draw(st.integers(0, len(whole) - 1))
    upto = drawn.draw(st.integers(at, min(len(whole), at + 400)))
    filler = drawn.draw(st.one_of(st.binary(max_size=40), st.just(whole[:at]), st.just(whole[at:upto] * 2)))
    data = whole[:at] + filler + drawn.draw(st.sampled_from([whole[upto:], b""]))
    path = tmp_path / "x"
    path.write_bytes(data)
    spans = found(path)
    # What lies before the damage is not touched by it, but for the record that the damage follows directly.
    sound = [span for span in found_in(tmp_path / "sound", whole) if isinstance(span, Record) and span.end < at - 8]
    if "whole" not in container:
        assert urls(spans)[: len(sound)] == [span.url for span in sound]
    edges = cuts(path, drawn.draw(st.lists(st.integers(0, len(data)), max_size=4).map(sorted)), SETTINGS)
    edges = [0, *edges, len(data)]
    parts = [list(read(path, *edges[index : index + 2], SETTINGS)) for index in range(len(edges) - 1)]
    assert [span for part in parts for span in part] == spans
    for index, part in enumerate(parts):
        if part:
            assert_tiled(part, edges[index], edges[index + 1])


def found_in(path: Path, data: bytes) -> list[object]:
    path.write_bytes(data)
    return list(read(path, 0, EVERYTHING, SETTINGS))
