"""The training tokens of a source, read from its mapped shards in the order of `reading_order.py`.

Legend: N sequences, W = T + 1 tokens of one, S seams.
"""

import ctypes
import mmap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from corpus.store.token_shards import Tokens, TokenShard, open_token_shard, token_dtype
from trainer.data.corpora import TokenShardFile, TokenSource
from trainer.data.cursor import Run
from trainer.data.documents import DocumentStarts
from trainer.data.reading_order import ReadingOrder
from trainer.errors import TrainerError

MAX_MAPS = 512
_LIBC = ctypes.CDLL(None)
_WILL_NEED = 3  # MADV_WILLNEED, the same number on Linux, macOS and the BSDs

Shard = TypeVar("Shard", TokenShardFile, TokenShard)


class ShardSlice(NamedTuple, Generic[Shard]):
    """Contiguous tokens of one shard: `shard.tokens_N[first:last]`."""

    shard: Shard
    first: int
    last: int


def shard_slices(shards: Sequence[Shard], ends: Sequence[int], start: int, stop: int) -> Iterator[ShardSlice[Shard]]:
    """Locate the tokens `start` … `stop` − 1 of consecutive shards; `ends` are the ends of the shards."""
    number = bisect_right(ends, start)
    while start < stop:
        shard_start = ends[number - 1] if number else 0
        end = min(stop, ends[number])
        yield ShardSlice(shards[number], start - shard_start, end - shard_start)
        start, number = end, number + 1


class ShardMaps:
    """Memory-mapped shards, of which the least recently used is closed first.

    `open(file)` returns a shard's columns. It raises TrainerError if the file contradicts the manifest.
    """

    def __init__(self, limit: int = MAX_MAPS) -> None:
        self.open = lru_cache(limit)(_open_checked)


def document_starts(source: TokenSource, maps: ShardMaps) -> DocumentStarts:
    """Return the starts of a source's training documents; a shard is opened when they are looked up in it."""
    ends = list(accumulate(shard.tokens for shard in source.train))
    return DocumentStarts(ends, lambda number: maps.open(source.train[number]).offsets_D1)


class SourceStream:
    """The sequences of one source in the order of a phase."""

    def __init__(self, source: TokenSource, order: ReadingOrder, eos: int, vocabulary: int, maps: ShardMaps) -> None:
        assert source.train, f"{source.name} holds no training tokens"
        self.source, self.order = source, order
        self._eos, self._maps, self._dtype = eos, maps, token_dtype(vocabulary)
        self._shard_ends = list(accumulate(shard.tokens for shard in source.train))
        self._ends_S = np.array(self._shard_ends)

    def read(self, sequences_N: NDArray[np.int64]) -> tuple[Tokens, NDArray[np.int64], NDArray[np.int64]]:
        """Copy the tokens [N, W] of sequences, each with the token after it.

        Returns them with the row and the column of each seam [S]: a token that does not follow its predecessor in the
        source. Where a sequence holds fewer tokens, it is filled up with EOS, behind a seam.
        """
        width = self.order.sequence_tokens + 1
        tokens_NW = np.empty((len(sequences_N), width), self._dtype)
        first_N, second_N = self.order.locate(sequences_N)
        offset_N = self.order.offsets(first_N, second_N)
        shard_N = np.searchsorted(self._ends_S, offset_N, "right")
        # Copy the sequences that lie within a shard, all of one shard at once, then the others run by run.
        shard_N[(offset_N < 0) | (offset_N + width > self._ends_S[shard_N])] = -1
        for shard in sorted(set(shard_N.tolist()) - {-1}):
            tokens, rows = self._tokens(self.source.train[shard]), np.flatnonzero(shard_N == shard)
            first_M = offset_N[rows] - (self._shard_ends[shard - 1] if shard else 0)
            # All rows that begin anywhere, without a copy; the buffer's size is checked.
            any_row = np.ndarray((len(tokens) - width + 1, width), tokens.dtype, tokens, 0, 2 * tokens.strides)
            tokens_NW[rows] = any_row[first_M]
        seams = list[tuple[int, int]]()
        for row in np.flatnonzero(shard_N == -1).tolist():
            columns = self._read_runs(self.order.runs(int(first_N[row]), int(second_N[row])), tokens_NW[row])
            seams += [(row, column) for column in columns]
        row_S, column_S = np.array(seams, np.int64).reshape(-1, 2).T
        return tokens_NW, row_S, column_S

    def will_need(self, sequences_N: NDArray[np.int64]) -> None:
        """Ask the system to read the sequences from the disk, without waiting for them."""
        first_N, second_N = self.order.locate(sequences_N)
        width = self.order.sequence_tokens + 1
        for row, offset in enumerate(self.order.offsets(first_N, second_N).tolist()):
            runs = [(offset, offset + width)]
            if offset < 0:
                runs = [(run.start, run.stop) for run in self.order.runs(int(first_N[row]), int(second_N[row]))]
            for start, stop in runs:
                for file, first, last in shard_slices(self.source.train, self._shard_ends, start, stop):
                    _advise(self._tokens(file)[first:last])

    def slices(self, sequence: int) -> Iterator[tuple[int, ShardSlice[TokenShardFile]]]:
        """Locate the tokens of one sequence in the shards: yield the first column of each slice, and the slice."""
        (first,), (second,) = self.order.locate(np.array([sequence]))
        for column, start, stop, _ in self.order.runs(int(first), int(second)):
            for each in shard_slices(self.source.train, self._shard_ends, start, stop):
                yield column, each
                column += each.last - each.first

    def _read_runs(self, runs: Sequence[Run], tokens_W: Tokens) -> list[int]:
        """Read one sequence, run by run; return the columns of its seams."""
        tokens_W[:] = self._eos
        for column, start, stop, _ in runs:
            for file, first, last in shard_slices(self.source.train, self._shard_ends, start, stop):
                tokens_W[column : column + last - first] = self._tokens(file)[first:last]
                column += last - first
        seams, end = [run.column for run in runs if run.is_seam], runs[-1].column + runs[-1].stop - runs[-1].start
        return seams if end == len(tokens_W) else [*seams, end]

    def _tokens(self, file: TokenShardFile) -> Tokens:
        tokens_N = self._maps.open(file).tokens_N
        if tokens_N.dtype != self._dtype:  # numpy would truncate uint32 to uint16 silently
            raise TrainerError(
                f"{file.path}: found {tokens_N.dtype} tokens, expected {self._dtype} for the manifest's vocabulary: "
                "run `corpus verify` on the build"
            )
        return tokens_N


def _advise(tokens_N: Tokens) -> None:
    """Advise the kernel that mapped tokens will be needed. Where there is no such call, nothing happens."""
    if madvise := getattr(_LIBC, "madvise", None):
        start = tokens_N.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(tokens_N.ctypes.data + tokens_N.nbytes - start), _WILL_NEED)


def _open_checked(file: TokenShardFile) -> TokenShard:
    shard = open_token_shard(file.path)
    if len(shard.tokens_N) != file.tokens or shard.header.tokenizer != file.tokenizer:
        raise TrainerError(
            f"{file.path}: holds {len(shard.tokens_N)} tokens of tokenizer {shard.header.tokenizer[:12]}; the "
            f"manifest says {file.tokens} of {file.tokenizer[:12]}: run `corpus verify` on the build"
        )
    return shard
