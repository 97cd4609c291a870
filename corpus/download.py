"""Files over HTTP: bounded, hash-checked, whole or not there at all."""

import fcntl
import hashlib
import http.client
import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from corpus.errors import CorpusError

TIMEOUT_S = 30.0  # without a byte
ATTEMPTS = 4
BACKOFF_S = 0.5  # before the second attempt; doubled before each further one
_BLOCK_BYTES = 1 << 18
_TRANSIENT_STATUS = (408, 425, 429)
_ABSENT_STATUS = (404, 410)
T = TypeVar("T")


class AbsentError(CorpusError):
    """The server says that there is no such thing."""


class _BrokenOffError(Exception):
    """The body ended early."""


def get(url: str, accept: str, limit: int) -> bytes:
    """A small body. Raises AbsentError on 404 and 410, CorpusError if it cannot be had or is over `limit` bytes."""

    def attempt() -> bytes:
        with urlopen(_request(url, accept), timeout=TIMEOUT_S) as response:
            body: bytes = response.read(limit + 1)
            promised = response.headers.get("Content-Length", "")
        if len(body) > limit:
            raise CorpusError(f"{url}: over {limit} bytes, more than such an answer ever needs")
        if promised.isdigit() and len(body) < int(promised):
            raise _BrokenOffError(f"it ended after {len(body)} of {promised} bytes")
        return body

    return _tried(attempt, url)


def download(url: str, target: Path, size: int, sha256: str, progress: Callable[[int], None]) -> None:
    """Puts a file of a known size and hash at `target`, unless it is there, whole.

    `progress` hears of each number of bytes that arrived; an attempt that failed takes its bytes back. One process
    downloads at a time, the others wait for it; a killed one leaves a `.part`, which the next overwrites. Raises
    CorpusError if the file cannot be had, or is not the one that was published; then nothing is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back if we are killed
        if target.is_file() and target.stat().st_size == size and _sha256(target) == sha256:
            return
        partial = target.with_name(f"{target.name}.part")
        try:
            _tried(lambda: _received(url, partial, size, sha256, progress), url)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _received(url: str, partial: Path, size: int, sha256: str, progress: Callable[[int], None]) -> None:
    """One attempt at the whole body."""
    digest, count = hashlib.sha256(), 0
    try:
        with urlopen(_request(url, "*/*"), timeout=TIMEOUT_S) as response, partial.open("wb") as output:
            while block := response.read(_BLOCK_BYTES):
                count += len(block)
                progress(len(block))
                if count > size:
                    raise CorpusError(f"{url}: longer than the {size} bytes published; nothing was kept")
                output.write(block)
                digest.update(block)
            output.flush()
            os.fsync(output.fileno())
        if count < size:
            raise _BrokenOffError(f"it ended after {count} of {size} bytes")
        if digest.hexdigest() != sha256:
            raise CorpusError(
                f"{url}: not the file that was published: expected SHA-256 {sha256}, found {digest.hexdigest()}; "
                "nothing was kept. Try again; if it stays so, do not trust this server"
            )
    except BaseException:
        progress(-count)
        raise


def _tried(attempt: Callable[[], T], url: str) -> T:
    """The result of the first attempt that succeeds; those that time, or another try, may mend are repeated."""
    problem = ""
    for number in range(ATTEMPTS):
        if number:
            time.sleep(BACKOFF_S * 2 ** (number - 1))
        try:
            return attempt()
        except HTTPError as error:
            error.close()
            if error.code in _ABSENT_STATUS:
                raise AbsentError(f"{url}: the server has no such thing (status {error.code})") from None
            if error.code < 500 and error.code not in _TRANSIENT_STATUS:
                raise CorpusError(f"{url}: the server refused (status {error.code})") from None
            problem = f"status {error.code}"
        except (_BrokenOffError, URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", None) or error) or type(error).__name__
    raise CorpusError(
        f"{url}: could not be had in {ATTEMPTS} attempts: {problem[:200]}. Is there a network, and does it reach "
        f"{urlsplit(url).hostname}? A mirror can be named in GRISTMILL_INDEX"
    )


def _request(url: str, accept: str) -> Request:
    try:
        release = version("gristmill")
    except PackageNotFoundError:
        release = "0"
    return Request(url, headers={"Accept": accept, "User-Agent": f"gristmill/{release}"})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
