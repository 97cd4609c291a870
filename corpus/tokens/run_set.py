"""The runs of a source as one: each is opened only if it has documents of the wanted keys, and stays open.

Legend: B key bins, S splits (train, holdout).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.settings import Strict
from corpus.store.corpus_manifest import Split
from corpus.store.token_shards import SPLITS
from corpus.tokens.runs import BIN_BITS, BINS, RunHeader, TokenRun

OPEN_RUNS = 1000  # kept mapped by a process, for all its tasks: about 20 kB each, and the pages that were read


class RunPaths(Protocol):
    """Paths of the runs; one may be downloaded when it is asked for."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Path: ...


class BinTokens(NamedTuple):
    """Tokens of a run by split and key bin, as text: numbers separated by commas, nothing for 0."""

    train: str
    holdout: str

    @staticmethod
    def of(tokens_SB: NDArray[np.int64]) -> "BinTokens":
        """Return the text of these counts."""
        rows = (",".join(str(count) if count else "" for count in counts) for counts in tokens_SB.tolist())
        return BinTokens(*(row.rstrip(",") for row in rows))

    def counts(self) -> NDArray[np.int64]:
        """Return the counts (S, B)."""
        tokens_SB = np.zeros((len(SPLITS), BINS), np.int64)
        for split, text in enumerate(self):
            numbers = [int(number or 0) for number in text.split(",")]
            tokens_SB[split, : len(numbers)] = numbers
        return tokens_SB


class RunIndex(Strict):
    """Tokens of all runs of a source, and the key bins in which each run has documents."""

    format_version: Literal[1]
    tokens: tuple[tuple[int, ...], ...]  # (S, B)
    bins: tuple[tuple[str, ...], ...]  # by split and run: a number in hexadecimal, with bit b set for bin b

    @staticmethod
    def of(runs: Sequence[NDArray[np.int64]]) -> "RunIndex":
        """Return the index of runs with these tokens by split and bin."""
        tokens_SB = sum(runs, np.zeros((len(SPLITS), BINS), np.int64))
        bins = tuple(tuple(_bits(tokens_SB[split]) for tokens_SB in runs) for split in range(len(SPLITS)))
        return RunIndex(format_version=1, tokens=tuple(map(tuple, tokens_SB.tolist())), bins=bins)

    def train_tokens(self) -> int:
        """Return the number of training tokens."""
        return sum(self.tokens[SPLITS.index("train")])


def _bits(tokens_B: NDArray[np.int64]) -> str:
    return np.packbits(tokens_B[::-1] > 0).tobytes().hex().lstrip("0")


class RunSet:
    """The runs of one source, of one tokenizer and seed."""

    def __init__(self, paths: RunPaths, index: RunIndex | None = None) -> None:
        """Without an index, all headers are read when they are needed."""
        if not len(paths):
            raise ValueError("expected at least one run of a source, which may be empty")
        self._paths, self._given = paths, index

    @property
    def folder(self) -> Path:
        """Folder of the runs, for messages."""
        return self._opened(0).path.parent

    @cached_property
    def header(self) -> RunHeader:
        """The header that all runs share."""
        return self._opened(0).header

    def tokens(self, split: Split) -> NDArray[np.int64]:
        """Return the tokens of a split in each key bin (B)."""
        return np.array(self._index.tokens[SPLITS.index(split)], np.int64)

    @cached_property
    def _index(self) -> RunIndex:
        return self._given or RunIndex.of([self._run(n).bins.tokens_SB for n in range(len(self._paths))])

    @cached_property
    def _bins(self) -> Mapping[Split, Sequence[int]]:
        return {split: [int(bits or "0", 16) for bits in self._index.bins[n]] for n, split in enumerate(SPLITS)}

    def holding(self, split: Split, keys: tuple[int, int]) -> Iterator[TokenRun]:
        """Yield the runs that may have documents of a split with low <= key < high. Raises CorpusError."""
        low, high = keys[0] >> BIN_BITS, (keys[1] - 1) >> BIN_BITS
        wanted = (1 << (high + 1)) - (1 << low)  # a bit for each bin
        for number, bins in enumerate(self._bins[split]):
            if bins & wanted:
                yield self._run(number)

    def count_documents(self, split: Split, keys: tuple[int, int]) -> tuple[int, int]:
        """Return the number of a split's documents with a key in [low, high), and the bytes of their text."""
        documents = size = 0
        for run in self.holding(split, keys):
            for rows in run.rows(*keys):
                of_split = rows.splits_D == SPLITS.index(split)
                documents, size = documents + int(of_split.sum()), size + int(rows.bytes_D[of_split].sum())
        return documents, size

    def _run(self, number: int) -> TokenRun:
        run = self._opened(number)
        if run.header != self.header:
            raise CorpusError(f"{run.path}: a token run of {run.header}; expected {self.header}")
        return run

    def _opened(self, number: int) -> TokenRun:
        path = self._paths[number]
        try:
            status = path.stat()
        except OSError as error:
            raise CorpusError(f"{path}: cannot be read as a token run: {error.strerror}") from None
        return _open_run(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=OPEN_RUNS)
def _open_run(path: Path, size: int, modified_ns: int) -> TokenRun:
    return TokenRun(path)
