"""Other libraries read our shards and count what the manifest states."""

from pathlib import Path

import pyarrow as pa
import pytest

from corpus.store.corpus_manifest import Manifest, open_manifest
from tests.end_to_end.builds import finish, start, write_recipe


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    finish(start(write_recipe(folder, data), folder / "out"))
    return folder / "out"


@pytest.fixture(scope="module")
def manifest(out: Path) -> Manifest:
    return open_manifest(out)


def text_shards(out: Path) -> list[str]:
    return sorted(str(path) for path in out.glob("jobs/text.*/text-*.parquet"))


def test_token_shards_recounted_with_plain_pyarrow(out: Path, manifest: Manifest) -> None:
    trained: dict[str, int] = {}
    for source in manifest.sources:
        assert source.shards
        for shard in source.shards:
            with pa.memory_map(str(out / shard.file)) as file:
                table = pa.ipc.open_file(file).read_all()
            tokens = table["tokens"].combine_chunks()
            lengths = tokens.value_lengths().to_pylist()
            assert (table.num_rows, sum(lengths), sum(table["bytes"].to_pylist())) == (
                shard.documents, shard.tokens, shard.bytes,
            )  # fmt: skip
            assert (min(lengths), max(lengths)) == (shard.length_quantiles.p0, shard.length_quantiles.p100)
            assert {row[-1] for row in tokens.to_pylist()} == {manifest.tokenizer.eos.id}
            if shard.split == "train":
                trained[source.name] = trained.get(source.name, 0) + sum(lengths)
    for source in manifest.sources:
        assert source.share_got == pytest.approx(trained[source.name] / sum(trained.values()))
    assert sum(trained.values()) == manifest.tokens_got


def test_token_shards_in_polars_and_duckdb(out: Path, manifest: Manifest) -> None:
    import duckdb
    import polars

    for source in manifest.sources:
        for shard in source.shards:
            frame = polars.read_ipc(out / shard.file)
            assert frame.height == shard.documents
            assert frame["tokens"].list.len().sum() == shard.tokens
            with pa.memory_map(str(out / shard.file)) as file:
                documents = pa.ipc.open_file(file).read_all()  # noqa: F841  (DuckDB finds it by name)
            counted = duckdb.sql("select count(*), sum(len(tokens)), sum(bytes) from documents").fetchall()[0]
            assert counted == (shard.documents, shard.tokens, shard.bytes)


def test_text_shards_in_polars_duckdb_and_datasets(
    out: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb
    import polars

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    from datasets import load_dataset

    files = text_shards(out)
    holdout = sum(source.holdout.documents for source in manifest.sources)
    frame = polars.read_parquet(files)
    assert frame.filter(polars.col("split") == "holdout").height == holdout > 0
    counted = duckdb.sql(f"select split, count(*) from read_parquet({files}) group by split").fetchall()
    assert dict(counted)["holdout"] == holdout
    loaded = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path), split="train")
    assert loaded.num_rows == frame.height
    assert loaded[0]["text"] == frame["text"][0]


def test_token_shards_decode_to_the_texts(out: Path, manifest: Manifest) -> None:
    import polars

    from corpus.store.token_shards import open_token_shard
    from corpus.tokens.encode import Encoder

    encoder = Encoder(out / manifest.tokenizer.file)
    frame = polars.read_parquet(text_shards(out))
    texts = dict(zip(frame["id"], frame["text"], strict=True))
    splits = dict(zip(frame["id"], frame["split"], strict=True))
    documents = 0
    for source in manifest.sources:
        for entry in source.shards:
            shard = open_token_shard(out / entry.file)
            for row in range(len(shard)):
                document_id = shard.ids_D16[row].tobytes().hex()
                tokens = shard.tokens_N[shard.offsets_D1[row] : shard.offsets_D1[row + 1]]
                assert encoder.decode(tokens) == texts[document_id]
                assert splits[document_id] == entry.split
                documents += 1
    assert documents == sum(
        len(source.shards) and source.train.documents + source.holdout.documents for source in manifest.sources
    )
