"""Token runs to token shards: where a source's quota ends, and its documents before that point, in order.

Memory: `threshold` holds the rows of one key bin, without tokens. `merge` holds one shard, and one
window of about WINDOW_TOKENS twice. One run is open at a time, whatever their number: nothing is spilled to disk.

Legend: D documents, N tokens of all documents, B key bins, S splits, 16 bytes of an id.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.store.corpus_manifest import Split
from corpus.store.token_shards import ROW_BYTES, SPLITS, ShardHeader, Tokens, TokenShard, token_dtype
from corpus.tokens.runs import BIN_BITS, BINS, KEYS, Bins, Rows, Run, RunHeader

REVISION = 1  # raised whenever the same runs give other shards
WINDOW_TOKENS = 16_000_000
TRAIN = SPLITS.index("train")


class Cut(NamedTuple):
    """A point in the order of (key, id); what lies before it is taken."""

    key: int
    id: bytes


NOTHING = Cut(0, bytes(16))
EVERYTHING = Cut(KEYS, bytes(16))


class Merged(NamedTuple):
    """The next shard of a partition, and how many of its documents are in each language."""

    shard: TokenShard
    languages: dict[str, int]


class _Found(NamedTuple):
    """Documents of one split out of one batch of a run, copied."""

    keys_D: NDArray[np.uint64]
    ids_D16: NDArray[np.uint8]
    languages_D: NDArray[np.int64]  # index into a list that all runs share
    bytes_D: NDArray[np.int64]
    lengths_D: NDArray[np.int64]
    tokens_N: Tokens


class _Window(NamedTuple):
    """Documents of all runs in a key range, in order; document i is `tokens_N[starts_D[i]:ends_D[i]]`."""

    ids_D16: NDArray[np.uint8]
    languages_D: NDArray[np.int64]
    bytes_D: NDArray[np.int64]
    starts_D: NDArray[np.int64]
    ends_D: NDArray[np.int64]
    sizes_D: NDArray[np.int64]  # in a shard: bytes of this document and all before it
    tokens_N: Tokens


def threshold(runs: Sequence[Path], quota: int) -> Cut:
    """The end of the smallest prefix of a source's training documents that holds `quota` tokens (or of all of them).

    Found from the headers, then from the rows of one bin.
    """
    if quota <= 0:
        return NOTHING
    total_B = np.cumsum(_headers(runs)[1].tokens_SB[TRAIN])
    if quota > total_B[-1]:
        return EVERYTHING
    number = int(np.searchsorted(total_B, quota))
    before, end = int(total_B[number - 1]) if number else 0, (number + 1) << BIN_BITS
    keys_D, ids_D16, lengths_D = _train_rows(runs, number << BIN_BITS, end)
    order = _order(keys_D, ids_D16)
    taken_D = before + np.cumsum(lengths_D[order])
    left = int(np.searchsorted(taken_D, quota)) + 1  # the first document left out
    if left > len(order):
        raise CorpusError(f"{runs[0].parent}: damaged token runs: they hold fewer tokens than their headers say")
    return Cut(int(keys_D[order[left]]), ids_D16[order[left]].tobytes()) if left < len(order) else Cut(end, bytes(16))


def merge(
    runs: Sequence[Path], recipe: str, split: Split, keys: tuple[int, int], cut: Cut, shard_bytes: int
) -> Iterator[Merged]:
    """The shards, of at most `shard_bytes` each, of one split's documents before `cut` with low <= key < high.

    `recipe` is its fingerprint. The shards depend on the documents alone, not on how these lie in runs. A document
    over `shard_bytes` gets a shard of its own.
    """
    run, bins = _headers(runs)
    languages: list[str] = []
    filling = _Filling(ShardHeader(run.tokenizer, recipe, run.source, split), run.vocabulary, shard_bytes, languages)
    for low, high in _windows(bins.tokens_SB[SPLITS.index(split)], keys[0], min(keys[1], cut.key + 1)):
        window = _window(runs, split, (low, high), cut, languages)
        done, documents = 0, len(window.sizes_D) if window else 0
        while window and done < documents:
            done = filling.take(window, done)
            if done < documents:
                yield filling.finish()
    if filling.documents:
        yield filling.finish()


def _headers(runs: Sequence[Path]) -> tuple[RunHeader, Bins]:
    """The header that all runs share, and the sums of their bins."""
    if not runs:
        raise ValueError("a source has at least one run, perhaps an empty one")
    shared = Run(runs[0]).header
    sums = Bins(*np.zeros((2, len(SPLITS), BINS), np.int64))
    for path in runs:
        run = Run(path)
        if run.header != shared:
            raise CorpusError(f"{path}: a token run of {run.header}; expected {shared}, as {runs[0].name} has")
        sums = Bins(sums.rows_SB + run.bins.rows_SB, sums.tokens_SB + run.bins.tokens_SB)
    return shared, sums


def _train_rows(
    runs: Sequence[Path], low: int, high: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64]]:
    """Keys, ids and lengths of the training documents in a key range, run after run."""
    keys, ids, lengths = [np.empty(0, np.uint64)], [np.empty((0, 16), np.uint8)], [np.empty(0, np.int64)]
    for path in runs:
        for rows in Run(path).rows(low, high):
            train_D = rows.splits_D == TRAIN
            keys.append(rows.keys_D[train_D])
            ids.append(rows.ids_D16[train_D])
            lengths.append(np.diff(rows.offsets_D1)[train_D])
    return np.concatenate(keys), np.concatenate(ids), np.concatenate(lengths)


def _windows(tokens_B: NDArray[np.int64], low: int, high: int) -> Iterator[tuple[int, int]]:
    """[low, high) in consecutive key ranges of about WINDOW_TOKENS each: some bins, or a part of one."""
    start, held = low, 0
    for number in range(low >> BIN_BITS, BINS):
        parts = int(tokens_B[number]) // WINDOW_TOKENS + 1
        tokens = int(tokens_B[number]) // parts
        for part in range(parts):
            key = (number << BIN_BITS) + (part << BIN_BITS) // parts
            if held + tokens > WINDOW_TOKENS and start < key < high:
                yield start, key
                start, held = key, 0
            held += tokens
    if start < high:
        yield start, high


def _window(
    runs: Sequence[Path], split: Split, keys: tuple[int, int], cut: Cut, languages: list[str]
) -> _Window | None:
    """The documents asked for, or None; `languages` grows by those that are new."""
    parts: list[_Found] = []
    for path in runs:
        run = Run(path)
        for rows in run.rows(*keys):
            wanted = np.flatnonzero((rows.splits_D == SPLITS.index(split)) & _before(rows, cut))
            if len(wanted):
                languages += [name for name in run.languages if name not in languages]
                numbers = np.array([languages.index(name) for name in run.languages], np.int64)
                parts.append(_copied(rows, wanted, numbers))
    if not parts:
        return None
    found = _Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = _order(found.keys_D, found.ids_D16)
    ends_D = np.cumsum(found.lengths_D)[order]
    lengths_D = found.lengths_D[order]
    return _Window(
        found.ids_D16[order],
        found.languages_D[order],
        found.bytes_D[order],
        ends_D - lengths_D,
        ends_D,
        np.cumsum(lengths_D * found.tokens_N.itemsize + ROW_BYTES),
        found.tokens_N,
    )


def _copied(rows: Rows, wanted: NDArray[np.intp], numbers: NDArray[np.int64]) -> _Found:
    starts_D, ends_D = rows.offsets_D1[wanted], rows.offsets_D1[wanted + 1]
    return _Found(
        rows.keys_D[wanted],
        rows.ids_D16[wanted],
        numbers[rows.languages_D[wanted]],
        rows.bytes_D[wanted],
        ends_D - starts_D,
        np.concatenate(_slices(rows.tokens_N, starts_D, ends_D)),
    )


def _before(rows: Rows, cut: Cut) -> NDArray[np.bool_]:
    if cut.key >= KEYS:
        return np.ones(len(rows.keys_D), np.bool_)
    before_D = rows.keys_D < cut.key
    for row in np.flatnonzero(rows.keys_D == cut.key):
        before_D[row] = rows.ids_D16[row].tobytes() < cut.id
    return before_D


def _order(keys_D: NDArray[np.uint64], ids_D16: NDArray[np.uint8]) -> NDArray[np.intp]:
    halves = np.ascontiguousarray(ids_D16).view(">u8")
    return np.lexsort((halves[:, 1], halves[:, 0], keys_D))


def _slices(tokens_N: Tokens, starts_D: NDArray[np.int64], ends_D: NDArray[np.int64]) -> list[Tokens]:
    return [tokens_N[start:end] for start, end in zip(starts_D.tolist(), ends_D.tolist(), strict=True)]


class _Filling:
    """The shard being filled."""

    def __init__(self, header: ShardHeader, vocabulary: int, shard_bytes: int, languages: list[str]) -> None:
        self._header, self._dtype, self._languages = header, token_dtype(vocabulary), languages
        self._most = shard_bytes
        self._start()

    def _start(self) -> None:
        # Reserved at full size, but pages that no token reaches never become memory.
        self._tokens: Tokens = np.empty(self._most // self._dtype.itemsize, self._dtype)
        self._columns: list[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        self._filled = self._size = self.documents = 0

    def take(self, window: _Window, first: int) -> int:
        """Copies documents from `first` on while they fit (at least one into an empty shard); the next one's index."""
        before = int(window.sizes_D[first - 1]) if first else 0
        end = int(np.searchsorted(window.sizes_D, before + self._most - self._size, side="right"))
        if end <= first:
            if self.documents:
                return first
            end = first + 1
            self._tokens = np.empty(int(window.ends_D[first] - window.starts_D[first]), self._dtype)
        starts_D, ends_D = window.starts_D[first:end], window.ends_D[first:end]
        lengths_D = ends_D - starts_D
        filled = self._filled + int(lengths_D.sum())
        np.concatenate(_slices(window.tokens_N, starts_D, ends_D), out=self._tokens[self._filled : filled])
        taken = slice(first, end)
        self._columns.append((window.ids_D16[taken], window.languages_D[taken], window.bytes_D[taken], lengths_D))
        self._filled, self.documents = filled, self.documents + end - first
        self._size += int(window.sizes_D[end - 1]) - before
        return end

    def finish(self) -> Merged:
        """The shard as it stands; the next one begins empty."""
        ids_D16, languages_D, bytes_D, lengths_D = (np.concatenate(each) for each in zip(*self._columns, strict=True))
        counts = Counter(self._languages[number] for number in languages_D.tolist())
        offsets_D1 = np.concatenate([[0], np.cumsum(lengths_D)])
        shard = TokenShard(self._header, ids_D16, self._tokens[: self._filled], offsets_D1, bytes_D)
        self._start()
        return Merged(shard, dict(sorted(counts.items())))
