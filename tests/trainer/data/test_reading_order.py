"""The order of a source: each token once an epoch for any lengths of sequences, and equal to a slow reference."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trainer.data.slow_order import SlowOrder
from trainer.data import reading_order
from trainer.data.reading_order import Cursor, PlaceRange, ReadingOrder, SourceLayout, chunk_tokens, first_cursor

PHASES = st.lists(st.tuples(st.integers(1, 70), st.integers(0, 60)), min_size=1, max_size=5)  # length, sequences


def offsets(order: ReadingOrder, sequence: int) -> list[int]:
    """Return the offsets of a sequence and of the token after it."""
    (epoch,), (position,) = order.locate(np.array([sequence]))
    runs = order.runs(int(epoch), int(position), order.sequence_tokens + 1)
    return [offset for start, stop in runs for offset in range(start, stop)]


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 5), PHASES, st.integers(0, 9))
@example(64, 16, 2, [(16, 3), (8, 2), (32, 3)], 1)
@example(5, 8, 1, [(70, 3), (2, 4)], 1)  # sequences longer than an epoch
@example(6, 3, 1, [(2, 1), (1, 0), (2, 1)], 0)  # a phase that reads nothing of the source
def test_sequences_equal_a_slow_reference(
    tokens: int, chunk: int, window_chunks: int, phases: list[tuple[int, int]], seed: int
) -> None:
    """Fails if a window's unread sequences are forgotten, or read before whole chunks, when the length changes."""
    layout = SourceLayout("books", tokens, chunk)
    slow, cursor = SlowOrder(layout, seed, window_chunks), first_cursor(tokens)
    with patch.object(reading_order, "WINDOW_CHUNKS", window_chunks):
        for width, count in phases:
            order = ReadingOrder(layout, seed, cursor, width)
            for sequence in range(count):
                assert offsets(order, sequence) == slow.read(width)
            cursor = order.cursor(count)


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 5), PHASES, st.integers(0, 9))
def test_each_token_is_read_once_an_epoch(
    tokens: int, chunk: int, window_chunks: int, phases: list[tuple[int, int]], seed: int
) -> None:
    """Fails if the short sequence at the end of an epoch is not its last, or if cursors do not count what was read."""
    read, cursor = list[int](), first_cursor(tokens)
    with patch.object(reading_order, "WINDOW_CHUNKS", window_chunks):
        for width, count in phases:
            order = ReadingOrder(SourceLayout("books", tokens, chunk), seed, cursor, width)
            read += [offset for sequence in range(count) for offset in offsets(order, sequence)[:width]]
            cursor = order.cursor(count)
            assert cursor.tokens_read == len(read) and cursor.epoch == len(read) // tokens
    for first in range(0, len(read), tokens):
        epoch = read[first : first + tokens]
        assert len(set(epoch)) == len(epoch) and set(epoch) <= set(range(tokens))


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 40), st.lists(st.integers(0, 99), max_size=9))
def test_adjacent_tokens_are_found_at_once(tokens: int, chunk: int, width: int, sequences: list[int]) -> None:
    """Fails if a sequence across two chunks, or across the remainder, is taken for a contiguous one."""
    order = ReadingOrder(SourceLayout("books", tokens, chunk), 1, first_cursor(tokens), width)
    epoch_N, position_N = order.locate(np.array(sequences, np.int64))
    for sequence, offset in zip(sequences, order.offsets(epoch_N, position_N, width + 1).tolist(), strict=True):
        expected, whole = offsets(order, sequence), tokens // chunk * chunk
        adjacent = expected == list(range(expected[0], expected[0] + width + 1))
        inside = expected[-1] < whole and expected[0] // chunk == expected[-1] // chunk
        assert offset == (expected[0] if adjacent and inside else -1)


def test_one_length_leaves_no_trace_of_phases() -> None:
    """Fails if windows are counted from a phase's start: the order would depend on how the phases are divided."""
    layout, cursor, parts = SourceLayout("books", 1000, 8), first_cursor(1000), list[list[int]]()
    for count in (3, 50, 1, 80):
        order = ReadingOrder(layout, 1, cursor, 10)
        parts += [offsets(order, sequence) for sequence in range(count)]
        cursor = order.cursor(count)
    whole = ReadingOrder(layout, 1, first_cursor(1000), 10)
    assert parts == [offsets(whole, sequence) for sequence in range(134)]


def test_longer_sequences_begin_at_untouched_chunks() -> None:
    """Fails if sequences of a later phase lie across two chunks, each at the same place."""
    layout = SourceLayout("books", 1 << 22, 1 << 14)  # two windows of 128 chunks
    short = ReadingOrder(layout, 1, first_cursor(layout.tokens), 256)
    long = ReadingOrder(layout, 1, short.cursor(100), 4096)
    found = [offsets(long, sequence) for sequence in range(500)]  # the other window's 512, but for the last
    assert all(row[:-1] == list(range(row[0], row[0] + 4096)) for row in found)
    assert long.start.unread[-1].start <= 1 << 21 and long.start.unread[-1].stop == 1 << 22


def test_epochs_seeds_and_sources_have_different_orders() -> None:
    """Fails if a key omits the epoch, the seed, or the source's identity."""

    def order(identity: str, seed: int, first: int) -> tuple[int, ...]:
        each = ReadingOrder(SourceLayout(identity, 240, 8), seed, first_cursor(240), 4)
        return tuple(offsets(each, sequence)[0] for sequence in range(first, first + 60))

    assert len({order("books", 1, 0), order("books", 1, 60), order("books", 2, 0), order("poems", 1, 0)}) == 4


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, 1024), (1 << 17, 2048), ((1 << 17) - 1, 1024), (1_400_000, 16_384), (10**12, 1 << 18)],
)
def test_chunks_are_powers_of_two(tokens: int, expected: int) -> None:
    assert chunk_tokens(tokens) == expected


def test_cursor_of_a_source_that_was_never_read() -> None:
    assert first_cursor(7) == Cursor(7, 0, (PlaceRange(0, 7),), 0, 0) and first_cursor(7).tokens_read == 0
