"""Counts and costs of a task: a small file beside the logs, through which the tasks of any executor can be watched."""

import contextlib
import os
import platform
import resource
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

HOST = platform.node()  # machines that share a disk may run processes with the same id


class TaskCounts(NamedTuple):
    """Progress of a task. Its costs are known when it has ended; before, they are 0."""

    documents: int = 0
    bytes: int = 0
    cpu_ms: int = 0
    peak_memory_bytes: int = 0

    def write(self, folder: Path, index: int) -> None:
        """Write the file of task `index` whole, in place of an earlier one."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{index:05d}.{HOST}.{os.getpid()}"
        temporary.write_text(" ".join(map(str, self)))
        temporary.replace(folder / f"{index:05d}")


def read_counts(folder: Path, indexes: Iterable[int] | None = None) -> TaskCounts:
    """Return the sums over these tasks, or over all of the folder; a missing file counts as 0."""
    paths = folder.glob("[0-9]*") if indexes is None else (folder / f"{index:05d}" for index in indexes)
    return sum_counts(map(_read, paths))


def _read(path: Path) -> TaskCounts:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return TaskCounts(*map(int, path.read_text().split()))
    return TaskCounts()


def sum_counts(parts: Iterable[TaskCounts]) -> TaskCounts:
    """Return the sums, and the largest peak."""
    documents = size = cpu_ms = peak = 0
    for part in parts:
        documents, size, cpu_ms = documents + part.documents, size + part.bytes, cpu_ms + part.cpu_ms
        peak = max(peak, part.peak_memory_bytes)
    return TaskCounts(documents, size, cpu_ms, peak)


class CostMeter:
    """CPU time and peak memory of this process since the meter was made, which is at the start of a task."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):  # without it, the peak is that of the process since it began
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM. Source: Linux, Documentation/filesystems/proc
        self._began_s = _cpu_s()

    @property
    def cpu_ms(self) -> int:
        """CPU time of all threads, and of child processes that have ended."""
        return round(1000 * (_cpu_s() - self._began_s))

    @property
    def peak_memory_bytes(self) -> int:
        """Largest resident set."""
        with contextlib.suppress(OSError, StopIteration, ValueError):
            lines = Path("/proc/self/status").read_text().splitlines()
            return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
