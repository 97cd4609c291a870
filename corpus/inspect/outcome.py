"""What became of a document that the rules kept: whose duplicate it is, or where in the shards it stands.

`number` is its row in clean's shard, and so in dedup's decisions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from corpus.settings import Json
from corpus.store.finished_build import Build, BuiltJob
from corpus.store.parquet_tables import Row, columns, row_of

SHOWN_DUPLICATES = 20


class Kept(NamedTuple):
    """A row of what clean kept of a source."""

    source: str
    task: int
    number: int


def fate(build: Build, kept: Kept) -> dict[str, Json]:
    """`outcome`, `reason`, `split`, and `duplicate_of`, or `duplicates`, `text_shard` and `token_shard`."""
    decision = row_of(_decisions(build, kept.source, kept.task), kept.number)
    if decision["split"] is None:
        return {
            "outcome": "merged",
            "reason": decision["reason"],
            "split": None,
            "duplicate_of": _survivor(build, decision),
        }
    split = str(decision["split"])
    count, shown = _duplicates(build, str(decision["id"]))
    return {
        "split": split,
        "duplicates": shown,
        "duplicates_count": count,
        "text_shard": _text_shard(build, kept),
        "token_shard": _token_shard(build, kept.source, split, str(decision["id"])),
    }


def _decisions(build: Build, source: str, task: int) -> Path:
    return build.job("dedup").folder / "decisions" / f"{source}-{task:05d}.parquet"


def _kept_shard(build: Build, source: str, task: int) -> Path:
    return build.job("clean", source).folder / f"kept-{task:05d}.parquet"


def _likeness(decision: Row) -> dict[str, Json]:
    """How like a duplicate is to its survivor: equal, or by the words that they share."""
    shared, union = int(str(decision["intersection"])), int(str(decision["union"]))
    return {
        "intersection": shared,
        "union": union,
        "similarity": round(shared / union, 4),
        "reason": decision["reason"],
    }


def _where(row: Row) -> dict[str, Json]:
    names = {"id": "id", "source": "source", "url": "url", "file": "origin_file", "start": "origin_start"}
    return {name: row[column] for name, column in names.items()}


def _survivor(build: Build, decision: Row) -> dict[str, Json]:
    """The document that stayed in this one's place."""
    source, survivor = str(decision["survivor_source"]), decision["survivor"]
    for task in range(len(build.job("clean", source).tasks)):
        rows = columns(_decisions(build, source, task), "id", "split").to_pylist()
        for number, row in enumerate(rows):
            if row["id"] == survivor and row["split"] is not None:
                return _where(row_of(_kept_shard(build, source, task), number)) | _likeness(decision)
    return {"id": survivor, "source": source, "url": None, "file": None, "start": None} | _likeness(decision)


def _duplicates(build: Build, survivor: str) -> tuple[int, list[Json]]:
    """How many documents were merged into this one, and the first of them."""
    import pyarrow.compute as pc

    count, shown = 0, cast(list[Json], [])
    for clean in build.of("clean"):
        for task in range(len(clean.tasks)):
            table = columns(_decisions(build, clean.source, task))
            numbers = pc.indices_nonzero(pc.equal(table["survivor"], survivor).combine_chunks()).to_pylist()
            for number in numbers[: SHOWN_DUPLICATES - len(shown)]:
                kept = row_of(_kept_shard(build, clean.source, task), number)
                shown.append(_where(kept) | _likeness(table.slice(number, 1).to_pylist()[0]))
            count += len(numbers)
    return count, shown


def _text_shard(build: Build, kept: Kept) -> dict[str, Json]:
    """The file and the row: rows stand as in clean's shard, less those that were merged."""
    splits = columns(_decisions(build, kept.source, kept.task), "split")["split"].to_pylist()
    row = sum(split is not None for split in splits[: kept.number])
    path = build.job("text", kept.source).folder / f"text-{kept.task:05d}.parquet"
    return {"file": str(path.relative_to(build.folder)), "row": row}


def _token_shard(build: Build, source: str, split: str, document: str) -> dict[str, Json] | None:
    """The file, the row and its tokens; None where the source's quota was full before its turn."""
    import numpy as np

    from corpus.store.token_shards import open_token_shard

    wanted = np.frombuffer(bytes.fromhex(document), np.uint8)
    for path in _token_shards(build.job("mix", source), split):
        shard = open_token_shard(path)
        rows = np.flatnonzero((shard.ids_D16 == wanted).all(axis=1))
        if len(rows):
            row = int(rows[0])
            tokens = int(shard.offsets_D1[row + 1] - shard.offsets_D1[row])
            return {"file": str(path.relative_to(build.folder)), "row": row, "tokens": tokens}
    return None


def _token_shards(mix: BuiltJob, split: str) -> Iterator[Path]:
    yield from mix.table(split)
