"""A build as its own files describe it: build.json names the jobs, job.json a job, tasks/NNNNN.json what a task wrote.

Format: docs/formats.md. pydantic alone is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from corpus.errors import CorpusError, InputError
from corpus.settings import Json
from corpus.store import content_identity
from corpus.store.corpus_manifest import Count, Hex


def _inside(name: str) -> str:
    """Looser than a manifest's paths: a product may have any name that a member of a package has."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("expected a plain path below the folder")
    return name


Inside = Annotated[str, AfterValidator(_inside)]
JobFolder = Annotated[str, Field(pattern=r"^jobs/[a-z0-9_.]+-[0-9a-f]{12}$")]


class _File(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
    format_version: Literal[1]


class _Row(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ProductRow(_Row):
    """A finished file; its name is seen from the job's folder."""

    name: Inside
    bytes: Count
    sha256: Hex


class LedgerRow(_Row):
    """An entry of a ledger; see corpus.store.ledger.Entry."""

    source: str
    outcome: Literal["kept", "dropped", "skipped", "merged", "failed"]
    reason: str
    records: int
    input_bytes: int
    text_bytes: int


class _Booked(_File):
    ledger: tuple[LedgerRow, ...]

    @property
    def ledger_json(self) -> list[Json]:
        """The entries as `Ledger.of` takes them."""
        return [row.model_dump() for row in self.ledger]


class TaskFile(_Booked):
    """tasks/NNNNN.json: written when the task's products lay there whole."""

    job: Hex
    task: Count
    products: tuple[ProductRow, ...]
    facts: dict[str, JsonValue]


class Description(_Row):
    """What a job's fingerprint is the hash of."""

    kind: str
    revision: int
    tasks: Count
    settings: JsonValue
    deciders: dict[str, JsonValue]
    inputs: dict[str, Hex]  # what stands for them, by the jobs' names


class JobFile(_Booked):
    """job.json: written when the last task had ended."""

    name: str
    fingerprint: Hex
    description: Description
    task_manifests: tuple[Hex, ...]


class BuildFile(_File):
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
        """The name less its source."""
        return self.name.partition(".")[0]

    @property
    def source(self) -> str:
        """The source it works on, or nothing."""
        return self.name.partition(".")[2]

    @property
    def identity(self) -> str:
        """What stands for it in the fingerprints of the jobs behind it: of acquire what it found."""
        if self.kind != "acquire":
            return self.file.fingerprint
        reader = self.setting("reader")
        listed = [file for task in self.tasks for file in cast(list[dict[str, Json]], task.facts["files"])]
        return content_identity.identity(reader if isinstance(reader, str) else None, listed)

    def setting(self, *keys: str) -> JsonValue:
        """A value inside its settings; None where there is none."""
        value = self.file.description.settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def products(self, task: int, prefix: str = "") -> list[Path]:
        """The files of a task whose names begin so, in order."""
        return [self.folder / row.name for row in self.tasks[task].products if row.name.startswith(prefix)]


@dataclass(frozen=True)
class Build:
    """The jobs of the current plan, in its order."""

    folder: Path
    jobs: tuple[BuiltJob, ...]

    def of(self, kind: str) -> list[BuiltJob]:
        """The jobs of one kind."""
        return [job for job in self.jobs if job.kind == kind]

    def job(self, kind: str, source: str = "") -> BuiltJob:
        """The job of a kind that works on a source. Raises CorpusError if the build has none."""
        for job in self.jobs:
            if (job.kind, job.source) == (kind, source):
                return job
        raise CorpusError(f"{self.folder}: this build has no job {'.'.join(filter(None, (kind, source)))}")

    @property
    def sources(self) -> list[str]:
        """The sources' names, in order."""
        return [job.source for job in self.of("clean")]


File = TypeVar("File", BuildFile, JobFile, TaskFile)


def read_file(kind: type[File], path: Path) -> File:
    """Reads one of the three files. Raises CorpusError if it is missing or not what was written there."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: missing or not readable: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{path}: damaged: {where + ': ' if where else ''}{first['msg']}") from None


def task_path(job: Path, task: int) -> Path:
    """Where the manifest of a job's task lies."""
    return job / "tasks" / f"{task:05d}.json"


def open_build(folder: Path, kinds: Sequence[str] | None = None) -> Build:
    """Reads what describes a build, of all jobs or of some kinds. Raises CorpusError at the first fault."""
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
