"""Download of whole files into the cache: resumed after an interruption, checked, and visible only when complete.

Beside the file lie `<name>.part`, the bytes received so far, and `<name>.part.json`, the version they belong to.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from corpus.errors import CorpusError
from corpus.fetch import response_headers
from corpus.fetch.base_store import ChangedError, FileInfo, Response, Store, changed_error, display_url, path_parts
from corpus.fetch.politeness import CACHE_ADVICE, TransientError, retry
from corpus.store.lock import wait_for_lock
from corpus.store.products import publish, sha256_file
from corpus.units import human_bytes

SPARE_BYTES = 200_000_000  # kept free on the cache's disk
BLOCK_BYTES = 1 << 18
_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=!")

E = TypeVar("E", bound=Exception)


def cache_path(info: FileInfo, cache: Path) -> Path:
    """Return the file's place in the cache: by its SHA-256 if that is published, else by address, version and size."""
    kind, _, key = info.version.partition(":")
    if kind != "sha256":
        fields = (info.url, info.version, str(info.size))
        kind, key = "fetched", hashlib.sha256("\n".join(fields).encode(errors="replace")).hexdigest()
    name = "".join(character if character in _SAFE else "_" for character in path_parts(info.url)[-1])
    return cache / kind / key[:2] / key / (name[-120:].lstrip(".") or "file")


def download(
    store: Store, info: FileInfo, target: Path, progress: Callable[[int], None], *, verify: bool = False
) -> None:
    """Put the file at `target` unless it is there; with `verify`, also check an existing file's published SHA-256.

    `progress` gets the number of bytes received or found in a partial file, negative for bytes thrown away. One process
    downloads, others wait for it. Raises CorpusError.
    """
    try:
        with wait_for_lock(target.parent / ".lock", CACHE_ADVICE):
            if target.is_file() and target.stat().st_size == info.size:
                published = info.version.startswith("sha256:")
                if not (verify and published and f"sha256:{sha256_file(target)}" != info.version):
                    return
            _Download(store, info, target, progress).run()
    except OSError as error:
        raise CorpusError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from None


class _Download:
    def __init__(self, store: Store, info: FileInfo, target: Path, progress: Callable[[int], None]) -> None:
        self._store, self._info, self._target, self._progress = store, info, target, progress
        self._name = display_url(info.url)
        self._part = target.with_name(f"{target.name}.part")
        self._state = target.with_name(f"{target.name}.part.json")
        self._received = self._most_received = 0  # bytes in the partial file: now, and at most
        self._resumed = False
        self._validator: str | None = None
        self._digests: dict[str, str] = {}

    def run(self) -> None:
        """Make all attempts and publish the file."""
        self._restore()
        free, missing = shutil.disk_usage(self._part.parent).free, self._info.size - self._received
        if missing > free - SPARE_BYTES:
            raise CorpusError(
                f"{self._name}: {human_bytes(missing)} to download, but only {human_bytes(free)} free in the cache "
                f"{self._part.parent}; make room, or set `cache` in the profile to another disk"
            )
        try:
            retry(self._name, self._attempt, lambda: self._most_received)
        except BaseException:
            if self._validator is None:  # cannot be resumed
                self._discard()
            raise
        publish(self._part, self._target)
        self._state.unlink(missing_ok=True)

    def _attempt(self) -> None:
        if self._received and self._validator is None:
            self._discard()
        if self._received < self._info.size:
            # Request the missing bytes, or the whole file if it changed since the partial one was received.
            start = f"bytes={self._received}-"
            headers = {"Range": start, "If-Range": self._validator or ""} if self._received else {}
            try:
                with self._store.get(self._info.url, headers) as response:
                    self._begin(response)
                    self._receive(response)
            except ChangedError:
                self._discard()
                raise TransientError("changed during the download") from None
            if self._received < self._info.size:
                raise TransientError(f"connection closed after {self._most_received} of {self._info.size} bytes")
        elif not self._part.exists():
            self._part.touch()
        self._check_digests()

    def _begin(self, response: Response) -> None:
        """Compare the headers with the plan, and tell if the body is the rest of the file or all of it.

        Raises TransientError if the range was ignored, CorpusError for another version or size.
        """
        info, headers = self._info, response.headers
        if response.status == 206:
            span = response_headers.content_range(headers)
            same_file = span is not None and span.size in (None, info.size) and not self._is_other_version(headers)
            if span is None or span.start != self._received or not same_file:
                raise self._rejected(TransientError("the server ignored the requested byte range"))
            size: int | None = span.end
        else:
            self._discard()
            size = response_headers.length(headers)
        kind, _, value = info.version.partition(":")
        if kind in ("etag", "date") and response_headers.versions(headers).get(kind, value) != value:
            raise self._rejected(changed_error(info.url))
        if size is not None and size != info.size and (response.status == 200 or size > info.size):
            problem = f"{size} bytes, {'longer' if size > info.size else 'shorter'} than the {info.size} published"
            advice = "nothing was kept. Build again, and if that does not help, use a mirror"
            raise self._rejected(CorpusError(f"{self._name}: {problem}; {advice}"))
        if not self._received:
            resumable = headers.get("accept-ranges", "bytes") != "none"
            self._validator = response_headers.validator(headers) if resumable else None
            self._digests = response_headers.digests(headers, complete=response.status == 200)
            state = {"validator": self._validator, "digests": self._digests, "boot": _boot_id()}
            self._state.write_text(json.dumps(state))

    def _receive(self, response: Response) -> None:
        self._resumed |= self._received > 0
        with self._part.open("ab") as output:
            while block := response.read(BLOCK_BYTES):
                if self._received + len(block) > self._info.size:
                    self._validator = None
                    raise CorpusError(f"{self._name}: longer than the {self._info.size} published; nothing was kept")
                output.write(block)
                output.flush()  # kept if this process is killed
                self._received += len(block)
                self._most_received = max(self._most_received, self._received)
                self._progress(len(block))

    def _check_digests(self) -> None:
        """Compare all published digests. A resumed download that fails is retried once from scratch."""
        kind, _, value = self._info.version.partition(":")
        for algorithm, expected in sorted((self._digests | ({kind: value} if kind == "sha256" else {})).items()):
            with self._part.open("rb") as file:
                digest = hashlib.file_digest(file, partial(hashlib.new, algorithm, usedforsecurity=False)).hexdigest()
            if digest == expected:
                continue
            if self._resumed:
                self._resumed = False
                raise self._rejected(TransientError(f"resumed download failed its {algorithm.upper()} check"))
            problem = f"not the file that was published: expected {algorithm.upper()} {expected}, found {digest}"
            advice = "nothing was kept. Try again; if it fails again, do not trust this server"
            raise self._rejected(CorpusError(f"{self._name}: {problem}; {advice}"))

    def _is_other_version(self, headers: response_headers.Headers) -> bool:
        """True if the response is of another version than the partial file."""
        if not self._received:
            return False
        tag = response_headers.etag(headers)
        by_tag = (self._validator or "").startswith('"')
        current = (f'"{tag}"' if tag else None) if by_tag else headers.get("last-modified")
        return current not in (None, self._validator)

    def _rejected(self, error: E) -> E:
        self._discard()
        return error

    def _discard(self) -> None:
        """Delete the partial file."""
        if self._received:
            self._progress(-self._received)
        self._received, self._validator, self._digests = 0, None, {}
        self._part.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)

    def _restore(self) -> None:
        """Resume from the partial file of an earlier process if it can be trusted."""
        size = 0
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(self._state.read_bytes())
            size = self._part.stat().st_size
            if isinstance(state, dict) and state.get("boot") == _boot_id() and size <= self._info.size:
                self._validator = str(state["validator"]) if state.get("validator") else None
                self._digests = {str(name): str(value) for name, value in dict(state.get("digests", {})).items()}
        if self._validator is None:
            self._discard()
            return
        self._received = self._most_received = size
        self._resumed = True
        self._progress(size)


def _boot_id() -> str:
    """Return the boot id: a partial file from before a reboot may have lost bytes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
