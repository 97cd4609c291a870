"""Watch a wave of jobs from outside: bars on a terminal, a line now and then in a log, detection of full disks."""

import _thread
import contextlib
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.task_counts import TaskCounts, read_counts, sum_counts

MIN_FREE_BYTES, MIN_FREE_SHARE = 200_000_000, 0.02  # the smaller of the two, so that a small disk can be filled
LINE_EVERY_S = 30.0  # between two lines without a terminal
JOIN_S = 2.0  # for the thread that watches, when a wave is stopped: its disk may not answer


class _Row(NamedTuple):
    job: Job
    output: JobOutput
    bar: TaskID
    transfer: "TransferRate"


class Watch:
    """Context that shows the progress of a wave. If it has to stop the wave, `problem` says why, as a CorpusError."""

    def __init__(self, out: Path, jobs: Sequence[Job], console: Console) -> None:
        self._out, self._console = out, console
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
            self._rows.append(_Row(job, JobOutput(out, job), bar, TransferRate()))
        self._lines = ProgressLines(jobs, out)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.problem: str | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(JOIN_S if error else None)
        if not error:
            self._update()
        self._bars.stop()
        if self.problem and isinstance(error, KeyboardInterrupt):
            raise CorpusError(self.problem) from None

    def _watch(self) -> None:
        while not self._stop.wait(open_output(self._out).poll_s):
            self._update()
            total, _, free = shutil.disk_usage(self._out)
            if free < min(MIN_FREE_BYTES, MIN_FREE_SHARE * total):
                advice = "free some space and run the same command to resume"
                self.problem = f"{self._out}: only {human_bytes(free)} free on this disk; {advice}"
                _thread.interrupt_main(signal.SIGTERM)  # a background job may ignore SIGINT
                return

    def _update(self) -> None:
        with contextlib.suppress(CorpusError, OSError):  # storage or terminal may fail once; the next look shows it
            if not self._console.is_terminal:
                if line := self._lines.due(time.monotonic()):
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)
                return
            for row in self._rows:
                counts = read_counts(row.output.progress_folder)
                amount = f"{human_count(counts.documents)} {row.job.unit}, {human_bytes(counts.bytes)}"
                text = amount if counts.documents else ""
                if row.job.fetched_bytes:
                    text = row.transfer.update(counts.bytes, row.job.fetched_bytes, time.monotonic())
                self._bars.update(row.bar, completed=_finished(row.output), counts=text)


class ProgressLines:
    """Lines of progress for a log: stages, tasks, documents and their rate since the line before."""

    def __init__(self, jobs: Sequence[Job], out: Path) -> None:
        self._stages: dict[str, list[tuple[Job, JobOutput]]] = {}
        for job in jobs:
            self._stages.setdefault(job.kind, []).append((job, JobOutput(out, job)))
        self._began_s = self._line_at_s = time.monotonic()
        self._seen = {stage: self._counts(stage) for stage in self._stages}  # in the line before

    def due(self, now_s: float) -> str | None:
        """Return a line every LINE_EVERY_S: `  30.0 s  clean: 3 of 12 tasks, 4,021 records, 9.7 MB, 134 records/s`."""
        since_s = now_s - self._line_at_s
        if since_s < LINE_EVERY_S:
            return None
        self._line_at_s = now_s
        texts = [self._stage_text(stage, since_s) for stage in self._stages]
        return f"  {human_seconds(now_s - self._began_s):>10}  {'; '.join(texts)}"

    def _counts(self, stage: str) -> TaskCounts:
        return sum_counts(read_counts(output.progress_folder) for _, output in self._stages[stage])

    def _stage_text(self, stage: str, since_s: float) -> str:
        jobs = self._stages[stage]
        counts, before = self._counts(stage), self._seen[stage]
        self._seen[stage] = counts
        tasks = f"{stage}: {sum(_finished(output) for _, output in jobs)} of {sum(job.tasks for job, _ in jobs)} tasks"
        unit, rate = jobs[0][0].unit, max(0, counts.documents - before.documents) / since_s
        speed = f"{human_count(rate)} {unit}/s"
        if any(job.fetched_bytes for job, _ in jobs):
            speed = f"{human_bytes(max(0, counts.bytes - before.bytes) / since_s)}/s"
        return f"{tasks}, {human_count(counts.documents)} {unit}, {human_bytes(counts.bytes)}, {speed}"


def _finished(output: JobOutput) -> int:
    return output.job.tasks - len(output.missing()) if output.folder.is_dir() else 0


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
