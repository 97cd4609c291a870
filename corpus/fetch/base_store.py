"""Interface of the stores (one per address scheme), and rate-limited requests to those on the network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import ClassVar, NamedTuple, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

from corpus.errors import CorpusError
from corpus.fetch.access import Access
from corpus.fetch.politeness import LONGEST_WAIT_S, Host, TransientError, retry
from corpus.fetch.response import Response

REDIRECTS = 10
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
T = TypeVar("T")


class FileInfo(NamedTuple):
    """Address, size and version of a file when it was described."""

    url: str
    size: int  # bytes
    version: str  # "sha256:<hex>" if published, else "etag:<strong ETag>", "date:<Last-Modified>", or "size"

    @property
    def versions(self) -> dict[str, str]:
        """The version as in `Response.versions`."""
        kind, _, value = self.version.partition(":")
        return {kind: value} if value else {}

    @property
    def sha256(self) -> str | None:
        """The published SHA-256 in hexadecimal."""
        return self.versions.get("sha256")


class AbsentError(CorpusError):
    """The file does not exist."""


class ChangedError(CorpusError):
    """The server no longer has the requested version or byte range."""


Listing = Mapping[str, FileInfo | None]


class Store(ABC):
    """Files of one address scheme."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @abstractmethod
    def describe(self, url: str) -> FileInfo:
        """Return size and version without reading the file."""

    def expand(self, pattern: str) -> Listing:
        """Return the addresses that a pattern matches, sorted; without a listing, the pattern itself.

        Each comes with what `describe` would say of it, if the listing says as much.
        """
        return {pattern: None}

    @abstractmethod
    def get(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> AbstractContextManager[Response]:
        """Open the file, or the part that a Range header asks for. Raises AbsentError or ChangedError."""

    def read_small(self, url: str, limit: int, accept: str = "*/*") -> bytes:
        """Return the content of a small file. Raises AbsentError; CorpusError above `limit` bytes."""

        def attempt() -> bytes:
            with self.get(url, {"Accept": accept}) as response:
                if response.status == 206:
                    raise TransientError("the server sent a part of the file instead of all of it")
                data, stated = response.read_up_to(limit + 1), response.length or 0
            if len(data) > limit:
                raise CorpusError(f"{display_url(url)}: over {limit} bytes, the limit for this kind of file")
            if len(data) < stated:
                raise closed_early(len(data), stated)
            return data

        return retry(display_url(url), attempt)


class NetworkStore(Store):
    """Store on the network: each request waits for the host's turn, follows redirects, and has its status checked."""

    advice: ClassVar[str]  # end of the error for refused access

    @abstractmethod
    def host(self, url: str) -> str:
        """Return the host that the request limits of an address belong to."""

    @abstractmethod
    def send(self, method: str, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Response]:
        """Send one request, without redirects or retries. Raises TransientError."""

    def query(self, url: str, call: Callable[[], T]) -> T:
        """Run a client library's call like a request: in the host's turn, with retries and a status check."""

        def attempt() -> T:
            host = Host(self.access, self.host(url))
            with host.slot():
                try:
                    return call()
                except Exception as error:
                    self._check_status(self.error_response(error, url), url, host)
                    raise

        return retry(display_url(url), attempt)

    def error_response(self, error: Exception, url: str) -> Response:
        """Return the response that a client library's error carries; raise our error if there was none."""
        raise error

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str] = NO_HEADERS, method: str = "GET", accept: Sequence[int] = ()
    ) -> Iterator[Response]:
        """See Store.get. The status is 200, 206 or one of `accept`; else raises as `_check_status` does."""
        target = url
        for _ in range(REDIRECTS + 1):
            host = Host(self.access, self.host(target))
            with host.slot(), self.send(method, target, headers) as response:
                redirect = _redirect(response)
                if redirect is None:
                    if response.status not in accept:
                        self._check_status(response, url, host)
                    yield response
                    return
            target = redirect
        raise CorpusError(
            f"{display_url(url)}: redirected more than {REDIRECTS} times, last to {display_url(target)}; "
            "check the address"
        )

    def _check_status(self, response: Response, url: str, host: Host) -> None:
        """Raise unless the status is 200 or 206.

        AbsentError on 404 and 410; RefusedError on 401 and 403, which stops all requests to the host; TransientError
        if a retry may succeed; ChangedError on 412 and 416; CorpusError on all others.
        """
        status, name = response.status, display_url(url)
        if status in (200, 206):
            return
        if status in (404, 410):
            raise AbsentError(f"{name}: not found (HTTP {status})")
        if status in (412, 416):
            raise ChangedError(
                f"{name}: the server does not have the requested version or bytes (HTTP {status}); build again, and "
                "if that does not help, use a mirror"
            )
        if status in (401, 403):
            raise host.refuse(f"{name}: {host.name} refused access (HTTP {status}){response.message()}. {self.advice}")
        if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
            overloaded = status in (429, 503)  # all requests to the host must wait; other statuses concern this one
            wait = response.retry_after if overloaded else None
            if wait is not None and wait > LONGEST_WAIT_S:
                raise host.refuse(
                    f"{name}: {host.name} asks to wait {wait:.0f} s (HTTP {status}, Retry-After), more than the limit "
                    f"of {LONGEST_WAIT_S:.0f} s; build again later, or use a mirror"
                )
            raise TransientError(f"{host.name} answered HTTP {status}", wait, host if overloaded else None)
        raise CorpusError(f"{name}: request failed (HTTP {status}){response.message()}")


def _redirect(response: Response) -> str | None:
    """Return the address that a response redirects to."""
    location = response.headers.get("location", "") if response.status in _REDIRECT_STATUSES else ""
    if not location:
        return None
    target = urljoin(response.url, location)
    scheme = urlsplit(target).scheme
    if scheme not in ("http", "https") or (scheme == "http" and response.url.startswith("https:")):
        problem = "not encrypted" if scheme == "http" else "not a web address"
        raise CorpusError(
            f"{display_url(response.url)}: redirects to {display_url(target)}, which is {problem}; if that is right, "
            "use that address"
        )
    return target


def closed_early(received: int, expected: int) -> TransientError:
    """Return the error for a body that ends too early."""
    return TransientError(f"connection closed after {received} of {expected} bytes")


def changed_error(url: str) -> CorpusError:
    """Return the error for a file that is not as it was described."""
    return CorpusError(
        f"{display_url(url)}: changed since the plan was made, or while it was read; nothing was kept. Build again"
    )


def path_parts(url: str) -> tuple[str, ...]:
    """Return the parts of an address's path, host or bucket first. S3 keys may hold `?`, `#` and `%` literally."""
    scheme, _, path = url.partition("://")
    if scheme in ("http", "https"):
        split = urlsplit(url)
        path = f"{split.netloc}/{unquote(split.path).lstrip('/')}"
    return PurePosixPath(path.replace("\0", "")).parts


def display_url(url: str) -> str:
    """Return an address for a message: at most 300 characters, without the query, which may hold a signature."""
    parts = urlsplit(url)
    plain = url.partition("?")[0] + "?…" if parts.scheme in ("http", "https") and parts.query else url
    return "".join(character if character.isprintable() else "?" for character in plain[:300])


def error_line(error: Exception) -> str:
    """Return an error's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
