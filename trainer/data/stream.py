"""The endless stream of one source's training tokens: epoch after epoch, each its chunks in an order of its own.

An epoch holds each token of the source once. Its whole chunks come in a keyed permutation, and what is left behind the
last whole chunk comes at its end. A position is a number of tokens since the first epoch began, so any place in any
epoch is found by arithmetic, and a phase can go on where the last one left off, whatever its sequence length.

Legend: N tokens asked for, S seams.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.store.token_shards import Tokens, TokenShard, open_token_shard, token_dtype
from trainer.data.corpora import TokenShardFile, TokenSource
from trainer.data.permutation import key_of, permute
from trainer.errors import TrainerError

MAX_MAPS = 512
WINDOW = 256  # chunks


class ShardSlice(NamedTuple):
    """Tokens that lie beside each other in one shard: `shard.tokens_N[first:last]`."""

    shard: TokenShardFile
    first: int
    last: int


class ShardMaps:
    """Mapped shards; opened when first asked for, the least recently used closed when there are too many."""

    def __init__(self, most: int = MAX_MAPS) -> None:
        self._most, self._open, self._lock = most, OrderedDict[Path, TokenShard](), Lock()

    def open(self, shard: TokenShardFile, source: TokenSource) -> TokenShard:
        """The shard's columns. Raises TrainerError where the file is not what the manifest says."""
        with self._lock:
            found = self._open.get(shard.path)
            if found is None:
                found = self._open[shard.path] = _checked(open_token_shard(shard.path), shard, source)
                if len(self._open) > self._most:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard.path)
            return found


class SourceStream:
    """One source's training tokens under a curriculum's seed."""

    def __init__(self, source: TokenSource, seed: int, vocabulary: int, maps: ShardMaps) -> None:
        assert source.train, f"{source.name} holds no training tokens"
        self.source, self.epoch_tokens = source, source.train_tokens
        self._seed, self._maps, self._dtype = seed, maps, token_dtype(vocabulary)
        self._starts = [0, *accumulate(shard.tokens for shard in source.train)]  # of shards in the source
        self._chunks = lru_cache(maxsize=4)(self._permuted)

    def read(self, start: int, count: int) -> tuple[Tokens, NDArray[np.int64]]:
        """Tokens start … start + count − 1 as a copy, and the seams: where one does not follow on the one before it."""
        tokens_N = np.empty(count, self._dtype)
        seams, at, expected = [], 0, -1
        opened, opened_N = None, tokens_N
        for address, length in self._runs(start, count):
            if address != expected and at:
                seams.append(at)
            for shard, first, last in self._shards(address, length):
                if shard is not opened:
                    opened, opened_N = shard, self._open(shard)
                tokens_N[at : at + last - first] = opened_N[first:last]
                at += last - first
            expected = address + length
        assert at == count
        return tokens_N, np.array(seams, np.int64)

    def pieces(self, start: int, count: int) -> Iterator[ShardSlice]:
        """Where the same tokens lie, in the same order."""
        for address, length in self._runs(start, count):
            yield from self._shards(address, length)

    def _open(self, shard: TokenShardFile) -> Tokens:
        tokens_N = self._maps.open(shard, self.source).tokens_N
        if tokens_N.dtype != self._dtype:  # numpy would cut uint32 to uint16 without a word
            raise TrainerError(
                f"{shard.path}: {tokens_N.dtype} tokens; the manifest's vocabulary means {self._dtype}: "
                "run `corpus verify` on the build"
            )
        return tokens_N

    def _runs(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """(address in the source, length) of chunks, or of the parts of them that are asked for."""
        chunk = self.source.chunk_tokens
        whole = self.epoch_tokens // chunk
        while count:
            epoch, first = divmod(start, self.epoch_tokens)
            number, inside = divmod(first, chunk)
            if number < whole:
                length = min(count, chunk - inside)
                yield self._chunks(epoch, number // WINDOW)[number % WINDOW] * chunk + inside, length
            else:
                length = min(count, self.epoch_tokens - first)
                yield first, length
            start, count = start + length, count - length

    def _permuted(self, epoch: int, window: int) -> list[int]:
        """Which chunks stand at places window · WINDOW and on: permuting many at once costs no more than one."""
        whole = self.epoch_tokens // self.source.chunk_tokens
        places = np.arange(window * WINDOW, min(whole, (window + 1) * WINDOW))
        found: list[int] = permute(places, whole, key_of(self._seed, self.source.name, epoch)).tolist()
        return found

    def _shards(self, address: int, length: int) -> Iterator[ShardSlice]:
        number = bisect_right(self._starts, address) - 1
        while length:
            first = address - self._starts[number]
            shard = self.source.train[number]
            last = min(shard.tokens, first + length)
            yield ShardSlice(shard, first, last)
            address, length, number = address + last - first, length - (last - first), number + 1


def _checked(opened: TokenShard, shard: TokenShardFile, source: TokenSource) -> TokenShard:
    if len(opened.tokens_N) != shard.tokens or opened.header.tokenizer != source.tokenizer:
        raise TrainerError(
            f"{shard.path}: holds {len(opened.tokens_N)} tokens of tokenizer {opened.header.tokenizer[:12]}; the "
            f"manifest says {shard.tokens} of {source.tokenizer[:12]}: run `corpus verify` on the build"
        )
    return opened
