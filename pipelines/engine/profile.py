"""Profiles: settings that say where a build runs. They never affect its products.

An executor is one file in executors/ with a module-level `PROFILE`; `catalog` finds them by file name.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import ConfigDict, Field, create_model

from corpus import settings
from corpus.errors import InputError
from corpus.fetch.access import S3, Access, default_cache
from corpus.settings import Strict
from corpus.validation import validate
from pipelines.engine.wave import Wave

T = TypeVar("T")


class Profile(Strict, ABC):
    """Settings of every profile. An executor adds its own and narrows `executor` to the name of its file."""

    on_this_host: ClassVar[bool] = False  # True if workers run on this host

    executor: str
    workers: Annotated[int, Field(ge=1, le=4096)] | None = None  # parallel tasks; None: as many as there is room for
    cache: str | None = None  # folder for downloads; None: the user's cache folder
    connections: Annotated[int, Field(ge=1, le=64)] = 4  # parallel connections to one host
    s3: S3 = S3()

    @property
    def cache_folder(self) -> Path:
        """Folder for downloaded files."""
        return Path(self.cache).expanduser() if self.cache else default_cache()

    def access(self, contact: str | None = None) -> Access:
        """Return the network access settings of this profile."""
        return Access(self.cache_folder, contact, self.connections, self.s3)

    @property
    def worker_count(self) -> int | None:
        """Number of parallel tasks, if known."""
        return self.workers

    @property
    def starts(self) -> int:
        """Maximum number of starts of a task whose process ends before the task does, as by a kill from outside."""
        return 3

    def check(self, out: Path) -> None:
        """Raise InputError if the executor cannot run here or write to this folder. Nothing has been written yet."""

    @contextmanager
    def opened(self, out: Path) -> Iterator[None]:
        """Context around all waves of a build, which holds the folder; stops whatever the executor started."""
        yield

    @abstractmethod
    def run(self, wave: Wave) -> None:
        """Run a wave's tasks; return when none is running any more, whether they succeeded or not.

        Failures of tasks lie in the wave's notes. Raises CorpusError for all other failures.
        """

    def diagnostics(self, wave: Wave, rank: int) -> list[str]:
        """Return extra diagnostics for a failed task, one line each."""
        return []


class Resources(Strict):
    """Settings of one stage's tasks; None: as for all stages."""

    cpus_per_task: Annotated[int, Field(ge=1)] | None = None
    memory_per_cpu: Annotated[int, Field(ge=1)] | None = None
    tasks_per_job: Annotated[int, Field(ge=1)] | None = None


class RankGroup(NamedTuple):
    """Tasks of a wave that have the same resources."""

    profile: "ClusterProfile"  # with the resources of these tasks
    ranks: list[int]


class ClusterProfile(Profile):
    """Settings of executors that give each task its own resources."""

    cpus_per_task: Annotated[int, Field(ge=1)] = 1
    memory_per_cpu: Annotated[int, Field(ge=1)] = 2  # GB
    stages: Mapping[str, Resources] = Field(default_factory=dict)
    retries: Annotated[int, Field(ge=0, le=100)] = 2  # of tasks that were killed from outside

    @property
    def starts(self) -> int:
        return 1 + self.retries

    def of_stage(self, stage: str) -> Self:
        """Return the profile with the resources of a stage's tasks."""
        own = self.stages.get(stage)
        return self.model_copy(update=own.model_dump(exclude_none=True)) if own else self

    def groups(self, wave: Wave) -> list[RankGroup]:
        """Divide the wave by the resources that its tasks need."""
        groups: dict[str, RankGroup] = {}
        profiles = {job.kind: self.of_stage(job.kind) for job, _ in wave.work}
        keys = {kind: profile.model_dump_json() for kind, profile in profiles.items()}
        for rank, (job, _) in enumerate(wave.work):
            groups.setdefault(keys[job.kind], RankGroup(profiles[job.kind], [])).ranks.append(rank)
        return list(groups.values())


def batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Divide items into consecutive parts of `size`; the last may be smaller."""
    return [items[at : at + size] for at in range(0, len(items), size)]


def stage_names() -> list[str]:
    """Return the names of the stages, which are those of their files."""
    files = (Path(__file__).parents[1] / "stages").glob("[a-z]*.py")
    return sorted(path.stem for path in files if path.stem != "stage")


def _unknown_stages(profile: Profile) -> list[tuple[settings.KeyPath, str]]:
    names = stage_names()
    unknown = [name for name in getattr(profile, "stages", ()) if name not in names]
    return [(("stages", name), f"`stages.{name}`: no such stage{settings.nearest(name, names)}") for name in unknown]


@cache
def catalog() -> Mapping[str, type[Profile]]:
    """Return all executors by file name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).with_name("executors"))]))
    return {name: importlib.import_module(f"pipelines.engine.executors.{name}").PROFILE for name in names}


def read_profile(name: str | None) -> Profile:
    """Return the profile in a file, or of that name in recipes/on/; without a name, this machine. Raises InputError."""
    if name is None:
        return catalog()["local"].model_validate({})
    for path in (Path(name), Path("recipes/on") / f"{name}.yaml"):
        if path.is_file():
            document = settings.read_yaml(path, what="profile")
            executor = validate(_executor_choice(), document).model_dump()["executor"]
            return validate(catalog()[executor], document, _unknown_stages)
    known = sorted(path.stem for path in Path("recipes/on").glob("*.yaml"))
    raise InputError(f"--on {name}: no such file, nor recipes/on/{name}.yaml{settings.nearest(name, known)}")


@cache
def _executor_choice() -> type[Strict]:
    """Return a model of `executor` alone, which decides the model for the rest."""

    class Choice(Strict):
        model_config = ConfigDict(extra="ignore")

    names = tuple(catalog())
    return create_model("Profile", __base__=Choice, executor=(Literal[names], "local"))  # type: ignore[arg-type]
