"""Worker processes that do nothing: stopped ones, and ones that wait for a disk or a server that does not answer."""

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

STALLED_S = 180.0  # without CPU time and I/O, before a worker is named


@dataclass
class ActivityWatch:
    """Time for which a process has used no CPU time and done no I/O, from repeated looks at /proc."""

    pid: int
    idle_s: float = 0.0
    _activity: tuple[bytes, ...] = ()
    _seen_at_s: float = field(default_factory=time.monotonic)

    def stalled(self, look_every_s: float) -> bool:
        """Look at the process; return True once when it has been idle for STALLED_S."""
        now_s, activity = time.monotonic(), _activity(self.pid)
        # a longer pause than planned was our own: the machine was asleep, or we were stopped too
        pause_s, self._seen_at_s = min(now_s - self._seen_at_s, 2 * look_every_s), now_s
        if not activity or activity != self._activity:
            self._activity, self.idle_s = activity, 0.0
            return False
        before_s, self.idle_s = self.idle_s, self.idle_s + pause_s
        return before_s < STALLED_S <= self.idle_s


def _activity(pid: int) -> tuple[bytes, ...]:
    """Return CPU time and I/O counts of a process, to compare with later ones; () where /proc does not show them."""
    with contextlib.suppress(OSError, IndexError):
        # fields 14 and 15 are CPU times; the second is the program's name, which may contain blanks
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (fields[11], fields[12], Path(f"/proc/{pid}/io").read_bytes())
    return ()


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds; 0 where /proc does not show it."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
