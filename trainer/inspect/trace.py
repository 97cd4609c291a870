"""Which documents stand in the batch of a step: by arithmetic alone, before, during or after the run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.data.corpora import Corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.loader import Batches
from trainer.data.stream import ShardMaps
from trainer.engine.start_run import read_setup


class Span(NamedTuple):
    """Tokens of one document in one sequence. A sequence of T tokens reads T + 1: the last is a target alone."""

    row: int  # in the whole batch
    first: int  # in the sequence
    last: int  # behind the span
    source: str
    id: str  # 32 hex digits, as in the text shards
    document_first: int  # in the document's tokens, of which the last is EOS
    document_tokens: int
    shard: str


def trace(corpora: Corpora, phase: PhasePlan, step: int) -> Iterator[Span]:
    """The spans of a step's whole batch, in the order in which they are read; those of a sequence fill it."""
    maps = ShardMaps()
    batches = Batches(corpora, phase, maps=maps)
    for row, source, start in batches.rows(step):
        at = 0
        for shard, first, last in batches.streams[source].slices(start, phase.sequence_tokens + 1):
            opened = maps.open(shard)
            offsets = opened.offsets_D1
            number = int(np.searchsorted(offsets, first, side="right")) - 1
            while first < last:
                begin, end = int(offsets[number]), int(offsets[number + 1])
                length = min(last, end) - first
                name = opened.ids_D16[number].tobytes().hex()
                yield Span(row, at, at + length, source, name, first - begin, end - begin, shard.path.name)
                at, first, number = at + length, first + length, number + 1


def documents_of(corpora: Corpora, phase: PhasePlan, step: int, rows: tuple[int, ...], most: int = 8) -> str:
    """The documents in these rows of a step's batch (all rows, if none are named), in words: the first few by name."""
    found = {(span.source, span.id): None for span in trace(corpora, phase, step) if not rows or span.row in rows}
    named = ", ".join(f"{source} {name}" for source, name in list(found)[:most])
    return named + (f" and {len(found) - most} more documents" if len(found) > most else "")


def show_trace(config: Path | None, assignments: Sequence[str], step: int, as_json: bool) -> None:
    """Prints the spans of a step's batch: as a table, or a line of JSON each."""
    setup = read_setup(config, assignments)
    phase = setup.curriculum.phase_of(step)
    spans = trace(setup.corpora, phase, step)
    if as_json:
        for span in spans:
            print(json.dumps(span._asdict()))
        return
    from rich.console import Console
    from rich.table import Table

    skipped = ", which is skipped" if phase.skips(step) else ""
    title = (
        f"Step {step}, in phase {phase.name}{skipped}: sequences of {phase.sequence_tokens} tokens and one to predict"
    )
    table = Table("row", "tokens", "source", "document", "its tokens", "shard", title=title, title_justify="left")
    for span in spans:
        document_last = span.document_first + span.last - span.first
        table.add_row(
            str(span.row),
            f"{span.first:,}–{span.last - 1:,}",
            span.source,
            span.id,
            f"{span.document_first:,}–{document_last - 1:,} of {span.document_tokens:,}",
            span.shard,
        )
    console = Console()
    console.print(table)
    console.print("corpus explain BUILD ID says where a document comes from, and what it passed.", highlight=False)
