"""file:// and plain paths: read where they lie."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch.answer import AbsentError, Remote
from corpus.fetch.ranges import from_file


def local_path(address: str) -> Path | None:
    """Where the file lies on this machine; None if it lies elsewhere. Raises InputError for another machine's."""
    scheme, mark, _ = address.partition("://")
    if not mark:
        return Path(address)
    if scheme.lower() != "file":
        return None
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or "%00" in parts.path:
        raise InputError(f"{address}: no file of this machine; one reads file:///FOLDER/FILE, with three slashes")
    return Path(unquote(address.partition("://")[2].removeprefix("localhost")))


def describe(address: str) -> Remote:
    """Its size, and when it was changed last."""
    path = local_path(address)
    assert path is not None
    try:
        status = path.stat()
    except OSError as error:
        raise AbsentError(f"{address}: cannot be read ({error.strerror})") from None
    if not path.is_file():
        raise InputError(f"{address}: no file; name files, with a pattern such as *.warc.gz")
    return Remote(address, status.st_size, f"etag:{status.st_mtime_ns}")


def expand(pattern: str) -> list[str]:
    """The files that a pattern matches."""
    path = local_path(pattern)
    assert path is not None
    found = Path("/").glob(str(path).lstrip("/"))
    return sorted(f"file://{quote(str(each))}" for each in found if each.is_file())


class LocalParts:
    """Like Parts, of a local file. Raises CorpusError if it is not as it was described."""

    def __init__(self, remote: Remote) -> None:
        self._remote, self._path = remote, local_path(remote.url)

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), which must all be there."""
        assert self._path is not None
        self._check()
        data = next(from_file(self._path, [(start, end)]))
        self._check()
        return data

    def _check(self) -> None:
        if describe(self._remote.url) != self._remote:
            raise changed(self._remote)


def changed(remote: Remote) -> CorpusError:
    """What is raised of a file that is no longer as it was described."""
    return CorpusError(f"{remote.url}: changed since the plan was made. Build again")
