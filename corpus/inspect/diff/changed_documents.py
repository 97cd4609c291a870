"""What became of each document in two builds, a source at a time, in bounded memory.

A document that both builds have costs some 145 bytes while they are joined. Of a source of more than AT_ONCE documents,
ranges of ids are compared one after the other; for each, the ids of all its shards are read once more.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.inspect.diff.differences import ABSENT, Move, Moved
from corpus.inspect.report.examples import excerpt
from corpus.store.finished_build import Build
from corpus.store.parquet_tables import row_of
from corpus.store.token_shards import open_token_shard

AT_ONCE = 5_000_000
EXAMPLES = 3  # of a move
MOVES_WITH_EXAMPLES = 40  # of a source
TRAIN, HOLDOUT, OVER_QUOTA = 0, 1, 2
FIRST = {"training shards": TRAIN, "holdout shards": HOLDOUT, "over quota": OVER_QUOTA, ABSENT: 3}

Ids = NDArray[np.bytes_]  # 16 bytes each
Codes = NDArray[np.uint16]
Place = tuple[Path, int]


class Fates:
    """Numbers for fates, shared by two builds; a document that stands twice in a source has the lower one."""

    def __init__(self) -> None:
        self.codes = dict(FIRST)

    def code(self, fate: str) -> int:
        """The number of a fate."""
        return self.codes.setdefault(fate, len(self.codes))

    def name(self, code: int) -> str:
        """The fate of a number."""
        return list(self.codes)[code]


class Moves(NamedTuple):
    """What was found of a source."""

    moves: tuple[Move, ...]
    same: int


class _Slice(NamedTuple):
    """One of several equal ranges of ids."""

    number: int
    of: int

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        first = ids.view(np.uint8).reshape(-1, 16)[:, :2].astype(np.int64) @ np.array([256, 1])
        found: NDArray[np.bool_] = first * self.of // 65536 == self.number
        return found


def compare(a: Build | None, b: Build | None, source: str) -> Moves:
    """Counts the documents of a source by their fates in either build; None: the build has no such source."""
    fates, counts, first = Fates(), Counter[tuple[int, int]](), dict[tuple[int, int], list[bytes]]()
    builds = [build for build in (a, b) if build]
    slices = -(-max(_documents(build, source) for build in builds) // AT_ONCE) or 1
    for number in range(slices):
        part = _Slice(number, slices)
        ids, codes_a, codes_b = _joined(*(_read(build, source, fates, part) for build in (a, b)))
        pairs, where, sums = np.unique(codes_a * 65536 + codes_b, return_inverse=True, return_counts=True)
        for index, (pair, documents) in enumerate(zip(pairs.tolist(), sums.tolist(), strict=True)):
            move = divmod(pair, 65536)
            counts[move] += documents
            if move[0] != move[1] and len(first.setdefault(move, [])) < EXAMPLES:
                chosen = ids[np.flatnonzero(where == index)[: EXAMPLES - len(first[move])]]
                first[move] += [row.tobytes() for row in chosen.view(np.uint8).reshape(-1, 16)]
    same = sum(documents for (one, other), documents in counts.items() if one == other)
    moved = sorted(
        (-documents, fates.name(one), fates.name(other), (one, other))
        for (one, other), documents in counts.items()
        if one != other
    )
    shown = {identity.hex() for *_, move in moved[:MOVES_WITH_EXAMPLES] for identity in first[move]}
    places = _found([(build, source) for build in builds], shown)
    return Moves(
        tuple(
            Move(
                a=one,
                b=other,
                documents=-documents,
                examples=tuple(places[each.hex()] for each in first[move] if each.hex() in places),
            )
            for documents, one, other, move in moved
        ),
        same,
    )


def _documents(build: Build, source: str) -> int:
    shards = (path for pair in _shards(build, source) for path in pair[:2])
    return sum(pq.read_metadata(path).num_rows for path in shards)


def _shards(build: Build, source: str) -> Iterator[tuple[Path, Path, Path]]:
    """Kept and dropped documents, and dedup's decisions on the kept ones, task by task."""
    clean, dedup = build.job("clean", source), build.job("dedup")
    for task in range(len(clean.tasks)):
        decisions = dedup.folder / "decisions" / f"{source}-{task:05d}.parquet"
        yield clean.folder / f"kept-{task:05d}.parquet", clean.folder / f"dropped-{task:05d}.parquet", decisions


def _read(build: Build | None, source: str, fates: Fates, part: _Slice) -> tuple[Ids, Codes]:
    """The ids of a range, ascending and each once, with their fates."""
    found: list[tuple[Ids, Codes]] = [(np.empty(0, "S16"), np.empty(0, np.uint16))]
    for _, dropped, decisions in _shards(build, source) if build else ():
        for path, column in ((dropped, "rule"), (decisions, "reason")):
            found.append(_coded(path, column, fates, part))
    if build:
        found += _in_shards(build, source, part)
    ids, codes = (np.concatenate(columns) for columns in zip(*found, strict=True))
    order = np.lexsort((codes, ids))
    ids, codes = ids[order], codes[order]
    fresh = np.ones(len(ids), np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=fresh[1:])
    return ids[fresh], codes[fresh]


def _coded(path: Path, column: str, fates: Fates, part: _Slice) -> tuple[Ids, Codes]:
    """A shard's documents by what became of them; one that nothing took is over quota, until a shard has it."""
    table = pq.read_table(path, columns=["id", column])
    ids = np.frombuffer(bytes.fromhex("".join(table["id"].to_pylist())), "S16")
    prefix = "dropped" if column == "rule" else "duplicate"
    encoded = table[column].combine_chunks().cast(pa.string()).dictionary_encode()
    names = [fates.code(f"{prefix}: {name}") for name in encoded.dictionary.to_pylist()]
    table_of = np.array([*names, OVER_QUOTA], np.uint16)
    codes = table_of[pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)]
    inside = part.holds(ids)
    return ids[inside], codes[inside]


def _in_shards(build: Build, source: str, part: _Slice) -> Iterator[tuple[Ids, Codes]]:
    mix = build.job("mix", source)
    for code, split in ((TRAIN, "train"), (HOLDOUT, "holdout")):
        for path in mix.table(split):
            ids = np.ascontiguousarray(open_token_shard(path).ids_D16).view("S16").reshape(-1)
            ids = ids[part.holds(ids)]
            yield ids, np.full(len(ids), code, np.uint16)


def _joined(a: tuple[Ids, Codes], b: tuple[Ids, Codes]) -> tuple[Ids, NDArray[np.int64], NDArray[np.int64]]:
    """All ids of both, ascending, with the fate in either."""
    ids = np.union1d(a[0], b[0])
    columns = []
    for own, codes in (a, b):
        column = np.full(len(ids), FIRST[ABSENT], np.int64)
        column[np.searchsorted(ids, own)] = codes
        columns.append(column)
    return ids, columns[0], columns[1]


def _found(places: list[tuple[Build, str]], wanted: set[str]) -> dict[str, Moved]:
    """Looks the examples up in the first build that has them."""
    found: dict[str, Moved] = {}
    for path in (path for build, source in places for each in _shards(build, source) for path in each[:2]):
        missing = pa.array(sorted(wanted - set(found)), pa.string())
        if not len(missing):
            break
        table = pq.read_table(path, columns=["id"])
        for number in pc.indices_nonzero(pc.is_in(table["id"], missing)).to_pylist():
            row = row_of(path, number)
            found[str(row["id"])] = Moved(
                id=str(row["id"]),
                origin=f"{row['origin_file']}@{row['origin_start']}",
                url=None if row["url"] is None else str(row["url"]),
                excerpt=None if row["text"] is None else excerpt(str(row["text"])),
            )
    return found
