"""Worker processes on this machine, kept over all waves of a build.

A worker is watched as a process: one that ends while it holds a task, by whatever cause, is replaced, and its task is
returned as lost. Workers end with this process, and are killed when the pool is closed.
"""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Self

from corpus.errors import CorpusError
from corpus.stopping import stop_delayed
from corpus.units import human_seconds
from pipelines.engine.stalled import STALLED_S, ActivityWatch, resident_bytes
from pipelines.engine.wave import RunTasks, Wave
from pipelines.engine.worker import Report

LOOK_S = 0.5  # between two looks at processes whose pipe stays open
STOP_LAG_S = 0.05  # until a signal to all processes has reached this one too
REAP_S = 2.0  # until killed workers have ended; one that waits for a dead disk ends later
SPARE_WORKERS = 8  # idle ones that are kept while a wave needs fewer
MAX_IDLE_BYTES = 1_000_000_000  # of an idle worker: one that holds more is replaced at the start of a wave, and
MAX_GROWTH = 2  # within a wave if that is also this multiple of what it held after its first task of the wave
# The parent's sys.path: a worker finds the same modules, and imports no script of the user.
START = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from pipelines.engine.worker import main; main()"


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    rank: int | None = None  # of the task that it holds
    started: bool = False  # True after its first message
    first_bytes: int = 0  # memory after its first task of the wave
    activity: ActivityWatch | None = None

    def ended(self) -> str | None:
        """Return how the process ended, or None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit status {code}"

    def has_grown(self) -> bool:
        """Return True if it holds much more memory than after its first task of the wave."""
        return bool(self.first_bytes) and self.held_bytes() > max(MAX_IDLE_BYTES, MAX_GROWTH * self.first_bytes)

    def held_bytes(self) -> int:
        """Return the memory that the process holds."""
        return resident_bytes(self.process.pid)


class Pool:
    """A pool of at most `size` workers, started when they are needed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop(self._workers)

    def run(self, wave: Wave) -> Mapping[int, str]:
        """Run the tasks of a wave until all have ended or one has failed.

        Return how the workers ended that did not return their task, by rank. Raises CorpusError if a task failed.
        """
        step = pickle.dumps(RunTasks(wave))
        waiting, lost = deque(range(len(wave.work))), dict[int, str]()
        look_at_s = 0.0
        self._shrink(min(self._size, len(waiting)))
        try:
            while waiting or self._busy():
                self._assign(waiting, step)
                for worker in self._heard():
                    self._take_report(worker, lost)
                if time.monotonic() >= look_at_s:
                    look_at_s = time.monotonic() + LOOK_S
                    self._look(wave, lost)
        finally:
            self._stop(self._busy())  # after an error
        return lost

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.rank is not None]

    def _assign(self, waiting: deque[int], step: bytes) -> None:
        """Give waiting tasks to idle workers and to new ones."""
        for worker in [worker for worker in self._workers if worker.rank is None]:
            if worker.ended() or worker.has_grown():
                self._stop([worker])
            elif waiting:
                self._give(worker, waiting.popleft(), step)
        while waiting and len(self._workers) < self._size:
            self._give(self._start(), waiting.popleft(), step)

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        descriptor = theirs.fileno()
        command = [sys.executable, "-P", "-c", START, json.dumps(sys.path), str(descriptor), str(os.getpid())]
        with stop_delayed():
            try:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[descriptor])
            except OSError as error:  # such as a limit on processes
                raise CorpusError(f"a worker process could not start: {error.strerror}; use fewer --workers") from None
            worker = _Worker(process, ours)
            self._workers.append(worker)
        theirs.close()  # so that the pipe ends with the worker
        return worker

    def _give(self, worker: _Worker, rank: int, step: bytes) -> None:
        worker.rank, worker.activity = rank, ActivityWatch(worker.process.pid)
        with contextlib.suppress(OSError):  # it has just ended, and is found dead next
            worker.pipe.send((rank, step))

    def _heard(self) -> list[_Worker]:
        """Wait for messages, or ends, of busy workers; return these workers."""
        ready = set(wait([worker.pipe for worker in self._busy()], LOOK_S))
        return [worker for worker in self._workers if worker.pipe in ready]

    def _take_report(self, worker: _Worker, lost: dict[int, str]) -> None:
        try:
            report: Report = worker.pipe.recv()
        except (EOFError, OSError):
            self._lose(worker, lost)
            return
        worker.started = True
        if report.rank is not None:
            worker.rank = None
            worker.first_bytes = worker.first_bytes or worker.held_bytes()
            if report.error is not None:
                raise CorpusError(report.error)  # the wave's note, if there is one, says more

    def _look(self, wave: Wave, lost: dict[int, str]) -> None:
        """Find workers that have ended although their pipe is open, and name those that do nothing."""
        for worker in self._busy():
            if worker.ended() and not worker.pipe.poll():
                self._lose(worker, lost)
            elif worker.activity and worker.activity.stalled(LOOK_S):
                job, index = wave.work[worker.rank or 0]
                wave.say(
                    f"    warning: {job.name}, task {index}: its process {worker.process.pid} has used no CPU time and "
                    f"done no I/O for {human_seconds(STALLED_S)}; is it stopped, or does a disk or server not answer?"
                )

    def _lose(self, worker: _Worker, lost: dict[int, str]) -> None:
        """Record the task of a worker that has ended. Raises CorpusError if it could not even start."""
        time.sleep(STOP_LAG_S)  # a signal to all processes stops us here
        rank = worker.rank
        assert rank is not None
        worker.process.kill()  # its pipe is closed, so it can report nothing
        self._stop([worker])
        lost[rank] = worker.ended() or "signal 9 (Killed)"  # above, but it waits for a dead disk
        if not worker.started and not lost[rank].startswith("signal"):
            raise CorpusError(f"a worker process could not start ({lost[rank]}); its message is above")

    def _shrink(self, needed: int) -> None:
        """Stop idle workers that this wave does not need, except for a few, and those that hold much memory."""
        self._stop([worker for worker in self._workers if worker.held_bytes() > MAX_IDLE_BYTES])
        self._stop(self._workers[max(needed, SPARE_WORKERS) :])
        for worker in self._workers:
            worker.first_bytes = 0

    def _stop(self, workers: list[_Worker]) -> None:
        """Kill workers and wait until they have ended."""
        with stop_delayed():
            for worker in workers:
                worker.process.kill()
            deadline_s = time.monotonic() + REAP_S
            for worker in list(workers):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline_s - time.monotonic()))
                worker.pipe.close()
                self._workers.remove(worker)
