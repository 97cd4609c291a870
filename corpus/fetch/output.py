"""Output of a build: a folder on this machine, or a bucket with a local working copy.

`open_output(folder)` returns the one that a folder belongs to; both kinds have the same methods, so that no caller asks
which kind it has. The file `mirror.json` in a working copy holds its address.

An object appears in a bucket whole or not at all, and a build never changes it under its name. A build therefore does
not download again what the working copy has; `pull_all`, for commands that check a build, compares every file.
"""

import contextlib
import functools
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from corpus.errors import CorpusError, InputError
from corpus.fetch import s3
from corpus.fetch.access import S3
from corpus.fetch.base_store import AbsentError
from corpus.fetch.politeness import CACHE_ADVICE
from corpus.settings import Json, Strict
from corpus.store.products import canonical, read_json, write_text

if TYPE_CHECKING:
    from s3fs import S3FileSystem

MARKER = "mirror.json"
COMPARED = "compared.json"  # ETag, size and modification time of the files that were equal at the last comparison
NEVER_PUSHED = (MARKER, COMPARED, ".lock", "logs", "run.json")  # in addition to temporary folders
PART_BYTES = 50 * 2**20  # larger files are uploaded in parts of this size
PARALLEL_UPLOADS = 2  # each upload holds one part in memory
T = TypeVar("T")


class FolderOutput:
    """Output in a folder of this machine. The other kind, in a bucket, has the same methods."""

    poll_s = 0.5  # seconds between two checks for finished tasks

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)  # `name`: the path or address that the user knows it by

    def require_local(self, command: str) -> None:
        """Raise InputError if the output is in a bucket."""

    def pull(self, path: Path) -> bool:
        """Download the file if only the bucket has it; return True if it exists. Raises CorpusError."""
        return path.is_file()

    def pull_all(self) -> None:
        """Make the working copy equal to the bucket, except for files that are never pushed. Raises CorpusError."""

    def push(self, paths: Iterable[Path]) -> None:
        """Upload finished files. Raises CorpusError."""

    def write(self, path: Path, text: str, scratch: Path) -> None:
        """Write a small file, to the bucket first. `scratch` is a local folder for the unfinished file."""
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text, scratch)

    def sizes(self, folder: Path) -> dict[str, int]:
        """Return the sizes in bytes of all files below a folder, by their paths relative to it."""
        files = {}
        for parent, _, names in os.walk(folder, followlinks=True):
            inside = os.path.relpath(parent, folder)
            prefix = "" if inside == "." else f"{inside}/"
            for name in names:  # as plain strings: a job may have a million files
                with contextlib.suppress(FileNotFoundError):  # a temporary file of a running task
                    files[prefix + name] = os.stat(f"{parent}/{name}").st_size  # noqa: PTH116
        return files

    def names(self, folder: Path) -> Iterable[str]:
        """Return the names of the files in a folder."""
        try:
            return os.listdir(folder)  # noqa: PTH208
        except FileNotFoundError:
            return ()

    def remove(self, path: Path) -> None:
        """Delete a file, in the working copy as well; a missing one is no error."""
        path.unlink(missing_ok=True)


class BucketOutput(FolderOutput):
    """Output in an S3 bucket, at `url` (s3://bucket/prefix without a trailing slash). Paths lie in the working copy."""

    poll_s = 10.0  # each check is a request per job

    def __init__(self, folder: Path, url: str, settings: S3) -> None:
        super().__init__(folder)
        self.name, self._settings = url, settings

    def require_local(self, command: str) -> None:
        """See FolderOutput.require_local."""
        raise InputError(f"{self.folder}: this is a local copy of {self.name}; {command} supports local outputs only")

    def pull(self, path: Path) -> bool:
        """See FolderOutput.pull."""
        return super().pull(path) or self._download(path)

    def pull_all(self) -> None:
        """See FolderOutput.pull_all."""
        remote = {name: entry for name, entry in self._list(self.folder).items() if _is_pushed(name)}
        # Delete local files that the bucket does not have.
        for path in [*self.folder.iterdir(), *self.folder.glob("jobs/**/*")]:
            name = path.relative_to(self.folder).as_posix()
            if _is_pushed(name) and path.is_file() and name not in remote:
                path.unlink(missing_ok=True)
        # Download files that differ. A file is hashed only if it changed since the last comparison.
        compared: dict[str, Json] = {}
        with contextlib.suppress(CorpusError):  # never compared
            compared = read_json(self.folder / COMPARED)
        for name, (size, etag) in remote.items():
            path = self.folder / name
            if compared.get(name) != _state(path, etag) and not _has_content(path, size, etag):
                self._download(path)
        states = {name: _state(self.folder / name, etag) for name, (_, etag) in remote.items()}
        write_text(self.folder / COMPARED, canonical(states), self.folder / "logs")

    def push(self, paths: Iterable[Path]) -> None:
        """See FolderOutput.push."""
        local = [str(path) for path in paths]
        keys = [self._key(Path(path)) for path in local]
        if local:
            self._call(lambda system: system.put(local, keys, batch_size=PARALLEL_UPLOADS, chunksize=PART_BYTES))

    def write(self, path: Path, text: str, scratch: Path) -> None:
        """See FolderOutput.write. The bucket gets it in any case: another machine may have written there since."""
        self._call(lambda system: system.pipe_file(self._key(path), text.encode()))
        super().write(path, text, scratch)

    def sizes(self, folder: Path) -> dict[str, int]:
        """See FolderOutput.sizes."""
        return {name: size for name, (size, _) in self._list(folder).items()}

    def names(self, folder: Path) -> Iterable[str]:
        """See FolderOutput.names."""
        return self._list(folder)

    def remove(self, path: Path) -> None:
        """See FolderOutput.remove."""
        super().remove(path)
        with contextlib.suppress(AbsentError):
            self._call(lambda system: system.rm_file(self._key(path)))

    def _download(self, path: Path) -> bool:
        """Download a file and replace the local one; return False if the bucket has no such file."""
        partial = self.folder / "logs" / f"{os.getpid()}.{secrets.token_hex(4)}.pull"  # on the same disk
        for folder in (partial.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self._call(lambda system: system.get_file(self._key(path), str(partial)))
            partial.replace(path)
        except AbsentError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _list(self, folder: Path) -> dict[str, tuple[int, str]]:
        """Size and ETag of the objects below a folder, by their names relative to it."""
        root = self._key(folder)
        objects = self._call(lambda system: system.find(root, detail=True))
        return {
            name[len(root) + 1 :]: (int(info["size"]), str(info.get("ETag", "")).strip('"'))
            for name, info in objects.items()
            if name.startswith(f"{root}/")
        }

    def _key(self, path: Path) -> str:
        """Bucket and key of a local path."""
        relative = path.relative_to(self.folder).as_posix()
        return self.name.removeprefix("s3://") + ("" if relative == "." else f"/{relative}")

    def _call(self, operation: Callable[["S3FileSystem"], T]) -> T:
        try:
            return operation(s3.client(self._settings, contact=None, retries=True))
        except CorpusError:
            raise
        except Exception as error:  # s3fs raises errors without a common base class
            converted = s3.convert_error(error, self.name)
            raise type(converted)(
                f"{converted}; check that the bucket exists and that you may write to it. Finished work is kept: build "
                "again to continue"
            ) from None


def open_output(folder: Path) -> FolderOutput:
    """Open the output that a folder is, or is the working copy of."""
    return _open_bucket(folder) if (folder / MARKER).is_file() else FolderOutput(folder)


def working_copy(url: str, cache: Path, settings: S3) -> Path:
    """Return the local working copy of an output at `s3://…`, made if it does not exist. Raises InputError."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not bucket or any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")):
        raise InputError(f"{url}: expected s3://BUCKET/FOLDER, such as s3://corpora/web_books_code")
    url = url.rstrip("/")
    key = hashlib.sha256(f"{url}\n{settings.endpoint}".encode()).hexdigest()[:12]
    folder = (cache / "outputs" / f"{url.rpartition('/')[2]}-{key}").resolve()
    marker = canonical({"url": url, "s3": settings.model_dump(mode="json")})
    try:
        FolderOutput(folder).write(folder / MARKER, marker, folder / "logs")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; {CACHE_ADVICE}") from None
    _open_bucket.cache_clear()
    return folder


class _OutputMarker(Strict):
    url: str
    s3: S3


@lru_cache(maxsize=64)
def _open_bucket(folder: Path) -> BucketOutput:
    marker = _OutputMarker.model_validate_json((folder / MARKER).read_bytes())
    return BucketOutput(folder, marker.url, marker.s3)


def _is_pushed(name: str) -> bool:
    """True if a file of this name belongs in the bucket: inside the folder, not temporary, not of this machine only."""
    parts = name.split("/")
    temporary = (parts[0], *parts[2:3]) == ("jobs", "tmp")
    return not temporary and parts[0] not in NEVER_PUSHED and not {"", ".", ".."} & set(parts)


def _has_content(path: Path, size: int, etag: str) -> bool:
    """True if the file's MD5, or the MD5 of its parts' MD5s, is the ETag. Encrypted objects have other ETags."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        if "-" not in etag:
            return hashlib.file_digest(file, _md5).hexdigest() == etag
        parts = [_md5(part).digest() for part in iter(lambda: file.read(PART_BYTES), b"")]
        return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}" == etag


_md5 = functools.partial(hashlib.md5, usedforsecurity=False)


def _state(path: Path, etag: str) -> Json:
    """Return the note that `pull_all` keeps of a file that equals its object."""
    stat = path.stat() if path.is_file() else None
    return [etag, stat.st_size, stat.st_mtime_ns] if stat else "absent"
