"""run.json: everything that may differ between two runs of a build, and is therefore in no product."""

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from corpus.errors import CorpusError, StoppedError
from corpus.settings import Json
from corpus.store.products import read_json, write_text
from pipelines.engine.profile import Profile

FORMAT_VERSION = 2  # version 1 held one run alone, without `runs`
RUN_JSON = "run.json"
KEPT_RUNS = 100  # the newest


class StageCost(NamedTuple):
    """Costs of the tasks of one stage in a wave, as the tasks measured them."""

    tasks: int
    cpu_s: float
    peak_memory_bytes: int  # largest resident set of a task's process while it ran the task


class WaveEntry(NamedTuple):
    """A finished wave."""

    jobs: list[str]
    tasks: int
    seconds: float
    stages: dict[str, StageCost]


class RunRecord:
    """The last entry of run.json. It is written when a wave starts or ends, so that it tells of a killed run too."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        self._folder, self._profile = folder, profile
        self._began = time.time()
        self._began_s = time.perf_counter()
        self._earlier = _runs(folder / RUN_JSON)
        self.waves: list[WaveEntry] = []
        self._started = False

    @property
    def seconds(self) -> float:
        """Time since the run began."""
        return round(time.perf_counter() - self._began_s, 3)

    def start(self) -> None:
        """Record that there is something to run."""
        if not self._started:
            self._started = True
            self._write("running")

    def add(self, wave: WaveEntry) -> None:
        """Add a finished wave."""
        self.waves.append(wave)
        self._write("running")

    @contextmanager
    def outcome(self) -> Iterator[None]:
        """Record how the block ends. A build that was up to date leaves no entry."""
        ended = "failed"
        try:
            yield
            ended = "finished"
        except (KeyboardInterrupt, StoppedError):
            ended = "stopped"
            raise
        finally:
            if self._started or ended != "finished":
                self._write(ended)

    def _write(self, outcome: str) -> None:
        run: dict[str, Json] = {
            "outcome": outcome,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._began)),
            "seconds": self.seconds,
            "executor": self._profile.executor,
            "workers": self._profile.worker_count,
            "machine": {"python": sys.version.split()[0], "system": platform.platform(), "cores": os.cpu_count()},
            "waves": [
                {**wave._asdict(), "stages": {kind: dict(cost._asdict()) for kind, cost in wave.stages.items()}}
                for wave in self.waves
            ],
        }
        body: dict[str, Json] = {"format_version": FORMAT_VERSION, "runs": [*self._earlier[1 - KEPT_RUNS :], run]}
        with contextlib.suppress(OSError):  # as on a full disk: the build's own error is the one to show
            write_text(self._folder / RUN_JSON, json.dumps(body, indent=1) + "\n", self._folder / "logs")


def _runs(path: Path) -> list[Json]:
    """Return the runs in the file, of this format or of the first; none if it is missing or damaged."""
    try:
        body = read_json(path)
    except CorpusError:
        return []
    runs = body.get("runs", [body])
    return runs if isinstance(runs, list) else []
