"""The token run: what one task tokenized of one source, in the order in which mix will write it.

That order is by (key, id), where the key is a keyed hash of the id: the one global shuffle. The header counts rows
and tokens of each key bin, so that quotas are found without reading a row. Format: docs/formats.md.

Legend: D documents, D1 = D + 1, N tokens of all documents, B key bins, S splits (train, holdout), 16 bytes of an id.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.store.arrow_file import ArrowFile
from corpus.store.corpus_manifest import Split
from corpus.store.token_shards import (
    SPLITS,
    Tokens,
    id_views,
    list_array,
    list_views,
    token_dtype,
    token_list,
)

FORMAT_VERSION = "1"
REVISION = 1  # raised whenever the same documents give another run
KEYS = 2**64
BINS = 1024
BIN_BITS = 54  # bin = key >> 54
BATCH_TOKENS = 1_000_000  # a batch holds about so many: more only where one document does


class RunHeader(NamedTuple):
    """What all runs of a source must agree on to be merged."""

    source: str
    tokenizer: str  # SHA-256 of tokenizer.json, hex
    vocabulary: int
    seed: int


class Rows(NamedTuple):
    """Documents in order, as views of one batch; document i is `tokens_N[offsets_D1[i]:offsets_D1[i + 1]]`."""

    keys_D: NDArray[np.uint64]
    ids_D16: NDArray[np.uint8]
    splits_D: NDArray[np.uint8]  # index into SPLITS
    languages_D: NDArray[np.int32]  # index into the run's languages
    bytes_D: NDArray[np.int64]
    offsets_D1: NDArray[np.int64]
    tokens_N: Tokens


class Bins(NamedTuple):
    """Counts by split and key bin."""

    rows_SB: NDArray[np.int64]
    tokens_SB: NDArray[np.int64]


def order_key(seed: int, document: str) -> int:
    """Where a document stands in the shuffle."""
    return keyed_hash(seed, "order", document)


def schema(vocabulary: int) -> pa.Schema:
    """The columns in order; no nulls anywhere."""
    columns = {
        "key": pa.uint64(),
        "id": pa.binary(16),
        "split": pa.uint8(),
        "language": pa.dictionary(pa.int32(), pa.string()),
        "bytes": pa.int64(),
        "tokens": token_list(token_dtype(vocabulary)),
    }
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


class RunWriter:
    """Collects the documents of one task in memory, then writes them in order."""

    def __init__(self, header: RunHeader) -> None:
        self._header, self._dtype = header, token_dtype(header.vocabulary)
        self._rows: list[tuple[int, bytes, int, str, int]] = []
        self._tokens: list[Tokens] = []

    def add(self, document: str, split: Split, language: str, text_bytes: int, tokens: Tokens) -> None:
        """Takes one document: its id in hex, its language code, the UTF-8 bytes of its text, its tokens with EOS."""
        if len(tokens) == 0 or tokens.dtype != self._dtype:
            raise ValueError(f"expected at least EOS, as {self._dtype}; found {len(tokens)} tokens of {tokens.dtype}")
        key = order_key(self._header.seed, document)
        self._rows.append((key, bytes.fromhex(document), SPLITS.index(split), language, text_bytes))
        self._tokens.append(tokens)

    def write(self, path: Path) -> None:
        """Writes the run under exactly this name; the same documents, added in any order, give the same bytes."""
        order = sorted(range(len(self._rows)), key=lambda row: self._rows[row][:2])
        languages = sorted({row[3] for row in self._rows})
        stored = {**self._header._asdict(), "vocabulary": str(self._header.vocabulary), "seed": str(self._header.seed)}
        metadata = {"format_version": FORMAT_VERSION, **stored, "bins": self._bins()}
        columns = schema(self._header.vocabulary).with_metadata(metadata)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns) as writer:
            for batch in self._batches(order):
                writer.write_batch(self._batch(batch, languages, columns))

    def _bins(self) -> str:
        counts = np.zeros((2, len(SPLITS), BINS), np.int64)
        for row, tokens in zip(self._rows, self._tokens, strict=True):
            counts[:, row[2], row[0] >> BIN_BITS] += (1, len(tokens))
        return json.dumps({"rows": counts[0].tolist(), "tokens": counts[1].tolist()}, separators=(",", ":"))

    def _batches(self, order: list[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        size = 0
        for row in order:
            if batch and size + len(self._tokens[row]) > BATCH_TOKENS:
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += len(self._tokens[row])
        if batch:
            yield batch

    def _batch(self, order: list[int], languages: list[str], columns: pa.Schema) -> pa.RecordBatch:
        keys, ids, splits, codes, sizes = zip(*(self._rows[row] for row in order), strict=True)
        lists = [self._tokens[row] for row in order]
        index = {code: number for number, code in enumerate(languages)}
        numbers = pa.array([index[code] for code in codes], pa.int32())
        return pa.record_batch(
            [
                pa.array(np.array(keys, np.uint64)),
                pa.array(ids, pa.binary(16)),
                pa.array(splits, pa.uint8()),
                pa.DictionaryArray.from_arrays(numbers, pa.array(languages, pa.string())),
                pa.array(sizes, pa.int64()),
                list_array(np.concatenate(lists), np.cumsum([0, *map(len, lists)], dtype=np.int64)),
            ],
            schema=columns,
        )


class Run:
    """An open run; the file stays mapped as long as the run or a view of its rows is held."""

    def __init__(self, path: Path) -> None:
        """Raises CorpusError if the file is missing, damaged, of another format version, or not a token run."""
        self.path = path
        self._file = ArrowFile.open(path, "token run")
        self._file.refuse_other_versions(FORMAT_VERSION)
        stored = self._file.metadata
        try:
            source, tokenizer = stored["source"].decode(), stored["tokenizer"].decode()
            vocabulary, seed = int(stored["vocabulary"]), int(stored["seed"])
        except (KeyError, ValueError) as error:
            raise CorpusError(f"{path}: damaged token run: its schema metadata lacks or garbles {error}") from None
        self.header = RunHeader(source, tokenizer, vocabulary, seed)
        if not self._file.reader.schema.equals(schema(vocabulary)):
            raise CorpusError(f"{path}: its columns are not those of a token run")

    @cached_property
    def bins(self) -> Bins:
        """Rows and tokens by split and key bin, from the header."""
        try:
            stored = json.loads(self._file.metadata["bins"])
            bins = Bins(np.array(stored["rows"], np.int64), np.array(stored["tokens"], np.int64))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CorpusError(f"{self.path}: damaged token run: its bins: {error}") from None
        if any(counts.shape != (len(SPLITS), BINS) or counts.min() < 0 for counts in bins):
            raise CorpusError(f"{self.path}: damaged token run: expected counts of {len(SPLITS)} splits x {BINS} bins")
        return bins

    @cached_property
    def languages(self) -> list[str]:
        """The language codes that `languages_D` points to."""
        found: list[str] = self._batches[0].column("language").dictionary.to_pylist() if self._batches else []
        return found

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        return [self._file.batch(index) for index in range(self._file.reader.num_record_batches)]

    def rows(self, low: int, high: int) -> Iterator[Rows]:
        """The rows with low <= key < high, in order, as views; only their pages are read, found by binary search."""
        for batch in self._batches:
            keys = batch.column("key").to_numpy(zero_copy_only=True)
            if len(keys) == 0 or int(keys[0]) >= high or int(keys[-1]) < low:
                continue
            start, end = _position(keys, low), _position(keys, high)
            if start < end:
                yield self._view(batch, start, end)

    def _view(self, batch: pa.RecordBatch, start: int, end: int) -> Rows:
        tokens_N, offsets = list_views(batch.column("tokens"))
        offsets_D1 = offsets[start : end + 1]
        rows = Rows(
            batch.column("key").to_numpy(zero_copy_only=True)[start:end],
            id_views(batch.column("id"))[start:end],
            batch.column("split").to_numpy(zero_copy_only=True)[start:end],
            batch.column("language").indices.to_numpy(zero_copy_only=True)[start:end],
            batch.column("bytes").to_numpy(zero_copy_only=True)[start:end],
            offsets_D1,
            tokens_N,
        )
        unordered = bool((rows.keys_D[1:] < rows.keys_D[:-1]).any())
        outside = offsets_D1[0] < 0 or offsets_D1[-1] > len(tokens_N) or bool((np.diff(offsets_D1) < 1).any())
        languages = rows.languages_D.min() < 0 or rows.languages_D.max() >= len(self.languages)
        if unordered or outside or languages or rows.splits_D.max() >= len(SPLITS):
            raise CorpusError(f"{self.path}: damaged token run: rows out of order, or pointing outside the file")
        return rows


def _position(keys: NDArray[np.uint64], key: int) -> int:
    """The first row whose key is not below `key`, which may be 2**64."""
    return len(keys) if key >= KEYS else int(np.searchsorted(keys, np.uint64(key)))


def count_documents(runs: Sequence[Path], split: Split, keys: tuple[int, int]) -> tuple[int, int]:
    """Documents of a split with a key in [low, high), and the bytes of their text."""
    documents = size = 0
    for path in runs:
        for rows in Run(path).rows(*keys):
            wanted = rows.splits_D == SPLITS.index(split)
            documents, size = documents + int(wanted.sum()), size + int(rows.bytes_D[wanted].sum())
    return documents, size
