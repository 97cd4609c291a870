"""Documents whose outcome differs between two builds, one source at a time, in bounded memory.

A document in both builds needs about 145 bytes while they are joined. If a source has more than DOCUMENTS_AT_ONCE,
ranges of ids are compared one after another, and the ids of all its shards are read once for each range.

Legend: D documents of a range, in the order of their ids.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.inspect.report.examples import excerpt, origin
from corpus.inspect.report.summary import DocumentOrigin
from corpus.settings import Strict
from corpus.store.finished_build import Build
from corpus.store.parquet_tables import row_of
from corpus.store.token_shards import open_token_shard

DOCUMENTS_AT_ONCE = 5_000_000
EXAMPLES = 3  # of a move
MOVES_WITH_EXAMPLES = 40  # of a source
ABSENT = "not in its input"  # outcome of a document that a build never read
OUTCOMES = ("training shards", "holdout shards", "over quota", ABSENT)  # the numbers 0 to 3
TRAIN, HOLDOUT, OVER_QUOTA, NOT_READ = range(4)

Ids = NDArray[np.bytes_]  # of 16 bytes each
Numbers = NDArray[np.uint16]  # of outcomes
IdRange = tuple[int, int]  # number of one of several equal ranges of ids, and their count


class MovedDocument(DocumentOrigin):
    """A document whose outcome changed, as in the first build that has it."""

    excerpt: str | None


class Move(Strict):
    """Documents with one outcome in build a and another in build b, such as `dropped: RULE` or `duplicate: near`."""

    a: str
    b: str
    documents: int
    examples: tuple[MovedDocument, ...]  # of the smallest ids


class ComparedDocuments(NamedTuple):
    """The documents of a source in two builds."""

    moves: tuple[Move, ...]  # the largest first
    same: int


def compare_documents(a: Build | None, b: Build | None, source: str) -> ComparedDocuments:
    """Count the documents of a source by their outcomes in both builds; None if a build does not have the source."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)  # a document that occurs twice has the lower one
    for name in OUTCOMES:
        numbers[name]
    counts, examples = Counter[tuple[int, int]](), dict[tuple[int, int], list[str]]()
    builds = [build for build in (a, b) if build]
    ranges = -(-max(_documents(build, source) for build in builds) // DOCUMENTS_AT_ONCE) or 1
    for number in range(ranges):
        ids_D, a_D, b_D = _joined(*(_read(build, source, numbers, (number, ranges)) for build in (a, b)))
        pairs, pair_D, sums = np.unique(a_D * 65536 + b_D, return_inverse=True, return_counts=True)
        for index, (pair, documents) in enumerate(zip(pairs.tolist(), sums.tolist(), strict=True)):
            move = divmod(pair, 65536)
            counts[move] += documents
            if move[0] != move[1] and len(examples.setdefault(move, [])) < EXAMPLES:
                first = np.flatnonzero(pair_D == index)[: EXAMPLES - len(examples[move])]
                examples[move] += [id_.tobytes().hex() for id_ in ids_D[first].view(np.uint8).reshape(-1, 16)]
    same = sum(documents for (one, other), documents in counts.items() if one == other)
    names = list(numbers)
    moves = [(move, documents) for move, documents in counts.items() if move[0] != move[1]]
    moves.sort(key=lambda item: (-item[1], names[item[0][0]], names[item[0][1]]))
    shown = {id_ for move, _ in moves[:MOVES_WITH_EXAMPLES] for id_ in examples[move]}
    found = _find(builds, source, shown)
    return ComparedDocuments(
        tuple(
            Move(
                a=names[one],
                b=names[other],
                documents=documents,
                examples=tuple(found[id_] for id_ in examples[one, other] if id_ in found),
            )
            for (one, other), documents in moves
        ),
        same,
    )


def _documents(build: Build, source: str) -> int:
    return sum(pq.read_metadata(path).num_rows for path in _measured_shards(build, source))


def _measured_shards(build: Build, source: str) -> Iterator[Path]:
    """Yield the shards of all documents of a source, kept and dropped."""
    for kept, dropped, _ in _shards(build, source):
        yield from (kept, dropped)


def _shards(build: Build, source: str) -> Iterator[tuple[Path, Path, Path]]:
    """Return the shards of kept and dropped documents, and dedup's decisions about the kept ones, task by task."""
    tables = (build.table("clean", source, name) for name in ("kept", "dropped"))
    return zip(*tables, build.table("dedup", source, "decisions"), strict=True)


def _read(build: Build | None, source: str, numbers: defaultdict[str, int], part: IdRange) -> tuple[Ids, Numbers]:
    """Return the ids of a range, ascending and each once, with the numbers of their outcomes."""
    found: list[tuple[Ids, Numbers]] = [(np.empty(0, "S16"), np.empty(0, np.uint16))]
    if build:
        for _, dropped, decisions in _shards(build, source):
            found.append(_outcomes(dropped, "rule", "dropped", numbers, part))
            found.append(_outcomes(decisions, "reason", "duplicate", numbers, part))
        found += _in_token_shards(build, source, part)
    ids, outcomes = (np.concatenate(columns) for columns in zip(*found, strict=True))
    # Of several outcomes of one id, keep the lowest number.
    order = np.lexsort((outcomes, ids))
    ids, outcomes = ids[order], outcomes[order]
    first = np.ones(len(ids), np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=first[1:])
    return ids[first], outcomes[first]


def _outcomes(
    path: Path, column: str, outcome: str, numbers: defaultdict[str, int], part: IdRange
) -> tuple[Ids, Numbers]:
    """Return a shard's documents by outcome. Without a reason it is over quota, unless a token shard has them."""
    table = pq.read_table(path, columns=["id", column])
    ids = np.frombuffer(bytes.fromhex("".join(table["id"].to_pylist())), "S16")
    encoded = table[column].combine_chunks().cast(pa.string()).dictionary_encode()
    numbered = [numbers[f"{outcome}: {reason}"] for reason in encoded.dictionary.to_pylist()]
    by_index = np.array([*numbered, OVER_QUOTA], np.uint16)
    outcomes = by_index[pc.fill_null(encoded.indices, len(numbered)).to_numpy(zero_copy_only=False)]
    inside = _inside(ids, part)
    return ids[inside], outcomes[inside]


def _in_token_shards(build: Build, source: str, part: IdRange) -> Iterator[tuple[Ids, Numbers]]:
    for number, split in ((TRAIN, "train"), (HOLDOUT, "holdout")):
        for path in build.table("mix", source, split):
            ids = np.ascontiguousarray(open_token_shard(path).ids_D16).view("S16").reshape(-1)
            ids = ids[_inside(ids, part)]
            yield ids, np.full(len(ids), number, np.uint16)


def _inside(ids: Ids, part: IdRange) -> NDArray[np.bool_]:
    """True for each id in the range."""
    number, ranges = part
    first = ids.view(np.uint8).reshape(-1, 16)[:, :2].astype(np.int64) @ np.array([256, 1])
    inside: NDArray[np.bool_] = first * ranges // 65536 == number
    return inside


def _joined(a: tuple[Ids, Numbers], b: tuple[Ids, Numbers]) -> tuple[Ids, NDArray[np.int64], NDArray[np.int64]]:
    """Return all ids of both builds, ascending, with the outcome in each."""
    ids_D = np.union1d(a[0], b[0])
    columns = []
    for ids, outcomes in (a, b):
        column_D = np.full(len(ids_D), NOT_READ, np.int64)
        column_D[np.searchsorted(ids_D, ids)] = outcomes
        columns.append(column_D)
    return ids_D, columns[0], columns[1]


def _find(builds: list[Build], source: str, ids: set[str]) -> dict[str, MovedDocument]:
    """Read documents from the first build that has them."""
    found: dict[str, MovedDocument] = {}
    for path in (path for build in builds for path in _measured_shards(build, source)):
        missing = pa.array(sorted(ids - set(found)), pa.string())
        if not len(missing):
            break
        table = pq.read_table(path, columns=["id"])
        for number in pc.indices_nonzero(pc.is_in(table["id"], missing)).to_pylist():
            row = row_of(path, number)
            found[str(row["id"])] = MovedDocument(**origin(row), excerpt=excerpt(row["text"]))
    return found
