"""An output folder on object storage: a working copy on this machine's disk, and what of it is whole there.

`mirror.json` in the working copy says which address it is a copy of. What is pushed is whole (an object appears at once
or not at all) and a build never changes it under its name, so a build need not pull again what lies here. Who checks a
build makes the copy the same as what lies there first.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from corpus.errors import CorpusError, InputError
from corpus.fetch.access import S3
from corpus.settings import Json, Strict
from corpus.store.products import canonical, read_json, write_text

if TYPE_CHECKING:
    from s3fs import S3FileSystem

MARKER = "mirror.json"
COMPARED = "compared.json"  # of files that lay here as there, when that was looked at: ETag, size, time of change
ONLY_HERE = (MARKER, COMPARED, ".lock", "logs", "run.json")  # and temporary folders: what is never pushed
PART_BYTES = 50 * 2**20  # of a file of two or more, which is pushed in parts
AT_ONCE = 2  # files that are pushed at once: each is held in memory
_PARTIAL = re.compile(r"\..*\.\d+\.[0-9a-f]{8}\.pull", re.DOTALL)
T = TypeVar("T")


class _AbsentError(CorpusError):
    """There is no such object, or bucket."""


class _Marker(Strict):
    url: str
    s3: S3


@dataclass(frozen=True)
class Mirror:
    """Pushes files of a working copy to its address, and pulls what is there and not here."""

    folder: Path
    url: str  # s3://bucket/prefix, without a slash at its end
    s3: S3

    def push(self, paths: Iterable[Path]) -> None:
        """Copies files there. Raises CorpusError."""
        local = [str(path) for path in paths]
        there = [self._there(Path(path)) for path in local]
        if local:
            self._told(lambda system: system.put(local, there, batch_size=AT_ONCE, chunksize=PART_BYTES))

    def write(self, path: Path, text: str) -> None:
        """Writes a small file there, not here. Raises CorpusError."""
        self._told(lambda system: system.pipe_file(self._there(path), text.encode()))

    def pull(self, path: Path) -> bool:
        """Whether a file is here, after it was brought here if it is only there. Raises CorpusError."""
        if path.is_file():
            return True
        return self._pulled(path)

    def _pulled(self, path: Path) -> bool:
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.pull")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._told(lambda system: system.get_file(self._there(path), str(partial)))
            partial.replace(path)
        except _AbsentError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def remove(self, path: Path) -> None:
        """Takes a file away there and here, if there is one."""
        path.unlink(missing_ok=True)
        with contextlib.suppress(_AbsentError):
            self._told(lambda system: system.rm_file(self._there(path)))

    def sizes(self, folder: Path) -> dict[str, int]:
        """The files below a folder there, by their names seen from it, with their sizes."""
        return {name: size for name, (size, _) in self._listed(folder).items()}

    def pull_all(self) -> None:
        """Makes what lies here the same as what lies there; what is never pushed stays. Raises CorpusError."""
        there = {name: each for name, each in self._listed(self.folder).items() if _is_pushed(name)}
        for path in [*self.folder.iterdir(), *self.folder.glob("jobs/**/*")]:
            name = path.relative_to(self.folder).as_posix()
            if _is_pushed(name) and path.is_file() and name not in there:
                path.unlink(missing_ok=True)
        known = self._compared()
        for name, (size, etag) in there.items():
            path = self.folder / name
            if known.get(name) != _state(path, etag) and not _is_same(path, size, etag):
                self._pulled(path)
        compared = {name: _state(self.folder / name, etag) for name, (_, etag) in there.items()}
        write_text(self.folder / COMPARED, canonical(compared), self.folder / "logs")

    def _compared(self) -> dict[str, Json]:
        try:
            return read_json(self.folder / COMPARED)
        except CorpusError:  # not compared before
            return {}

    def _listed(self, folder: Path) -> dict[str, tuple[int, str]]:
        """The files below a folder there: size and ETag."""
        root = self._there(folder)
        found = self._told(lambda system: system.find(root, detail=True))
        return {
            name[len(root) + 1 :]: (int(info["size"]), str(info.get("ETag", "")).strip('"'))
            for name, info in found.items()
            if name.startswith(f"{root}/")
        }

    def _there(self, path: Path) -> str:
        inside = path.relative_to(self.folder).as_posix()
        return self.url.removeprefix("s3://") + ("" if inside == "." else f"/{inside}")

    def _told(self, ask: Callable[["S3FileSystem"], T]) -> T:
        try:
            return ask(_system(self.s3))
        except CorpusError:
            raise
        except Exception as error:  # what s3fs raises has no common base
            kind = _AbsentError if isinstance(error, FileNotFoundError) else CorpusError
            raise kind(
                f"{self.url}: {type(error).__name__}: {str(error)[:200]}; is there such a bucket, and may you use it? "
                "What was finished is kept: build again to go on"
            ) from None


def _is_pushed(name: str) -> bool:
    """Whether a file of this name may lie there: not this machine's own, and inside the folder."""
    parts = name.split("/")
    temporary = (parts[0], *parts[2:3]) == ("jobs", "tmp") or _PARTIAL.fullmatch(parts[-1]) is not None
    return not temporary and parts[0] not in ONLY_HERE and not {"", ".", ".."} & set(parts)


def _is_same(path: Path, size: int, etag: str) -> bool:
    """Whether a file here is what lies there, by its MD5, or its parts'. Encrypted, it has another ETag: then no."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        if "-" not in etag:
            return hashlib.file_digest(file, _md5).hexdigest() == etag
        parts = [_md5(part).digest() for part in iter(lambda: file.read(PART_BYTES), b"")]
        return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}" == etag


_md5 = functools.partial(hashlib.md5, usedforsecurity=False)


def _state(path: Path, etag: str) -> Json:
    stat = path.stat() if path.is_file() else None
    return [etag, stat.st_size, stat.st_mtime_ns] if stat else "absent"


def mirror_of(folder: Path) -> Mirror | None:
    """What a folder is the working copy of, if it is one."""
    return _read(folder) if (folder / MARKER).is_file() else None


def working_copy(url: str, cache: Path, s3: S3) -> Path:
    """The folder on this machine that is the working copy of an output at `s3://…`; made if it is not there."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket or any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")):
        raise InputError(f"{url}: expected s3://BUCKET/FOLDER, such as s3://corpora/web_books_code")
    url = url.rstrip("/")
    key = hashlib.sha256(f"{url}\n{s3.endpoint}".encode()).hexdigest()[:12]
    folder = (cache / "outputs" / f"{url.rpartition('/')[2]}-{key}").resolve()
    marker = canonical({"url": url, "s3": s3.model_dump(mode="json")})
    if not (folder / MARKER).is_file() or (folder / MARKER).read_text() != marker:
        try:
            write_text(folder / MARKER, marker, folder / "logs")
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}; name another cache in a place") from None
        _read.cache_clear()
    return folder


@lru_cache(maxsize=64)
def _read(folder: Path) -> Mirror:
    marker = _Marker.model_validate_json((folder / MARKER).read_bytes())
    return Mirror(folder, marker.url, marker.s3)


def _system(s3: S3) -> "S3FileSystem":
    try:
        from s3fs import S3FileSystem
    except ImportError:
        raise InputError("an output at s3:// needs s3fs: pip install 'gristmill[s3]'") from None
    return S3FileSystem(
        anon=s3.sign == "never",
        requester_pays=s3.requester_pays,
        endpoint_url=s3.endpoint or os.environ.get("AWS_ENDPOINT_URL"),
        use_listings_cache=False,
    )
