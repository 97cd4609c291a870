"""Documents to look at: kept and dropped ones, and duplicates next to the documents that survived.

All are those of the smallest ids: an id is a hash, so this picks at random, and the same ones each time.
"""

from collections.abc import Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.shared_words import side_by_side
from corpus.inspect.report.summary import UNKNOWN_LANGUAGE, DuplicatePair, Example, Excerpt
from corpus.quality.rule import Rule
from corpus.settings import Json
from corpus.store.parquet_tables import Row, row_of

EXCERPT_CHARACTERS = 280
KEPT_EXAMPLES = 3
DROPPED_EXAMPLES = 2  # of a rule
DUPLICATE_EXAMPLES = {"near": 2, "exact": 1}  # of a source

Shards = Sequence[tuple[Path, Path]]  # kept documents and dedup's decisions, row by row


class OriginFields(TypedDict):
    """Fields of a DocumentOrigin."""

    id: str
    url: str | None
    origin: str


class StoredRow(NamedTuple):
    """The row of a document in a Parquet file, and the number of the file."""

    id: str
    file: int
    row: int


class Removal(NamedTuple):
    """A document that dedup removed, and its decision."""

    document: Row
    decision: Row

    @property
    def survivor_source(self) -> str:
        """Source of the document that survived."""
        return str(self.decision["survivor_source"])

    @property
    def survivor(self) -> str:
        """Id of the document that survived."""
        return str(self.decision["survivor"])


def kept_examples(shards: Sequence[Path]) -> tuple[Example, ...]:
    """Return a few documents that passed every rule."""
    found = _smallest_ids(shards, "source", KEPT_EXAMPLES)  # all are of one source
    chosen = [row_of(shards[stored.file], stored.row) for rows in found.values() for stored in rows]
    return tuple(_example(row, None, "") for row in chosen)


def dropped_examples(shards: Sequence[Path], rules: Mapping[str, Rule]) -> dict[str, tuple[Example, ...]]:
    """Return a few documents for each reason that dropped any."""
    return {
        reason: tuple(_example(row_of(shards[stored.file], stored.row), rules.get(reason), reason) for stored in rows)
        for reason, rows in sorted(_smallest_ids(shards, "rule", DROPPED_EXAMPLES).items())
    }


def _smallest_ids(files: Sequence[Path], column: str, most: int) -> dict[str, list[StoredRow]]:
    """Return the rows of the smallest ids for each value of a column; each id is there once."""
    found: dict[str, list[StoredRow]] = {}
    for number, path in enumerate(files):
        table = pq.read_table(path, columns=["id", column])
        for value in pc.unique(table[column]).drop_null().to_pylist():
            first = {stored.id: stored for stored in found.get(value, [])}
            mask = pc.equal(table[column], value)
            rows = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
            for id_, row in zip(table["id"].filter(mask).to_pylist(), rows, strict=True):
                first.setdefault(id_, StoredRow(id_, number, row))
            found[value] = nsmallest(most, first.values())
    return found


def _example(row: Row, rule: Rule | None, reason: str) -> Example:
    value = None
    if rule and rule.signal in row and (rule.per is None or rule.per in row):
        value = rule.value({name: cast(float | None, row[name]) for name in (rule.signal, rule.per) if name})
    return Example(
        reason=reason,
        value=None if value is None else float(f"{value:.6g}"),
        language=str(row["language"] or UNKNOWN_LANGUAGE),
        excerpt=excerpt(row["text"]),
        **origin(row),
    )


def origin(row: Row) -> OriginFields:
    """Return the id of a document, and where it comes from."""
    url = None if row["url"] is None else str(row["url"])
    return {"id": str(row["id"]), "url": url, "origin": f"{row['origin_file']}@{row['origin_start']}"}


def excerpt(text: Json) -> str | None:
    """Return the beginning of a text on one line; None if the text was not kept."""
    if text is None:
        return None
    text = str(text)
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    shortened = len(line) > EXCERPT_CHARACTERS or len(text) > 4 * EXCERPT_CHARACTERS
    return line[:EXCERPT_CHARACTERS].rstrip() + ("…" if shortened else "")


def duplicate_pairs(sources: Mapping[str, Shards], ngram_words: int) -> dict[str, tuple[DuplicatePair, ...]]:
    """Return a few pairs of each source."""
    # Choose removed documents, then find their survivors in one pass over each source that has any.
    removals = {source: _removals(shards) for source, shards in sources.items()}
    wanted: dict[str, set[str]] = {}
    for removal in (removal for chosen in removals.values() for removal in chosen):
        wanted.setdefault(removal.survivor_source, set()).add(removal.survivor)
    survivors = {source: _survivors(sources[source], ids) for source, ids in wanted.items()}
    return {
        source: tuple(
            _pair(source, removal, survivors[removal.survivor_source][removal.survivor], ngram_words)
            for removal in chosen
            if removal.survivor in survivors[removal.survivor_source]
        )
        for source, chosen in removals.items()
    }


def _removals(shards: Shards) -> list[Removal]:
    """Choose removed documents of a source, for each reason."""
    found = _smallest_ids([path for _, path in shards], "reason", max(DUPLICATE_EXAMPLES.values()))
    rows = (row for reason, most in DUPLICATE_EXAMPLES.items() for row in found.get(reason, [])[:most])
    return [Removal(row_of(shards[row.file][0], row.row), row_of(shards[row.file][1], row.row)) for row in rows]


def _survivors(shards: Shards, ids: set[str]) -> dict[str, Row]:
    """Return the documents of these ids among those that survived."""
    found: dict[str, Row] = {}
    values = pa.array(sorted(ids), pa.string())
    for kept, path in shards:
        table = pq.read_table(path, columns=["id", "split"])
        mask = pc.and_(pc.is_in(table["id"], values), pc.is_valid(table["split"]))
        for number in pc.indices_nonzero(mask).to_pylist():
            row = row_of(kept, number)
            found.setdefault(str(row["id"]), row)
    return found


def _pair(source: str, removal: Removal, survivor: Row, ngram_words: int) -> DuplicatePair:
    documents = ((source, removal.document), (removal.survivor_source, survivor))
    one, other = (str(row["text"] or "") for _, row in documents)
    windows = side_by_side(one, other, ngram_words)
    removed, stayed = (
        Excerpt(source=name, **origin(row), **window._asdict())
        for (name, row), window in zip(documents, windows, strict=True)
    )
    counts = {name: cast(int, removal.decision[name]) for name in ("intersection", "union")}
    return DuplicatePair(reason=str(removal.decision["reason"]), **counts, removed=removed, survivor=stayed)
