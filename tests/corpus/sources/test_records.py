"""Published data sets in JSON lines and Parquet; bad lines fail alone."""

import bz2
import gzip
import json
import lzma
import subprocess
from itertools import pairwise
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.document import Failed, Record, Skipped
from corpus.sources.records import READER, RecordsSettings
from tests.corpus.formats.tiles import checked, outcomes, read_cut, read_whole, records

PLAIN = {"name": "records", "reader": "records", "paths": ("x",), "share": 1.0, "license": "unknown"}
COMPRESS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def fields(**names: object) -> RecordsSettings:
    return RecordsSettings.model_validate({**PLAIN, **names})


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "field", "expected"),
    [
        ("records/arxiv.jsonl", "text", 11),
        ("records/demo-dataset-deduplication.jsonl", "text", 14),
        ("records/dolma-documents-000.json.gz", "text", 10),
        ("records/redpajama-c4-refined.jsonl", "text", 10),
        ("records/redpajama-cc-2023-06-refined.jsonl", "text", 10),
        ("records/redpajama-pile-stackexchange-refined.jsonl", "text", 10),
        ("records/stack_exchange.jsonl", "text", 70),
        ("records/the-pile-nih-refined.jsonl", "text", 10),
        ("records/the-pile-uspto-refined.jsonl", "text", 10),
        ("records/test.jsonl.zst", "message", 1),
        ("books/classic-books.jsonl.zst", "text", 88),
        ("evals/gsm8k_test-1.jsonl.gz", "question", 1319),
        ("code/a.parquet", "contents", 11),
        ("code/b.parquet", "contents", 16),
        ("code/header-test1.parquet", "contents", 10),
        ("code/license-sample_1.parquet", "contents", 2),
        ("code/license-sample_2.parquet", "contents", 2),
    ],
)
def test_every_row_of_real_files_is_read(data: Path, name: str, field: str, expected: int) -> None:
    path = data / name
    found = read_whole(READER, path, fields(text_field=field))
    assert len(found) == expected and {type(each) for each in found} <= {Record, Skipped}
    if path.suffix == ".parquet":
        texts = parquet.read_table(path, columns=[field])[field].to_pylist()
    else:
        command = {".gz": ["zcat"], ".zst": ["zstd", "-dcq"]}.get(path.suffix, ["cat"])
        try:
            lines = subprocess.run([*command, str(path)], capture_output=True, check=True).stdout
        except FileNotFoundError:
            pytest.skip(f"needs the command {command[0]}")
        texts = [json.loads(line)[field] for line in lines.splitlines()]
    assert [each.content.decode() for each in records(found)] == [each for each in texts if each and each.strip()]
    size = path.stat().st_size
    assert read_cut(READER, path, range(0, size, max(size // 40, 1)), fields(text_field=field)) == found


def test_metadata_comes_from_the_named_fields(data: Path) -> None:
    nested = fields(
        id_field="meta.arxiv_id", url_field="meta.url", date_field="meta.timestamp", language_field="meta.language"
    )
    first = records(read_whole(READER, data / "records/arxiv.jsonl", nested))[0]
    assert (first.identity, first.url) == ("1712.01076", "https://arxiv.org/abs/1712.01076")
    assert (first.date, first.language, first.license) == ("2017-12-05T09:17:31+00:00", "en", None)
    assert READER.document(first, nested).text == "\\section{Riemannian Langevin dynamics}"
    code = fields(text_field="contents", id_field="document_id", date_field="date_acquired", license_field="license")
    first = records(read_whole(READER, data / "code/a.parquet", code))[0]
    assert first.identity == "a04cce7c-8a0c-11ee-9c76-d64d52cf0c73"
    assert (first.license, first.date, first.url) == ("mit", "2023-06-05T05:00:00+00:00", None)


def test_identity_is_the_id_else_the_url_else_empty(tmp_path: Path) -> None:
    rows = [{"id": 7, "url": "u"}, {"id": None, "url": "u"}, {"id": True}, {"id": {"a": 1}, "url": ""}]
    path = written(tmp_path / "rows", "\n".join(json.dumps({"text": "x", **row}) for row in rows).encode())
    found = records(read_whole(READER, path, fields(id_field="id", url_field="url")))
    assert [each.identity for each in found] == ["7", "u", "", ""]


def test_impossible_dates_are_none(tmp_path: Path) -> None:
    dates = ["9" * 400, "-1", "1e999", "NaN", "true", "253402300800000", "253402300799", "1512465451000", "0"]
    path = written(tmp_path / "rows", "\n".join(f'{{"text": "x", "d": {each}}}' for each in dates).encode())
    found = records(read_whole(READER, path, fields(date_field="d")))
    told = ["2017-12-05T09:17:31+00:00", "1970-01-01T00:00:00+00:00"]
    assert [each.date for each in found] == [None] * 6 + ["1978-01-11T21:31:40+00:00", *told]


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [
        (pyarrow.timestamp("us"), 2**62, "1970-01-01T00:00:00"),
        (pyarrow.timestamp("us", "Mars/Olympus"), 1, None),
        (pyarrow.timestamp("us", "-05:00"), -62_135_596_800_000_000, "1969-12-31T19:00:00-05:00"),
        (pyarrow.date64(), 2**60, "1970-01-01"),
        (pyarrow.date32(), 2**31 - 1, "1970-01-01"),
    ],
)
def test_impossible_parquet_dates_are_none(tmp_path: Path, kind: pyarrow.DataType, bad: int, good: str | None) -> None:
    stored = pyarrow.int32() if kind == pyarrow.date32() else pyarrow.int64()
    dates = pyarrow.array([0, bad, None], stored).view(kind)
    meta = pyarrow.StructArray.from_arrays([dates, pyarrow.array(["a", "b", "c"])], ["date", "url"])
    parquet.write_table(pyarrow.table({"text": ["x", "y", "z"], "date": dates, "meta": meta}), tmp_path / "rows")
    for names in ({"date_field": "date"}, {"date_field": "meta.date", "url_field": "meta.url"}):
        found = records(read_whole(READER, tmp_path / "rows", fields(**names)))
        assert [each.content for each in found] == [b"x", b"y", b"z"]
        assert [each.date for each in found] == [good, None, None]
        assert [each.url for each in found] == (["a", "b", "c"] if "url_field" in names else [None] * 3)


LINES = [
    (b'{"text": "one"}', "record"),
    (b'{"text": "\xd0\xb4\xd0\xb2\xd0\xb0", "meta": {"a": [1, {}]}}\r', "record"),
    (b"", "empty"),
    (b'{"text": " \\n"}', "empty"),
    (b'{"text": null}', "no_text"),
    (b"{}", "no_text"),
    (b'{"text": ["a"]}', "bad_text"),
    (b'{"text": "a"', "bad_json"),
    (b"[1]", "bad_json"),
    (b'{"text": "\xff"}', "bad_utf8"),
    (b"[" * 5000, "bad_json"),
    (b'{"text": ' + b"9" * 6000 + b"}", "bad_json"),
    (b'{"text": "' + b"a" * 20_000 + b'"}', "too_large"),
    (b'{"text": "\\ud83d\\ude00 \\ud83d"}', "record"),
    (b'{"text": "last"}', "record"),
]
SMALL = fields(max_record_bytes=10_000)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_each_line_has_an_outcome_and_a_bad_one_fails_alone(tmp_path: Path, kind: str, end: bytes) -> None:
    path = written(tmp_path / "rows", COMPRESS[kind](b"\xef\xbb\xbf" + b"\n".join(line for line, _ in LINES) + end))
    found = read_whole(READER, path, SMALL)
    assert [each.reason if not isinstance(each, Record) else "record" for each in found] == [why for _, why in LINES]
    texts = [each.content.decode() for each in records(found)]
    assert texts == ["one", "два", "\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}", "last"]
    if kind != "plain":
        size = path.stat().st_size
        assert READER.cuts(path, [0, 1, size], SMALL) == [0, size, size]


def test_spans_of_plain_lines_are_their_bytes(tmp_path: Path) -> None:
    path = written(tmp_path / "rows", b"\n".join(line for line, _ in LINES))
    found, at = read_whole(READER, path, SMALL), 0
    for each, (line, _) in zip(found, LINES, strict=True):
        assert (each.start, each.end) == (at, min(at + len(line) + 1, path.stat().st_size))
        at = each.end
    assert read_cut(READER, path, range(0, path.stat().st_size, 3), SMALL) == found
    assert list(READER.read(path, 0, 3, SMALL)) == found[:1]  # an end within a line means the next one's start


def test_a_line_that_breaks_off_is_truncated(tmp_path: Path) -> None:
    path = written(tmp_path / "rows", b'{"text": "one"}\n{"text": "tw')
    assert read_whole(READER, path, SMALL)[1:] == [Failed(16, 28, "truncated")]
    whole = gzip.compress(b"".join(b'{"text": "%d"}\n' % number for number in range(50_000)))
    path = written(tmp_path / "cut.gz", whole[:-20])  # its checksum is missing, so its lines are in doubt
    assert read_whole(READER, path, SMALL) == [Failed(0, len(whole) - 20, "truncated")]


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd"])
def test_the_next_stream_after_damage_is_read(tmp_path: Path, kind: str) -> None:
    parts = [b"".join(b'{"text": "%d %d"}\n' % (part, number) for number in range(100)) for part in range(3)]
    streams = [COMPRESS[kind](part) for part in parts]
    for broken in (streams[1][: len(streams[1]) // 2], b"garbage" * 20):
        path = written(tmp_path / "rows", streams[0] + broken + streams[2])
        found = read_whole(READER, path, SMALL)
        assert outcomes(found)[f"bad_{kind}"] == 1
        texts = [each.content.decode() for each in records(found)]
        assert texts[:100] == [f"0 {number}" for number in range(100)]
        assert texts[-100:] == [f"2 {number}" for number in range(100)]
    lone = COMPRESS[kind](b'{"text": "begun ') + b"garbage" * 20 + COMPRESS[kind](b'ended"}\n{"text": "good"}\n')
    found = read_whole(READER, written(tmp_path / "lone", lone), SMALL)
    assert outcomes(found) == {f"bad_{kind}": 1, "record": 1}  # one span for all that the damage took


STORE = {
    "gzip": lambda content: gzip.compress(content, 0),
    "bz2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(level=1).compress,
    "xz": lzma.compress,
}


def line_bytes(*numbers: int) -> bytes:
    return b"".join(b'{"text": "%d"}\n' % number for number in numbers)


@pytest.mark.parametrize("kind", STORE)
def test_a_compressed_file_is_cut_where_both_a_stream_and_a_line_begin(tmp_path: Path, kind: str) -> None:
    """Verified to fail if streams that go on with a line, streams after damage, or the bytes of one within another
    count as cuts, and if an empty stream does.
    """
    parts = [
        (line_bytes(0, 1), True),
        (line_bytes(2) + b'{"text": ', True),  # this line ends in the next stream
        (b'"3"}\n' + line_bytes(4), False),
        (line_bytes(5), True),
        (b"", False),
        (line_bytes(6), False),  # the span of its first line begins with the empty stream
        (line_bytes(7) + STORE[kind](line_bytes(99)) + b"\n", True),  # holds the bytes of a stream
        (line_bytes(8), True),
        (b"\n" + line_bytes(9)[:-1], True),  # its last line has no end
        (b"\n" + line_bytes(10), False),
    ]
    streams = [STORE[kind](part) for part, _ in parts]
    starts = [sum(map(len, streams[:number])) for number in range(len(streams))]
    path = written(tmp_path / "rows", b"".join(streams))
    size = path.stat().st_size
    expected = [start for start, (_, is_cut) in zip(starts, parts, strict=True) if is_cut]
    places = READER.cuts(path, range(size + 1), SMALL)
    assert sorted({*places, size}) == [*expected, size]
    assert places == [min(place for place in [*expected, size] if place >= at) for at in range(size + 1)]
    found = read_whole(READER, path, SMALL)
    assert [int(each.content) for each in records(found)] == list(range(11))
    for step in (1, 20, 50, size // 3, size - 1):
        assert read_cut(READER, path, range(0, size, step), SMALL) == found
    for end in range(0, size, 7):  # an end that is no cut means the next cut
        stop = READER.cuts(path, [end], SMALL)[0]
        assert checked(list(READER.read(path, 0, end, SMALL)), 0, stop) == [each for each in found if each.start < stop]
    damaged = b"".join(streams[:6]) + streams[6][:-12] + b"".join(streams[7:])
    path = written(tmp_path / "damaged", damaged)
    assert starts[7] - 12 not in READER.cuts(path, range(len(damaged)), SMALL)
    assert read_cut(READER, path, range(len(damaged)), SMALL) == read_whole(READER, path, SMALL)


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from([*STORE]),
    ends=st.lists(st.integers(0, 700), max_size=8),
    at=st.floats(0, 1),
    junk=st.binary(max_size=30),
    step=st.integers(1, 99),
)
def test_hostile_files_of_many_streams_are_read_alike_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory, kind: str, ends: list[int], at: float, junk: bytes, step: int
) -> None:
    lines = [line for line, _ in LINES if len(line) < 1000]
    plain, edges = b"\n".join(lines * 3), sorted([0, *ends, 10_000])
    whole = b"".join(STORE[kind](plain[start:end]) for start, end in pairwise(edges))
    place = int(at * len(whole))
    path = written(tmp_path_factory.mktemp("streams") / "rows", whole[:place] + junk + whole[place + len(junk) :])
    found = read_whole(READER, path, SMALL)
    assert read_cut(READER, path, range(0, path.stat().st_size, step), SMALL) == found


def test_files_without_records(tmp_path: Path) -> None:
    assert read_whole(READER, written(tmp_path / "empty", b""), SMALL) == []
    nothing = written(tmp_path / "nothing.gz", gzip.compress(b""))
    assert outcomes(read_whole(READER, nothing, SMALL)) == {"empty": 1}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "rows"
    rows = [{"text": f"text {number}" * 9, "meta": {"url": f"u{number}"}, "n": number} for number in range(95)]
    rows[10]["text"], rows[20]["text"] = None, " "
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10)
    return path


def test_parquet_is_cut_at_its_row_groups(table: Path) -> None:
    settings, size = fields(url_field="meta.url", id_field="n"), table.stat().st_size
    found = read_whole(READER, table, settings)
    assert outcomes(found) == {"record": 93, "no_text": 1, "empty": 1}
    assert (records(found)[-1].identity, records(found)[-1].url) == ("94", "u94")
    places = sorted(set(READER.cuts(table, range(size + 1), settings)))
    assert len(places) == 11 and places[0] == 0 and places[-1] == size
    groups = parquet.ParquetFile(table).metadata
    assert places[3] == groups.row_group(3).column(0).dictionary_page_offset
    assert [each.start for each in found[::10]] == places[:-1]
    assert read_cut(READER, table, range(0, size, 100), settings) == found
    assert list(READER.read(table, places[3], places[4], settings)) == found[30:40]


def test_parquet_without_the_field_or_with_damage(table: Path, tmp_path: Path) -> None:
    assert outcomes(read_whole(READER, table, fields(text_field="content"))) == {"no_text": 95}
    assert outcomes(read_whole(READER, table, fields(text_field="n"))) == {"bad_text": 95}
    content = table.read_bytes()
    places = sorted(set(READER.cuts(table, range(len(content)), SMALL)))
    broken = content[: places[4]] + bytes(places[5] - places[4]) + content[places[5] :]
    found = read_whole(READER, written(tmp_path / "group", broken), SMALL)
    assert [each for each in found if isinstance(each, Failed)] == [Failed(places[4], places[5], "bad_parquet")]
    assert len(records(found)) == 83
    for lost in (content[:-1], content[:50], b"PAR1", b"PAR1" + bytes(400) + b"PAR1"):
        path = written(tmp_path / "lost", lost)
        assert read_whole(READER, path, SMALL) == [Failed(0, len(lost), "bad_parquet")]


def test_parquet_rows_that_are_not_utf8_fail_alone(tmp_path: Path) -> None:
    values = [b"good", b"\xff", b"fine"]
    raw = pyarrow.array(values, pyarrow.binary())
    for column in (raw, raw.view(pyarrow.string())):
        parquet.write_table(pyarrow.table({"text": column}), tmp_path / "rows")
        found = read_whole(READER, tmp_path / "rows", SMALL)
        assert outcomes(found) == {"record": 2, "bad_utf8": 1} and isinstance(found[1], Failed)
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "none")
    assert outcomes(read_whole(READER, tmp_path / "none", SMALL)) == {"empty": 1}
    parquet.ParquetWriter(tmp_path / "no groups", pyarrow.schema({"text": pyarrow.string()})).close()
    assert outcomes(read_whole(READER, tmp_path / "no groups", SMALL)) == {"empty": 1}


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from([*COMPRESS, "parquet"]),
    at=st.floats(0, 1),
    junk=st.binary(max_size=30),
    step=st.integers(1, 99),
)
def test_spans_tile_hostile_files(
    tmp_path_factory: pytest.TempPathFactory, table: Path, kind: str, at: float, junk: bytes, step: int
) -> None:
    plain = b"\n".join(line for line, _ in LINES) * 3
    whole = table.read_bytes() if kind == "parquet" else COMPRESS[kind](plain)
    place = int(at * len(whole))
    path = written(tmp_path_factory.mktemp("hostile") / "rows", whole[:place] + junk + whole[place + len(junk) :])
    found = read_whole(READER, path, SMALL)
    assert read_cut(READER, path, range(0, path.stat().st_size, step * 50), SMALL) == found
