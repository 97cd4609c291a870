"""Politeness to a host, by all processes that share a cache: how many ask at once, when not to, and when no more.

hosts/<host>/ holds `slot-<n>` (locks), `not-before` (a time) and `refused-<who asked>` (until when, and what to say).
"""

import contextlib
import hashlib
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.fetch.locks import POLL_S, Lock

REFUSED_S = 300.0  # how long a host that refused is left alone
LONGEST_WAIT_S = 300.0  # a host that asks for more patience stops the build
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "HF_TOKEN")  # a new key may open what was closed


class RefusedError(CorpusError):
    """The host wants no more of our requests; no other attempt is made."""


class Host:
    """One host. Raises CorpusError where the cache cannot be written."""

    def __init__(self, access: Access, name: str) -> None:
        self.name, self._access = name, access
        safe = re.sub(r"[^a-z0-9.-]", "_", name.lower()).strip(".")
        if safe != name.lower() or len(safe) > 100:
            safe = f"{safe[:80]}-{hashlib.sha256(name.lower().encode()).hexdigest()[:16]}"
        self._folder = access.cache / "hosts" / safe
        self._refused = self._folder / f"refused-{_asker(access)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(f"{self._folder}: cannot be made ({error.strerror}); name another `cache`") from None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Waits until it is our turn, and holds one of the host's few slots. Raises RefusedError."""
        lock = self._turn()
        try:
            yield
        finally:
            lock.release()

    def cool(self, seconds: float) -> None:
        """Lets all of us wait, unless we wait for longer already."""
        until = time.time() + min(seconds, LONGEST_WAIT_S)
        if until > self._not_before():
            self._write(self._folder / "not-before", repr(until))

    def refuse(self, problem: str) -> RefusedError:
        """Keeps all of us from asking for a while; gives the error to raise."""
        minutes = f"{REFUSED_S / 60:.0f} minutes"
        message = f"{problem}. Nothing more is asked of it for {minutes}, unless you delete {self._refused}"
        self._write(self._refused, json.dumps({"until": time.time() + REFUSED_S, "message": message}))
        return RefusedError(message)

    def _turn(self) -> Lock:
        while True:
            self._check()
            rest = self._not_before() - time.time()
            if rest > 0:
                time.sleep(min(rest, LONGEST_WAIT_S) + random.uniform(0, POLL_S))
                continue
            for number in range(max(1, self._access.connections)):
                lock = Lock(self._folder / f"slot-{number}")
                if not lock.acquire():
                    continue
                if self._not_before() <= time.time() and not self._refused.exists():  # nothing came up meanwhile
                    return lock
                lock.release()
                break
            else:
                time.sleep(POLL_S * random.uniform(0.5, 1.5))

    def _check(self) -> None:
        try:
            told = json.loads(self._refused.read_bytes())
            rest, message = float(told["until"]) - time.time(), str(told["message"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            rest, message = 0.0, ""  # not ours, or half of it
        if 0 < rest <= REFUSED_S:
            raise RefusedError(message)
        self._refused.unlink(missing_ok=True)

    def _not_before(self) -> float:
        try:
            until = float((self._folder / "not-before").read_text())
        except (OSError, ValueError):
            return 0.0
        return until if until <= time.time() + LONGEST_WAIT_S else 0.0  # else the clock was set back

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        with contextlib.suppress(OSError):  # the others learn it from the host itself
            temporary.write_text(text)
            temporary.replace(path)


def _asker(access: Access) -> str:
    """Who asks, as far as a host can tell: with another contact or other keys it is asked anew."""
    told = [access.contact or "", access.s3.model_dump_json(), *(os.environ.get(key, "") for key in _KEYS)]
    return hashlib.sha256("\n".join(told).encode(errors="replace")).hexdigest()[:12]
