"""Polite access to a host: request slots, back-off, refusals and retries.

All processes that use the same cache folder share these limits. `hosts/<host>/` in the cache holds locks, `slot-<n>`,
and notes with an end time and a message: `not-before` during a pause, and `refused-<identity>`.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from corpus.display.terminal import printable
from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.store.lock import POLL_S, FileLock
from corpus.store.products import write_text

REFUSED_S = 300.0  # no requests to a host for so long after it refused one
LONGEST_WAIT_S = 300.0  # a host that asks for a longer wait stops the build
STALL_S = 30.0  # without a byte
MIN_BYTES_PER_S = 100  # bytes per second over STALL_S: slower counts as a stall
ATTEMPTS = 6  # without any progress
ATTEMPTS_IN_ALL = 100
BACKOFF_S = 1.0  # upper bound before the second attempt, doubled before each further one
LONGEST_BACKOFF_S = 60.0
REPORT_AFTER = 2  # failures in a row
CACHE_ADVICE = "set `cache` in the profile to a folder that you may write to, on a disk that can lock files"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "HF_TOKEN")  # another key may be accepted
_reported_hosts: set[str] = set()
T = TypeVar("T")


class RefusedError(CorpusError):
    """The host refused access, or asks for too long a wait. No further attempt is made."""


class UnreachableError(CorpusError):
    """All attempts failed."""


class TransientError(Exception):
    """Another attempt may succeed, after `wait_s` seconds if the server named them.

    `host` is set if all requests to it must wait.
    """

    def __init__(self, problem: str, wait_s: float | None = None, host: "Host | None" = None) -> None:
        super().__init__(problem)
        self.wait_s, self.host = wait_s, host


class Host:
    """Request limits of one host. Raises CorpusError if the cache cannot be written."""

    def __init__(self, access: Access, name: str) -> None:
        self.name, self._connections = name, max(1, access.connections)
        safe = re.sub(r"[^a-z0-9.-]", "_", name.lower()).strip(".")
        if safe != name.lower() or len(safe) > 100:
            safe = f"{safe[:80]}-{hashlib.sha256(name.lower().encode()).hexdigest()[:16]}"
        self._folder = access.cache / "hosts" / safe
        self._pause, self._refused = self._folder / "not-before", self._folder / f"refused-{_identity(access)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(f"{self._folder}: cannot be made ({error.strerror}); {CACHE_ADVICE}") from None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for one of the host's request slots, and hold it. Raises RefusedError."""
        while True:
            # Wait out a pause that any process was told of.
            while (pause_s := self._pause_s()) > 0:
                time.sleep(pause_s + random.uniform(0, POLL_S))
            # Take the first free slot.
            locks = (FileLock(self._folder / f"slot-{number}", CACHE_ADVICE) for number in range(self._connections))
            lock = next((lock for lock in locks if lock.acquire()), None)
            if lock is None:
                time.sleep(POLL_S * random.uniform(0.5, 1.5))
                continue
            # Hold it, unless a pause or a refusal arrived meanwhile.
            with lock:
                if self._pause_s() <= 0:
                    yield
                    return

    def pause(self, seconds: float) -> None:
        """Make all processes wait, unless they wait for longer already."""
        if seconds > _read_note(self._pause, LONGEST_WAIT_S)[0]:
            _write_note(self._pause, min(seconds, LONGEST_WAIT_S), "")

    def refuse(self, problem: str) -> RefusedError:
        """Stop all processes from asking this host for REFUSED_S; return the error to raise."""
        minutes = f"{REFUSED_S / 60:.0f} minutes"
        message = (
            f"{problem}. No more requests are sent to it for {minutes}; to try again sooner, delete {self._refused}"
        )
        _write_note(self._refused, REFUSED_S, message)
        return RefusedError(message)

    def _pause_s(self) -> float:
        """Return the seconds that all processes must wait. Raises RefusedError."""
        refused_s, message = _read_note(self._refused, REFUSED_S)
        if refused_s > 0:
            raise RefusedError(message)
        return _read_note(self._pause, LONGEST_WAIT_S)[0]


def _read_note(path: Path, longest_s: float) -> tuple[float, str]:
    """Return a note's remaining seconds and its message; 0 seconds if it is missing, damaged or over.

    More than `longest_s` remain only after the clock was set back.
    """
    try:
        note = json.loads(path.read_bytes())
        remaining_s, message = float(note["until"]) - time.time(), str(note["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, ""
    return (remaining_s if 0 < remaining_s <= longest_s else 0.0), message


def _write_note(path: Path, seconds: float, message: str) -> None:
    with contextlib.suppress(OSError):  # other processes then learn it from the host
        write_text(path, json.dumps({"until": time.time() + seconds, "message": message}), path.parent)


def _identity(access: Access) -> str:
    """Identity that the host sees. With another contact or other keys, a refusal no longer counts."""
    fields = [access.contact or "", access.s3.model_dump_json(), *(os.environ.get(key, "") for key in _KEYS)]
    return hashlib.sha256("\n".join(fields).encode(errors="replace")).hexdigest()[:12]


def retry(what: str, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
    """Return the result of the first attempt that succeeds, with exponential backoff and full jitter between them.

    An attempt that gets further by `progress` than any before starts the count anew. Raises UnreachableError after too
    many. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    best, failures, total = progress(), 0, 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            # Count the attempts without progress.
            total += 1
            failures = 1 if progress() > best else failures + 1
            best = max(best, progress())
            if failures >= ATTEMPTS or total >= ATTEMPTS_IN_ALL:
                raise UnreachableError(
                    f"{what}: failed after {total} attempts: {str(error)[:300]}. Check the network and the address, "
                    "then build again to resume"
                ) from None
            if failures >= REPORT_AFTER:
                _report(what, error)
            # Wait for a random part of a time that doubles, and for as long as the server says.
            wait = random.uniform(0, min(BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S)) + (error.wait_s or 0.0)
            if error.host is not None:
                error.host.pause(wait)
            time.sleep(wait)


def _report(what: str, error: Exception) -> None:
    """Print the reason for a delay, once per host."""
    host = what.partition("://")[2].partition("/")[0]
    if host not in _reported_hosts:
        _reported_hosts.add(host)
        with contextlib.suppress(OSError):  # a worker's standard error may be a closed pipe
            print(f"corpus: {printable(what)}: {printable(str(error))[:300]}; retrying", file=sys.stderr, flush=True)
