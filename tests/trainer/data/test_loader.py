"""Batches against a slow reference; equal for any processes, accumulation and prefetch; constant cost of seeking.

Legend: B sequences, T sequence_tokens.
"""

import ctypes
import mmap
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import CorpusError, InputError
from tests.trainer.data.slow_order import SlowOrder, slow_turns
from tests.trainer.made_corpus import (
    EOS,
    ON_DISK,
    VOCABULARY,
    Made,
    corpora_of,
    counted,
    curriculum,
    documents,
    phase_of_steps,
)
from trainer.data import loader, stream
from trainer.data.corpora import Corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.cursor import WINDOW_CHUNKS
from trainer.data.loader import IGNORED, Batch, Batches
from trainer.data.mixture import source_order

LARGE = 70_000  # a vocabulary of uint32
LENGTHS = st.lists(st.lists(st.integers(-6, 12).filter(bool), min_size=1, max_size=8), min_size=1, max_size=3)


class Row(NamedTuple):
    """A sequence as lists."""

    source: str
    inputs: list[int]
    targets: list[int]
    segments: list[int]


def slow_row(name: str, tokens: list[int], seams: set[int]) -> Row:
    """Apply the rules of `Batch` token by token."""
    inputs, targets, segments = [], [], [0]
    for column, (token, following) in enumerate(pairwise(tokens), 1):
        seam = column in seams
        inputs.append(token)
        targets.append(IGNORED if seam or token == following == EOS else following)
        segments.append(segments[-1] + (seam or following == EOS))
    return Row(name, inputs, targets, segments[:-1])


def slow_batches(corpora: Corpora, sources: Mapping[str, Made], plans: tuple[PhasePlan, ...]) -> Iterator[list[Row]]:
    """Yield every batch of a curriculum, reading each source from its first token."""
    orders = {
        name: SlowOrder(corpora.sources[name].layout, plans[0].seed, WINDOW_CHUNKS, made.starts())
        for name, made in sources.items()
    }
    tokens = {name: made.tokens().tolist() for name, made in sources.items()}
    for plan in plans:
        names, turns = list(plan.shares), slow_turns(tuple(plan.shares.values()))
        for step in range(plan.steps):
            rows = []
            for sequence in range(step * plan.batch_sequences, (step + 1) * plan.batch_sequences):
                name = names[turns[sequence % len(turns)]]
                offsets, seams = orders[name].read(plan.sequence_tokens, plan.whole_documents)
                window = [EOS if offset is None else tokens[name][offset] for offset in offsets]
                rows.append(slow_row(name, window, seams))
            yield rows


def rows_of(batch: Batch) -> list[Row]:
    arrays = (each.tolist() for each in (batch.inputs_BT, batch.targets_BT, batch.segments_BT))
    return [Row(*row) for row in zip(batch.sources, *arrays, strict=True)]


@contextmanager
def one_phase(
    sources: Mapping[str, Made], steps: int, width: int, rows: int, *, chunk_tokens: int = 16, **written: object
) -> Iterator[tuple[Corpora, PhasePlan]]:
    with corpora_of(sources, chunk_tokens=chunk_tokens) as corpora:
        yield corpora, curriculum(corpora, phase_of_steps(steps, width, rows, **written)).phases[0]


@ON_DISK
@given(
    LENGTHS, LENGTHS, st.integers(1, 40), st.integers(2, 17), st.integers(2, 9), st.sampled_from([VOCABULARY, LARGE])
)
def test_batches_equal_a_slow_reference(
    books: list[list[int]], web: list[list[int]], chunk: int, width: int, other_width: int, vocabulary: int
) -> None:
    """Fails if a target across a seam has a loss, if an EOS is part of the previous segment, if the EOS of a takedown
    have a loss, or if a seam at the end of one sequence is assigned to the next."""
    made = {"books": documents(books, first=vocabulary - 400), "web": documents(web)}
    phases = (
        phase_of_steps(4, width, 3, "one", shares={"books": 0.4, "web": 0.6}),
        phase_of_steps(3, other_width, 2, "two", shares={"books": 0.9, "web": 0.1}, whole_documents=True),
        phase_of_steps(3, width, 2, "three", shares={"books": 0.5, "web": 0.5}),
    )
    with corpora_of(made, chunk_tokens=chunk, vocabulary=vocabulary) as corpora:
        plans = curriculum(corpora, *phases, seed=5).phases
        found = [rows_of(batch) for plan in plans for batch in Batches(corpora, plan).iterate(plan.first_step)]
        assert found == list(slow_batches(corpora, made, plans))


def test_a_batch_has_its_step_rows_sources_and_types() -> None:
    with one_phase({"books": documents([[5, 4, -3, 8]])}, 3, 10, 2) as (corpora, plan):
        batch = Batches(corpora, plan, dp_rank=1, dp_world=2)[3]
    assert (batch.step, batch.first_row, batch.sources) == (3, 1, ("books",))
    assert [each.dtype for each in (batch.inputs_BT, batch.targets_BT, batch.segments_BT)] == [np.int64] * 2 + [
        np.int32
    ]
    assert {each.shape for each in (batch.inputs_BT, batch.targets_BT, batch.segments_BT)} == {(1, 10)}


def test_targets_and_segments_of_one_sequence() -> None:
    """The rules of `Batch` in one readable example: 20 tokens in chunks of 16, with a remainder of 4."""
    with one_phase({"books": documents([[4, 3, -3, 4, 6]])}, 1, 20, 1) as (corpora, plan):
        batch = Batches(corpora, plan)[1]
    assert batch.inputs_BT.tolist() == [[1, 2, 3, 0, 5, 6, 0, 0, 0, 0, 11, 12, 13, 0, 15, 16, 17, 18, 19, 0]]
    # after the EOS of document 2 come three EOS of a takedown, which are ignored as targets
    targets = [2, 3, 0, 5, 6, 0, IGNORED, IGNORED, IGNORED, 11, 12, 13, 0, 15, 16, 17, 18, 19, 0, IGNORED]
    assert batch.targets_BT.tolist() == [targets]  # the last token of the source has no successor
    assert batch.segments_BT.tolist() == [[0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7]]


@contextmanager
def mixed(steps: int, width: int, rows: int, chunk: int, **written: object) -> Iterator[tuple[Corpora, PhasePlan]]:
    made = {"books": documents([[9, 5, 12], [30, 1, 7]]), "code": counted([33, 21], 100), "web": documents([[40] * 5])}
    shares = {"books": 0.2, "code": 0.27, "web": 0.53}
    with one_phase(made, steps, width, rows, chunk_tokens=chunk, shares=shares, **written) as found:
        yield found


def parts(batch: Batch, accumulation: int) -> list[Batch]:
    """Divide the rows of one process."""
    size = len(batch.sources) // accumulation
    return [
        replace(
            batch,
            first_row=batch.first_row + first,
            sources=batch.sources[first : first + size],
            inputs_BT=batch.inputs_BT[first : first + size],
            targets_BT=batch.targets_BT[first : first + size],
            segments_BT=batch.segments_BT[first : first + size],
        )
        for first in range(0, len(batch.sources), size)
    ]


@settings(max_examples=20)
@given(
    st.integers(1, 5),
    st.integers(2, 20),
    st.sampled_from([16, 32]),
    st.integers(1, 30),
    st.sampled_from([1, 8, 40, 128]),
)
def test_the_batch_does_not_depend_on_processes_accumulation_or_prefetch(
    steps: int, width: int, rows: int, chunk: int, block: int
) -> None:
    """Fails if seams are assigned to rows of the block instead of the step, or if rows are distributed round-robin."""
    with mixed(steps, width, rows, chunk) as (corpora, plan), patch.object(loader, "BLOCK_SEQUENCES", block):
        asked = range(plan.first_step, plan.last_step + 1)
        single = Batches(corpora, plan)
        expected = [rows_of(single[step]) for step in asked]
        digests = [single[step].digest() for step in asked]
        for world in (1, 2, 4):
            for prefetch in (False, True):
                ranks = [Batches(corpora, plan, rank, world) for rank in range(world)]
                found = zip(*(each.iterate(1, prefetch=prefetch) for each in ranks), strict=True)
                for number, batches in enumerate(found):
                    assert {batch.step for batch in batches} == {asked[number]}
                    for accumulation in (1, 2, 4):
                        slices = [part for batch in batches for part in parts(batch, accumulation)]
                        assert [row for part in slices for row in rows_of(part)] == expected[number]
                        assert sum(part.digest() for part in slices) % 2**64 == digests[number]
                assert number + 1 == steps


def test_any_change_changes_the_digest() -> None:
    """Fails if the digest omits segments, targets, or the row's position in the whole batch."""
    with mixed(1, 12, 4, 10) as (corpora, plan):
        batch = Batches(corpora, plan)[1]
    changed = [replace(batch, first_row=1), replace(batch, inputs_BT=batch.inputs_BT[::-1])]
    for field in ("inputs_BT", "targets_BT", "segments_BT"):
        array = getattr(batch, field).copy()
        array[2, 3] += 1
        changed.append(replace(batch, **{field: array}))
    assert len({batch.digest(), *(each.digest() for each in changed)}) == 6
    assert batch.digest() == replace(batch, step=9).digest()
    assert 0 <= batch.digest() < 2**64


@ON_DISK
@given(st.sets(st.integers(1, 12)), st.integers(1, 12), st.sampled_from([1, 3, 8]), st.booleans())
def test_skipped_steps_are_omitted_and_later_batches_stay(
    skip: set[int], first: int, block: int, prefetch: bool
) -> None:
    """Fails if skipped steps do not count in the numbering."""
    with mixed(12, 5, 2, 10) as (corpora, plan), patch.object(loader, "BLOCK_SEQUENCES", block):
        skipping = replace(plan, skip=tuple(range(step, step + 1) for step in sorted(skip)))
        found = list(Batches(corpora, skipping).iterate(first, 11, prefetch=prefetch))
        assert [batch.step for batch in found] == [step for step in range(first, 12) if step not in skip]
        for batch in found:
            assert rows_of(batch) == rows_of(Batches(corpora, plan)[batch.step])


def calls_of(work: Callable[[], object]) -> int:
    """Return the number of calls of Python and C functions."""
    counts: Counter[str] = Counter()
    source_order.cache_clear()
    sys.setprofile(lambda frame, event, argument: counts.update((event,)))
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts["call"] + counts["c_call"]


@pytest.mark.parametrize("skip", [(), ("7", "900000000")], ids=["all", "skipping"])
def test_seeking_costs_the_same_for_a_far_step(skip: tuple[str, ...]) -> None:
    """Step 10⁹ may take 1.2 times the calls of step 1, plus 50 (for elements that the permutation repeats).
    Fails if cursors or turns are computed step by step, or if `iterate` lists all steps first."""
    far = 10**9
    corpus = mixed(far + 10**6, 24, 4, 10, skip=skip)
    with corpus as (corpora, plan), patch.object(loader, "BLOCK_SEQUENCES", 256):
        ways: list[Callable[[int], object]] = [
            lambda step: Batches(corpora, plan)[step],
            lambda step: next(Batches(corpora, plan).iterate(step, prefetch=False)),
            lambda step: plan.cursors(step),
        ]
        for way in ways:
            way(1)  # kernels are loaded at their first call
            there = calls_of(lambda way=way: way(far))  # type: ignore[misc]
            assert there <= 40_000  # 256 sequences, each across several chunks
            assert there <= 1.2 * calls_of(lambda way=way: way(1)) + 50  # type: ignore[misc]
        cursors = plan.cursors(far)
        last = Batches(corpora, plan)[far]
        again = {name: sequence for _, name, sequence in Batches(corpora, plan).rows(far)}
    assert last.step == far
    # the last sequence of each source is the one before its cursor
    assert {name: plan.orders[name].cursor(sequence + 1) for name, sequence in again.items()} == {
        name: cursors[name] for name in again
    }


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_the_prefetch_thread_ends_with_its_consumer() -> None:
    """Fails if the thread outlives the generator that it reads for."""
    with mixed(1000, 8, 4, 10) as (corpora, plan), patch.object(loader, "BLOCK_SEQUENCES", 4):
        running = Batches(corpora, plan).iterate(1)
        assert next(running).step == 1
        assert len(prefetching()) == 1
        running.close()  # type: ignore[attr-defined]
        assert prefetching() == []
        with pytest.raises(KeyError, match="consumer"):
            for batch in Batches(corpora, plan).iterate(1):
                if batch.step == 5:
                    raise KeyError("consumer")
        assert prefetching() == []
        assert len(list(Batches(corpora, plan).iterate(990))) == 11
        assert prefetching() == []


def test_an_error_in_the_prefetch_thread_is_raised_at_its_step() -> None:
    """Fails if the error is lost (the consumer would wait forever), or if earlier batches are dropped."""
    made = {"books": counted([40] * 10)}  # a chunk is a shard
    with one_phase(made, 20, 10, 2, chunk_tokens=40) as (corpora, plan), patch.object(loader, "BLOCK_SEQUENCES", 2):
        stream = Batches(corpora, plan).streams["books"]
        steps_of = dict[Path, set[int]]()
        for sequence in range(40):
            for _, piece in stream.slices(sequence):
                steps_of.setdefault(piece.shard.path, set()).add(1 + sequence // 2)
        gone = max(steps_of, key=lambda path: min(steps_of[path]))
        gone.unlink()
        for prefetch in (False, True):
            steps: list[int] = []
            with pytest.raises(CorpusError, match=f"{gone.name}: cannot be read as a token shard"):
                steps.extend(batch.step for batch in Batches(corpora, plan).iterate(1, prefetch=prefetch))
            assert steps == list(range(1, min(steps_of[gone])))
        assert prefetching() == []


def test_invalid_steps_and_process_counts_are_rejected() -> None:
    with mixed(3, 8, 6, 10) as (corpora, plan):
        for step in (0, 4):
            with pytest.raises(IndexError, match=f"step {step} is outside this phase, 1 … 3"):
                Batches(corpora, plan)[step]
        with pytest.raises(InputError, match="a batch of 6 sequences is not divisible by 4 processes; change"):
            Batches(corpora, plan, dp_rank=0, dp_world=4)


@pytest.mark.parametrize("whole", [False, True])
def test_the_tokens_of_the_next_steps_are_asked_for_when_reading_is_slow(whole: bool) -> None:
    """Fails if other tokens than those of the next block are asked for, or batches differ."""
    made = {"books": documents([[9, 5, 12, 70], [30, 1, 7, 44]]), "web": documents([[40] * 5])}
    asked, read = list[set[int]](), list[set[int]]()
    with (
        one_phase(made, 6, 10, 2, chunk_tokens=16, whole_documents=whole) as (corpora, plan),
        patch.object(loader, "BLOCK_SEQUENCES", 2),
    ):
        expected = [rows_of(batch) for batch in Batches(corpora, plan).iterate(1)]
        with (
            patch.object(loader, "SLOW_TOKENS_PER_S", float("inf")),
            patch.object(stream, "_advise", lambda tokens_N: asked[-1].update(tokens_N.tolist())),
        ):
            for batch in Batches(corpora, plan).iterate(1, prefetch=False):
                assert rows_of(batch) == expected[batch.step - 1]
                read.append({token for row in rows_of(batch) for token in [*row.inputs, *row.targets]})
                asked.append(set())
    # The first block is read before it is known to be slow.
    for number, ahead in enumerate(asked[:-1]):
        assert set[int]().union(*read[number + 1 : number + 3]) - {EOS, IGNORED} <= ahead


def test_the_system_takes_the_advice() -> None:
    """Fails if the address is not that of a page, which the system refuses."""
    with one_phase({"books": counted([5_000])}, 1, 10, 2) as (corpora, _):
        tokens_N = stream.ShardMaps().open(corpora.sources["books"].train[0]).tokens_N[777:4_000]
        with patch.object(stream, "_LIBC") as libc:
            stream._advise(tokens_N)
        (start, length, advice), _ = libc.madvise.call_args
        assert start.value <= tokens_N.ctypes.data < start.value + mmap.PAGESIZE
        assert start.value + length.value == tokens_N.ctypes.data + tokens_N.nbytes
        assert ctypes.CDLL(None).madvise(start, length, advice) == 0
