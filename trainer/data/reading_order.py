"""The order in which a phase reads a source: cut into sequences, or packed from whole documents."""

from trainer.data.cursor import Cursor, PlaceRange, SourceLayout
from trainer.data.cut_order import CutOrder
from trainer.data.documents import DocumentStarts
from trainer.data.packed_order import PackedOrder

ReadingOrder = CutOrder | PackedOrder


def reading_order(
    layout: SourceLayout,
    seed: int,
    cursor: Cursor,
    sequence_tokens: int,
    documents: DocumentStarts | None = None,
    *,
    whole_documents: bool = False,
) -> ReadingOrder:
    """Return a source's order from a cursor on, whatever sequences were read before it.

    `documents` are needed for sequences of whole documents, and after such.
    """
    start = cursor
    if (cursor.sequence_tokens, cursor.whole_documents) != (sequence_tokens, whole_documents):
        unread = _unread(layout, seed, cursor, documents)
        start = Cursor(cursor.epoch_tokens, cursor.epoch, unread, sequence_tokens, whole_documents, 0, 0)
    return _order(layout, seed, start, documents)


def _order(layout: SourceLayout, seed: int, start: Cursor, documents: DocumentStarts | None) -> ReadingOrder:
    if not start.whole_documents:
        return CutOrder(layout, seed, start)
    assert documents is not None, "whole documents are read where they begin"
    return PackedOrder(layout, seed, start, documents)


def _unread(
    layout: SourceLayout, seed: int, cursor: Cursor, documents: DocumentStarts | None
) -> tuple[PlaceRange, ...]:
    return _order(layout, seed, cursor, documents).unread() if cursor.done else cursor.unread
