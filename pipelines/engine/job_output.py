"""Files that a job has written so far, read back through its tasks' manifests."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from pydantic import BaseModel

from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.finished_build import Product
from corpus.store.ledger import Ledger
from corpus.store.products import read_json
from corpus.store.text_shards import read_rows

JOB_MANIFEST = "job.json"
TEMPORARY = "tmp"  # in a job's folder: files of tasks that are running or were killed
Facts = TypeVar("Facts", bound=BaseModel)
RowType = TypeVar("RowType", bound=NamedTuple)


def task_manifest(index: int) -> str:
    """Return the name of a task's manifest, relative to the job's folder."""
    return f"tasks/{index:05d}.json"


class JobIdentity(Protocol):
    """The part of a job that names its files."""

    @property
    def name(self) -> str:
        """Unique in a plan."""

    @property
    def tasks(self) -> int:
        """Number of tasks."""

    @property
    def folder(self) -> str:
        """Folder relative to the output folder."""

    @property
    def index_name(self) -> str:
        """File name of the index; "" if there is none."""


@dataclass(frozen=True)
class Table:
    """A file that a stage writes once per task, or once per task of each source.

    The stage that writes it declares it as a class attribute; the attribute's name is the table's.
    """

    name: str
    suffix: str = ".parquet"

    def file_name(self, part: int, source: str = "") -> str:
        """Return the file's name, relative to the job's folder."""
        return f"{self.name}/{source}-{part:05d}{self.suffix}" if source else f"{self.name}-{part:05d}{self.suffix}"


@dataclass(frozen=True)
class TableFiles:
    """The files of one table by task; each is downloaded when it is asked for."""

    output: "JobOutput"
    table: Table
    length: int
    source: str = ""

    def of_source(self, source: str, parts: int) -> "TableFiles":
        """Return the files that the job wrote for one source."""
        return replace(self, source=source, length=parts)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Path:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.output.path(self.table.file_name(index, self.source))

    def __iter__(self) -> Iterator[Path]:
        return (self[index] for index in range(self.length))

    def rows(self, kind: type[RowType]) -> Iterator[RowType]:
        """Yield the rows of all tasks in order, with the columns that `kind` names."""
        for path in self:
            yield from read_rows(path, kind)


class JobOutput:
    """The finished tasks of a job, and their products; of an output in a bucket, the bucket is authoritative.

    A table that the job's stage declares is an attribute: `task.input(clean).kept[n]` is the file of task n.
    """

    def __init__(self, out: Path, job: JobIdentity) -> None:
        self.out, self.job, self.folder = out, job, out / job.folder
        self.temporary = self.folder / TEMPORARY
        self.progress_folder = out / "logs" / "progress" / self.folder.name  # a file for each task that has begun
        self._storage = open_output(out)

    def __getattr__(self, name: str) -> TableFiles:
        table = getattr(type(self.job), name, None)
        if not isinstance(table, Table):
            raise AttributeError(f"job {self.job.name} declares no table `{name}`")
        return TableFiles(self, table, self.job.tasks)

    @property
    def is_finished(self) -> bool:
        """True if the job's own manifest, which is written last, exists."""
        return self._storage.pull(self.folder / JOB_MANIFEST)

    def missing(self) -> list[int]:
        """Return the tasks that have no manifest."""
        names = {f"tasks/{name}" for name in self._storage.names(self.folder / "tasks")}
        if not names:
            return list(range(self.job.tasks))
        return [index for index in range(self.job.tasks) if task_manifest(index) not in names]

    def manifest_path(self, index: int) -> Path:
        """Return the path of a task's manifest."""
        return self.path(task_manifest(index))

    def facts(self, kind: type[Facts], index: int = 0) -> Facts:
        """Return the facts that a task recorded beside its products."""
        facts = self._manifest(index)["facts"]
        return kind.model_validate_json(json.dumps(facts))  # as JSON, whose lists are valid tuples

    def index(self, kind: type[Facts]) -> Facts | None:
        """Return the index of a finished job; None if the job is unfinished, or of a release that wrote none."""
        path = self.folder / self.job.index_name
        if not self.job.index_name or not self.is_finished or not self._storage.pull(path):
            return None
        status = path.stat()
        index: Facts = _read_index(kind, path, status.st_size, status.st_mtime_ns)
        return index

    def all_facts(self, kind: type[Facts]) -> list[Facts]:
        """Return the facts of all tasks, in order."""
        return [self.facts(kind, index) for index in range(self.job.tasks)]

    def products(self, index: int) -> list[Product]:
        """Return the files that a task wrote."""
        rows = self._manifest(index)["products"]
        assert isinstance(rows, list)
        return [Product(**row) for row in rows]  # type: ignore[arg-type]

    def path(self, product: str) -> Path:
        """Return the local path of a product, downloaded if only the bucket has it."""
        self._storage.pull(self.folder / product)
        return self.folder / product

    def download(self) -> None:
        """Download all products, for readers that open files by path."""
        for index in range(self.job.tasks):
            for product in self.products(index):
                self.path(product.name)

    def ledger(self) -> Ledger:
        """Return the sum of the tasks' ledgers."""
        ledgers = [self._manifest(index)["ledger"] for index in range(self.job.tasks)]
        return Ledger.of(rows for rows in ledgers if isinstance(rows, list))

    def forget_damaged(self) -> None:
        """Remove the manifests of tasks whose products are missing or of another size, so that they run again."""
        sizes = self._storage.sizes(self.folder)
        if JOB_MANIFEST not in sizes or not self._has_index(sizes):
            self._forget(JOB_MANIFEST, sizes)
        for index in range(self.job.tasks):
            name = task_manifest(index)
            if name in sizes and self._storage.pull(self.folder / name) and self._has_all(self.products(index), sizes):
                continue
            self._forget(JOB_MANIFEST, sizes)
            self._forget(name, sizes)

    def _forget(self, manifest: str, sizes: Mapping[str, int]) -> None:
        (self.folder / manifest).unlink(missing_ok=True)  # one in the working copy alone does not count
        if manifest in sizes:
            self._storage.remove(self.folder / manifest)

    def _has_index(self, sizes: Mapping[str, int]) -> bool:
        """True if the index is as the job's manifest says; the job is closed again if not, without running a task."""
        if not self.job.index_name:
            return True
        entry = read_json(self.folder / JOB_MANIFEST).get("index") if self.is_finished else None
        return isinstance(entry, dict) and self._has_all([Product(**entry)], sizes)  # type: ignore[arg-type]

    def _manifest(self, index: int) -> dict[str, Json]:
        return read_json(self.manifest_path(index))

    def _has_all(self, products: Sequence[Product], sizes: Mapping[str, int]) -> bool:
        for product in products:
            path = self.folder / product.name
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size != product.bytes:
                    path.unlink()  # written or downloaded again
        return all(sizes.get(product.name) == product.bytes for product in products)


@lru_cache(maxsize=4)
def _read_index(kind: type[Facts], path: Path, size: int, modified_ns: int) -> Facts:
    """Read an index; tasks that follow each other in a process share it."""
    return kind.model_validate_json(path.read_bytes())
