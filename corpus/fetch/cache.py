"""A whole file, fetched into the cache: resumed where an attempt ended, checked, and there whole or not at all.

Beside the file lie `<name>.part`, what has come so far, and `<name>.part.json`, what it is a part of.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from corpus.errors import CorpusError
from corpus.fetch import published
from corpus.fetch.answer import Answer, ChangedError, Remote, Store, TransientError, blocks, path_parts, shown
from corpus.fetch.asking import asked
from corpus.fetch.locks import locked
from corpus.fetch.retry import tried
from corpus.store.products import publish, sha256_file
from corpus.units import human_bytes

SPARE_BYTES = 200_000_000  # left free on the cache's disk
_SAFE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=")


def target_of(remote: Remote, cache: Path) -> Path:
    """Where the file lies once it is there."""
    key = hashlib.sha256("\n".join((remote.url, remote.version, str(remote.size))).encode(errors="replace")).hexdigest()
    last = path_parts(remote.url)[-1]
    name = "".join(each if each in _SAFE else "_" for each in last)[-120:].lstrip(".") or "file"
    return cache / "fetched" / key[:2] / key / name


def fetched(
    store: Store, remote: Remote, target: Path, progress: Callable[[int], None], *, verify: bool = False
) -> None:
    """Puts the file at `target`, unless it is there; `verify`: and has its published SHA-256, if there is one.

    `progress` hears of each number of bytes that arrived, of all those that an earlier attempt left, and with a minus
    of those that had to be thrown away. One process fetches, the others wait for it. Raises CorpusError.
    """
    try:
        with locked(target.parent / ".lock"):
            there = target.is_file() and target.stat().st_size == remote.size
            known = remote.version.startswith("sha256:")
            if there and not (verify and known and f"sha256:{sha256_file(target)}" != remote.version):
                return
            _Download(store, remote, target, progress).run()
    except OSError as error:
        raise CorpusError(f"{error.filename or target}: cannot be written: {error.strerror or error}") from None


class _Download:
    def __init__(self, store: Store, remote: Remote, target: Path, progress: Callable[[int], None]) -> None:
        self._store, self._remote, self._target, self._progress = store, remote, target, progress
        self._what = shown(remote.url)
        self._part = target.with_name(f"{target.name}.part")
        self._side = target.with_name(f"{target.name}.part.json")
        self._have = self._farthest = 0  # bytes in the part: now, and at most
        self._resumed = False
        self._validator: str | None = None
        self._digests: dict[str, str] = {}

    def run(self) -> None:
        """All attempts; then the file is there."""
        self._restore()
        free = shutil.disk_usage(self._part.parent).free
        if self._remote.size - self._have > free - SPARE_BYTES:
            raise CorpusError(
                f"{self._what}: {human_bytes(self._remote.size - self._have)} are to come, and the cache "
                f"{self._part.parent} has {human_bytes(free)} left; make room, or name another `cache`"
            )
        try:
            tried(self._what, self._attempt, lambda: self._farthest)
        except BaseException:
            if self._validator is None:
                self._drop()  # nobody could go on from it
            raise
        publish(self._part, self._target)
        self._side.unlink(missing_ok=True)

    def _attempt(self) -> None:
        if self._have and self._validator is None:
            self._drop()  # it cannot be told what this is a part of
        if self._have < self._remote.size:
            headers = {"Range": f"bytes={self._have}-", "If-Range": self._validator or ""} if self._have else {}
            try:
                with asked(self._store, "GET", self._remote.url, headers) as answer:
                    self._begin(answer)
                    self._receive(answer)
            except ChangedError:
                self._drop()
                raise TransientError("it changed while it was fetched") from None
            if self._have < self._remote.size:
                raise TransientError(f"it ended after {self._farthest} of {self._remote.size} bytes")
        elif not self._part.exists():
            self._part.touch()
        self._check()

    def _begin(self, answer: Answer) -> None:
        """Sees whether the body is the rest, or the whole anew. Raises TransientError; CorpusError for another file."""
        remote, headers = self._remote, answer.headers
        if answer.status == 206:
            span = published.content_range(headers)
            if span is None or span.start != self._have or span.size not in (None, remote.size) or self._other(headers):
                self._drop()
                raise TransientError("it answered with other bytes than it was asked for")
            size: int | None = span.end
        else:
            self._drop()
            size = published.length(headers)
        kind, _, told = remote.version.partition(":")
        if kind in ("etag", "date") and published.marks(headers).get(kind, told) != told:
            self._drop()
            raise CorpusError(
                f"{self._what}: changed on the server since the plan was made; nothing was kept. Build again"
            )
        if size is not None and size != remote.size and (answer.status == 200 or size > remote.size):
            self._drop()
            longer = "longer" if size > remote.size else "shorter"
            raise CorpusError(
                f"{self._what}: {size} bytes, {longer} than the {remote.size} published; nothing was kept. Build "
                "again; if it stays so, this server contradicts itself: name a mirror"
            )
        if not self._have:
            resumable = headers.get("accept-ranges", "bytes") != "none"
            self._validator = published.validator(headers) if resumable else None
            self._digests = published.digests(headers, whole=answer.status == 200)
            self._side.write_text(json.dumps(self._known()))

    def _receive(self, answer: Answer) -> None:
        self._resumed |= self._have > 0
        with self._part.open("ab") as output:
            for block in blocks(answer):
                if self._have + len(block) > self._remote.size:
                    self._validator = None
                    raise CorpusError(f"{self._what}: longer than the {self._remote.size} published; nothing was kept")
                output.write(block)
                output.flush()  # what has come outlives us
                self._have += len(block)
                self._farthest = max(self._farthest, self._have)
                self._progress(len(block))

    def _check(self) -> None:
        """Compares all digests that are published. A part that was put together gets one more chance from the start."""
        kind, _, value = self._remote.version.partition(":")
        expected = self._digests | ({"sha256": value} if kind == "sha256" else {})
        for name, wanted in sorted(expected.items()):
            digest = hashlib.new(name, usedforsecurity=False)
            with self._part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            found = digest.hexdigest()
            if found == wanted:
                continue
            self._drop()
            if self._resumed:
                self._resumed = False
                raise TransientError(f"what was put together does not have the published {name.upper()}")
            raise CorpusError(
                f"{self._what}: not the file that was published: expected {name.upper()} {wanted}, found {found}; "
                "nothing was kept. Try again; if it stays so, do not trust this server"
            )

    def _other(self, headers: published.Headers) -> bool:
        """Whether this is of another version than the part."""
        if not self._have:
            return False
        tag = published.etag(headers)
        found = (
            (f'"{tag}"' if tag else None) if (self._validator or "").startswith('"') else headers.get("last-modified")
        )
        return found not in (None, self._validator)

    def _drop(self) -> None:
        """Throws away what has come."""
        if self._have:
            self._progress(-self._have)
        self._have, self._validator, self._digests = 0, None, {}
        self._part.unlink(missing_ok=True)
        self._side.unlink(missing_ok=True)

    def _restore(self) -> None:
        """Takes up what an earlier process left, if it can be gone on from."""
        size = 0
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(self._side.read_bytes())
            size = self._part.stat().st_size
            if isinstance(told, dict) and told.get("boot") == _boot() and size <= self._remote.size:
                self._validator = str(told["validator"]) if told.get("validator") else None
                self._digests = {str(name): str(value) for name, value in dict(told.get("digests", {})).items()}
        if self._validator is None:
            self._drop()
            return
        self._have = self._farthest = size
        self._resumed = True
        self._progress(size)

    def _known(self) -> dict[str, object]:
        return {"validator": self._validator, "digests": self._digests, "boot": _boot()}


def _boot() -> str:
    """Since when this machine is up: bytes that were not brought to the disk before that may be lost."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
