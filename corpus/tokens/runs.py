"""The token run: the tokens of one task of one source, sorted by (shuffle key, id).

The shuffle key is a keyed hash of the id, so that sorting is the global shuffle. The header has the numbers of rows and
tokens of each key bin, from which quotas are found without reading rows. Format: docs/formats.md.

Legend: D documents, D1 = D + 1, N tokens of all documents, B key bins, S splits (train, holdout), 16 bytes of an id.
"""

import json
from collections.abc import Iterator
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
from corpus.store.token_shards import SPLITS, Tokens, id_views, list_array, list_views, token_dtype, token_list

FORMAT_VERSION = "1"
REVISION = 1  # raise whenever the same documents give another run
KEYS = 2**64
BINS = 1024
BIN_BITS = 54  # bin = key >> 54
BATCH_TOKENS = 1_000_000  # of a record batch at most, unless one document has more


class RunHeader(NamedTuple):
    """Properties that all runs of a source must share to be merged."""

    source: str
    tokenizer: str  # SHA-256 of tokenizer.json, hex
    vocabulary: int
    seed: int


class RunRows(NamedTuple):
    """Documents in order, as views of one batch. Document i is `tokens_N[offsets_D1[i]:offsets_D1[i + 1]]`."""

    keys_D: NDArray[np.uint64]
    ids_D16: NDArray[np.uint8]
    splits_D: NDArray[np.uint8]  # index into SPLITS
    languages_D: NDArray[np.int32]  # index into the run's languages
    bytes_D: NDArray[np.int64]
    offsets_D1: NDArray[np.int64]
    tokens_N: Tokens


class Bins(NamedTuple):
    """Numbers of rows and tokens by split and key bin."""

    rows_SB: NDArray[np.int64]
    tokens_SB: NDArray[np.int64]


def order_key(seed: int, document: str) -> int:
    """Return the shuffle key of a document."""
    return keyed_hash(seed, "order", document)


def schema(vocabulary: int) -> pa.Schema:
    """Return the columns in order; none has nulls."""
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
        """Add a document by its id (hex). `text_bytes` is the size of its text as UTF-8; `tokens` end in EOS."""
        if len(tokens) == 0 or tokens.dtype != self._dtype:
            raise ValueError(f"expected at least EOS, as {self._dtype}; found {len(tokens)} tokens of {tokens.dtype}")
        key = order_key(self._header.seed, document)
        self._rows.append((key, bytes.fromhex(document), SPLITS.index(split), language, text_bytes))
        self._tokens.append(tokens)

    def write(self, path: Path) -> None:
        """Write the run to `path`. The same documents, added in any order, give the same bytes."""
        order = sorted(range(len(self._rows)), key=lambda row: self._rows[row][:2])
        rows, tokens = [self._rows[row] for row in order], [self._tokens[row] for row in order]
        languages = sorted({row[3] for row in rows})
        header = {key: str(value) for key, value in self._header._asdict().items()}
        columns = schema(self._header.vocabulary)
        columns = columns.with_metadata({"format_version": FORMAT_VERSION, **header, "bins": self._bins()})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns) as writer:
            for start, end in _batch_ranges(list(map(len, tokens))):
                writer.write_batch(_record_batch(rows[start:end], tokens[start:end], languages, columns))

    def bins(self) -> Bins:
        """Return the numbers of rows and tokens by split and key bin."""
        bins = Bins(*np.zeros((2, len(SPLITS), BINS), np.int64))
        for row, tokens in zip(self._rows, self._tokens, strict=True):
            bins.rows_SB[row[2], row[0] >> BIN_BITS] += 1
            bins.tokens_SB[row[2], row[0] >> BIN_BITS] += len(tokens)
        return bins

    def _bins(self) -> str:
        rows_SB, tokens_SB = self.bins()
        return json.dumps({"rows": rows_SB.tolist(), "tokens": tokens_SB.tolist()}, separators=(",", ":"))


def _batch_ranges(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """Divide documents of these lengths into ranges of at most BATCH_TOKENS, or one document."""
    start = size = 0
    for row, length in enumerate(lengths):
        if row > start and size + length > BATCH_TOKENS:
            yield start, row
            start, size = row, 0
        size += length
    if lengths:
        yield start, len(lengths)


def _record_batch(
    rows: list[tuple[int, bytes, int, str, int]], tokens: list[Tokens], languages: list[str], columns: pa.Schema
) -> pa.RecordBatch:
    keys, ids, splits, codes, sizes = zip(*rows, strict=True)
    numbers = pa.array([languages.index(code) for code in codes], pa.int32())
    arrays = [
        pa.array(np.array(keys, np.uint64)),
        pa.array(ids, pa.binary(16)),
        pa.array(splits, pa.uint8()),
        pa.DictionaryArray.from_arrays(numbers, pa.array(languages, pa.string())),
        pa.array(sizes, pa.int64()),
        list_array(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)], dtype=np.int64)),
    ]
    return pa.record_batch(arrays, schema=columns)


class TokenRun:
    """An open run. The file stays mapped while the run or a view of its rows exists."""

    def __init__(self, path: Path) -> None:
        """Raises CorpusError if the file is missing, damaged, of another format version, or not a token run."""
        self.path = path
        self._file = ArrowFile(path, "token run")
        self._file.refuse_other_versions(FORMAT_VERSION)
        stored = self._file.metadata
        try:
            source, tokenizer = stored["source"].decode(), stored["tokenizer"].decode()
            vocabulary, seed = int(stored["vocabulary"]), int(stored["seed"])
        except (KeyError, ValueError) as error:
            raise CorpusError(f"{path}: damaged token run: invalid schema metadata: {error}") from None
        self.header = RunHeader(source, tokenizer, vocabulary, seed)
        if not self._file.reader.schema.equals(schema(vocabulary)):
            raise CorpusError(f"{path}: its columns are not those of a token run")

    @cached_property
    def bins(self) -> Bins:
        """Numbers of rows and tokens by split and key bin, from the header."""
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
        """The language codes that `languages_D` indexes."""
        codes: list[str] = self._batches[0].column("language").dictionary.to_pylist() if self._batches else []
        return codes

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        return [self._file.batch(index) for index in range(self._file.reader.num_record_batches)]

    def rows(self, low: int, high: int) -> Iterator[RunRows]:
        """Yield the rows with low <= key < high, in order, as views. Only their pages of the file are read."""
        for batch in self._batches:
            keys = batch.column("key").to_numpy(zero_copy_only=True)
            if len(keys) == 0 or int(keys[0]) >= high or int(keys[-1]) < low:
                continue
            start, end = _position(keys, low), _position(keys, high)
            if start < end:
                yield self._view(batch, start, end)

    def _view(self, batch: pa.RecordBatch, start: int, end: int) -> RunRows:
        tokens_N, offsets = list_views(batch.column("tokens"))
        offsets_D1 = offsets[start : end + 1]
        rows = RunRows(
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
            raise CorpusError(f"{self.path}: damaged token run: rows are out of order, or point outside the file")
        return rows


def _position(keys: NDArray[np.uint64], key: int) -> int:
    """Return the first row whose key is not below `key`, which may be 2**64."""
    return len(keys) if key >= KEYS else int(np.searchsorted(keys, np.uint64(key)))
