"""What the recounts share: columns of ids, and a ledger held against what was counted.

Legend: D documents, 16 bytes of an id.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.store.finished_build import Build, BuiltJob, task_path
from corpus.store.ledger import Ledger, LedgerEntry

Ids = NDArray[np.bytes_]  # of 16 bytes each
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AssertionError, CorpusError)


def ids_of(column: pa.ChunkedArray) -> Ids:
    """Ids in hexadecimal as 16 bytes each. Raises ValueError for anything else."""
    found = column.to_pylist()
    if any(not isinstance(each, str) or len(each) != 32 for each in found):
        raise ValueError("an id is not 32 hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(found)), "S16") if found else np.empty(0, "S16")


def hexadecimal(id_: np.bytes_ | bytes) -> str:
    """An id as people write it; numpy drops zeros at its end."""
    return bytes(id_).ljust(16, b"\0").hex()


def join(parts: Sequence[Ids]) -> Ids:
    """One after the other, also where there are none."""
    return np.concatenate([np.empty(0, "S16"), *parts])


def file_of(job: BuiltJob, task: int, stem: str, suffix: str = "parquet") -> Path:
    """The one product of a task whose name is `stem`, the task's number and the suffix."""
    return job.folder / f"{stem}-{task:05d}.{suffix}"


def int64(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """A column of whole numbers. Raises ValueError where one is null."""
    if column.null_count or not pa.types.is_integer(column.type):
        raise ValueError("a count is null, or not a whole number")
    return np.asarray(column.to_numpy(), np.int64)


def ledger_problems(build: Build, job: BuiltJob, task: int, counted: Ledger) -> Iterator[str]:
    """Entries that a task's ledger states otherwise than they were counted."""
    said, found = _by_fate(Ledger.of([job.tasks[task].ledger_json])), _by_fate(counted)
    path = task_path(job.folder, task)
    for fate in sorted(said.keys() | found.keys()):
        if said.get(fate) != found.get(fate):
            where, what = path.relative_to(build.folder), " ".join(filter(None, fate))
            yield f"{where}: {what}: says {_shown(said.get(fate))}; counted {_shown(found.get(fate))}"


def _by_fate(ledger: Ledger) -> dict[tuple[str, str, str], LedgerEntry]:
    return {entry[:3]: entry for entry in ledger.entries() if any(entry[3:])}


def _shown(entry: LedgerEntry | None) -> str:
    if entry is None:
        return "nothing"
    return f"{entry.records} records, {entry.input_bytes} bytes of input, {entry.text_bytes} of text"


def guarded(build: Build, path: Path, problems: Iterator[str]) -> Iterator[str]:
    """The problems found; a shard that cannot even be read is one more."""
    try:
        yield from problems
    except UNREADABLE as error:
        text = " ".join(str(error).split())[:300].replace(f"{build.folder}/", "")
        yield f"{path.relative_to(build.folder)}: cannot be recounted: {text}"
