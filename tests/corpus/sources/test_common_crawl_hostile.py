"""Hostile WARC files: memory and time are bounded, and payloads are not taken for records."""

import gzip
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from corpus.formats.warc_streams import GzipMember
from corpus.sources.common_crawl import cuts, read
from tests.corpus.formats.warc_files import (
    CONTAINERS,
    GOOD,
    GOOD_URLS,
    NOISE,
    SETTINGS,
    bomb,
    failures,
    found,
    http,
    lz4,
    outcomes,
    packed,
    record,
    urls,
)


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_archive_inside_a_payload_gives_no_records(tmp_path: Path, container: str) -> None:
    inner = b"".join(gzip.compress(each, 0, mtime=0) for each in GOOD[:5]) + b"\n" + b"".join(GOOD[:5]) + lz4(GOOD[0])
    outer = [record(http(inner), url=f"http://outer.example/{number}") for number in range(8)]
    path = tmp_path / "x"
    path.write_bytes(packed(container, outer))
    spans = found(path)
    assert outcomes(spans) == {"skipped(binary)": 8}
    size = path.stat().st_size
    starts = {span.start for span in spans} if "whole" not in container else {0}
    assert set(cuts(path, list(range(0, size, 97)), SETTINGS)) <= {*starts, size}


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(packed("gz", GOOD[:1]) + bomb() + packed("gz", GOOD[1:3]))
    body = gzip.compress(b"<p>" + bytes(200_000_000))
    coded = record(http(body, headers=["Content-Encoding: gzip"]))
    tracemalloc.start()
    spans = found(path, SETTINGS.model_copy(update={"max_record_bytes": 1_000_000}))
    assert [failed.reason for failed in failures(spans)] == ["bomb"] and urls(spans) == GOOD_URLS[:3]
    path.write_bytes(gzip.compress(coded))
    tracemalloc.reset_peak()
    spans = found(path, SETTINGS.model_copy(update={"max_record_bytes": 1_000_000}))
    assert outcomes(spans) == {"skipped(too_large)": 1}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000 + len(coded)


def test_records_over_the_limit_take_little_memory(tmp_path: Path) -> None:
    large = record(http(random.Random(1).randbytes(20_000_000)))
    path = tmp_path / "x"
    for container in CONTAINERS:
        path.write_bytes(packed(container, [GOOD[0], large, GOOD[1]]))
        tracemalloc.start()
        spans = found(path, SETTINGS.model_copy(update={"max_record_bytes": 1_000_000}))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert outcomes(spans) == {"record": 2, "skipped(too_large)": 1} and peak < 10_000_000


STORED = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x00" + struct.pack("<HH", 65535, 0) + b"WARC/1.0\r\n"


@pytest.mark.parametrize(
    ("data", "good"),
    [
        (STORED * 4000 + NOISE * 30 + packed("gz", GOOD), 100),  # each holds the next 64 kB, and then fails
        (packed("gz", [record(b"", length=40_000_000 + number) for number in range(1000)] + GOOD), 100),
        (packed("gz_whole", [record(NOISE, length=4_000_000 + number) for number in range(2000)]), 0),
    ],
)
def test_hostile_members_are_not_decompressed_repeatedly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, good: int
) -> None:
    path, inflated = tmp_path / "x", 0
    path.write_bytes(data)
    piece = GzipMember.piece

    def counted(member: GzipMember) -> bytes:
        nonlocal inflated
        found = piece(member)
        inflated += len(found)
        return found

    monkeypatch.setattr(GzipMember, "piece", counted)
    assert len(urls(found(path))) == good
    assert inflated < 60 * len(data) + 20_000_000


def test_reads_from_cuts_add_up_after_hostile_members(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"".join(STORED * 60 + packed("gz", [each]) for each in GOOD) + NOISE * 30 + packed("gz", GOOD))
    size, spans = path.stat().st_size, found(path)
    edges = [*cuts(path, list(range(0, size, 1500)), SETTINGS), size]
    parts = [list(read(path, *edges[index : index + 2], SETTINGS)) for index in range(len(edges) - 1)]
    assert len(set(edges)) > 2 and [span for part in parts for span in part] == spans
