"""A job: what it is made of decides its fingerprint, and its fingerprint decides its folder."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.ledger import Ledger
from corpus.store.products import Product, canonical, read_json, sha256_file
from pipelines.engine.task import Task

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Job(ABC):
    """One step of a plan, cut into a number of tasks that is fixed when the plan is made.

    Its fingerprint covers its kind, settings, the revisions and library versions that decide, and its inputs'
    fingerprints; never where, when or by how many workers it runs.
    """

    name: str  # "clean.web": the kind, and the source if it works on one
    inputs: tuple["Job", ...]
    tasks: int
    revision: ClassVar[int] = 1  # of the job's own code

    @property
    def kind(self) -> str:
        """The name less its source."""
        return self.name.partition(".")[0]

    @abstractmethod
    def settings(self) -> Json:
        """All that was asked for and decides what comes out."""

    def deciders(self) -> Mapping[str, Json]:
        """REVISIONs of code and versions of libraries that decide what comes out."""
        return {}

    @abstractmethod
    def work(self, task: Task) -> None:
        """Does one task: writes its products through `task`."""

    def check(self, done: "Done") -> None:  # noqa: B027  (most jobs have nothing to check)
        """Looks at the whole job once its last task has ended, and at each build after. Raises CorpusError."""

    def warning(self, done: "Done") -> str | None:
        """What the user should know of the whole job, once."""
        return None

    @cached_property
    def description(self) -> dict[str, Json]:
        """What the fingerprint is the hash of."""
        return {
            "kind": self.kind,
            "revision": self.revision,
            "tasks": self.tasks,
            "settings": self.settings(),
            "deciders": dict(self.deciders()),
            "inputs": {job.name: job.identity for job in self.inputs},
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(canonical(self.description).encode()).hexdigest()

    @property
    def fetched_bytes(self) -> int:
        """How much it fetches or checks, where that is known before; 0: it cannot be said."""
        return 0

    @property
    def identity(self) -> str:
        """What stands for this job in the fingerprints of those behind it."""
        return self.fingerprint

    @property
    def of_source(self) -> str:
        """The source that it works on; "" for a job of all."""
        return self.name.partition(".")[2]

    @property
    def folder(self) -> str:
        """Its folder, relative to the output folder."""
        return f"jobs/{self.name}-{self.fingerprint[:12]}"

    def input(self, name: str) -> "Job":
        """The input job of that name."""
        return next(job for job in self.inputs if job.name == name)

    def inputs_of(self, kind: str) -> list["Job"]:
        """The input jobs of a kind, in order."""
        return [job for job in self.inputs if job.kind == kind]


class Done:
    """What a job has written so far: the manifests of the tasks that are whole, and of the job if it is.

    Of an output on object storage what lies there counts; what is asked for is brought here.
    """

    def __init__(self, out: Path, job: Job) -> None:
        self.job, self.folder = job, out / job.folder
        self._output = open_output(out)

    @property
    def whole(self) -> bool:
        """Whether the job's own manifest, which is written last of all, is there."""
        return self._here(self.folder / "job.json")

    def missing(self) -> list[int]:
        """The tasks that have no manifest."""
        names = [f"{index:05d}.json" for index in range(self.job.tasks)]
        sizes = self._output.sizes(self.folder / "tasks")
        return [index for index, name in enumerate(names) if name not in sizes]

    def manifest_path(self, index: int) -> Path:
        """Where a task's manifest lies."""
        return self.path(f"tasks/{index:05d}.json")

    def facts(self, index: int = 0) -> dict[str, Json]:
        """What a task noted beside its products."""
        facts = read_json(self.manifest_path(index))["facts"]
        assert isinstance(facts, dict)
        return facts

    def all_facts(self) -> list[dict[str, Json]]:
        """The facts of all tasks, in order."""
        return [self.facts(index) for index in range(self.job.tasks)]

    def products(self, index: int) -> list[Product]:
        """The files that a task wrote."""
        rows = read_json(self.manifest_path(index))["products"]
        assert isinstance(rows, list)
        return [Product(**row) for row in rows]  # type: ignore[arg-type]

    def path(self, product: str) -> Path:
        """A product's place."""
        self._here(self.folder / product)
        return self.folder / product

    def bring(self) -> None:
        """Brings all products here, for what reads them by their names alone."""
        for index in range(self.job.tasks):
            for product in self.products(index):
                self.path(product.name)

    def ledger(self) -> Ledger:
        """The sum of the tasks' ledgers."""
        parts = [read_json(self.manifest_path(index))["ledger"] for index in range(self.job.tasks)]
        return Ledger.of(part for part in parts if isinstance(part, list))

    def forget_damaged(self) -> None:
        """Lets tasks whose products are missing or of another size run again: they will write the same bytes."""
        sizes = self._output.sizes(self.folder)
        if "job.json" not in sizes:
            (self.folder / "job.json").unlink(missing_ok=True)
        for index in range(self.job.tasks):
            name = f"tasks/{index:05d}.json"
            if name not in sizes:
                (self.folder / name).unlink(missing_ok=True)  # a manifest in the working copy alone does not count
            elif self._here(self.folder / name) and all(self._is_intact(row, sizes) for row in self.products(index)):
                continue
            for path in ("job.json", name):
                self._forget(path, sizes)

    def _is_intact(self, product: Product, sizes: Mapping[str, int]) -> bool:
        path = self.folder / product.name
        if path.is_file() and path.stat().st_size != product.bytes:
            path.unlink()  # written or downloaded again
        return sizes.get(product.name) == product.bytes

    def _forget(self, name: str, sizes: Mapping[str, int]) -> None:
        (self.folder / name).unlink(missing_ok=True)
        if name in sizes:
            self._output.remove(self.folder / name)

    def _here(self, path: Path) -> bool:
        return self._output.pull(path)

    def close(self) -> None:
        """Checks the job and writes its manifest: from now on it is whole. Raises CorpusError."""
        if missing := self.missing():
            raise CorpusError(f"job {self.job.name}: {len(missing)} of {self.job.tasks} tasks did not finish")
        self.job.check(self)
        manifest: dict[str, Json] = {
            "format_version": FORMAT_VERSION,
            "name": self.job.name,
            "fingerprint": self.job.fingerprint,
            "description": self.job.description,
            "ledger": self.ledger().json(),
            "task_manifests": [sha256_file(self.manifest_path(index)) for index in range(self.job.tasks)],
        }
        self._output.write(self.folder / "job.json", canonical(manifest), self.folder / "tmp")


_version = cache(version)  # each look-up reads a file


def versions(distributions: Iterable[str]) -> dict[str, Json]:
    """The installed versions of libraries that decide an output."""
    return {name: _version(name) for name in distributions}
