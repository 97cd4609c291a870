"""Locks between threads and processes that no killed process leaves behind."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import CorpusError

POLL_S = 0.02

# The kernel's record locks die with their process, and no child inherits them; but within a process they exclude
# nobody, and closing any handle of the file gives them back. So no two threads of ours open one lock at a time.
_guard = threading.Lock()
_taken: set[str] = set()


def _forget() -> None:
    global _guard
    _guard = threading.Lock()  # another thread may have held it when we were forked
    _taken.clear()


os.register_at_fork(after_in_child=_forget)


class Lock:
    """A file that one thread of one process holds."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = str(path), -1

    def acquire(self) -> bool:
        """Takes it if it is free. Raises CorpusError where files cannot be written or locked."""
        with _guard:
            if self._path in _taken:
                return False
            _taken.add(self._path)
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            self.release()
            raise CorpusError(
                f"{self._path}: cannot be opened to lock it ({error.strerror}); name a `cache` in the place that is "
                "yours to write to"
            ) from None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX has both for a lock that another holds
            self.release()
            return False
        except OSError as error:
            self.release()
            raise CorpusError(
                f"{self._path}: cannot be locked ({error.strerror}); let the place's `cache` lie on a disk that can"
            ) from None
        return True

    def release(self) -> None:
        """Gives it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        with _guard:
            _taken.discard(self._path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock, and holds it.

    It is asked for again and again: the kernel takes all threads of ours for one, and would see false deadlocks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    while not lock.acquire():
        time.sleep(POLL_S)
    try:
        yield
    finally:
        lock.release()
