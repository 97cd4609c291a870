"""Read one value from a text shard."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.store import text_shards
from corpus.store.text_shards import TableWriter, read_one

SCHEMA = pa.schema([("text", pa.large_string())])
TEXTS = [f"text {number}" for number in range(10)]


@pytest.mark.parametrize("group_rows", [1, 3, 10, 20])
def test_row_is_read_with_any_row_group_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int) -> None:
    monkeypatch.setattr(text_shards, "BATCH_ROWS", group_rows)
    with TableWriter(tmp_path / "a.parquet", SCHEMA) as writer:
        for text in TEXTS:
            writer.write([text])
    assert [read_one(tmp_path / "a.parquet", row, "text") for row in range(10)] == TEXTS


def test_cached_row_group_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TableWriter(tmp_path / "a.parquet", SCHEMA) as writer:
        for text in TEXTS:
            writer.write([text])
    assert read_one(tmp_path / "a.parquet", 3, "text") == TEXTS[3]
    monkeypatch.setattr(pq, "ParquetFile", lambda path: pytest.fail("opened again"))
    assert read_one(tmp_path / "a.parquet", 4, "text") == TEXTS[4]
