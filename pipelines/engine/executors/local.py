"""Runs tasks on this machine, in a pool of processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from pipelines.engine.pool import Pool
from pipelines.engine.profile import Profile
from pipelines.engine.wave import Wave


class Local(Profile):
    """A pool of `workers` processes; by default one per core."""

    on_this_host: ClassVar[bool] = True

    executor: Literal["local"] = "local"
    _pool: Pool | None = PrivateAttr(default=None)  # between `opened` and its end
    _ends: Mapping[int, str] = PrivateAttr(default_factory=dict)  # of workers of the last wave that were lost, by rank

    @property
    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    @contextmanager
    def opened(self, out: Path) -> Iterator[None]:
        with Pool(self.worker_count) as self._pool:
            try:
                yield
            finally:
                self._pool = None

    def run(self, wave: Wave) -> None:
        if self._pool is None:
            with self.opened(wave.out):
                self.run(wave)
            return
        self._ends = {}
        self._ends = self._pool.run(wave)

    def diagnostics(self, wave: Wave, rank: int) -> list[str]:
        if rank not in self._ends:
            return []
        return [f"it ended by {self._ends[rank]}; if memory ran out, use fewer --workers or a smaller task_bytes"]


PROFILE = Local
