"""Batches as arithmetic: `Batches(corpora, phase)[step]` is the same for any process, restart and prefetch setting.

The sequences of a phase are numbered from 0, and each step takes the next `batch_sequences`. The mixture gives the
source of a sequence and the number n of earlier sequences of that source. It is the sequence n of the source's reading
order from its start cursor on. The start cursors are all the state there is.

Legend: B sequences of this process, T sequence_tokens, W = T + 1, R rows of a block of steps, S seams, I ignored
targets, E tokens that are EOS, F first tokens of segments.
"""

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CorpusError, InputError
from corpus.store.token_shards import Tokens, token_dtype
from trainer.data.corpora import Corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.mixture import source_order
from trainer.data.stream import ShardMaps, SourceStream
from trainer.errors import TrainerError

IGNORED = -100  # target without loss; the default of torch's cross-entropy
BLOCK_SEQUENCES, BLOCK_TOKENS = 512, 1 << 20  # at most so many are read together
PREFETCHED_BLOCKS = 3
SLOW_TOKENS_PER_S = 2e7  # tokens in memory are read at ten times this rate, those on a disk page by page at a tenth


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of a step's batch that one process trains on.

    A token attends only to its own segment. A segment starts at an EOS, which predicts the first token of the document
    after it, and at a seam, behind which a token does not follow its predecessor in the source. Targets are IGNORED
    across a seam, in padding, and in a document that a takedown replaced by EOS.
    """

    step: int
    first_row: int  # in the whole batch
    sources: tuple[str, ...]  # of each row
    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    segments_BT: NDArray[np.int32]  # numbered from 0 in each row

    def digest(self) -> int:
        """Return the sum of the rows' hashes modulo 2^64, so that sums over processes identify the whole batch."""
        total = 0
        for row, arrays in enumerate(zip(self.inputs_BT, self.targets_BT, self.segments_BT, strict=True)):
            row_hash = hashlib.blake2b((self.first_row + row).to_bytes(8, "little"), digest_size=8)
            for array in arrays:
                row_hash.update(array.tobytes())
            total += int.from_bytes(row_hash.digest(), "little")
        return total % 2**64


class _StepBlock(NamedTuple):
    """The rows of several steps, read together."""

    steps: Sequence[int]
    sources: tuple[str, ...]  # of each row
    tokens_RW: Tokens
    segments_RT: NDArray[np.int32]
    ignored_I: NDArray[np.int64]  # flat indices in the targets of all rows, ascending


class Batches:
    """The batches of one phase, divided by rows among the data-parallel ranks."""

    def __init__(
        self, corpora: Corpora, phase: PhasePlan, dp_rank: int = 0, dp_world: int = 1, maps: ShardMaps | None = None
    ) -> None:
        if phase.batch_sequences % dp_world:
            raise InputError(
                f"phase `{phase.name}`: a batch of {phase.batch_sequences} sequences is not divisible by {dp_world} "
                "processes; change batch_tokens, or the number of processes"
            )
        self.phase, self._names = phase, tuple(phase.shares)
        self._rows = phase.batch_sequences // dp_world
        self._first_row = dp_rank * self._rows
        self._order = source_order(tuple(phase.shares.values()))
        self._eos, self._vocabulary = corpora.tokenizer.eos_id, corpora.tokenizer.vocabulary
        self._dtype = token_dtype(self._vocabulary)
        maps = maps or ShardMaps()
        self.streams = {
            name: SourceStream(corpora.sources[name], phase.orders[name], self._eos, self._vocabulary, maps)
            for name in self._names
        }

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted over the whole curriculum from 1. Raises IndexError for other phases."""
        if not self.phase.first_step <= step <= self.phase.last_step:
            raise IndexError(f"step {step} is outside this phase, {self.phase.first_step} … {self.phase.last_step}")
        return next(self._batches(self._read([step])))

    def iterate(self, first: int, last: int | None = None, *, prefetch: bool = True) -> Iterator[Batch]:
        """Yield the batches of steps first … last without skipped ones. With `prefetch` a thread reads ahead."""
        stop = (self.phase.last_step if last is None else last) + 1
        steps = (step for step in range(first, stop) if not self.phase.skips(step))  # lazy: there may be billions
        block_rows = min(BLOCK_SEQUENCES, BLOCK_TOKENS // self.phase.sequence_tokens)
        block_steps = max(1, block_rows // self._rows)
        blocks = self._blocks(iter(lambda: list(islice(steps, block_steps)), []))
        for block in _prefetched(blocks) if prefetch else blocks:
            yield from self._batches(block)

    def _blocks(self, groups: Iterator[list[int]]) -> Iterator[_StepBlock]:
        """Read the steps of each group. Once that is slow, the disk reads the next group's pages meanwhile.

        It is asked for the pages of this group too: those that it has read already cost nothing.
        """
        following, is_slow = next(groups, []), False
        while following:
            steps, following = following, next(groups, [])
            if is_slow:
                source_R, turn_R = self._turns([*steps, *following])
                with suppress(CorpusError):  # raised again when the group is read
                    for number, name in enumerate(self._names):
                        self.streams[name].will_need(turn_R[source_R == number])
            start_s = time.perf_counter()
            block = self._read(steps)
            is_slow |= block.tokens_RW.size < SLOW_TOKENS_PER_S * (time.perf_counter() - start_s)
            yield block

    def rows(self, step: int) -> Iterator[tuple[int, str, int]]:
        """Yield (row in the whole batch, source, number in its order) of this process's rows."""
        source_R, turn_R = self._turns([step])
        for row, (source, turn) in enumerate(zip(source_R.tolist(), turn_R.tolist(), strict=True)):
            yield self._first_row + row, self._names[source], turn

    def _turns(self, steps: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source of each of this process's sequences in the steps, and its turn [R], as in `SourceOrder`."""
        first = (np.asarray(steps, np.int64) - self.phase.first_step) * self.phase.batch_sequences + self._first_row
        return self._order.turns((first[:, None] + np.arange(self._rows)).ravel())

    def _read(self, steps: Sequence[int]) -> _StepBlock:
        width = self.phase.sequence_tokens
        source_R, turn_R = self._turns(steps)
        tokens_RW = np.empty((len(source_R), width + 1), self._dtype)
        before_seams = [np.empty(0, np.int64)]  # flat indices of the inputs before a seam
        for number, name in enumerate(self._names):
            rows = np.flatnonzero(source_R == number)
            tokens_RW[rows], row_S, column_S = self.streams[name].read(turn_R[rows])
            before_seams.append(rows[row_S] * width + column_S - 1)
        if (highest := int(tokens_RW.max())) >= self._vocabulary:
            raise TrainerError(
                f"steps {steps[0]} to {steps[-1]}: found token {highest}, expected less than the vocabulary of "
                f"{self._vocabulary}: a shard is damaged; run `corpus verify` on the build"
            )
        segments_RT, ignored_I = segments(tokens_RW, np.concatenate(before_seams), self._eos)
        sources = tuple(self._names[source] for source in source_R.tolist())
        return _StepBlock(steps, sources, tokens_RW, segments_RT, ignored_I)

    def _batches(self, block: _StepBlock) -> Iterator[Batch]:
        """Divide a block into the batches of its steps."""
        rows, width = self._rows, self.phase.sequence_tokens
        bounds = np.searchsorted(block.ignored_I, np.arange(len(block.steps) + 1) * (rows * width)).tolist()
        for number, (step, first, last) in enumerate(zip(block.steps, bounds, bounds[1:], strict=False)):
            own_rows = slice(number * rows, (number + 1) * rows)
            tokens_BW = block.tokens_RW[own_rows]
            inputs_BT, targets_BT = tokens_BW[:, :-1].astype(np.int64), tokens_BW[:, 1:].astype(np.int64)
            targets_BT.reshape(-1)[block.ignored_I[first:last] - own_rows.start * width] = IGNORED
            segments_BT = block.segments_RT[own_rows]
            yield Batch(step, self._first_row, block.sources[own_rows], inputs_BT, targets_BT, segments_BT)


def segments(tokens_RW: Tokens, before_S: NDArray[np.int64], eos: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the segments [R, T] of rows of tokens, and the flat indices of ignored targets.

    `before_S` are the flat indices (row·T + column) of the inputs before a seam. A segment starts with its row, at an
    EOS and after a seam. Targets are ignored across a seam, and where an EOS follows an EOS.
    """
    rows, width = tokens_RW.shape[0], tokens_RW.shape[1] - 1
    # Flat indices of EOS in rows of W tokens, then in rows of T. An EOS in the last column is a target alone.
    eos_E = np.flatnonzero(tokens_RW == eos)
    row_E, column_E = np.divmod(eos_E, width + 1)
    index_E = eos_E - row_E
    followed_E = (eos_E[1:] == eos_E[:-1] + 1) & (row_E[1:] == row_E[:-1])
    # Starts of segments, and the number of each within its row.
    row_starts_R, after_S = np.arange(rows) * width, before_S + 1
    first_F = np.unique(np.concatenate([row_starts_R, index_E[column_E < width], after_S[after_S % width != 0]]))
    earlier_R = np.searchsorted(first_F, row_starts_R)  # segments of earlier rows
    number_F = np.arange(len(first_F)) - np.repeat(earlier_R, np.diff(earlier_R, append=len(first_F)))
    lengths_F = np.diff(first_F, append=rows * width)
    segments_RT = np.repeat(number_F.astype(np.int32), lengths_F).reshape(rows, width)
    return segments_RT, np.sort(np.concatenate([before_S, index_E[:-1][followed_E]]))


def _prefetched(blocks: Iterator[_StepBlock]) -> Iterator[_StepBlock]:
    """Yield the same blocks, read by a thread while the caller uses earlier ones. An error is raised in its place."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        pending = deque(pool.submit(next, blocks, None) for _ in range(PREFETCHED_BLOCKS))
        while (block := pending.popleft().result()) is not None:
            pending.append(pool.submit(next, blocks, None))
            yield block
    finally:
        pool.shutdown(cancel_futures=True)
