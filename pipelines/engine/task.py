"""A task of a job: products under temporary names, then renamed, then the manifest that vouches for them."""

import os
import platform
import shutil
import time
from pathlib import Path

from pydantic import BaseModel

from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.finished_build import Product
from corpus.store.ledger import Ledger
from corpus.store.products import canonical, publish, sha256_file
from pipelines.engine.job_output import JobIdentity, JobOutput, Table, task_manifest

FORMAT_VERSION = 1
REPORT_EVERY_S = 0.3
HOST = platform.node()  # machines that share a disk may run processes with the same id


class Task:
    """Output context passed to `Job.work`: new files, inputs, ledger, facts and progress."""

    def __init__(self, out: Path, job: JobIdentity, index: int) -> None:
        self.out, self.job, self.index = out, job, index
        self.folder = out / job.folder
        self.ledger = Ledger()
        self.facts: BaseModel | None = None  # recorded in the manifest, read by `JobOutput.facts`
        self.temporary = self.folder / "tmp" / f"{index:05d}-{HOST}.{os.getpid()}"
        self._products: dict[str, tuple[str, str]] = {}  # file name to table and source
        self._progress = _ProgressFile(out, job, index)

    def new(self, name: str, table: str = "", source: str = "") -> Path:
        """Return the path to write a product to, inside `temporary`; it becomes `name` in the job's folder."""
        path = self.temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._products[name] = (table, source)
        return path

    def new_table(self, table: Table, part: int | None = None, source: str = "") -> Path:
        """Return the path to write a table to: that of this task, or of a part of a source."""
        part = self.index if part is None else part
        return self.new(table.file_name(part, source), table.name, source)

    def input(self, job: JobIdentity) -> JobOutput:
        """Return the files of an input job."""
        return JobOutput(self.out, job)

    def progress(self, documents: int, size_bytes: int = 0) -> None:
        """Add to the counts that the progress display shows."""
        self._progress.add(documents, size_bytes)

    def begin(self) -> None:
        """Make an empty temporary folder."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)

    def commit(self) -> None:
        """Make the products durable, rename them, and write the task's manifest last."""
        products = []
        for name, (table, source) in sorted(self._products.items()):
            written = self.temporary / name
            products.append(Product(name, written.stat().st_size, sha256_file(written), table, source))
            publish(written, self.folder / name)
        manifest: dict[str, Json] = {
            "format_version": FORMAT_VERSION,
            "job": self.job.fingerprint,
            "task": self.index,
            "products": [dict(product._asdict()) for product in products],
            "ledger": self.ledger.json(),
            "facts": self.facts.model_dump(mode="json", exclude_unset=True) if self.facts else {},
        }
        output = open_output(self.out)
        output.push(self.folder / product.name for product in products)
        output.write(self.folder / task_manifest(self.index), canonical(manifest), self.temporary)
        self._progress.write()

    def clean_up(self) -> None:
        """Remove the temporary folder. One that remains marks a process that was killed."""
        shutil.rmtree(self.temporary, ignore_errors=True)


class _ProgressFile:
    """Counters in a small file, so that the tasks of any executor can be watched from outside."""

    def __init__(self, out: Path, job: JobIdentity, index: int) -> None:
        self._path = out / "logs" / "progress" / job.folder.removeprefix("jobs/") / f"{index:05d}"
        self._documents = self._bytes = 0
        self._next_s = 0.0

    def add(self, documents: int, size_bytes: int) -> None:
        self._documents += documents
        self._bytes += size_bytes
        if time.monotonic() >= self._next_s:
            self.write()

    def write(self) -> None:
        self._next_s = time.monotonic() + REPORT_EVERY_S
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{HOST}.{os.getpid()}")
        temporary.write_text(f"{self._documents} {self._bytes}")
        temporary.replace(self._path)
