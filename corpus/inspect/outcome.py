"""Outcome of a document that the rules kept: a duplicate, or its rows in the text and token shards.

Row n of a shard of clean's `kept` table is the document of row n of dedup's decisions.
"""

from pathlib import Path
from typing import cast

from corpus.settings import Json
from corpus.store.finished_build import Build
from corpus.store.parquet_tables import Row, columns, row_of

SHOWN_DUPLICATES = 20


def outcome_of_kept(build: Build, source: str, task: int, number: int) -> dict[str, Json]:
    """Return the outcome of row `number` of a task's kept documents, with the keys that `explain` documents."""
    decisions = build.table("dedup", source, "decisions")[task]
    decision = row_of(decisions, number)
    if decision["split"] is None:
        survivor = _survivor(build, decision) | _similarity(decision)
        return {"outcome": "merged", "reason": decision["reason"], "split": None, "duplicate_of": survivor}
    count, duplicates = _duplicates(build, str(decision["id"]))
    # The text shard has the rows of the kept shard without the duplicates.
    before = columns(decisions, "split")["split"].slice(0, number)
    text = str(build.table("text", source, "text")[task].relative_to(build.folder))
    return {
        "split": decision["split"],
        "duplicates": duplicates,
        "duplicates_count": count,
        "text_shard": {"file": text, "row": number - before.null_count},
        "token_shard": _token_shard(build, source, str(decision["split"]), str(decision["id"])),
    }


def _similarity(decision: Row) -> dict[str, Json]:
    shared, union = int(str(decision["intersection"])), int(str(decision["union"]))
    similarity = round(shared / union, 4)
    return {"intersection": shared, "union": union, "similarity": similarity, "reason": decision["reason"]}


def _origin(path: Path, number: int) -> dict[str, Json]:
    row = row_of(path, number)
    names = {"id": "id", "source": "source", "url": "url", "file": "origin_file", "start": "origin_start"}
    return {name: row[column] for name, column in names.items()}


def _survivor(build: Build, decision: Row) -> dict[str, Json]:
    """Return the origin of the document that was kept in place of a duplicate."""
    source, survivor = str(decision["survivor_source"]), decision["survivor"]
    shards = zip(build.table("clean", source, "kept"), build.table("dedup", source, "decisions"), strict=True)
    for kept, decisions in shards:
        for number, row in enumerate(columns(decisions, "id", "split").to_pylist()):
            if row["id"] == survivor and row["split"] is not None:
                return _origin(kept, number)
    return {"id": survivor, "source": source, "url": None, "file": None, "start": None}


def _duplicates(build: Build, survivor: str) -> tuple[int, list[Json]]:
    """Return the number of duplicates of a document, and the first of them."""
    import pyarrow.compute as pc

    count, shown = 0, cast(list[Json], [])
    for source in build.sources:
        shards = zip(build.table("clean", source, "kept"), build.table("dedup", source, "decisions"), strict=True)
        for kept, decisions in shards:
            survivors = columns(decisions, "survivor")["survivor"]
            numbers = pc.indices_nonzero(pc.equal(survivors, survivor).combine_chunks()).to_pylist()
            for number in numbers[: SHOWN_DUPLICATES - len(shown)]:
                shown.append(_origin(kept, number) | _similarity(row_of(decisions, number)))
            count += len(numbers)
    return count, shown


def _token_shard(build: Build, source: str, split: str, document: str) -> dict[str, Json] | None:
    """Return the shard, row and tokens of a document; None if it is over its source's quota."""
    import numpy as np

    from corpus.store.token_shards import open_token_shard

    id_16 = np.frombuffer(bytes.fromhex(document), np.uint8)
    for path in build.table("mix", source, split):
        shard = open_token_shard(path)
        rows = np.flatnonzero((shard.ids_D16 == id_16).all(axis=1))
        if len(rows):
            row = int(rows[0])
            tokens = int(shard.offsets_D1[row + 1] - shard.offsets_D1[row])
            return {"file": str(path.relative_to(build.folder)), "row": row, "tokens": tokens}
    return None
