"""Merge the token runs of a source into token shards, up to the quota, in order of (shuffle key, id).

Memory: `threshold` holds the rows of one key bin without tokens. `merge` holds one shard, and a window of about
WINDOW_TOKENS twice. A limited number of runs is open (`RunSet`), and nothing is written to disk in between.

Legend: D documents, N tokens of all documents, B key bins, S splits, 16 bytes of an id.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.store.corpus_manifest import Split
from corpus.store.token_shards import ROW_BYTES, SPLITS, ShardHeader, Tokens, TokenShard, token_dtype
from corpus.tokens.run_set import RunSet
from corpus.tokens.runs import BIN_BITS, BINS, KEYS, RunRows

REVISION = 1  # raise whenever the same runs give other shards
WINDOW_TOKENS = 16_000_000


class Cut(NamedTuple):
    """A point in the order of (key, id); documents before it are taken."""

    key: int
    id: bytes


NOTHING = Cut(0, bytes(16))
EVERYTHING = Cut(KEYS, bytes(16))


class MergedShard(NamedTuple):
    """The next shard of a partition, and the number of its documents by language."""

    shard: TokenShard
    languages: dict[str, int]


class _Columns(NamedTuple):
    """Documents as columns."""

    keys_D: NDArray[np.uint64]
    ids_D16: NDArray[np.uint8]
    languages_D: NDArray[np.object_]
    bytes_D: NDArray[np.int64]
    lengths_D: NDArray[np.int64]  # in tokens

    def select(self, index: NDArray[np.intp] | slice) -> "_Columns":
        keys_D, ids_D16, languages_D, bytes_D, lengths_D = self
        return _Columns(keys_D[index], ids_D16[index], languages_D[index], bytes_D[index], lengths_D[index])

    @staticmethod
    def concatenate(parts: Sequence["_Columns"]) -> "_Columns":
        return _Columns(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class _Window(NamedTuple):
    """Documents of all runs in a key range, in order; document i starts at token starts_D[i] of tokens_N."""

    documents: _Columns
    starts_D: NDArray[np.int64]
    tokens_N: Tokens


def threshold(runs: RunSet, quota: int) -> Cut:
    """Return the end of the shortest prefix of a source's training documents with at least `quota` tokens."""
    if quota <= 0:
        return NOTHING
    # The bins in the headers tell the one in which the quota is reached.
    total_B = np.cumsum(runs.tokens("train"))
    if quota > total_B[-1]:
        return EVERYTHING
    number = int(np.searchsorted(total_B, quota))
    before, end = int(total_B[number - 1]) if number else 0, (number + 1) << BIN_BITS
    # Only that bin's rows are read.
    documents = _window(runs, "train", (number << BIN_BITS, end), EVERYTHING, with_tokens=False).documents
    total_D = before + np.cumsum(documents.lengths_D)
    left_out = int(np.searchsorted(total_D, quota)) + 1  # the first document beyond the quota
    if left_out > len(total_D):
        raise CorpusError(f"{runs.folder}: damaged token runs: they have fewer tokens than their headers state")
    if left_out == len(total_D):
        return Cut(end, bytes(16))
    return Cut(int(documents.keys_D[left_out]), documents.ids_D16[left_out].tobytes())


def merge(
    runs: RunSet, recipe: str, split: Split, keys: tuple[int, int], cut: Cut, shard_bytes: int
) -> Iterator[MergedShard]:
    """Yield the shards of one split's documents before `cut` with low <= key < high, each of at most `shard_bytes`.

    `recipe` is the recipe's fingerprint. The shards depend on the documents alone, not on how the runs divide them. A
    document over `shard_bytes` gets a shard of its own.
    """
    run = runs.header
    header = ShardHeader(run.tokenizer, recipe, run.source, split)
    filling = _FillingShard(header, token_dtype(run.vocabulary), shard_bytes)
    for low_high in _key_ranges(runs.tokens(split), keys[0], min(keys[1], cut.key + 1)):
        window, taken = _window(runs, split, low_high, cut), 0
        while taken < len(window.starts_D):
            taken = filling.take(window, taken)
            if taken < len(window.starts_D):  # the shard is full
                yield filling.finish()
    if filling.documents:
        yield filling.finish()


def _key_ranges(tokens_B: NDArray[np.int64], low: int, high: int) -> Iterator[tuple[int, int]]:
    """Divide [low, high) into consecutive key ranges of about WINDOW_TOKENS: several bins, or a part of one."""
    start, tokens = low, 0
    for number in range(low >> BIN_BITS, BINS):
        parts = int(tokens_B[number]) // WINDOW_TOKENS + 1  # keys are hashes, so they are even inside a bin
        part_tokens = int(tokens_B[number]) // parts
        for part in range(parts):
            key = (number << BIN_BITS) + (part << BIN_BITS) // parts
            if tokens + part_tokens > WINDOW_TOKENS and start < key < high:
                yield start, key
                start, tokens = key, 0
            tokens += part_tokens
    if start < high:
        yield start, high


def _window(runs: RunSet, split: Split, keys: tuple[int, int], cut: Cut, *, with_tokens: bool = True) -> _Window:
    """Return one split's documents before `cut` with low <= key < high."""
    # Copy them out of one run after the other.
    empty = np.empty(0, np.int64)
    parts = [_Columns(np.empty(0, np.uint64), np.empty((0, 16), np.uint8), np.empty(0, np.object_), empty, empty)]
    tokens: list[Tokens] = [np.empty(0, np.uint8)]
    for run in runs.holding(split, keys):
        for rows in run.rows(*keys):
            languages_D = np.array(run.languages, np.object_)[rows.languages_D]
            documents = _Columns(rows.keys_D, rows.ids_D16, languages_D, rows.bytes_D, np.diff(rows.offsets_D1))
            selected = np.flatnonzero((rows.splits_D == SPLITS.index(split)) & _before(rows, cut))
            parts.append(documents.select(selected))
            if with_tokens and len(selected):
                slices = _slices(rows.tokens_N, rows.offsets_D1[selected], parts[-1].lengths_D)
                tokens.append(np.concatenate(slices))
    # Sort by key, then id. The tokens stay where they are.
    documents = _Columns.concatenate(parts)
    halves = np.ascontiguousarray(documents.ids_D16).view(">u8")
    order = np.lexsort((halves[:, 1], halves[:, 0], documents.keys_D))
    starts_D = np.cumsum(documents.lengths_D) - documents.lengths_D
    return _Window(documents.select(order), starts_D[order], np.concatenate(tokens))


def _before(rows: RunRows, cut: Cut) -> NDArray[np.bool_]:
    if cut.key >= KEYS:
        return np.ones(len(rows.keys_D), np.bool_)
    before_D = rows.keys_D < cut.key
    for row in np.flatnonzero(rows.keys_D == cut.key):
        before_D[row] = rows.ids_D16[row].tobytes() < cut.id
    return before_D


def _slices(tokens_N: Tokens, starts_D: NDArray[np.int64], lengths_D: NDArray[np.int64]) -> list[Tokens]:
    return [tokens_N[start : start + n] for start, n in zip(starts_D.tolist(), lengths_D.tolist(), strict=True)]


class _FillingShard:
    """The shard that documents are added to, in order."""

    def __init__(self, header: ShardHeader, dtype: "np.dtype[np.unsignedinteger]", shard_bytes: int) -> None:
        self._header, self._dtype, self._shard_bytes = header, dtype, shard_bytes
        self._reset()

    def _reset(self) -> None:
        # Reserved at full size; pages that no token reaches take no memory.
        self._tokens: Tokens = np.empty(self._shard_bytes // self._dtype.itemsize, self._dtype)
        self._parts: list[_Columns] = []
        self._filled = self._size = self.documents = 0

    def take(self, window: _Window, first: int) -> int:
        """Add documents from `first` on while they fit, at least one to an empty shard; return the next one's index."""
        sizes_D = np.cumsum(window.documents.lengths_D[first:] * self._dtype.itemsize + ROW_BYTES)
        count = int(np.searchsorted(sizes_D, self._shard_bytes - self._size, side="right"))
        if count == 0:
            if self.documents:
                return first
            count = 1  # a document over the limit
            self._tokens = np.empty(int(window.documents.lengths_D[first]), self._dtype)
        taken = window.documents.select(slice(first, first + count))
        filled = self._filled + int(taken.lengths_D.sum())
        slices = _slices(window.tokens_N, window.starts_D[first : first + count], taken.lengths_D)
        np.concatenate(slices, out=self._tokens[self._filled : filled])
        self._parts.append(taken)
        self._filled, self.documents = filled, self.documents + count
        self._size += int(sizes_D[count - 1])
        return first + count

    def finish(self) -> MergedShard:
        """Return the shard, and start an empty one."""
        columns = _Columns.concatenate(self._parts)
        offsets_D1 = np.concatenate([[0], np.cumsum(columns.lengths_D)])
        shard = TokenShard(self._header, columns.ids_D16, self._tokens[: self._filled], offsets_D1, columns.bytes_D)
        self._reset()
        return MergedShard(shard, dict(sorted(Counter(columns.languages_D.tolist()).items())))
