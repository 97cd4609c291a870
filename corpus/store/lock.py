"""File locks between threads and processes. The kernel releases them when the process ends, however it ends."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import CorpusError, InputError

POLL_S = 0.02

# Record locks (lockf) are not inherited by child processes, so a child that outlives us holds none. But they do not
# exclude threads of one process, and closing any handle of the file releases the lock. So this process opens each lock
# file at most once at a time.
_guard = threading.Lock()
_taken: set[str] = set()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()  # another thread may have held it during the fork
    _taken.clear()


os.register_at_fork(after_in_child=_after_fork)


class FileLock:
    """Lock file that one thread of one process holds. `advice` ends the errors: how to choose another folder."""

    def __init__(self, path: Path, advice: str) -> None:
        self._path, self._advice, self._descriptor = str(path), advice, -1

    def acquire(self) -> bool:
        """Take the lock; return False if it is held. Raises InputError if the file cannot be written or locked."""
        with _guard:
            if self._path in _taken:
                return False
            _taken.add(self._path)
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            self.release()
            raise InputError(f"{self._path}: cannot be written: {error.strerror}; {self._advice}") from None
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX allows either for a lock held by another process
            self.release()
            return False
        except OSError as error:  # such as an NFS mount without a lock service
            self.release()
            raise InputError(f"{self._path}: this disk cannot lock files ({error.strerror}); {self._advice}") from None
        return True

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        with _guard:
            _taken.discard(self._path)

    def __enter__(self) -> None:
        """Hold a lock that was acquired."""

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def wait_for_lock(path: Path, advice: str) -> Iterator[None]:
    """Wait for a lock, and hold it.

    It polls: a blocking call would take all threads of this process for one, and report deadlocks that are none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, advice)
    while not lock.acquire():
        time.sleep(POLL_S)
    with lock:
        yield


@contextmanager
def locked(folder: Path, holder: str, advice: str) -> Iterator[None]:
    """Make a folder and hold its lock.

    `holder` names the program that may hold it. Raises InputError if the folder cannot be written or locked,
    CorpusError if it is held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; {advice}") from None
    lock = FileLock(folder / ".lock", advice)
    if not lock.acquire():
        raise CorpusError(f"{folder}: {holder} is at work here; wait for it, or {advice}")
    with lock:
        yield
