"""A build as its own files describe it: build.json names the jobs, job.json a job, tasks/NNNNN.json a task's products.

Format: docs/formats.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple, TypeVar, cast

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from corpus.errors import CorpusError, InputError
from corpus.settings import Json, Strict
from corpus.store.corpus_manifest import Count, Hex
from corpus.store.ledger import LedgerEntry
from corpus.store.products import content_identity


def _plain_path(name: str) -> str:
    """Looser than a manifest's paths: a product may have any name that a member of a package has."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("expected a plain path below the folder")
    return name


PlainPath = Annotated[str, AfterValidator(_plain_path)]
JobFolder = Annotated[str, Field(pattern=r"^jobs/[a-z0-9_.]+-[0-9a-f]{12}$")]


class Product(NamedTuple):
    """A finished file, named relative to its job's folder."""

    name: PlainPath
    bytes: Count
    sha256: Hex
    table: str  # the table of its stage that it belongs to
    source: str  # the source that it is about, where one job writes files for several


class _VersionedFile(Strict):
    format_version: Literal[1]


class _LedgerFile(_VersionedFile):
    ledger: tuple[LedgerEntry, ...]

    @property
    def ledger_json(self) -> list[Json]:
        """The entries as `Ledger.of` takes them."""
        return [dict(entry._asdict()) for entry in self.ledger]


class TaskFile(_LedgerFile):
    """tasks/NNNNN.json: written after the task's products were complete."""

    job: Hex
    task: Count
    products: tuple[Product, ...]
    facts: dict[str, JsonValue]


class Description(Strict):
    """The value that a job's fingerprint is the hash of."""

    kind: str
    step: str | None  # title in the report's funnel, of a stage that decides about documents
    revision: int
    tasks: Count
    settings: JsonValue
    versions: dict[str, JsonValue]
    inputs: dict[str, Hex]  # identities, by the jobs' names


class JobFile(_LedgerFile):
    """job.json: written after the last task had ended."""

    name: str
    fingerprint: Hex
    description: Description
    task_manifests: tuple[Hex, ...]
    index: Product | None = None  # what later jobs read of all tasks in one file


class BuildFile(_VersionedFile):
    """build.json: the folders of the jobs of the current plan, in its order."""

    jobs: tuple[JobFolder, ...]


@dataclass(frozen=True)
class BuiltJob:
    """A job with all its tasks."""

    folder: Path
    file: JobFile
    tasks: tuple[TaskFile, ...]

    @property
    def name(self) -> str:
        """As in the plan: `clean.web`."""
        return self.file.name

    @property
    def kind(self) -> str:
        """The stage."""
        return self.name.partition(".")[0]

    @property
    def source(self) -> str:
        """The source that it works on; "" for a job over all sources."""
        return self.name.partition(".")[2]

    @property
    def step(self) -> str | None:
        """Title in the report's funnel, of a stage that decides about documents."""
        return self.file.description.step

    @property
    def fetched_files(self) -> list[dict[str, Json]] | None:
        """The files of a source, if this job fetched them: name, size, SHA-256, cuts."""
        facts = [task.facts.get("files") for task in self.tasks]
        if not facts or None in facts:
            return None
        return [file for files in facts for file in cast(list[dict[str, Json]], files)]

    @property
    def identity(self) -> str:
        """Identity in downstream fingerprints: the hash of fetched files, else the fingerprint."""
        files = self.fetched_files
        if files is None:
            return self.file.fingerprint
        reader = self.setting("reader")
        return content_identity(reader if isinstance(reader, str) else None, files)

    def setting(self, *keys: str) -> JsonValue:
        """Return a value inside its settings; None if there is none."""
        value = self.file.description.settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def table(self, name: str, source: str = "") -> list[Path]:
        """Return the files of one of its tables, in the order of tasks; of one source if the table has several."""
        return [
            self.folder / product.name
            for task in self.tasks
            for product in task.products
            if product.table == name and product.source == source
        ]


@dataclass(frozen=True)
class Build:
    """The jobs of the current plan, in its order."""

    folder: Path
    jobs: tuple[BuiltJob, ...]

    def of(self, kind: str) -> list[BuiltJob]:
        """Return the jobs of one stage."""
        return [job for job in self.jobs if job.kind == kind]

    def job(self, kind: str, source: str = "") -> BuiltJob:
        """Return the job of a stage that works on a source. Raises CorpusError if the build has none."""
        for job in self.jobs:
            if (job.kind, job.source) == (kind, source):
                return job
        raise CorpusError(f"{self.folder}: this build has no job {'.'.join(filter(None, (kind, source)))}")

    def table(self, kind: str, source: str, name: str) -> list[Path]:
        """Return the files of a stage's table about one source, in the order of tasks.

        Raises CorpusError if the build has no such job.
        """
        over_all_sources = any(not job.source for job in self.of(kind))
        return self.job(kind).table(name, source) if over_all_sources else self.job(kind, source).table(name)

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order of the recipe."""
        return list(dict.fromkeys(job.source for job in self.jobs if job.step and job.source))


File = TypeVar("File", BuildFile, JobFile, TaskFile)


def read_file(kind: type[File], path: Path) -> File:
    """Read one of the three files. Raises CorpusError if it is missing or damaged."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: missing or not readable: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{path}: damaged: {place + ': ' if place else ''}{first['msg']}") from None


def task_path(job: Path, task: int) -> Path:
    """Return the path of a task's manifest."""
    return job / "tasks" / f"{task:05d}.json"


def open_build(folder: Path, kinds: Sequence[str] | None = None) -> Build:
    """Read the files that describe a build, of all jobs or of some stages. Raises CorpusError at the first fault."""
    if not (folder / "build.json").exists():
        raise InputError(f"{folder}: no finished build (it has no build.json); run `corpus build` to its end")
    jobs = []
    for name in read_file(BuildFile, folder / "build.json").jobs:
        if kinds is not None and name.removeprefix("jobs/").partition("-")[0].partition(".")[0] not in kinds:
            continue
        file = read_file(JobFile, folder / name / "job.json")
        tasks = [read_file(TaskFile, task_path(folder / name, n)) for n in range(file.description.tasks)]
        jobs.append(BuiltJob(folder / name, file, tuple(tasks)))
    return Build(folder, tuple(jobs))
