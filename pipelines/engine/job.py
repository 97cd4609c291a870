"""A job: a stage of a plan at work on one source or on all. Its fingerprint decides its folder."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, TypeVar

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.products import canonical, sha256_file
from pipelines.engine.job_output import JOB_MANIFEST, JobOutput
from pipelines.engine.task import FORMAT_VERSION, Task

JobType = TypeVar("JobType", bound="Job")


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
    revision: ClassVar[int] = 1  # of the stage's own code; raise it whenever the output changes

    @property
    def name(self) -> str:
        """`clean.web`: the kind, and the source if there is one."""
        return f"{self.kind}.{self.source_name}" if self.source_name else self.kind

    @abstractmethod
    def settings(self) -> Json:
        """User settings that affect the output."""

    def version_keys(self) -> Mapping[str, Json]:
        """Code revisions and library versions that affect the output."""
        return {}

    @abstractmethod
    def work(self, task: Task) -> None:
        """Do one task: write its products through `task`."""

    def check(self, output: JobOutput) -> None:  # noqa: B027  (most stages have nothing to check)
        """Check the job after its last task, and again at each build. Raises CorpusError."""

    def warning(self, output: JobOutput) -> str | None:
        """Return a warning about the finished job, shown once."""
        return None

    def notice(self) -> str | None:
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
            "versions": dict(self.version_keys()),
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
        if task.input(self).manifest_path(index).is_file():
            return
        task.begin()
        try:
            self.work(task)
            task.commit()
        finally:
            task.clean_up()

    def close(self, out: Path) -> None:
        """Check the job and write its manifest, which marks it as finished. Raises CorpusError."""
        output = JobOutput(out, self)
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
        open_output(out).write(output.folder / JOB_MANIFEST, canonical(manifest), output.folder / "tmp")


_cached_version = cache(version)  # each look-up reads a file


def versions(distributions: Iterable[str]) -> dict[str, Json]:
    """Return the installed versions of libraries that affect an output."""
    return {name: _cached_version(name) for name in distributions}
