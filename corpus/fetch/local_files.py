"""file:// addresses and plain paths: files of this machine, read where they are."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from corpus.errors import InputError
from corpus.fetch.base_store import NO_HEADERS, AbsentError, ChangedError, FileInfo, Response, Store


def local_path(address: str) -> Path | None:
    """Return the path of a file of this machine, None for other addresses. Raises InputError for another machine's."""
    scheme, mark, _ = address.partition("://")
    if not mark:
        return Path(address)
    if scheme.lower() != "file":
        return None
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or "%00" in parts.path:
        raise InputError(f"{address}: file:// URLs must be local: file:///FOLDER/FILE, with three slashes")
    return Path(unquote(address.partition("://")[2].removeprefix("localhost")))


class LocalStore(Store):
    """Files of this machine; their version is their modification time."""

    def describe(self, url: str) -> FileInfo:
        """See Store.describe."""
        path = _path(url)
        try:
            status = path.stat()
        except OSError as error:
            raise AbsentError(f"{url}: cannot be read ({error.strerror})") from None
        if not path.is_file():
            raise InputError(f"{url}: not a file; name its files, with a pattern such as *.warc.gz")
        return FileInfo(url, status.st_size, f"etag:{status.st_mtime_ns}")

    def expand(self, pattern: str) -> list[str]:
        """See Store.expand."""
        paths = Path("/").glob(str(_path(pattern)).lstrip("/"))
        return sorted(f"file://{quote(str(path))}" for path in paths if path.is_file())

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> Iterator[Response]:
        """See Store.get."""
        try:
            file = _path(url).open("rb")
        except FileNotFoundError:
            raise AbsentError(f"{url}: no such file") from None
        except OSError as error:
            raise InputError(f"{url}: cannot be read ({error.strerror})") from None
        with file:
            yield LocalResponse(url, file, headers.get("Range", ""))


class LocalResponse(Response):
    """Response with the headers that a web server would send for the file."""

    def __init__(self, url: str, file: BinaryIO, requested: str) -> None:
        self._file = file
        self._modified_ns, size = self._modified(), os.fstat(file.fileno()).st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", requested)
        start, end = (int(match[1]), min(int(match[2]) + 1, size)) if match else (0, size)
        if match and start >= end:
            raise ChangedError(f"{url}: has no bytes from {start} on")
        headers = {"content-length": str(end - start), "etag": f'"{self._modified_ns}"'}
        if match:
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        super().__init__(url, 206 if match else 200, headers)
        file.seek(start)
        self._remaining = end - start

    def read(self, count: int) -> bytes:
        """See Response.read."""
        data = self._file.read(min(count, self._remaining))
        self._remaining -= len(data)
        if self._modified() != self._modified_ns:
            raise ChangedError(f"{self.url}: changed while it was read")
        return data

    def _modified(self) -> int:
        return os.fstat(self._file.fileno()).st_mtime_ns


def _path(url: str) -> Path:
    path = local_path(url)
    assert path is not None
    return path
