"""Last resort against input that exhausts a parser: limits on CPU time and memory while foreign bytes are parsed.

The limits are set on the process itself, so a healthy document costs a few system calls and no second process. A
parser that runs out of memory raises MemoryError, or crashes. One that runs out of CPU time is ended by SIGPROF. Before
the process dies of a signal, `faulthandler` writes the stack into a file that begins with a mark, which names the
place of the parse. `read_evidence` reads it back. SIGKILL and SIGTERM, which come from outside, leave no evidence.
"""

import faulthandler
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

# The slowest page that passes the checks of `corpus/extract/` takes some 5 s. A slow machine may take three times that.
CPU_S = 15
# Above what the process holds when the parse begins. A page of 32 MB, the default `max_record_bytes`, takes 300 MB.
MEMORY_BYTES = 768 * 2**20
MARK_BYTES = 4096  # of the evidence file: the mark, preceded by its length; the stack of the crash follows
_LENGTH_BYTES = 4
_USAGE_S = 0.1  # between two looks at the memory in use
STDERR = 2  # file descriptor

Limit = Literal["cpu", "memory", "crash"]
LIMIT_TEXTS: Mapping[Limit, str] = {
    "cpu": f"took more than {CPU_S} s of CPU time",
    "memory": f"took more than {MEMORY_BYTES >> 20} MiB of memory",
    "crash": "crashed the parser",
}
HAS_MEMORY_LIMIT = sys.platform == "linux"  # macOS accepts the limit and ignores it

_armed: "ParseLimits | None" = None  # while this process parses foreign bytes under the limits
_lifts = 0  # depth of `lift`


class ParseEvidence(NamedTuple):
    """The mark of the parse in which a process died, and the limit that it met."""

    mark: bytes
    limit: Limit


def read_evidence(path: Path) -> ParseEvidence | None:
    """Return what a process left behind that died in a parse; None if it ended, or was ended, in another way."""
    content = path.read_bytes()
    length, stack = int.from_bytes(content[:_LENGTH_BYTES], "little"), content[MARK_BYTES:]
    if not length or not stack:
        return None
    return ParseEvidence(
        content[_LENGTH_BYTES : _LENGTH_BYTES + length], "crash" if stack.startswith(b"Fatal Python error") else "cpu"
    )


def rearm() -> None:
    """Start the CPU time anew: for readers whose one step takes long for good reason, at each piece that they read."""
    if _armed and not _lifts:
        signal.setitimer(signal.ITIMER_PROF, CPU_S)


def lift() -> None:
    """Lift the limits until `restore`: for work of our own within a parse, such as compiling a kernel."""
    global _lifts
    _lifts += 1
    if _armed and _lifts == 1:
        _armed.unset()


def restore() -> None:
    """Set the limits that `lift` has lifted, with the CPU time anew."""
    global _lifts
    _lifts -= 1
    if _armed and not _lifts:
        _armed.set()


class ParseLimits:
    """The limits of this process, set by `arm` and lifted by `disarm`. As a context, restores what it changed."""

    def __init__(self, path: Path) -> None:
        """`path` is the evidence file; it is removed at the end of the context, unless the process dies before."""
        self._path = path

    def __enter__(self) -> Self:
        # The file holds the mark from the start, so that arming writes to memory alone.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w+b", buffering=0)
        self._file.write(bytes(MARK_BYTES))
        self._mark = mmap.mmap(self._file.fileno(), MARK_BYTES)
        # One signal handler for the timer, and one for crashes in place of the process's own.
        self._reported_crashes = faulthandler.is_enabled()
        faulthandler.enable(self._file, all_threads=False)
        faulthandler.register(signal.SIGPROF, self._file, all_threads=False, chain=True)
        if HAS_MEMORY_LIMIT:
            self._soft, self._hard = resource.getrlimit(resource.RLIMIT_DATA)
            self._ceiling = min((limit for limit in (self._soft, self._hard) if limit >= 0), default=None)
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
            self._page_bytes = resource.getpagesize()
            self._limit, self._looked_s = 0, -_USAGE_S
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()
        faulthandler.unregister(signal.SIGPROF)
        faulthandler.disable()
        if self._reported_crashes:
            faulthandler.enable(STDERR)
        if HAS_MEMORY_LIMIT:
            os.close(self._statm)
        self._mark.close()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def arm(self, mark: bytes) -> None:
        """Set the limits. `mark`, at most 4,092 bytes, says what is parsed until they are lifted."""
        global _armed
        self._mark[: _LENGTH_BYTES + len(mark)] = len(mark).to_bytes(_LENGTH_BYTES, "little") + mark
        self.set()
        _armed = self

    def disarm(self) -> None:
        """Lift the limits, and forget the mark."""
        global _armed
        _armed = None
        self.unset()
        self._mark[:_LENGTH_BYTES] = bytes(_LENGTH_BYTES)

    def set(self) -> None:
        """Set the limits, from now on."""
        if HAS_MEMORY_LIMIT:
            # RLIMIT_DATA counts private memory alone. RLIMIT_AS also counts mapped files, and the 64 MB of address
            # space that the C library reserves for each thread.
            if (now_s := time.monotonic()) >= self._looked_s + _USAGE_S:
                limit = int(os.pread(self._statm, 128, 0).split()[5]) * self._page_bytes + MEMORY_BYTES
                self._limit = limit if self._ceiling is None else min(limit, self._ceiling)
                self._looked_s = now_s
            resource.setrlimit(resource.RLIMIT_DATA, (self._limit, self._hard))
        signal.setitimer(signal.ITIMER_PROF, CPU_S)

    def unset(self) -> None:
        """Set the limits that the process had before."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        if HAS_MEMORY_LIMIT:
            resource.setrlimit(resource.RLIMIT_DATA, (self._soft, self._hard))
