"""Polite access to a host: request slots, back-off, refusals, retries, and the limit on slow responses.

All processes that share a cache share them. `hosts/<host>/` in the cache holds `slot-<n>` (locks), `not-before` (a
time) and `refused-<identity>` (an end time and a message).
"""

import contextlib
import hashlib
import json
import os
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from corpus.display.terminal import printable
from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.store.lock import POLL_S, FileLock

REFUSED_S = 300.0  # no requests to a host for so long after it refused one
LONGEST_WAIT_S = 300.0  # a host that asks for a longer wait stops the build
STALL_S = 30.0  # without a byte
SLOWEST = 100  # bytes per second over STALL_S: slower counts as a stall
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
    """Another attempt may succeed, after `wait` seconds if the server named them; `host` if all requests must wait."""

    def __init__(self, problem: str, wait: float | None = None, host: "Host | None" = None) -> None:
        super().__init__(problem)
        self.wait, self.host = wait, host


class Host:
    """Request limits of one host. Raises CorpusError if the cache cannot be written."""

    def __init__(self, access: Access, name: str) -> None:
        self.name, self._access = name, access
        safe = re.sub(r"[^a-z0-9.-]", "_", name.lower()).strip(".")
        if safe != name.lower() or len(safe) > 100:
            safe = f"{safe[:80]}-{hashlib.sha256(name.lower().encode()).hexdigest()[:16]}"
        self._folder = access.cache / "hosts" / safe
        self._refused = self._folder / f"refused-{_identity(access)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(f"{self._folder}: cannot be made ({error.strerror}); {CACHE_ADVICE}") from None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for one of the host's request slots, and hold it. Raises RefusedError."""
        lock = self._acquire_slot()
        try:
            yield
        finally:
            lock.release()

    def cool(self, seconds: float) -> None:
        """Make all processes wait, unless they wait for longer already."""
        until = time.time() + min(seconds, LONGEST_WAIT_S)
        if until > self._not_before():
            self._write(self._folder / "not-before", repr(until))

    def refuse(self, problem: str) -> RefusedError:
        """Stop all processes from asking this host for REFUSED_S; return the error to raise."""
        minutes = f"{REFUSED_S / 60:.0f} minutes"
        message = (
            f"{problem}. No more requests are sent to it for {minutes}; to try again sooner, delete {self._refused}"
        )
        self._write(self._refused, json.dumps({"until": time.time() + REFUSED_S, "message": message}))
        return RefusedError(message)

    def _acquire_slot(self) -> FileLock:
        while True:
            # Wait out a refusal or a pause that any process was told of.
            self._check_refusal()
            pause = self._not_before() - time.time()
            if pause > 0:
                time.sleep(min(pause, LONGEST_WAIT_S) + random.uniform(0, POLL_S))
                continue
            # Take the first free slot, unless a pause or refusal arrived meanwhile.
            for number in range(max(1, self._access.connections)):
                lock = FileLock(self._folder / f"slot-{number}", CACHE_ADVICE)
                if not lock.acquire():
                    continue
                if self._not_before() <= time.time() and not self._refused.exists():
                    return lock
                lock.release()
                break
            else:
                time.sleep(POLL_S * random.uniform(0.5, 1.5))

    def _check_refusal(self) -> None:
        try:
            note = json.loads(self._refused.read_bytes())
            remaining, message = float(note["until"]) - time.time(), str(note["message"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            remaining, message = 0.0, ""  # damaged
        if 0 < remaining <= REFUSED_S:
            raise RefusedError(message)
        self._refused.unlink(missing_ok=True)

    def _not_before(self) -> float:
        try:
            until = float((self._folder / "not-before").read_text())
        except (OSError, ValueError):
            return 0.0
        return until if until <= time.time() + LONGEST_WAIT_S else 0.0  # a later time: the clock was set back

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):  # other processes then learn it from the host
            temporary.write_text(text)
            temporary.replace(path)


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
            wait = random.uniform(0, min(BACKOFF_S * 2 ** (failures - 1), LONGEST_BACKOFF_S)) + (error.wait or 0.0)
            if error.host is not None:
                error.host.cool(wait)
            time.sleep(wait)


def _report(what: str, error: Exception) -> None:
    """Print the reason for a delay, once per host."""
    host = what.partition("://")[2].partition("/")[0]
    if host not in _reported_hosts:
        _reported_hosts.add(host)
        print(f"corpus: {printable(what)}: {printable(str(error))[:300]}; retrying", file=sys.stderr, flush=True)


class StallTimer:
    """Limit on the time that a response body may take."""

    def __init__(self) -> None:
        self._waited_s, self._received_bytes = 0.0, 0

    def add(self, waited_s: float, received_bytes: int) -> None:
        """Count one read. Raises TransientError after STALL_S at less than SLOWEST bytes per second."""
        self._waited_s += waited_s
        self._received_bytes += received_bytes
        if self._waited_s > STALL_S:
            if self._received_bytes < SLOWEST * STALL_S:
                raise TransientError(f"stalled: {self._received_bytes} bytes received in {self._waited_s:.0f} s")
            self._waited_s, self._received_bytes = 0.0, 0
