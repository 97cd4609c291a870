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
from trainer.corpora import Corpora
from trainer.curriculum import PhasePlan
from trainer.mixture import order
from trainer.stream import Maps, Stream

IGNORED = -100  # a target that is not learned: as torch's cross-entropy has it
BLOCK_SEQUENCES = 128  # that the prefetch thread reads at once


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
    """Rows of consecutive steps as they came from the shards."""

    steps: Sequence[int]
    tokens_RW: Tokens
    source_R: NDArray[np.int64]
    seams_M2: NDArray[np.int64]  # (row, column) at which a token does not follow on the one before it; 0 < column


class Batches:
    """The batches of one phase: process `rank` of `world` gets its part of each, rows in order."""

    def __init__(self, corpora: Corpora, phase: PhasePlan, rank: int = 0, world: int = 1, maps: Maps | None = None):
        if phase.batch_sequences % world:
            raise InputError(
                f"phase `{phase.name}`: a batch of {phase.batch_sequences} sequences cannot be shared evenly by {world}"
                " processes; change batch_tokens, or the number of processes"
            )
        self.phase, self._names = phase, tuple(phase.shares)
        self._rows = phase.batch_sequences // world
        self._first_row = rank * self._rows
        self._order = order(tuple(phase.shares.values()))
        self._eos, self._dtype = corpora.tokenizer.eos_id, token_dtype(corpora.tokenizer.vocabulary)
        maps = maps or Maps()
        self.streams = {
            name: Stream(corpora.sources[name], phase.seed, corpora.tokenizer.vocabulary, maps) for name in self._names
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
        seams = []
        for number, name in enumerate(self._names):
            rows = np.flatnonzero(source_R == number)
            turns = turn_R[rows]
            breaks = np.flatnonzero(np.diff(turns) != 1) + 1
            for mine in np.split(rows, breaks) if len(rows) else []:  # rows that follow on each other in the stream
                start = self.phase.start[name] + int(turn_R[mine[0]]) * width
                read_N, seams_S = self.streams[name].read(start, len(mine) * width + 1)
                step_bytes = read_N.itemsize
                tokens_RW[mine] = as_strided(read_N, (len(mine), width + 1), (width * step_bytes, step_bytes))
                if len(seams_S):
                    before = seams_S - 1  # a seam is in the row in which the token before it is an input
                    seams.append(np.stack([mine[before // width], before % width + 1], axis=1))
        return _Block(steps, tokens_RW, source_R, np.concatenate(seams) if seams else np.empty((0, 2), np.int64))

    def _batches(self, block: _Block) -> Iterator[Batch]:
        for number, step in enumerate(block.steps):
            low, high = number * self._rows, (number + 1) * self._rows
            mine = (block.seams_M2[:, 0] >= low) & (block.seams_M2[:, 0] < high)
            tokens_BW = block.tokens_RW[low:high]
            inputs_BT, targets_BT, segments_BT = arrays(tokens_BW, block.seams_M2[mine] - np.array([low, 0]), self._eos)
            names = tuple(self._names[source] for source in block.source_R[low:high].tolist())
            yield Batch(step, self._first_row, names, inputs_BT, targets_BT, segments_BT)


def arrays(
    tokens_BW: Tokens, seams_M2: NDArray[np.int64], eos: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Inputs, targets and segments of rows of tokens, with seams before the tokens (row, column), column > 0."""
    sequences, width = tokens_BW.shape[0], tokens_BW.shape[1] - 1
    inputs_BT = tokens_BW[:, :-1].astype(np.int64)
    targets_BT = tokens_BW[:, 1:].astype(np.int64)
    begins_BT = tokens_BW[:, :-1] == eos
    after_eos = np.flatnonzero(begins_BT)
    targets = targets_BT.reshape(-1)
    targets[after_eos[targets[after_eos] == eos]] = IGNORED
    row_M, column_M = seams_M2[:, 0], seams_M2[:, 1]
    targets_BT[row_M, column_M - 1] = IGNORED
    inside = column_M < width
    begins_BT[row_M[inside], column_M[inside]] = True
    begins_BT[:, 0] = True
    first_S = np.flatnonzero(begins_BT)
    number_S = np.arange(len(first_S), dtype=np.int32)
    number_S -= np.maximum.accumulate(np.where(first_S % width == 0, number_S, 0))
    lengths_S = np.diff(first_S, append=sequences * width)
    return inputs_BT, targets_BT, np.repeat(number_S, lengths_S).reshape(sequences, width)


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
