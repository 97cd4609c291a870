"""Batches as arithmetic: `Batches(corpora, phase)[step]` is the same for every process, restart and prefetch setting.

A phase's sequences are numbered from 0, and each of its steps holds the next B of them. The mixture says which
source a sequence comes from and how many of that source came before it; so many strides of T behind the source's start
cursor its T + 1 tokens begin. There is no state to save beyond the start cursors.

Legend: B sequences of this process, T sequence_tokens, W = T + 1, R rows of a block of steps.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import Full, Queue
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from corpus.errors import InputError
from corpus.store.token_shards import Tokens, token_dtype
from trainer.data.corpora import Corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.mixture import order
from trainer.data.stream import ShardMaps, SourceStream
from trainer.errors import TrainerError

IGNORED = -100  # a target that is not learned: as torch's cross-entropy has it
BLOCK_SEQUENCES = 256  # that are read at once, ahead of the caller or not


@dataclass(frozen=True, slots=True)
class Batch:
    """One process's rows of the batch of a step.

    A token attends to those of its own segment alone. An EOS begins the segment of the document behind it, whose first
    token is predicted from it; so does a seam, where one chunk ends and another begins. Targets behind a seam are
    IGNORED, and so are those of a document that a takedown has replaced by EOS.
    """

    step: int
    first_row: int  # in the whole batch
    sources: tuple[str, ...]  # of each row
    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    segments_BT: NDArray[np.int32]  # counted from 0 in each row

    def digest(self) -> int:
        """A sum over rows, modulo 2^64: the sum over all processes says what the whole batch held."""
        total = 0
        for row, parts in enumerate(zip(self.inputs_BT, self.targets_BT, self.segments_BT, strict=True)):
            told = hashlib.blake2b((self.first_row + row).to_bytes(8, "little"), digest_size=8)
            for part in parts:
                told.update(part.tobytes())
            total += int.from_bytes(told.digest(), "little")
        return total % 2**64


class _Block(NamedTuple):
    """Rows of consecutive steps."""

    steps: Sequence[int]
    sources: tuple[str, ...]  # of each row
    tokens_RW: Tokens
    segments_RT: NDArray[np.int32]
    ignored_I: NDArray[np.int64]  # places in the targets of all rows, flat and ascending


class Batches:
    """The batches of one phase: process `rank` of `world` gets its part of each, rows in order."""

    def __init__(
        self, corpora: Corpora, phase: PhasePlan, rank: int = 0, world: int = 1, maps: ShardMaps | None = None
    ):
        if phase.batch_sequences % world:
            raise InputError(
                f"phase `{phase.name}`: a batch of {phase.batch_sequences} sequences cannot be shared evenly by {world}"
                " processes; change batch_tokens, or the number of processes"
            )
        self.phase, self._names = phase, tuple(phase.shares)
        self._rows = phase.batch_sequences // world
        self._first_row = rank * self._rows
        self._order = order(tuple(phase.shares.values()))
        self._eos, self._vocabulary = corpora.tokenizer.eos_id, corpora.tokenizer.vocabulary
        self._dtype = token_dtype(self._vocabulary)
        maps = maps or ShardMaps()
        self.streams = {
            name: SourceStream(corpora.sources[name], phase.seed, corpora.tokenizer.vocabulary, maps)
            for name in self._names
        }

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, counted over the whole curriculum from 1. Raises IndexError outside the phase."""
        if not self.phase.first_step <= step <= self.phase.last_step:
            raise IndexError(f"step {step} lies outside {self.phase.first_step} … {self.phase.last_step}")
        return next(self._batches(self._read([step])))

    def iterate(self, first: int, last: int | None = None, *, prefetch: bool = True) -> Iterator[Batch]:
        """The batches of steps first … last, less skipped ones; read ahead by one thread if `prefetch`."""
        behind = (self.phase.last_step if last is None else last) + 1
        steps = (step for step in range(first, behind) if not self.phase.skips(step))  # of any number: none is listed
        at_once = max(1, BLOCK_SEQUENCES // self._rows)
        groups = iter(lambda: list(islice(steps, at_once)), [])
        blocks = (self._read(group) for group in groups)
        for block in _ahead(blocks) if prefetch else blocks:
            yield from self._batches(block)

    def rows(self, step: int) -> Iterator[tuple[int, str, int]]:
        """(row in the whole batch, source, position of its first token in the source's stream) of this process."""
        sequences = self._sequences([step])
        source_R, turn_R = self._order.turns(sequences)
        for row, (source, turn) in enumerate(zip(source_R.tolist(), turn_R.tolist(), strict=True)):
            name = self._names[source]
            yield self._first_row + row, name, self.phase.start[name] + turn * self.phase.sequence_tokens

    def _sequences(self, steps: Sequence[int]) -> NDArray[np.int64]:
        first = (np.asarray(steps, np.int64) - self.phase.first_step) * self.phase.batch_sequences + self._first_row
        found: NDArray[np.int64] = (first[:, None] + np.arange(self._rows)).ravel()
        return found

    def _read(self, steps: Sequence[int]) -> _Block:
        width = self.phase.sequence_tokens
        source_R, turn_R = self._order.turns(self._sequences(steps))
        tokens_RW = np.empty((len(source_R), width + 1), self._dtype)
        cut = [np.empty(0, np.int64)]  # places in the inputs of all rows behind which a seam comes
        for number, name in enumerate(self._names):
            rows = np.flatnonzero(source_R == number)
            breaks = np.flatnonzero(np.diff(turn_R[rows]) != 1) + 1
            for mine in np.split(rows, breaks) if len(rows) else []:  # rows that follow on each other in the stream
                start = self.phase.start[name] + int(turn_R[mine[0]]) * width
                read_N, seams_S = self.streams[name].read(start, len(mine) * width + 1)
                size = read_N.itemsize
                tokens_RW[mine] = as_strided(read_N, (len(mine), width + 1), (width * size, size))
                before_S = seams_S - 1
                cut.append(mine[before_S // width] * width + before_S % width)
        if (highest := int(tokens_RW.max())) >= self._vocabulary:
            raise TrainerError(
                f"steps {steps[0]} to {steps[-1]} hold token {highest}, where the vocabulary ends at "
                f"{self._vocabulary - 1}: a shard is damaged; run `corpus verify` on the build"
            )
        segments_RT, ignored_I = segments(tokens_RW, np.concatenate(cut), self._eos)
        sources = tuple(self._names[source] for source in source_R.tolist())
        return _Block(steps, sources, tokens_RW, segments_RT, ignored_I)

    def _batches(self, block: _Block) -> Iterator[Batch]:
        rows, width = self._rows, self.phase.sequence_tokens
        cuts = np.searchsorted(block.ignored_I, np.arange(len(block.steps) + 1) * (rows * width)).tolist()
        for number, (step, first, last) in enumerate(zip(block.steps, cuts, cuts[1:], strict=False)):
            mine = slice(number * rows, (number + 1) * rows)
            tokens_BW = block.tokens_RW[mine]
            inputs_BT, targets_BT = tokens_BW[:, :-1].astype(np.int64), tokens_BW[:, 1:].astype(np.int64)
            targets_BT.reshape(-1)[block.ignored_I[first:last] - mine.start * width] = IGNORED
            yield Batch(step, self._first_row, block.sources[mine], inputs_BT, targets_BT, block.segments_RT[mine])


def segments(tokens_RW: Tokens, cut_M: NDArray[np.int64], eos: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Segments of rows of tokens, and the places of ignored targets; `cut_M` are those behind which a seam comes.

    Places are flat: row · T + column. A segment begins with its row, at an EOS, and behind a seam. Ignored are targets
    behind a seam, and an EOS behind an EOS.
    """
    rows, width = tokens_RW.shape[0], tokens_RW.shape[1] - 1
    eos_E = np.flatnonzero(tokens_RW == eos)
    row_E, column_E = np.divmod(eos_E, width + 1)
    place_E = eos_E - row_E  # in rows of T
    twice_E = (eos_E[1:] == eos_E[:-1] + 1) & (row_E[1:] == row_E[:-1])
    starts_R, behind_M = np.arange(rows) * width, cut_M + 1
    first_S = np.unique(np.concatenate([starts_R, place_E[column_E < width], behind_M[behind_M % width != 0]]))
    before_R = np.searchsorted(first_S, starts_R)  # segments of the rows before
    number_S = np.arange(len(first_S)) - np.repeat(before_R, np.diff(before_R, append=len(first_S)))
    lengths_S = np.diff(first_S, append=rows * width)
    segments_RT = np.repeat(number_S.astype(np.int32), lengths_S).reshape(rows, width)
    return segments_RT, np.sort(np.concatenate([cut_M, place_E[:-1][twice_E]]))


def _ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """The same blocks, read by a thread while the caller works on those before."""
    queue: Queue[_Block | BaseException | None] = Queue(maxsize=2)
    stopped = threading.Event()

    def read() -> None:
        last: BaseException | None = None
        try:
            for block in blocks:
                if not _put(queue, block, stopped):
                    return
        except BaseException as error:
            last = error
        _put(queue, last, stopped)

    thread = threading.Thread(target=read, name="prefetch", daemon=True)
    thread.start()
    try:
        while (found := queue.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        stopped.set()
        thread.join()


def _put(
    queue: "Queue[_Block | BaseException | None]", item: _Block | BaseException | None, stopped: threading.Event
) -> bool:
    while not stopped.is_set():
        try:
            queue.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False
