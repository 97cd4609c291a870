"""Documents in the batch of a step, computed from manifests and settings alone: before, during or after the run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.display.data_table import DataRow, DataTable
from corpus.display.terminal import plain_console, print_line, print_table
from trainer.data.corpora import Corpora
from trainer.data.curriculum import PhasePlan
from trainer.data.loader import Batches
from trainer.data.stream import ShardMaps
from trainer.engine.run_setup import read_setup

MAX_NAMED = 8  # documents in a message
TABLE_WIDTH = 160  # columns: ids and shard names are long


class DocumentSpan(NamedTuple):
    """Tokens of one document in one sequence. A sequence of T tokens has T + 1: the last is a target only."""

    row: int  # in the whole batch
    first: int  # in the sequence
    last: int  # exclusive
    source: str
    id: str  # 32 hex digits, as in the text shards
    document_first: int  # in the document's tokens, the last of which is EOS
    document_tokens: int
    shard: str


def trace(corpora: Corpora, phase: PhasePlan, step: int) -> Iterator[DocumentSpan]:
    """Yield the spans of a step's whole batch in reading order. They cover a sequence, except for its padding."""
    maps = ShardMaps()
    batches = Batches(corpora, phase, maps=maps)
    for row, source, sequence in batches.rows(step):
        for position, (shard, first, last) in batches.streams[source].slices(sequence):
            opened = maps.open(shard)
            offsets = opened.offsets_D1
            # The first document of the piece, then the following ones up to its end.
            number = int(np.searchsorted(offsets, first, side="right")) - 1
            while first < last:
                begin, end = int(offsets[number]), int(offsets[number + 1])
                length = min(last, end) - first
                document = opened.ids_D16[number].tobytes().hex()
                yield DocumentSpan(
                    row, position, position + length, source, document, first - begin, end - begin, shard.path.name
                )
                position, first, number = position + length, first + length, number + 1


def documents_of(
    corpora: Corpora, phase: PhasePlan, step: int, rows: tuple[int, ...], max_named: int = MAX_NAMED
) -> str:
    """Name the documents in these rows of a step's batch, or in all rows if `rows` is empty."""
    spans = (span for span in trace(corpora, phase, step) if not rows or span.row in rows)
    documents = list(dict.fromkeys(f"{span.source} {span.id}" for span in spans))
    more = len(documents) - max_named
    return ", ".join(documents[:max_named]) + (f" and {more} more documents" if more > 0 else "")


def show_trace(config: Path | None, assignments: Sequence[str], step: int, as_json: bool) -> None:
    """Run `trainer trace`: print the spans of a step's batch as a table, or as a line of JSON each."""
    setup = read_setup(config, assignments)
    phase = setup.curriculum.phase_of(step)
    spans = trace(setup.corpora, phase, step)
    if as_json:
        for span in spans:
            print(json.dumps(span._asdict()))
        return
    skipped = ", which is skipped" if phase.skips(step) else ""
    console = plain_console(width=TABLE_WIDTH)
    print_line(
        console,
        f"Step {step}, in phase {phase.name}{skipped}: sequences of {phase.sequence_tokens} tokens plus the next one",
    )
    rows: list[DataRow] = []
    for span in spans:
        document_last = span.document_first + span.last - span.first
        tokens = f"{span.first:,}–{span.last - 1:,}"
        inside = f"{span.document_first:,}–{document_last - 1:,} of {span.document_tokens:,}"
        rows.append([span.row, tokens, span.source, span.id, inside, span.shard])
    columns = ["row", "tokens", "source", "document", "its tokens", "shard"]
    note = "`corpus explain ID` says where a document comes from, and how each stage decided."
    print_table(console, DataTable("", columns, rows, text=(2, 3, 5), note=note))
