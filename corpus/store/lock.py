"""One process at a time works in a folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import CorpusError, InputError


@contextmanager
def locked(folder: Path, work: str, elsewhere: str) -> Iterator[None]:
    """Makes a folder and holds it; the kernel lets go when the process ends, however it ends.

    `work` says what may be at work there, `elsewhere` how another folder is chosen. Raises InputError where nothing can
    be written or locked, CorpusError where another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; {elsewhere}") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no child that outlives us holds it
        except (BlockingIOError, PermissionError):
            raise CorpusError(f"{folder}: {work} is at work here; wait for it, or {elsewhere}") from None
        except OSError as error:
            raise InputError(f"{folder}: this disk cannot lock files ({error.strerror}); {elsewhere}") from None
        yield
