"""The order of a source: each token once an epoch for any lengths of sequences, and equal to a slow reference."""

from itertools import accumulate
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trainer.data.slow_order import Row, SlowOrder
from trainer.data import cursor as cursors
from trainer.data.cursor import Cursor, PlaceRange, SourceLayout, chunk_tokens, first_cursor
from trainer.data.documents import DocumentStarts
from trainer.data.packed_order import best_fit
from trainer.data.reading_order import ReadingOrder, reading_order

PHASES = st.lists(  # length, sequences, whole documents
    st.tuples(st.integers(1, 50), st.integers(0, 20), st.booleans()), min_size=1, max_size=4
)
LENGTHS = st.lists(st.integers(1, 80), min_size=1, max_size=12)  # of documents


def starts_of(lengths: list[int], shard_documents: int = 3) -> DocumentStarts:
    """Documents of these lengths, so many in a shard."""
    shards = [lengths[first : first + shard_documents] for first in range(0, len(lengths), shard_documents)]
    offsets = [np.array([0, *accumulate(shard)]) for shard in shards]
    return DocumentStarts(list(accumulate(map(sum, shards))), lambda number: offsets[number])


def row_of(order: ReadingOrder, sequence: int) -> Row:
    """Return a sequence and the token after it, as the reference does."""
    (first,), (second,) = order.locate(np.array([sequence]))
    offsets: list[int | None] = [None] * (order.sequence_tokens + 1)
    runs = order.runs(int(first), int(second))
    for column, start, stop, _ in runs:
        offsets[column : column + stop - start] = range(start, stop)
    seams, end = {run.column for run in runs if run.is_seam}, runs[-1].column + runs[-1].stop - runs[-1].start
    assert len(offsets) == order.sequence_tokens + 1
    return Row(offsets, seams | ({end} if end < len(offsets) else set()))


@given(LENGTHS, st.integers(1, 60), st.integers(1, 5), PHASES, st.integers(0, 9))
@example([64], 16, 2, [(16, 3, False), (8, 2, False), (32, 3, False)], 1)
@example([5], 8, 1, [(70, 3, False), (2, 4, False)], 1)  # sequences longer than an epoch
@example([6], 3, 1, [(2, 1, False), (1, 0, False), (2, 1, False)], 0)  # a phase that reads nothing of the source
@example([90, 90, 90], 4, 1, [(16, 5, True), (8, 9, False), (16, 30, True)], 1)  # windows in which no document begins
def test_sequences_equal_a_slow_reference(
    lengths: list[int], chunk: int, window_chunks: int, phases: list[tuple[int, int, bool]], seed: int
) -> None:
    """Fails if what a window has left is forgotten when the length changes, or if a document is packed twice."""
    layout, starts = SourceLayout("books", sum(lengths), chunk), starts_of(lengths)
    slow = SlowOrder(layout, seed, window_chunks, [0, *accumulate(lengths[:-1])])
    cursor = first_cursor(layout.tokens)
    with patch.object(cursors, "WINDOW_CHUNKS", window_chunks):
        for width, count, whole in phases:
            order = reading_order(layout, seed, cursor, width, starts, whole_documents=whole)
            for sequence in range(count):
                assert row_of(order, sequence) == slow.read(width, whole)
            cursor = order.cursor(count) if count else cursor


@given(LENGTHS, st.integers(1, 60), st.integers(1, 5), PHASES, st.integers(0, 9))
def test_each_token_is_read_once_an_epoch(
    lengths: list[int], chunk: int, window_chunks: int, phases: list[tuple[int, int, bool]], seed: int
) -> None:
    """Fails if the short sequence at the end of an epoch is not its last, or if cursors do not count what was read."""
    tokens, starts = sum(lengths), starts_of(lengths)
    read, cursor = list[int](), first_cursor(tokens)
    with patch.object(cursors, "WINDOW_CHUNKS", window_chunks):
        for width, count, whole in phases:
            order = reading_order(
                SourceLayout("books", tokens, chunk), seed, cursor, width, starts, whole_documents=whole
            )
            rows = [row_of(order, sequence).offsets for sequence in range(count)]
            # Whole documents are predicted, behind an EOS or the token before; others are inputs.
            tokens_read = [row[1:] if whole else row[:-1] for row in rows]
            read += [offset for row in tokens_read for offset in row if offset is not None]
            cursor = order.cursor(count) if count else cursor
            assert cursor.tokens_read == len(read) and cursor.epoch == len(read) // tokens
    for first in range(0, len(read), tokens):
        epoch = read[first : first + tokens]
        assert len(set(epoch)) == len(epoch) and set(epoch) <= set(range(tokens))


@given(LENGTHS, st.integers(1, 60), st.integers(1, 40), st.lists(st.integers(0, 99), max_size=9), st.booleans())
def test_adjacent_tokens_are_found_at_once(
    lengths: list[int], chunk: int, width: int, sequences: list[int], whole: bool
) -> None:
    """Fails if a sequence across two chunks, or across the remainder, is taken for a contiguous one."""
    layout = SourceLayout("books", sum(lengths), chunk)
    order = reading_order(layout, 1, first_cursor(layout.tokens), width, starts_of(lengths), whole_documents=whole)
    offset_N = order.offsets(*order.locate(np.array(sequences, np.int64)))
    for sequence, offset in zip(sequences, offset_N.tolist(), strict=True):
        expected = row_of(order, sequence)
        if offset >= 0:
            assert expected == Row(list(range(offset, offset + width + 1)), set())
        elif not whole and None not in expected.offsets:
            chunks = {each // chunk for each in expected.offsets[:-1] if each is not None}
            assert expected.seams or len(chunks) > 1


def test_one_length_leaves_no_trace_of_phases() -> None:
    """Fails if windows are counted from a phase's start: the order would depend on how the phases are divided."""
    layout, lengths = SourceLayout("books", 1000, 8), [7, 33, 20, 140] * 5
    for whole in (False, True):
        cursor, parts = first_cursor(1000), list[Row]()
        for count in (3, 50, 1, 80):
            order = reading_order(layout, 1, cursor, 10, starts_of(lengths), whole_documents=whole)
            parts += [row_of(order, sequence) for sequence in range(count)]
            cursor = order.cursor(count)
        once = reading_order(layout, 1, first_cursor(1000), 10, starts_of(lengths), whole_documents=whole)
        assert parts == [row_of(once, sequence) for sequence in range(134)]


def test_longer_sequences_are_not_cut_from_pieces_of_shorter_ones() -> None:
    """Fails if sequences of a later phase lie across two chunks, or across what an earlier one has left."""
    layout = SourceLayout("books", 1 << 22, 1 << 14)  # two windows of 128 chunks
    short = reading_order(layout, 1, first_cursor(layout.tokens), 256)
    long = reading_order(layout, 1, short.cursor(100), 4096)
    rows = [row_of(long, sequence) for sequence in range(800)]  # of 1,018 that are left, most lie within chunks
    assert all(row.seams <= {4096} for row in rows)  # the source's last token has no successor


def test_documents_are_not_cut_unless_they_are_longer() -> None:
    lengths = np.random.default_rng(1).geometric(1 / 40, 400).tolist()
    layout, width = SourceLayout("web", sum(lengths), 64), 100
    order = reading_order(layout, 1, first_cursor(layout.tokens), width, starts_of(lengths), whole_documents=True)
    begins = np.array([0, *accumulate(lengths)])
    found, count = set[int](), 0
    while order.cursor(count + 1).epoch == 0:
        count += 1
    for sequence in range(count + 1):
        row = [each for each in row_of(order, sequence).offsets[1:] if each is not None]
        for document in set(np.searchsorted(begins, row, "right").tolist()):
            inside = [each for each in row if begins[document - 1] <= each < begins[document]]
            assert len(inside) == lengths[document - 1] or lengths[document - 1] > width
            found.add(document)
    assert len(found) == len(lengths) and (count + 1) * width < 1.02 * layout.tokens


def test_best_fit() -> None:
    """Fails if an item does not go where it leaves the least room, or long items do not come first."""
    assert best_fit(np.array([3, 5, 2, 6, 4]), 10) == [[3, 4], [1, 0, 2]]
    assert best_fit(np.array([6, 6, 6, 4, 3, 1]), 10) == [[0], [1, 4, 5], [2, 3]]
    assert best_fit(np.array([], np.int64), 10) == []


def test_epochs_seeds_and_sources_have_different_orders() -> None:
    """Fails if a key omits the epoch, the seed, or the source's identity."""

    def order(identity: str, seed: int, first: int) -> tuple[int | None, ...]:
        each = reading_order(SourceLayout(identity, 240, 8), seed, first_cursor(240), 4)
        return tuple(row_of(each, sequence).offsets[0] for sequence in range(first, first + 60))

    assert len({order("books", 1, 0), order("books", 1, 60), order("books", 2, 0), order("poems", 1, 0)}) == 4


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(1, 1024), (1 << 17, 2048), ((1 << 17) - 1, 1024), (1_400_000, 16_384), (10**12, 1 << 18)],
)
def test_chunks_are_powers_of_two(tokens: int, expected: int) -> None:
    assert chunk_tokens(tokens) == expected


def test_cursor_of_a_source_that_was_never_read() -> None:
    assert first_cursor(7) == Cursor(7, 0, (PlaceRange(0, 7),), 0, False, 0, 0) and first_cursor(7).tokens_read == 0
