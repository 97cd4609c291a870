"""The golden build is reproducible, and any Arrow reader can read it."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.store.corpus_manifest import Manifest, ShardEntry, open_manifest, total
from corpus.store.token_shards import open_token_shard
from corpus.tokens import encode, merge, train_bpe
from corpus.tokens.encode import Encoder

GOLDEN = Path(__file__).parent / "corpus"
MANIFEST: Manifest = open_manifest(GOLDEN)
SHARDS: list[ShardEntry] = [shard for source in MANIFEST.sources for shard in source.shards]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def test_script_reproduces_the_golden_bytes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_golden", Path(__file__).parent / "make_golden.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    assert files(tmp_path) == files(GOLDEN)


def test_golden_build_is_small_and_complete() -> None:
    contents = files(GOLDEN)
    assert sum(map(len, contents.values())) < 60_000
    assert set(contents) == {"manifest.json", MANIFEST.tokenizer.file, *(shard.file for shard in SHARDS)}
    assert {shard.split for shard in SHARDS} == {"train", "holdout"} and len(MANIFEST.sources) == 3


def test_output_changes_only_with_its_revision() -> None:
    """If this fails, raise REVISION in the named module, make the golden build again, and record the new digest."""
    tokenizer, encoder = (GOLDEN / "tokenizer.json").read_bytes(), Encoder(GOLDEN / "tokenizer.json")
    texts = ["", "The miller counted.", "<|endoftext|>", "word " * 60_000, "x" * 260_000, "\0\r\n é😀"]
    digests = {
        "train": (train_bpe.REVISION, digest(tokenizer)),
        "encode": (encode.REVISION, digest(*(each.tobytes() for each in encoder.encode(texts)))),
        "merge": (merge.REVISION, digest(*((GOLDEN / shard.file).read_bytes() for shard in SHARDS))),
    }
    assert digests == {
        "train": (3, "3e55361f9c295c1f"),
        "encode": (1, "8b6e78824a1a08de"),
        "merge": (1, "022a591d7f0a83b5"),
    }


@pytest.mark.parametrize("shard", SHARDS, ids=lambda shard: shard.file)
def test_manifest_matches_the_shard(shard: ShardEntry) -> None:
    raw, opened = (GOLDEN / shard.file).read_bytes(), open_token_shard(GOLDEN / shard.file)
    assert (hashlib.sha256(raw).hexdigest(), len(raw)) == (shard.sha256, shard.file_bytes)
    assert (len(opened), len(opened.tokens_N), opened.bytes_D.sum()) == (shard.documents, shard.tokens, shard.bytes)
    assert (opened.header.recipe, opened.header.tokenizer) == (MANIFEST.recipe, MANIFEST.tokenizer.sha256)
    lengths = np.sort(np.diff(opened.offsets_D1))
    assert (lengths[0], lengths[-1]) == (shard.length_quantiles.p0, shard.length_quantiles.p100)
    assert sum(shard.languages.values()) == shard.documents


def test_documents_decode_to_texts_and_end_in_eos() -> None:
    encoder = Encoder(GOLDEN / MANIFEST.tokenizer.file)
    texts = []
    for shard in SHARDS:
        opened = open_token_shard(GOLDEN / shard.file)
        for start, end, size in zip(opened.offsets_D1[:-1], opened.offsets_D1[1:], opened.bytes_D, strict=True):
            tokens = opened.tokens_N[start:end]
            assert tokens[-1] == MANIFEST.tokenizer.eos.id and MANIFEST.tokenizer.eos.id not in tokens[:-1]
            texts.append(encoder.decode(tokens))
            assert len(texts[-1].encode()) == size
    assert any("<|endoftext|>" in text for text in texts) and any("水车" in text for text in texts)


def test_shares_equal_those_of_the_shards() -> None:
    tokens = {
        source.name: sum(
            len(open_token_shard(GOLDEN / shard.file).tokens_N) for shard in source.shards if shard.split == "train"
        )
        for source in MANIFEST.sources
    }
    for source in MANIFEST.sources:
        assert source.share_got == pytest.approx(tokens[source.name] / sum(tokens.values()))
        assert abs(source.share_got - source.share_asked) < 0.03


def arrow_rows(path: Path) -> list[dict[str, object]]:
    """Read a shard with pyarrow alone, as docs/formats.md shows."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    tokens, offsets = batch["tokens"].values.to_numpy(), batch["tokens"].offsets.to_numpy()
    return [
        {"id": name, "tokens": tokens[start:end].tolist(), "bytes": size}
        for name, start, end, size in zip(
            batch["id"].to_pylist(), offsets[:-1], offsets[1:], batch["bytes"].to_pylist(), strict=True
        )
    ]


@pytest.mark.parametrize("shard", SHARDS, ids=lambda shard: shard.file)
def test_polars_reads_a_shard(shard: ShardEntry) -> None:
    import polars

    for frame in (polars.read_ipc(GOLDEN / shard.file), polars.scan_ipc(GOLDEN / shard.file).collect()):
        assert frame.to_dicts() == arrow_rows(GOLDEN / shard.file)
        assert frame.schema["tokens"] == polars.List(polars.UInt16)


def test_duckdb_reads_all_shards_through_pyarrow() -> None:
    import duckdb

    for source in MANIFEST.sources:
        paths = [GOLDEN / shard.file for shard in source.shards if shard.split == "train"]
        shards = pa.concat_tables(pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in paths)
        totals = (
            duckdb.from_arrow(shards).aggregate("count(*), sum(len(tokens)), sum(bytes), max(tokens[-1])").fetchall()
        )
        train_ = total([shard for shard in source.shards if shard.split == "train"])
        assert totals == [(train_.documents, train_.tokens, train_.bytes, MANIFEST.tokenizer.eos.id)]
        assert duckdb.from_arrow(shards).fetchall() == [
            tuple(row.values()) for path in paths for row in arrow_rows(path)
        ]
