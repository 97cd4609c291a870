"""Documents to look at: kept and dropped ones, and duplicates next to the documents that survived.

All are those of the smallest ids: an id is a hash, so this picks at random, and the same ones each time.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.shared_words import side_by_side
from corpus.inspect.report.summary import UNKNOWN_LANGUAGE, DuplicatePair, Example, Excerpt
from corpus.quality.rule import Rule
from corpus.store.parquet_tables import row_of

EXCERPT_CHARACTERS = 280
KEPT_EXAMPLES = 3
DROPPED_EXAMPLES = 2  # of a rule
DUPLICATE_EXAMPLES = {"near": 2, "exact": 1}  # of a source
_REMOVAL_COLUMNS = ["id", "survivor", "survivor_source", "intersection", "union", "reason"]


class _StoredDocument(NamedTuple):
    """The row of a shard that holds a document."""

    id: str
    path: Path
    row: int


class _Removal(NamedTuple):
    """A decision of dedup to remove a document."""

    id: str
    survivor: str
    survivor_source: str
    intersection: int
    union: int
    reason: str
    path: Path  # the shard with the document's text
    row: int


def kept_examples(shards: Sequence[Path]) -> tuple[Example, ...]:
    """Return a few documents that passed every rule."""
    found: list[_StoredDocument] = []
    for path in shards:
        found = _smallest(KEPT_EXAMPLES, [*found, *_documents(path, pq.read_table(path, columns=["id"]))])
    return tuple(_example(document, None, "") for document in found)


def dropped_examples(shards: Sequence[Path], rules: Mapping[str, Rule]) -> dict[str, tuple[Example, ...]]:
    """Return a few documents for each reason that dropped any."""
    found: dict[str, list[_StoredDocument]] = {}
    for path in shards:
        table = pq.read_table(path, columns=["id", "rule"])
        for reason in pc.unique(table["rule"]).to_pylist():
            documents = _documents(path, table, pc.equal(table["rule"], reason))
            found[reason] = _smallest(DROPPED_EXAMPLES, [*found.get(reason, []), *documents])
    return {
        reason: tuple(_example(document, rules.get(reason), reason) for document in documents)
        for reason, documents in sorted(found.items())
    }


def _documents(path: Path, table: pa.Table, mask: pa.ChunkedArray | None = None) -> Iterable[_StoredDocument]:
    rows = range(table.num_rows) if mask is None else pc.indices_nonzero(mask).to_pylist()
    ids = table["id"] if mask is None else table["id"].filter(mask)
    return (_StoredDocument(id_, path, row) for id_, row in zip(ids.to_pylist(), rows, strict=True))


def _smallest(count: int, documents: Iterable[_StoredDocument]) -> list[_StoredDocument]:
    """Return the documents of the smallest ids, each once."""
    first: dict[str, _StoredDocument] = {}
    for document in documents:
        first.setdefault(document.id, document)
    return nsmallest(count, first.values())


def _example(document: _StoredDocument, rule: Rule | None, reason: str) -> Example:
    row = row_of(document.path, document.row)
    value = None
    if rule and rule.signal in row and (rule.per is None or rule.per in row):
        value = rule.value({name: cast(float | None, row[name]) for name in (rule.signal, rule.per) if name})
    return Example(
        id=document.id,
        reason=reason,
        value=None if value is None else float(f"{value:.6g}"),
        url=None if row["url"] is None else str(row["url"]),
        origin=f"{row['origin_file']}@{row['origin_start']}",
        language=str(row["language"] or UNKNOWN_LANGUAGE),
        excerpt=None if row["text"] is None else excerpt(str(row["text"])),
    )


def excerpt(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * EXCERPT_CHARACTERS].split())
    shortened = len(line) > EXCERPT_CHARACTERS or len(text) > 4 * EXCERPT_CHARACTERS
    return line[:EXCERPT_CHARACTERS].rstrip() + ("…" if shortened else "")


def duplicate_pairs(
    kept: Mapping[str, Sequence[Path]], decisions: Mapping[str, Sequence[Path]], ngram_words: int
) -> dict[str, tuple[DuplicatePair, ...]]:
    """Return a few pairs of each source. Row n of a shard of `kept` is the document of row n of its `decisions`."""
    shards = {source: list(zip(kept[source], paths, strict=True)) for source, paths in decisions.items()}
    removals = {source: _removals(pairs) for source, pairs in shards.items()}
    # Find the survivors, in one pass over each source that has any.
    ids: dict[str, set[str]] = {}
    for removal in (removal for chosen in removals.values() for removal in chosen):
        ids.setdefault(removal.survivor_source, set()).add(removal.survivor)
    survivors = {source: _survivors(shards[source], wanted) for source, wanted in ids.items()}
    return {
        source: tuple(
            _pair(source, removal, survivors[removal.survivor_source][removal.survivor], ngram_words)
            for removal in chosen
            if removal.survivor in survivors[removal.survivor_source]
        )
        for source, chosen in removals.items()
    }


def _removals(shards: Iterable[tuple[Path, Path]]) -> list[_Removal]:
    """Choose removed documents of a source, for each reason."""
    found: dict[str, list[_Removal]] = {reason: [] for reason in DUPLICATE_EXAMPLES}
    for kept, path in shards:
        table = pq.read_table(path, columns=_REMOVAL_COLUMNS)
        table = table.append_column("row", pa.array(range(table.num_rows)))
        for reason, most in DUPLICATE_EXAMPLES.items():
            rows = table.filter(pc.equal(table["reason"], reason)).sort_by("id").slice(0, most).to_pylist()
            found[reason] = nsmallest(most, [*found[reason], *(_Removal(path=kept, **row) for row in rows)])
    return [removal for chosen in found.values() for removal in chosen]


def _survivors(shards: Iterable[tuple[Path, Path]], ids: set[str]) -> dict[str, _StoredDocument]:
    """Find the documents of these ids among those that survived."""
    found: dict[str, _StoredDocument] = {}
    values = pa.array(sorted(ids), pa.string())
    for kept, path in shards:
        table = pq.read_table(path, columns=["id", "split"])
        mask = pc.and_(pc.is_in(table["id"], values), pc.is_valid(table["split"]))
        for document in _documents(kept, table, mask):
            found.setdefault(document.id, document)
    return found


def _pair(source: str, removal: _Removal, survivor: _StoredDocument, ngram_words: int) -> DuplicatePair:
    rows = [row_of(removal.path, removal.row), row_of(survivor.path, survivor.row)]
    windows = side_by_side(str(rows[0]["text"] or ""), str(rows[1]["text"] or ""), ngram_words)
    removed, stayed = (
        Excerpt(
            id=str(row["id"]),
            source=name,
            url=None if row["url"] is None else str(row["url"]),
            origin=f"{row['origin_file']}@{row['origin_start']}",
            **window._asdict(),
        )
        for name, row, window in zip((source, removal.survivor_source), rows, windows, strict=True)
    )
    return DuplicatePair(
        reason=removal.reason,
        intersection=removal.intersection,
        union=removal.union,
        removed=removed,
        survivor=stayed,
    )
