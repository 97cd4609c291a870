"""Runs tasks on datatrove's executors. Which one is the place's business; the tasks do not notice."""

import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from corpus import settings
from corpus.errors import CorpusError, InputError
from corpus.settings import Strict
from pipelines.task import Task

if TYPE_CHECKING:
    from pipelines.job import Job


PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
PRELOADED = ["datatrove.executor.local", "numba", "pyarrow.parquet", "pipelines.plan"]


class Place(Strict):
    """Where a build runs, and only that: nothing in it changes a byte of what is built."""

    executor: Literal["local"] = "local"
    workers: Annotated[int, Field(ge=1, le=4096)] | None = None  # None: one a core
    cache: str | None = None  # of downloads; None: the user's cache folder

    @property
    def cache_folder(self) -> Path:
        """Where fetched files are kept, by their digest."""
        default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "gristmill"
        return Path(self.cache or default).expanduser()

    @property
    def worker_count(self) -> int:
        """How many tasks run at once."""
        return self.workers or len(os.sched_getaffinity(0))


def read_place(name: str | None) -> Place:
    """The place that a file, or a name in recipes/on/, describes; this machine without one. Raises InputError."""
    if name is None:
        return Place()
    for path in (Path(name), Path("recipes/on") / f"{name}.yaml"):
        if path.is_file():
            return settings.validate(Place, settings.read_yaml(path, what="place"))
    known = sorted(path.stem for path in Path("recipes/on").glob("*.yaml"))
    raise InputError(f"--on {name}: no such file, nor recipes/on/{name}.yaml{settings.nearest(name, known)}")


class RunTasks:
    """A datatrove pipeline step: rank n does the n-th (job, task) of a list that lies in a file of the build's."""

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out

    def __repr__(self) -> str:
        return "RunTasks"

    def __setstate__(self, state: dict[str, Path]) -> None:
        quiet()
        self.__dict__.update(state)

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        job, index = _read_work(self.work)[rank]
        try:
            Task(self.out, job, index).run()
        except CorpusError as error:
            raise CorpusError(str(error)) from None  # not InputError: by now something was written
        except OSError as error:
            _note(self.out, job, index)
            raise CorpusError(f"{job.name}, task {index}: {error.strerror or error}: {error.filename or ''}") from None
        except Exception as error:
            note = _note(self.out, job, index)
            raise CorpusError(
                f"{job.name}, task {index} failed: {type(error).__name__}: {error}\n  the traceback is in {note}"
            ) from None


@lru_cache(maxsize=4)
def _read_work(path: Path) -> Sequence[tuple["Job", int]]:
    return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]  # written by this very build, below


def _note(out: Path, job: "Job", index: int) -> Path:
    note = out / "logs" / f"{job.name}-{index:05d}.traceback.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(traceback.format_exc())
    return note


@cache
def _children_die_with_us() -> None:
    """datatrove's manager process, which is forked, would otherwise wait for ever for a build that was killed."""
    if not sys.platform.startswith("linux"):
        return
    prctl = ctypes.CDLL(None).prctl
    os.register_at_fork(after_in_child=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def quiet() -> None:
    """datatrove tells its story on stderr; progress is ours to show, and failures come back as exceptions."""
    from loguru import logger

    logger.disable("datatrove")


def run_wave(place: Place, out: Path, logs: Path, work: Sequence[tuple["Job", int]]) -> None:
    """Runs (job, task) pairs that do not wait for each other. Raises what a task raised.

    `logs` is a folder that belongs to just this list: datatrove's completion markers know only a rank.
    """
    import multiprocess
    from datatrove.executor.local import LocalPipelineExecutor

    quiet()
    _children_die_with_us()
    multiprocess.get_context("forkserver").set_forkserver_preload(PRELOADED)  # imported once, not once a worker
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "work.pickle"
    path.write_bytes(pickle.dumps(list(work)))
    _read_work.cache_clear()
    LocalPipelineExecutor(
        pipeline=[RunTasks(path, out)],
        tasks=len(work),
        workers=min(place.worker_count, len(work)),
        logging_dir=str(logs),
        skip_completed=False,  # a task's own manifest says whether it is done
    ).run()
