"""The signatures of all documents, read from files into columns, and the policy order of the documents."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.dedup.decide import DedupColumns, Ranks

ID_BYTES = CONTENT_BYTES = 16


class Part(NamedTuple):
    """Documents of one task of a source."""

    source: str
    priority: int  # of the source
    task: int
    kept: Path  # text shard
    signatures: Path
    first: int  # row of the columns
    end: int  # row behind the last


class Signatures:
    """Columns over the documents of all parts, in order."""

    def __init__(self, parts: Sequence[Part], bands: int, heartbeat: Callable[[], None]) -> None:
        """`bands` is the number of bands of a document; `heartbeat` is called before each part is read."""
        self.parts = parts
        self._first_rows = [part.first for part in parts]
        count = parts[-1].end if parts else 0
        self._ids = np.empty((count, ID_BYTES), np.uint8)
        self.text_bytes = np.empty(count, np.int64)
        content, hashes = np.empty((count, CONTENT_BYTES), np.uint8), np.zeros((count, bands), np.uint64)
        has_bands = np.empty(count, np.bool_)
        origin_file, origin_start = np.empty(count, np.int32), np.empty(count, np.int64)
        known_files: dict[str, int] = {}
        for part in parts:
            heartbeat()
            rows = slice(part.first, part.end)
            table = pq.read_table(part.signatures, use_threads=False)
            self._ids[rows] = _matrix(bytes.fromhex("".join(table["id"].to_pylist())), ID_BYTES)
            self.text_bytes[rows] = table["text_bytes"].to_numpy()
            content[rows] = _matrix(b"".join(table["content"].to_pylist()), CONTENT_BYTES)
            column = table["bands"].combine_chunks()
            has_bands[rows] = valid = column.is_valid().to_numpy(zero_copy_only=False)
            if bands:
                hashes[rows][valid] = column.flatten().to_numpy().reshape(-1, bands)
            origin_file[rows] = _numbers(table["origin_file"], known_files)
            origin_start[rows] = table["origin_start"].to_numpy()
        # Policy order: by priority, then by length of the text, then by id; copies of one record by origin.
        priority = np.repeat([part.priority for part in parts], [part.end - part.first for part in parts])
        place_of_file = np.empty(len(known_files), np.int32)
        place_of_file[[known_files[name] for name in sorted(known_files)]] = np.arange(len(known_files))
        id_halves = self._ids.view(">u8")
        keys = (origin_start, place_of_file[origin_file], id_halves[:, 1], id_halves[:, 0], -self.text_bytes, -priority)
        self.columns = DedupColumns(np.lexsort(keys), content, hashes, has_bands)

    def id(self, row: int) -> str:
        """Return the id of a document."""
        return bytes(self._ids[row]).hex()

    def source(self, row: int) -> str:
        """Return the source of a document."""
        return self.parts[bisect_right(self._first_rows, row) - 1].source


def _matrix(joined: bytes, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(joined, np.uint8).reshape(-1, width)


def _numbers(names: pa.ChunkedArray, known: dict[str, int]) -> Ranks:
    """Return a number for each name; new names are added to `known`."""
    coded = names.combine_chunks().dictionary_encode()
    numbers = np.array([known.setdefault(name, len(known)) for name in coded.dictionary.to_pylist()], np.int64)
    places: Ranks = coded.indices.to_numpy()
    return numbers[places]
