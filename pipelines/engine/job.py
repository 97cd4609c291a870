"""A job: a stage of a plan at work on one source or on all. Its fingerprint decides its folder.

A task of a job writes its products under temporary names, renames them, and then writes the manifest that vouches for
them.
"""

import hashlib
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.finished_build import Product
from corpus.store.ledger import Ledger
from corpus.store.products import canonical, publish, sha256_file
from pipelines.engine.job_output import JOB_MANIFEST, JobOutput, Table, task_manifest
from pipelines.engine.task_counts import HOST, CostMeter, TaskCounts

FORMAT_VERSION = 1
REPORT_EVERY_S = 0.3
JobType = TypeVar("JobType", bound="Job")


class Task:
    """Output context passed to `Job.work`: new files, inputs, ledger, facts and progress."""

    def __init__(self, out: Path, job: "Job", index: int) -> None:
        self.out, self.job, self.index = out, job, index
        self.output = JobOutput(out, job)
        self.ledger = Ledger()
        self.facts: BaseModel | None = None  # recorded in the manifest, read by `JobOutput.facts`
        self.temporary = self.output.temporary / f"{index:05d}-{HOST}.{os.getpid()}"
        self._products: dict[str, tuple[str, str]] = {}  # file name to table and source
        self._documents = self._bytes = 0
        self._report_at_s = 0.0

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

    def input(self, job: "Job") -> JobOutput:
        """Return the files of an input job."""
        return JobOutput(self.out, job)

    def progress(self, documents: int, size_bytes: int = 0) -> None:
        """Add to the counts that the progress display shows."""
        self._documents += documents
        self._bytes += size_bytes
        if time.monotonic() >= self._report_at_s:
            self._report_at_s = time.monotonic() + REPORT_EVERY_S
            self.report()

    def book(self, source: str, outcome: str, reason: str, size_bytes: int, records: int = 1) -> None:
        """Enter documents that are text already in the ledger, and add them to the progress."""
        self.ledger.add(source, outcome, reason, records=records, input_bytes=size_bytes, text_bytes=size_bytes)
        self.progress(records, size_bytes)

    def report(self, cost: CostMeter | None = None) -> None:
        """Write the counts where the executor's machine sees them; with the costs when the task has ended."""
        costs = (cost.cpu_ms, cost.peak_memory_bytes) if cost else ()
        TaskCounts(self._documents, self._bytes, *costs).write(self.output.progress_folder, self.index)

    def commit(self) -> None:
        """Make the products durable, rename them, and write the task's manifest last."""
        folder, storage = self.output.folder, open_output(self.out)
        products = []
        for name, (table, source) in sorted(self._products.items()):
            written = self.temporary / name
            products.append(Product(name, written.stat().st_size, sha256_file(written), table, source))
            publish(written, folder / name)
        manifest: dict[str, Json] = {
            "format_version": FORMAT_VERSION,
            "job": self.job.fingerprint,
            "task": self.index,
            "products": [dict(product._asdict()) for product in products],
            "ledger": self.ledger.json(),
            "facts": self.facts.model_dump(mode="json", exclude_unset=True) if self.facts else {},
        }
        storage.push(folder / product.name for product in products)
        storage.write(folder / task_manifest(self.index), canonical(manifest), self.temporary)


@dataclass(frozen=True)
class Job(ABC):
    """One stage at work on a source (or on all), cut into a number of tasks that is fixed when the plan is made.

    A stage is a subclass; the tables that it writes are class attributes (`kept = Table("kept")`). The fingerprint
    covers kind, settings, code revisions, library versions and the inputs' fingerprints; never the place, the time or
    the number of workers.
    """

    source_name: str  # "" for a job over all sources
    inputs: tuple["Job", ...]
    tasks: int
    kind: ClassVar[str]  # name of the stage
    step: ClassVar[str | None] = None  # title in the report's funnel, of a stage that decides about documents
    unit: ClassVar[str] = "records"  # counted by the stage's progress
    published: ClassVar[tuple[str, ...]] = ()  # products that are copied to the top of the output folder
    index_name: ClassVar[str] = ""  # of the file that `index` is written to
    revision: ClassVar[int] = 1  # of the stage's own code; raise it whenever the output changes

    @property
    def name(self) -> str:
        """`clean.web`: the kind, and the source if there is one."""
        return f"{self.kind}.{self.source_name}" if self.source_name else self.kind

    @abstractmethod
    def settings(self) -> Json:
        """User settings that affect the output."""

    def version_keys(self) -> dict[str, Json]:
        """Code revisions and library versions that affect the output."""
        return {}

    @abstractmethod
    def work(self, task: Task) -> None:
        """Do one task: write its products through `task`."""

    def check(self, output: JobOutput) -> None:  # noqa: B027  (most stages have nothing to check)
        """Check the job after its last task, and again at each build. Raises CorpusError."""

    def index(self, output: JobOutput) -> BaseModel | None:
        """Return what later jobs need of all tasks, in one file, so that they do not open every manifest."""
        return None

    def warning(self, output: JobOutput) -> str | None:
        """Return a warning about the finished job, shown once."""
        return None

    def notice(self, output: JobOutput) -> str | None:
        """Return a line to show when the job has finished, such as the license of a model."""
        return None

    @cached_property
    def description(self) -> dict[str, Json]:
        """The value that the fingerprint is the hash of."""
        return {
            "kind": self.kind,
            "step": self.step,
            "revision": self.revision,
            "tasks": self.tasks,
            "settings": self.settings(),
            "versions": self.version_keys(),
            "inputs": {job.name: job.identity for job in self.inputs},
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the description, in hexadecimal."""
        return hashlib.sha256(canonical(self.description).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Identity of this job in downstream fingerprints."""
        return self.fingerprint

    @property
    def fetched_bytes(self) -> int:
        """Bytes to download or verify; 0 if unknown."""
        return 0

    @property
    def folder(self) -> str:
        """Folder of the job, relative to the output folder."""
        return f"jobs/{self.name}-{self.fingerprint[:12]}"

    def input(self, stage: type[JobType], source: str | None = None) -> JobType:
        """Return the input job of a stage, of one source if given."""
        return next(job for job in self.inputs_of(stage) if source in (None, job.source_name))

    def inputs_of(self, stage: type[JobType]) -> list[JobType]:
        """Return all input jobs of a stage, in order."""
        return [job for job in self.inputs if isinstance(job, stage)]

    def run_task(self, out: Path, index: int) -> None:
        """Do a task and commit its products, unless its manifest exists already."""
        task = Task(out, self, index)
        if task.output.manifest_path(index).is_file():
            return
        cost = CostMeter()
        shutil.rmtree(task.temporary, ignore_errors=True)
        task.temporary.mkdir(parents=True)
        try:
            self.work(task)
            task.commit()
            task.report(cost)
        finally:
            shutil.rmtree(task.temporary, ignore_errors=True)

    def close(self, out: Path) -> None:
        """Check the job, write its index, and its manifest, which marks it as finished. Raises CorpusError."""
        output, storage = JobOutput(out, self), open_output(out)
        if missing := output.missing():
            raise CorpusError(f"job {self.name}: {len(missing)} of {self.tasks} tasks did not finish")
        self.check(output)
        manifest: dict[str, Json] = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "description": self.description,
            "ledger": output.ledger().json(),
            "task_manifests": [sha256_file(output.manifest_path(index)) for index in range(self.tasks)],
        }
        if index := self.index(output):
            text = index.model_dump_json(exclude_unset=True) + "\n"
            storage.write(output.folder / self.index_name, text, output.temporary)
            digest = hashlib.sha256(text.encode()).hexdigest()
            manifest["index"] = dict(Product(self.index_name, len(text.encode()), digest, "", "")._asdict())
        storage.write(output.folder / JOB_MANIFEST, canonical(manifest), output.temporary)


_cached_version = cache(version)  # each look-up reads a file


def versions(distributions: Iterable[str]) -> dict[str, Json]:
    """Return the installed versions of libraries that affect an output."""
    return {name: _cached_version(name) for name in distributions}
