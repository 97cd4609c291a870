"""The endless stream of a source's training tokens: epoch after epoch, each with its chunks in another order.

An epoch holds each token of the source once: its full chunks in the order of a keyed permutation, then the remainder
after the last full chunk. A position is the number of tokens since the start of the first epoch. Any position is found
by arithmetic, so that a phase can continue where the previous one ended, with any sequence length.

Legend: N tokens, S seams.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from corpus.store.token_shards import Tokens, TokenShard, open_token_shard, token_dtype
from trainer.data.corpora import TokenShardFile, TokenSource
from trainer.data.permutation import key_of, permute
from trainer.errors import TrainerError

MAX_MAPS = 512
WINDOW = 256  # chunks that are permuted together, because many cost no more than one


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


class SourceStream:
    """The training tokens of one source in the order of a seed."""

    def __init__(self, source: TokenSource, seed: int, vocabulary: int, maps: ShardMaps) -> None:
        assert source.train, f"{source.name} holds no training tokens"
        self.source, self.epoch_tokens = source, source.train_tokens
        self._seed, self._maps, self._dtype = seed, maps, token_dtype(vocabulary)
        self._shard_ends = list(accumulate(shard.tokens for shard in source.train))
        self._permuted_window = lru_cache(maxsize=4)(self._permute_window)

    def read(self, start: int, count: int) -> tuple[Tokens, NDArray[np.int64]]:
        """Copy `count` tokens from position `start`. Returns them and the seams: indices of tokens that do not
        follow their predecessor in the source, because another chunk begins.
        """
        tokens_N = np.empty(count, self._dtype)
        seams, at, expected = [], 0, -1  # expected: the offset that would continue the previous run
        shard, shard_tokens_N = None, tokens_N
        for offset, length in self._runs(start, count):
            if offset != expected and at:
                seams.append(at)
            for file, first, last in shard_slices(self.source.train, self._shard_ends, offset, offset + length):
                # Chunks are much shorter than shards: look the map up only when the shard changes.
                if file is not shard:
                    shard, shard_tokens_N = file, self._tokens(file)
                tokens_N[at : at + last - first] = shard_tokens_N[first:last]
                at += last - first
            expected = offset + length
        assert at == count
        return tokens_N, np.array(seams, np.int64)

    def slices(self, start: int, count: int) -> Iterator[ShardSlice[TokenShardFile]]:
        """Locate the same tokens in the shards, in the same order."""
        for offset, length in self._runs(start, count):
            yield from shard_slices(self.source.train, self._shard_ends, offset, offset + length)

    def _tokens(self, file: TokenShardFile) -> Tokens:
        tokens_N = self._maps.open(file).tokens_N
        if tokens_N.dtype != self._dtype:  # numpy would truncate uint32 to uint16 silently
            raise TrainerError(
                f"{file.path}: found {tokens_N.dtype} tokens, expected {self._dtype} for the manifest's vocabulary: "
                "run `corpus verify` on the build"
            )
        return tokens_N

    def _runs(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield (offset in the source, length) of each chunk, or part of a chunk, in the range."""
        chunk_tokens = self.source.chunk_tokens
        full_chunks = self.epoch_tokens // chunk_tokens
        while count:
            epoch, epoch_offset = divmod(start, self.epoch_tokens)
            number, chunk_offset = divmod(epoch_offset, chunk_tokens)
            if number < full_chunks:
                chunk = self._permuted_window(epoch, number // WINDOW)[number % WINDOW]
                offset, length = chunk * chunk_tokens + chunk_offset, min(count, chunk_tokens - chunk_offset)
            else:  # the remainder, which is not permuted
                offset, length = epoch_offset, min(count, self.epoch_tokens - epoch_offset)
            yield offset, length
            start, count = start + length, count - length

    def _permute_window(self, epoch: int, window: int) -> list[int]:
        """Return the chunks at WINDOW consecutive places of an epoch."""
        full_chunks = self.epoch_tokens // self.source.chunk_tokens
        places_N = np.arange(window * WINDOW, min(full_chunks, (window + 1) * WINDOW))
        chunks: list[int] = permute(places_N, full_chunks, key_of(self._seed, self.source.name, epoch)).tolist()
        return chunks


def _open_checked(file: TokenShardFile) -> TokenShard:
    shard = open_token_shard(file.path)
    if len(shard.tokens_N) != file.tokens or shard.header.tokenizer != file.tokenizer:
        raise TrainerError(
            f"{file.path}: holds {len(shard.tokens_N)} tokens of tokenizer {shard.header.tokenizer[:12]}; the "
            f"manifest says {file.tokens} of {file.tokenizer[:12]}: run `corpus verify` on the build"
        )
    return shard
