"""file:// addresses and plain paths: files of this machine, read where they are."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from corpus.errors import InputError
from corpus.fetch.base_store import NO_HEADERS, AbsentError, ChangedError, FileInfo, Listing, Store
from corpus.fetch.response import Response


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
        try:
            status = os.stat(_path(url))  # noqa: PTH116  (a plan asks for many files)
        except OSError as error:
            raise AbsentError(f"{url}: cannot be read ({error.strerror})") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{url}: not a file; name its files, with a pattern such as *.warc.gz")
        return FileInfo(url, status.st_size, f"etag:{status.st_mtime_ns}")

    def expand(self, pattern: str) -> Listing:
        """See Store.expand."""
        paths = Path("/").glob(str(_path(pattern)).lstrip("/"))
        return dict.fromkeys(sorted(f"file://{quote(str(path))}" for path in paths if path.is_file()))

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> Iterator[Response]:
        """See Store.get. The headers are those that a web server would send for the file."""
        try:
            file = _path(url).open("rb")
        except FileNotFoundError:
            raise AbsentError(f"{url}: no such file") from None
        except OSError as error:
            raise InputError(f"{url}: cannot be read ({error.strerror})") from None
        with file:
            # Find the requested bytes.
            status = os.fstat(file.fileno())
            size = status.st_size
            requested = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
            start, end = (int(requested[1]), min(int(requested[2]) + 1, size)) if requested else (0, size)
            if requested and start >= end:
                raise ChangedError(f"{url}: has no bytes from {start} on")
            file.seek(start)

            def read(count: int) -> bytes:
                data = file.read(min(count, end - file.tell()))
                if os.fstat(file.fileno()).st_mtime_ns != status.st_mtime_ns:
                    raise ChangedError(f"{url}: changed while it was read")
                return data

            # Name the part and the version.
            sent = {"content-length": str(end - start), "etag": f'"{status.st_mtime_ns}"'}
            sent["content-range"] = f"bytes {start}-{end - 1}/{size}"
            yield Response(url, 206 if requested else 200, sent, read)


def _path(url: str) -> Path:
    path = local_path(url)
    assert path is not None
    return path
