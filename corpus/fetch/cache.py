"""Download of whole files into the cache: resumed after an interruption, checked, and visible only when complete.

Beside the file lie `<name>.part`, the bytes received so far, and `<name>.part.json`, the version they belong to.
"""

import hashlib
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from corpus.errors import CorpusError
from corpus.fetch.base_store import ChangedError, FileInfo, Store, changed_error, closed_early, display_url, path_parts
from corpus.fetch.politeness import CACHE_ADVICE, TransientError, retry
from corpus.fetch.response import Response
from corpus.settings import Strict
from corpus.store.lock import wait_for_lock
from corpus.store.products import publish, sha256_file
from corpus.units import human_bytes

SPARE_BYTES = 200_000_000  # kept free on the cache's disk
BLOCK_BYTES = 1 << 18

E = TypeVar("E", bound=Exception)


def cache_path(info: FileInfo, cache: Path) -> Path:
    """Return the file's place in the cache: by its SHA-256 if that is published, else by address, version and size."""
    kind, key = "sha256", info.sha256
    if key is None:
        fields = (info.url, info.version, str(info.size))
        kind, key = "fetched", hashlib.sha256("\n".join(fields).encode(errors="replace")).hexdigest()
    name = re.sub(r"[^a-zA-Z0-9._+=!-]", "_", path_parts(info.url)[-1])
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
            if not _is_there(info, target, verify):
                _Download(store, info, target, progress).run()
    except OSError as error:
        raise CorpusError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from None


def _is_there(info: FileInfo, target: Path, verify: bool) -> bool:
    if not target.is_file() or target.stat().st_size != info.size:
        return False
    return not verify or info.sha256 is None or sha256_file(target) == info.sha256


class _PartState(Strict):
    """The version that a partial file belongs to."""

    validator: str | None  # for If-Range; None: the download cannot be resumed
    digests: dict[str, str]  # published ones of the file
    boot: str

    @property
    def versions(self) -> dict[str, str]:
        """The validator as in `Response.versions`."""
        if self.validator is None:
            return {}
        by_tag = self.validator.startswith('"')
        return {"etag": self.validator.strip('"')} if by_tag else {"date": self.validator}


_NO_STATE = _PartState(validator=None, digests={}, boot="")


class _Download:
    def __init__(self, store: Store, info: FileInfo, target: Path, progress: Callable[[int], None]) -> None:
        self._store, self._info, self._target, self._progress = store, info, target, progress
        self._name = display_url(info.url)
        self._part = target.with_name(f"{target.name}.part")
        self._state_file = target.with_name(f"{target.name}.part.json")
        self._state = _NO_STATE
        self._received = self._most_received = 0  # bytes in the partial file: now, and at most
        self._resumed = False

    def run(self) -> None:
        """Make all attempts and publish the file."""
        self._restore()
        free, missing = shutil.disk_usage(self._part.parent).free, self._info.size - self._received
        if missing > free - SPARE_BYTES:
            raise CorpusError(
                f"{self._name}: {human_bytes(missing)} to download, but only {human_bytes(free)} free in the cache "
                f"{self._part.parent}; make room, or set `cache` in the profile to another disk"
            )
        retry(self._name, self._attempt, lambda: self._most_received)
        publish(self._part, self._target)
        self._state_file.unlink(missing_ok=True)

    def _attempt(self) -> None:
        try:
            if self._received < self._info.size:
                self._request_missing()
            self._part.touch()  # of 0 bytes
            self._check_digests()
        except BaseException:
            if self._state.validator is None:  # cannot be resumed
                self._discard()
            raise

    def _request_missing(self) -> None:
        """Request the missing bytes, or the whole file if it changed since the partial one was received."""
        start = f"bytes={self._received}-"
        headers = {"Range": start, "If-Range": self._state.validator or ""} if self._received else {}
        try:
            with self._store.get(self._info.url, headers) as response:
                self._begin(response)
                self._receive(response)
        except ChangedError:
            raise self._rejected(TransientError("changed during the download")) from None
        if self._received < self._info.size:
            raise closed_early(self._most_received, self._info.size)

    def _begin(self, response: Response) -> None:
        """Compare the headers with the plan; if the body is all of the file, start over.

        Raises TransientError if the range was ignored, CorpusError for another version or size.
        """
        info, body = self._info, response.body_range
        # Without a published digest, the version must be the one in the plan.
        if info.sha256 is None and response.is_other_version(info.versions):
            raise self._rejected(changed_error(info.url))
        # All of the file has the size in the plan; a part continues the partial file.
        if response.status == 200:
            self._discard()
            size = response.length
            if size is not None and size != info.size:
                problem = f"{size} bytes, {'longer' if size > info.size else 'shorter'} than the {info.size} published"
                advice = "nothing was kept. Build again, and if that does not help, use a mirror"
                raise CorpusError(f"{self._name}: {problem}; {advice}")
        elif (
            body is None
            or (body.start, body.size or info.size) != (self._received, info.size)
            or response.is_other_version(self._state.versions)
        ):
            raise self._rejected(TransientError("the server ignored the requested byte range"))
        # Note the version of the new partial file.
        if not self._received:
            resumable = response.headers.get("accept-ranges", "bytes") != "none"
            validator = response.validator if resumable else None
            self._state = _PartState(validator=validator, digests=response.digests, boot=_boot_id())
            self._state_file.write_text(self._state.model_dump_json())

    def _receive(self, response: Response) -> None:
        self._resumed |= self._received > 0
        with self._part.open("ab") as output:
            while block := response.read(BLOCK_BYTES):
                if self._received + len(block) > self._info.size:
                    problem = f"longer than the {self._info.size} published; nothing was kept"
                    raise self._rejected(CorpusError(f"{self._name}: {problem}"))
                output.write(block)
                output.flush()  # kept if this process is killed
                self._received += len(block)
                self._most_received = max(self._most_received, self._received)
                self._progress(len(block))

    def _check_digests(self) -> None:
        """Compare all published digests. A resumed download that fails is retried once from scratch."""
        published = {"sha256": self._info.sha256} if self._info.sha256 else {}
        for algorithm, expected in sorted((self._state.digests | published).items()):
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

    def _rejected(self, error: E) -> E:
        self._discard()
        return error

    def _discard(self) -> None:
        """Delete the partial file."""
        if self._received:
            self._progress(-self._received)
        self._received, self._state = 0, _NO_STATE
        self._part.unlink(missing_ok=True)
        self._state_file.unlink(missing_ok=True)

    def _restore(self) -> None:
        """Resume from the partial file of an earlier process if it can be trusted."""
        try:
            state, size = _PartState.model_validate_json(self._state_file.read_bytes()), self._part.stat().st_size
        except (OSError, ValueError):
            state, size = _NO_STATE, 0
        if state.validator is None or state.boot != _boot_id() or size > self._info.size:
            self._discard()
            return
        self._state, self._resumed = state, True
        self._received = self._most_received = size
        self._progress(size)


def _boot_id() -> str:
    """Return the boot id: a partial file from before a reboot may have lost bytes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
