"""Runs tasks on this machine, in datatrove's pool of processes."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import ClassVar, Literal

from pipelines.engine.profile import Profile
from pipelines.engine.wave import RunTasks, Wave

PR_SET_PDEATHSIG = 1  # Source: linux/prctl.h
PRELOADED = ["datatrove.executor.local", "numba", "pyarrow.parquet", "pipelines.plan"]


class Local(Profile):
    """A pool of `workers` processes; by default one per core."""

    on_this_host: ClassVar[bool] = True

    executor: Literal["local"] = "local"

    @property
    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def run(self, wave: Wave) -> None:
        import multiprocess
        from datatrove.executor.local import LocalPipelineExecutor

        _kill_children_with_us()
        multiprocess.get_context("forkserver").set_forkserver_preload(PRELOADED)  # imported once, not in every worker
        with _without_main():
            LocalPipelineExecutor(
                pipeline=[RunTasks(wave)],
                tasks=len(wave.work),
                workers=min(self.worker_count, len(wave.work)),
                logging_dir=str(wave.logs),
                skip_completed=False,  # task manifests decide which tasks are done
            ).run()


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the caller's script: workers would import it, and run the build in it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@cache
def _kill_children_with_us() -> None:
    """Let forked children receive SIGKILL with us: datatrove's manager would wait forever for a killed build."""
    if not sys.platform.startswith("linux"):
        return
    prctl = ctypes.CDLL(None).prctl
    os.register_at_fork(after_in_child=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


PROFILE = Local
