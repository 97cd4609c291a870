"""This machine: datatrove's pool of processes."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import ClassVar, Literal

from pipelines.engine.profile import Place
from pipelines.engine.run_wave import RunTasks, Wave, quiet

PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
PRELOADED = ["datatrove.executor.local", "numba", "pyarrow.parquet", "pipelines.plan"]


class Local(Place):
    """As many processes as `workers`; by default as many as there are cores."""

    here: ClassVar[bool] = True

    executor: Literal["local"] = "local"

    @property
    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def run(self, wave: Wave) -> None:
        import multiprocess
        from datatrove.executor.local import LocalPipelineExecutor

        quiet()
        _children_die_with_us()
        multiprocess.get_context("forkserver").set_forkserver_preload(PRELOADED)  # imported once, not once a worker
        with _without_main():
            LocalPipelineExecutor(
                pipeline=[RunTasks(wave.file, wave.out)],
                tasks=len(wave.work),
                workers=min(self.worker_count, len(wave.work)),
                logging_dir=str(wave.logs),
                skip_completed=False,  # a task's own manifest says whether it is done
            ).run()


@contextmanager
def _without_main() -> Iterator[None]:
    """Workers would import the caller's script again, and run the build in it again; they need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@cache
def _children_die_with_us() -> None:
    """datatrove's manager process, which is forked, would otherwise wait for ever for a build that was killed."""
    if not sys.platform.startswith("linux"):
        return
    prctl = ctypes.CDLL(None).prctl
    os.register_at_fork(after_in_child=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


PLACE = Local
