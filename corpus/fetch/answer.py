"""What all ways of fetching share: a file elsewhere, an answer about it, and how an answer may fail."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.fetch.hosts import Host, RefusedError

__all__ = [
    "AbsentError",
    "Answer",
    "ChangedError",
    "RefusedError",
    "Remote",
    "Store",
    "TransientError",
    "UnreachableError",
    "path_parts",
    "shown",
]


class Remote(NamedTuple):
    """A file elsewhere, as it was when it was asked about."""

    url: str
    size: int  # in bytes
    version: str  # "sha256:<hex>" if published, "etag:<etag>" if strong, "date:<date>" of Last-Modified, "size"


class AbsentError(CorpusError):
    """There is no such thing."""


class UnreachableError(CorpusError):
    """All attempts failed."""


class ChangedError(CorpusError):
    """The server no longer has the bytes that were asked for."""


class TransientError(Exception):
    """Another attempt may succeed: at once for the others, unless `host` is who asked all of us to wait."""

    def __init__(self, problem: str, wait: float | None = None, host: Host | None = None) -> None:
        super().__init__(problem)
        self.wait, self.host = wait, host  # seconds that the server named


class Answer(Protocol):
    """Where it came from, a status, headers by their lower-case names, and a body that is read once."""

    @property
    def url(self) -> str: ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def read(self, count: int) -> bytes:
        """1 to `count` bytes as they came over the wire; b"" at the end. Raises TransientError."""


class Store(Protocol):
    """Where the addresses of a scheme lead."""

    access: Access
    advice: str  # what may help where it refuses

    def host(self, url: str) -> str:
        """Whom a request goes to: what requests are counted by."""

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Answer]:
        """One request, with no redirect followed and nothing tried again. Raises TransientError."""

    def describe(self, url: str) -> Remote: ...

    def expand(self, pattern: str) -> list[str]: ...


def blocks(answer: Answer, count: int = 1 << 18) -> Iterator[bytes]:
    """The body, piece by piece."""
    while block := answer.read(count):
        yield block


def path_parts(url: str) -> tuple[str, ...]:
    """The parts of an address's path, its host or bucket first; a key of S3 may hold `?`, `#` and `%` as they are."""
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https"):
        split = urlsplit(url)
        rest = f"{split.netloc}/{unquote(split.path).lstrip('/')}"
    return PurePosixPath(rest.replace("\0", "")).parts


def shown(url: str) -> str:
    """An address for a message: without its query, which may hold a signature, and not without end."""
    parts = urlsplit(url)
    plain = url.partition("?")[0] + "?…" if parts.scheme in ("http", "https") and parts.query else url
    return "".join(each if each.isprintable() else "?" for each in plain[:300])
