"""Token shards are read as views of the file, and files that are not valid shards are refused."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import CorpusError
from corpus.store.token_shards import (
    ShardHeader,
    TokenShard,
    open_token_shard,
    schema,
    token_dtype,
    write_token_shard,
)

HEADER = ShardHeader("ab" * 32, "cd" * 32, "web", "train")
METADATA = {"format_version": "1", **HEADER._asdict()}


def make_shard(lengths: list[int], dtype: type = np.uint16) -> TokenShard:
    tokens = np.arange(sum(lengths), dtype=dtype) % 500 + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens[offsets[1:] - 1] = 0
    ids = np.arange(len(lengths) * 16, dtype=np.uint8).reshape(-1, 16)
    return TokenShard(HEADER, ids, tokens, offsets, np.arange(len(lengths), dtype=np.int64) * 7)


def write_arrow(
    path: Path, *batches: pa.RecordBatch, metadata: dict[str, str] | None = None, codec: str | None = None
) -> Path:
    columns = batches[0].schema.with_metadata(METADATA if metadata is None else metadata)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(columns.metadata))
    return path


def batch(tokens: list[list[int]] | None = None, **columns: pa.Array) -> pa.RecordBatch:
    lists = pa.array(tokens or [[5, 0], [6, 7, 0]], schema(np.dtype(np.uint16)).field("tokens").type)
    count = len(lists)
    own = {"id": pa.array([bytes(16)] * count, pa.binary(16)), "tokens": lists, "bytes": pa.array([3] * count)}
    return pa.record_batch(list({**own, **columns}.values()), schema=schema(np.dtype(np.uint16)))


@given(lengths=st.lists(st.integers(1, 40), max_size=12), dtype=st.sampled_from([np.uint16, np.uint32]))
def test_shard_round_trip(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], dtype: type) -> None:
    path, shard = tmp_path_factory.mktemp("shard") / "a.arrow", make_shard(lengths, dtype)
    write_token_shard(path, shard)
    opened = open_token_shard(path)
    assert opened.header == HEADER and len(opened) == len(lengths)
    for name in ("ids_D16", "tokens_N", "offsets_D1", "bytes_D"):
        ours, theirs = getattr(shard, name), getattr(opened, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), name
        assert theirs.size == 0 or not theirs.flags.writeable


def test_shard_is_read_without_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    write_token_shard(path, make_shard([100_000] * 10))
    before = pa.total_allocated_bytes()
    shard = open_token_shard(path)
    assert pa.total_allocated_bytes() - before < 10_000 < shard.tokens_N.nbytes


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_token_shard(tmp_path / name, make_shard([3, 1, 9]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_token_dtype_follows_the_vocabulary() -> None:
    assert token_dtype(65_536) == np.uint16 and token_dtype(65_537) == np.uint32


def test_oversized_shard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.store.token_shards.MAX_SHARD_BYTES", 16 * 2 + 2 * 32)
    write_token_shard(tmp_path / "fits", make_shard([8, 8]))
    with pytest.raises(CorpusError, match="at most 96 bytes; these rows are 98"):
        write_token_shard(tmp_path / "over", make_shard([8, 9]))


@pytest.mark.parametrize("fault", ["ends in another token", "an empty document", "an id short"])
def test_inconsistent_shard_is_not_written(tmp_path: Path, fault: str) -> None:
    shard = make_shard([3, 4])
    tokens, offsets, ids = shard.tokens_N.copy(), shard.offsets_D1.copy(), shard.ids_D16
    if fault == "ends in another token":
        tokens[2] = 9
    elif fault == "an empty document":
        offsets[1] = 0
    else:
        ids = ids[:1]
    with pytest.raises(AssertionError):
        write_token_shard(tmp_path / "a", TokenShard(HEADER, ids, tokens, offsets, shard.bytes_D))


def test_invalid_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"

    def assert_refused(reason: str) -> None:
        with pytest.raises(CorpusError, match=reason) as caught:
            open_token_shard(path)
        assert str(path) in str(caught.value)

    assert_refused("cannot be read as a token shard")
    path.write_bytes(b"")
    assert_refused("cannot be read as a token shard")
    path.write_bytes(b"not arrow at all" * 100)
    assert_refused("cannot be read as a token shard")
    write_arrow(path, batch(), metadata={**METADATA, "format_version": "2"})
    assert_refused("format_version '2'; this release reads a token shard of version 1")
    write_arrow(path, batch(), metadata={})
    assert_refused("no format_version")
    write_arrow(path, batch(), metadata={**METADATA, "host": "x"})
    assert_refused("expected the schema metadata")
    write_arrow(path, batch(), metadata={**METADATA, "split": "test"})
    assert_refused("split 'test'; expected train or holdout")
    write_arrow(path, batch(), batch())
    assert_refused("2 record batches")
    write_arrow(path, pa.record_batch({"tokens": pa.array([[1]])}))
    assert_refused("columns are not those")
    write_arrow(path, batch(bytes=pa.array([3, None])))
    assert_refused("1 nulls")
    lists = pa.array([[5, None], [0]], batch().schema.field("tokens").type)
    write_arrow(path, batch(tokens=lists))
    assert_refused("1 nulls")
    write_arrow(path, batch([[5, 0], []]))
    assert_refused("a document without tokens")
    write_arrow(path, batch(bytes=pa.array([3, -3])))
    assert_refused("fewer than 0 bytes")
    write_arrow(path, batch([[5, 0] * 5000, [0]]), codec="zstd")
    assert_refused("compressed")


@pytest.mark.parametrize(("row", "offset"), [(0, 1), (1, 9), (1, 0), (2, 8), (2, 6), (2, -1)])
def test_damaged_offsets_are_refused(tmp_path: Path, row: int, offset: int) -> None:
    shard = make_shard([3, 4])
    write_token_shard(tmp_path / "good", shard)
    damaged = shard.offsets_D1.copy()
    damaged[row] = offset
    raw = (tmp_path / "good").read_bytes()
    assert raw.count(shard.offsets_D1.tobytes()) == 1
    (tmp_path / "bad").write_bytes(raw.replace(shard.offsets_D1.tobytes(), damaged.tobytes()))
    with pytest.raises(CorpusError, match="damaged token shard"):
        open_token_shard(tmp_path / "bad")


def test_random_damage_never_crashes(tmp_path: Path) -> None:
    """A truncated or altered file is refused, or its arrays can be read in full."""
    path, draw, refused = tmp_path / "whole", random.Random(5), 0
    write_token_shard(path, make_shard([5, 9, 2, 30]))
    whole = path.read_bytes()
    for attempt in range(800):
        damaged = bytearray(whole)
        if attempt % 4 == 0:
            del damaged[draw.randrange(len(whole)) :]
        for _ in range(draw.choice([1, 2, 6])):
            if damaged:
                damaged[draw.randrange(len(damaged))] = draw.choice([0, 1, 127, 128, 255])
        path.unlink()  # never modify a file that may still be mapped
        path.write_bytes(damaged)
        try:
            shard = open_token_shard(path)
        except CorpusError:
            refused += 1
        else:
            assert int(shard.tokens_N.sum()) + int(shard.ids_D16.sum()) + int(shard.bytes_D.sum()) >= 0
    assert refused > 300
