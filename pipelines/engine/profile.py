"""Where a build runs. Nothing in a place changes a byte of what is built."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, create_model

import pipelines.engine.executors
from corpus import settings
from corpus.errors import InputError
from corpus.fetch.access import S3, Access, default_cache
from corpus.settings import Strict

if TYPE_CHECKING:
    from pipelines.engine.run_wave import Wave


class Place(Strict, ABC):
    """What every place states; an executor adds its own fields, and narrows `executor` to the name of its file."""

    here: ClassVar[bool] = False  # whether the workers are processes of this machine that nobody else looks after

    executor: str
    workers: Annotated[int, Field(ge=1, le=4096)] | None = None  # tasks at once; None: as many as there is room for
    cache: str | None = None  # of downloads; None: the user's cache folder
    connections: Annotated[int, Field(ge=1, le=64)] = 4  # at once, to one host
    s3: S3 = S3()

    @property
    def cache_folder(self) -> Path:
        """Where fetched files are kept, by their digest."""
        return Path(self.cache).expanduser() if self.cache else default_cache()

    def access(self, contact: str | None = None) -> Access:
        """How files elsewhere are reached from here."""
        return Access(self.cache_folder, contact, self.connections, self.s3)

    @property
    def worker_count(self) -> int | None:
        """How many tasks run at once, where that is known."""
        return self.workers

    @property
    def attempts(self) -> int:
        """How often a task may be started whose worker is killed from outside."""
        return 1

    def check(self, out: Path) -> None:
        """Raises InputError if nothing can run here, or into this folder; nothing was written yet."""

    @contextmanager
    def opened(self, out: Path) -> Iterator[None]:
        """A context around all waves of a build, which holds the folder; what the executor started ends with it."""
        yield

    @abstractmethod
    def run(self, wave: "Wave") -> None:
        """Runs a wave's tasks and returns when none is at work any more, whether they succeeded or not.

        Raises CorpusError only for what is not some task's failure: that lies in the wave's notes.
        """

    def told(self, wave: "Wave", rank: int) -> list[str]:
        """What there is to know of a task that failed, beside its own words: a line each."""
        return []


@cache
def catalog() -> Mapping[str, type[Place]]:
    """All executors by the name of their file: whatever states itself as a module-level `PLACE`."""
    found = {}
    for module in sorted(pkgutil.iter_modules(pipelines.engine.executors.__path__), key=lambda each: each.name):
        place = vars(importlib.import_module(f"pipelines.engine.executors.{module.name}")).get("PLACE")
        if isinstance(place, type) and issubclass(place, Place):
            found[module.name] = place
    return found


def read_place(name: str | None) -> Place:
    """The place that a file, or a name in recipes/on/, describes; this machine without one. Raises InputError."""
    if name is None:
        return catalog()["local"].model_validate({})
    for path in (Path(name), Path("recipes/on") / f"{name}.yaml"):
        if path.is_file():
            document = settings.read_yaml(path, what="place")
            chosen = settings.validate(_choice(), document).model_dump()["executor"]
            return settings.validate(catalog()[chosen], document)
    known = sorted(path.stem for path in Path("recipes/on").glob("*.yaml"))
    raise InputError(f"--on {name}: no such file, nor recipes/on/{name}.yaml{settings.nearest(name, known)}")


@cache
def _choice() -> type[Strict]:
    """Only `executor`: which of the models reads the rest."""

    class Choice(Strict):
        model_config = ConfigDict(extra="ignore")

    names = tuple(catalog())
    return create_model("Place", __base__=Choice, executor=(Literal[names], "local"))  # type: ignore[arg-type]
