"""Pieces of plain and compressed files: complete, bounded, and resumed after damage."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.formats import compressed
from corpus.formats.compressed import Container, StreamDamage, StreamPiece, container, head, next_stream, offset, pieces

COMPRESS = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
}
NOISE = b"".join(index.to_bytes(4, "little") * (1 + index % 3) for index in range(0, 2**32, 2**32 // 60_000 + 977))


def all_pieces(path: Path, kind: Container, start: int = 0) -> list[StreamPiece | StreamDamage]:
    """Return all pieces, after checking that they tile the file."""
    found = list(pieces(path, start, path.stat().st_size, kind))
    at = start
    for each in found:
        assert each.start == at <= each.end
        at = each.end
    assert at == path.stat().st_size
    return found


def data(found: list[StreamPiece | StreamDamage]) -> bytes:
    return b"".join(each.data for each in found if isinstance(each, StreamPiece))


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd", "xz"])
def test_reading_can_begin_at_any_stream(tmp_path: Path, kind: Container) -> None:
    path, parts = tmp_path / "file", [NOISE, b"", b"x", NOISE[::-1]]
    streams = [COMPRESS[kind](part) for part in parts]
    path.write_bytes(b"".join(streams))
    assert container(path) == kind
    found = all_pieces(path, kind)
    assert data(found) == b"".join(parts)
    starts = [sum(map(len, streams[:n])) for n in range(4)]
    assert [each.start for each in found if isinstance(each, StreamPiece) and each.first] == starts
    for start in (starts[0], starts[3]):
        assert all_pieces(path, kind, start) == [each for each in found if each.start >= start]
    with path.open("rb") as file:
        assert next_stream(file, kind, 1, len(path.read_bytes())) == starts[2 if kind == "bz2" else 1]


def test_the_container_is_recognised_by_bytes_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(NOISE)
    assert container(path) == "plain"
    assert data(all_pieces(path, "plain")) == NOISE
    assert head(path, "plain", 10) == NOISE[:10]
    path.write_bytes(b"")
    assert container(path) == "plain" and all_pieces(path, "plain") == []


def test_offsets_within_a_piece_are_linear_and_end_at_its_end() -> None:
    piece = StreamPiece(100, 110, bytes(4), True)
    assert [offset(piece, index) for index in range(5)] == [100, 102, 105, 107, 110]
    assert offset(StreamPiece(5, 9, b"", False), 0) == 5


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd", "xz"])
def test_reading_resumes_at_the_next_stream_after_damage(tmp_path: Path, kind: Container) -> None:
    path, streams = tmp_path / "file", [COMPRESS[kind](part) for part in (NOISE, NOISE[::-1], b"the last one")]
    ends = [len(streams[0]), len(streams[0]) + len(streams[1])]
    for broken in (streams[1][: len(streams[1]) // 2], streams[1][:20] + bytes(200) + streams[1][220:], b"garbage" * 9):
        path.write_bytes(streams[0] + broken + streams[2])
        found = all_pieces(path, kind)
        damage = [each for each in found if isinstance(each, StreamDamage)]
        assert data(found).startswith(NOISE) and data(found).endswith(b"the last one")
        assert len(damage) == 1
        assert ends[0] <= damage[0].start and damage[0].end == ends[0] + len(broken)
        assert damage[0].reason == f"bad_{kind}"
    path.write_bytes(streams[0] + streams[1][:-1])
    assert [each.reason for each in all_pieces(path, kind) if isinstance(each, StreamDamage)] == ["truncated"]


@pytest.mark.parametrize("held", ["memory", "disk", "twice", "full disk"])
@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd", "xz"])
def test_data_are_suspect_until_their_checksum_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Container, held: str
) -> None:
    if held != "memory":
        monkeypatch.setattr(compressed, "HELD_BYTES", 1000)
        monkeypatch.setattr(compressed, "SPOOLED_BYTES", 50_000 if held == "twice" else 1 << 30)
    if held == "full disk":
        monkeypatch.setattr(compressed.tempfile, "tempdir", "/nowhere")
    monkeypatch.setattr(compressed, "OUTPUT_BYTES", 1 << 14)
    path = tmp_path / "file"
    whole = COMPRESS[kind](NOISE)
    path.write_bytes(whole)
    sound = all_pieces(path, kind)
    assert data(sound) == NOISE
    # A flipped bit anywhere, most often noticed at the end alone, takes the stream and no byte of another.
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    path.write_bytes(whole + flipped + whole)
    damage = StreamDamage(len(whole), 2 * len(whole), f"bad_{kind}", first=True)
    found = all_pieces(path, kind)
    assert found[: len(sound) + 1] == [*sound, damage] and data(found) == NOISE * 2


def test_the_blocks_of_a_bzip2_stream_before_the_damaged_one_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "BZ2_BLOCK_BYTES", 100_000)  # of a stream with small blocks
    path, noise = tmp_path / "file", NOISE * 4
    whole = bz2.compress(noise, compresslevel=1)
    path.write_bytes(whole[: len(whole) * 3 // 4] + bytes(50) + whole[len(whole) * 3 // 4 + 50 :])
    found = all_pieces(path, "bz2")
    assert isinstance(found[-1], StreamDamage) and not found[-1].first
    assert noise.startswith(data(found)) and len(data(found)) > len(noise) // 4


def test_a_frame_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "file"
    long = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    dictionary = zstandard.train_dictionary(
        1000, [b"the mill by the river %d" % (number % 99) for number in range(999)]
    )
    for compressor, reason in (
        (zstandard.ZstdCompressor(compression_params=long), "zstd_window"),
        (zstandard.ZstdCompressor(dict_data=dictionary), "zstd_dictionary"),
    ):
        frame = compressor.compressobj()
        path.write_bytes(frame.compress(NOISE) + frame.flush() + COMPRESS["zstd"](b"end"))
        found = all_pieces(path, "zstd")
        assert isinstance(found[0], StreamDamage) and found[0].reason == reason and data(found) == b"end"


@pytest.mark.parametrize("kind", ["gzip", "bz2", "zstd", "xz"])
def test_memory_is_bounded_whatever_the_bytes_expand_to(
    tmp_path: Path, kind: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "OUTPUT_BYTES", 1 << 20)
    path = tmp_path / "file"
    path.write_bytes(COMPRESS[kind](bytes(300_000_000 if kind == "zstd" else 30_000_000)) + COMPRESS[kind](b"end"))
    total = longest = 0
    for piece in pieces(path, 0, path.stat().st_size, kind):
        assert isinstance(piece, StreamPiece)
        total, longest = total + len(piece.data), max(longest, len(piece.data))
    assert total == (300_000_003 if kind == "zstd" else 30_000_003)
    assert longest <= (1 << 20) + (1 << 24 if kind == "zstd" else 0)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["gzip", "bz2", "zstd", "xz"]),
    at=st.floats(0, 1),
    junk=st.binary(max_size=40),
    keep=st.booleans(),
)
def test_hostile_bytes_are_reported_as_damage(
    tmp_path_factory: pytest.TempPathFactory, kind: Container, at: float, junk: bytes, keep: bool
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "file"
    whole = COMPRESS[kind](NOISE[:5000]) * 3
    place = int(at * len(whole))
    path.write_bytes(whole[:place] + junk + whole[place + (0 if keep else len(junk)) :])
    all_pieces(path, kind)
