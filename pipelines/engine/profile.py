"""Base class of profiles: settings that say where a build runs. They never affect its products."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from corpus.fetch.access import S3, Access, default_cache
from corpus.settings import Strict
from pipelines.engine.wave import Wave


class Profile(Strict, ABC):
    """Settings of every profile. An executor adds its own and narrows `executor` to the name of its file."""

    on_this_host: ClassVar[bool] = False  # True if workers run on this host and we must detect their death

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
    def attempts(self) -> int:
        """Maximum number of starts of a task whose worker is killed from outside."""
        return 1

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
