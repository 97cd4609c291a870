"""Shingle sets of chosen documents, computed in one pass over their text shards and stored in one mapped file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.dedup.shingles import ShingleSets, shingles

Rows = NDArray[np.int64]
ReadBytes = Callable[[int], None]


class ShardRows(NamedTuple):
    """Rows of a text shard, ascending."""

    path: Path
    rows: Rows


def store_shingles(
    shards: Sequence[ShardRows], ngram_words: int, path: Path, progress: ReadBytes = lambda size: None
) -> ShingleSets:
    """Write the sets of these documents to a file at `path`, and return them in order. Each row group is read once."""
    size = np.zeros(sum(len(shard.rows) for shard in shards), np.int64)
    number = 0
    with path.open("wb") as file:
        for texts in _chosen_texts(shards):
            progress(pc.sum(pc.binary_length(texts)).as_py())
            for text in texts.to_pylist():
                found = shingles(text, ngram_words)
                file.write(found.data)
                size[number] = len(found)
                number += 1
    hashes = np.memmap(path, np.uint64, "r") if size.any() else np.empty(0, np.uint64)
    return ShingleSets(np.asarray(hashes), np.cumsum(size) - size, size)


def _chosen_texts(shards: Sequence[ShardRows]) -> Iterator[pa.ChunkedArray]:
    """Yield the texts of each row group that holds chosen rows."""
    for path, rows in shards:
        if not len(rows):
            continue
        with pq.ParquetFile(path) as file:
            first = 0
            for group in range(file.num_row_groups):
                end = first + file.metadata.row_group(group).num_rows
                chosen = rows[np.searchsorted(rows, first) : np.searchsorted(rows, end)] - first
                if len(chosen):
                    yield file.read_row_group(group, columns=["text"])["text"].take(chosen)
                first = end
