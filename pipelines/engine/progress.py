"""Watch a wave of jobs from outside: progress bars on a terminal, and detection of killed workers and full disks."""

import _thread
import contextlib
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.job import HOST, Job
from pipelines.engine.job_output import JobOutput

MIN_FREE_BYTES = 200_000_000
WORKER_KILLED = (
    "a worker process was killed; if memory ran out, use fewer --workers or a smaller task_bytes. "
    "Finished tasks are kept: run the same command again to resume"
)


class Watch:
    """Context that shows the progress of a wave. If it has to stop the wave, `problem` says why, as a CorpusError."""

    def __init__(self, out: Path, jobs: Sequence[Job], console: Console, *, here: bool) -> None:
        self._out, self._here = out, here
        self._bars = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} tasks"),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._rows = []
        for job in jobs:
            bar = self._bars.add_task(job.name, total=job.tasks, counts="")
            self._rows.append((job, JobOutput(out, job), bar, TransferRate()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.problem: str | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._update()
        self._bars.stop()
        if self.problem and isinstance(error, KeyboardInterrupt):
            raise CorpusError(self.problem) from None

    def _watch(self) -> None:
        dead: set[int] = set()
        while not self._stop.wait(open_output(self._out).poll_s):
            self._update()
            # A worker counts as killed if its files are still there at the next look: it may just have finished.
            dead_before, dead = dead, self._dead_workers()
            free = shutil.disk_usage(self._out).free
            if dead_before & dead:
                self.problem = WORKER_KILLED
            elif free < MIN_FREE_BYTES:
                advice = "free some space and run the same command to resume"
                self.problem = f"{self._out}: only {human_bytes(free)} free on this disk; {advice}"
            if self.problem:
                _thread.interrupt_main(signal.SIGTERM)  # a background job may ignore SIGINT
                return

    def _dead_workers(self) -> set[int]:
        """Ids of processes of this machine that no longer run but left a task's temporary folder behind."""
        dead = set()
        for _, output, *_ in self._rows if self._here else ():  # elsewhere, the executor detects it
            for folder in output.temporary.glob("[0-9]*-*.[0-9]*"):
                if folder.stem.partition("-")[2] == HOST and not _is_alive(pid := int(folder.suffix[1:])):
                    dead.add(pid)
        return dead

    def _update(self) -> None:
        with contextlib.suppress(CorpusError):  # storage may fail to answer once; the next update shows it
            for job, output, bar, rate in self._rows:
                documents, size = counts(output)
                text = f"{human_count(documents)} documents, {human_bytes(size)}" if documents else ""
                if job.fetched_bytes:
                    text = rate.update(size, job.fetched_bytes, time.monotonic())
                finished = job.tasks - len(output.missing()) if output.folder.is_dir() else 0
                self._bars.update(bar, completed=finished, counts=text)


class TransferRate:
    """Bytes per second over the last updates."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=20)

    def update(self, size: int, total: int, now_s: float) -> str:
        """Take the bytes so far, and return a text such as `1.2 GB of 20 GB, 35 MB/s, 9 min 02 s left`."""
        self._seen.append((now_s, size))
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        text = f"{human_bytes(size)} of {human_bytes(total)}"
        if last_s == first_s or last <= first:
            return text
        rate = (last - first) / (last_s - first_s)
        return f"{text}, {human_bytes(rate)}/s, {human_seconds(max(0, total - size) / rate)} left"


def counts(output: JobOutput) -> tuple[int, int]:
    """Return documents and bytes processed so far, from the progress files of the job's tasks."""
    documents = size = 0
    for path in output.progress_folder.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            first, second = map(int, path.read_text().split())
            documents, size = documents + first, size + second
    return documents, size


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # a process of another user
    return True
