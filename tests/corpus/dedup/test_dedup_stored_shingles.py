"""Shingles of chosen documents, stored in one pass over their text shards."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup.shingles import shingles
from corpus.dedup.stored_shingles import ShardRows, store_shingles


def text_of(shard: int, row: int) -> str:
    return f"text of row {row} in shard {shard} " * (1 + row % 3)


@pytest.mark.parametrize("group_rows", [1, 3, 10, 20])
def test_sets_are_those_of_the_texts_in_any_row_groups(tmp_path: Path, group_rows: int) -> None:
    chosen = ([0, 2, 9], [], [3, 4, 5, 6], list(range(10)))
    shards, read = [], []
    for shard, rows in enumerate(chosen):
        texts = pa.array([text_of(shard, row) for row in range(10)], pa.large_string())
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{shard}.parquet", row_group_size=group_rows)
        shards.append(ShardRows(tmp_path / f"{shard}.parquet", np.array(rows, dtype=np.int64)))
    hashes, start, size = store_shingles(shards, 5, tmp_path / "shingles", read.append)
    texts = [text_of(shard, row) for shard, rows in enumerate(chosen) for row in rows]
    assert sum(read) == sum(map(len, texts)) and len(start) == len(size) == len(texts)
    for text, first, length in zip(texts, start.tolist(), size.tolist(), strict=True):
        assert hashes[first : first + length].tolist() == shingles(text, 5).tolist()


def test_nothing_chosen(tmp_path: Path) -> None:
    hashes, start, size = store_shingles([], 5, tmp_path / "shingles")
    assert len(hashes) == len(start) == len(size) == 0
