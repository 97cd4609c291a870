"""Duplicates to look at: of each source and reason those of the smallest ids, beside the documents that stayed."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.inspect.report.shared_words import Window, side_by_side
from corpus.inspect.report.summary_types import DuplicatePair, Excerpt
from corpus.store.parquet_tables import row_of

SHOWN = {"near": 2, "exact": 1}  # of a source
COLUMNS = ["id", "survivor", "survivor_source", "intersection", "union", "reason"]

Place = tuple[Path, int]  # a shard and a row of it


class _Removal(NamedTuple):
    id: str
    survivor: str
    survivor_source: str
    intersection: int
    union: int
    reason: str
    place: Place


def duplicate_pairs(
    kept: Mapping[str, Sequence[Path]], decisions: Mapping[str, Sequence[Path]], ngram_words: int
) -> dict[str, tuple[DuplicatePair, ...]]:
    """By source. `kept` are the shards of clean whose rows dedup's `decisions` follow, task by task."""
    chosen = {source: _chosen(zip(kept[source], paths, strict=True)) for source, paths in decisions.items()}
    wanted: dict[str, set[str]] = {}
    for removal in (each for removals in chosen.values() for each in removals):
        wanted.setdefault(removal.survivor_source, set()).add(removal.survivor)
    stayed = {source: _places(zip(kept[source], decisions[source], strict=True), ids) for source, ids in wanted.items()}
    return {
        source: tuple(
            _pair(source, each, stayed[each.survivor_source][each.survivor], ngram_words)
            for each in removals
            if each.survivor in stayed[each.survivor_source]
        )
        for source, removals in chosen.items()
    }


def _chosen(shards: Iterable[tuple[Path, Path]]) -> list[_Removal]:
    found: dict[str, list[_Removal]] = {reason: [] for reason in SHOWN}
    for kept, path in shards:
        table = pq.read_table(path, columns=COLUMNS)
        numbers = pa.array(range(table.num_rows))
        table = table.append_column("number", numbers).filter(pc.is_valid(table["reason"]))
        for reason, most in SHOWN.items():
            rows = table.filter(pc.equal(table["reason"], reason)).sort_by("id").slice(0, most).to_pylist()
            for row in rows:
                place = (kept, row.pop("number"))
                found[reason] = nsmallest(most, [*found[reason], _Removal(**row, place=place)])
    return [removal for removals in found.values() for removal in removals]


def _places(shards: Iterable[tuple[Path, Path]], ids: set[str]) -> dict[str, Place]:
    """Where these documents stand among those that stayed."""
    found: dict[str, Place] = {}
    values = pa.array(sorted(ids), pa.string())
    for kept, path in shards:
        table = pq.read_table(path, columns=["id", "split"])
        rows = pc.and_(pc.is_in(table["id"], values), pc.is_valid(table["split"]))
        for number in pc.indices_nonzero(rows).to_pylist():
            found.setdefault(table["id"][number].as_py(), (kept, number))
    return found


def _pair(source: str, removal: _Removal, survivor: Place, ngram_words: int) -> DuplicatePair:
    rows = [row_of(*removal.place), row_of(*survivor)]
    windows = side_by_side(str(rows[0]["text"] or ""), str(rows[1]["text"] or ""), ngram_words)
    one, other = (
        _excerpt(name, row, window)
        for name, row, window in zip((source, removal.survivor_source), rows, windows, strict=True)
    )
    return DuplicatePair(
        reason=removal.reason,
        intersection=removal.intersection,
        union=removal.union,
        removed=one,
        survivor=other,
    )


def _excerpt(source: str, row: Mapping[str, object], window: Window) -> Excerpt:
    return Excerpt(
        id=cast(str, row["id"]),
        source=source,
        url=cast(str | None, row["url"]),
        origin=f"{row['origin_file']}@{row['origin_start']}",
        **window._asdict(),
    )
