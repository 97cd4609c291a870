"""Interface of the stores that addresses lead to, and polite requests to those on the network."""

import re
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
from corpus.fetch.response_headers import length, retry_after

REDIRECTS = 10
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_MESSAGE_BYTES = 4096  # of an error's body
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
T = TypeVar("T")


class FileInfo(NamedTuple):
    """Address, size and version of a file when it was described."""

    url: str
    size: int  # bytes
    version: str  # "sha256:<hex>" if published, else "etag:<strong ETag>", "date:<Last-Modified>", or "size"


class AbsentError(CorpusError):
    """The file does not exist."""


class ChangedError(CorpusError):
    """The server no longer has the requested version or byte range."""


class Response:
    """Answer to one request: status, headers by their lower-case names, and a body that can be read once."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.url, self.status = url, status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self._body = body

    def read(self, count: int) -> bytes:
        """Return 1 to `count` bytes of the body as sent, b"" at its end. Raises TransientError."""
        block, self._body = self._body[:count], self._body[count:]
        return block


class Store(ABC):
    """Files of one address scheme."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @abstractmethod
    def describe(self, url: str) -> FileInfo:
        """Return size and version without reading the file."""

    def expand(self, pattern: str) -> list[str]:
        """Return the sorted addresses that a pattern matches; without a listing, an address is itself."""
        return [pattern]

    @abstractmethod
    def get(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> AbstractContextManager[Response]:
        """Open the file, or the part that a Range header asks for. Raises AbsentError or ChangedError."""

    def read_small(self, url: str, limit: int, accept: str = "*/*") -> bytes:
        """Return the content of a small file. Raises AbsentError; CorpusError above `limit` bytes."""

        def attempt() -> bytes:
            data = bytearray()
            with self.get(url, {"Accept": accept}) as response:
                if response.status == 206:
                    raise TransientError("the server sent a part of the file instead of all of it")
                stated = length(response.headers) or 0
                while stated <= limit and len(data) <= limit and (block := response.read(limit + 1 - len(data))):
                    data += block
            if max(len(data), stated) > limit:
                raise CorpusError(f"{display_url(url)}: over {limit} bytes, the limit for this kind of file")
            return bytes(data)

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

    def get(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> AbstractContextManager[Response]:
        """See Store.get. Raises as `request` does."""
        return self.request("GET", url, headers)

    def query(self, url: str, call: Callable[[], T]) -> T:
        """Run a client library's call like a request: in the host's turn, with retries and a status check."""

        def attempt() -> T:
            host = Host(self.access, self.host(url))
            with host.slot():
                try:
                    return call()
                except Exception as error:
                    check_status(self.error_response(error, url), display_url(url), host, self.advice)
                    raise

        return retry(display_url(url), attempt)

    def error_response(self, error: Exception, url: str) -> Response:
        """Return the response behind a client library's error; raise our error if there was none."""
        raise error

    @contextmanager
    def request(
        self, method: str, url: str, headers: Mapping[str, str] = NO_HEADERS, accept: Sequence[int] = ()
    ) -> Iterator[Response]:
        """Return the response, with status 200, 206 or one of `accept`. Raises as `check_status` does."""
        target = url
        for _ in range(REDIRECTS + 1):
            host = Host(self.access, self.host(target))
            with host.slot(), self.send(method, target, headers) as response:
                redirect = _redirect(response)
                if redirect is None:
                    if response.status not in accept:
                        check_status(response, display_url(url), host, self.advice)
                    yield response
                    return
            target = redirect
        raise CorpusError(
            f"{display_url(url)}: redirected more than {REDIRECTS} times, last to {display_url(target)}; "
            "check the address"
        )


def check_status(response: Response, what: str, host: Host, advice: str) -> None:
    """Raise unless the status is 200 or 206.

    AbsentError on 404 and 410; RefusedError on 401 and 403, which stops all requests to the host; TransientError if a
    retry may succeed; ChangedError on 412 and 416; CorpusError on all others.
    """
    status = response.status
    if status in (200, 206):
        return
    if status in (404, 410):
        raise AbsentError(f"{what}: not found (HTTP {status})")
    if status in (412, 416):
        raise ChangedError(
            f"{what}: the server does not have the requested version or bytes (HTTP {status}); build again, and if "
            "that does not help, use a mirror"
        )
    if status in (401, 403):
        raise host.refuse(f"{what}: {host.name} refused access (HTTP {status}){_message(response)}. {advice}")
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        overloaded = status in (429, 503)  # all requests to the host must wait; other statuses concern this one
        wait = retry_after(response.headers) if overloaded else None
        if wait is not None and wait > LONGEST_WAIT_S:
            raise host.refuse(
                f"{what}: {host.name} asks to wait {wait:.0f} s (HTTP {status}, Retry-After), more than the limit of "
                f"{LONGEST_WAIT_S:.0f} s; build again later, or use a mirror"
            )
        raise TransientError(f"{host.name} answered HTTP {status}", wait, host if overloaded else None)
    raise CorpusError(f"{what}: request failed (HTTP {status}){_message(response)}")


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


def _message(response: Response) -> str:
    """Return the beginning of an error's body as a suffix for our error: one line, safe to print, without HTML tags."""
    body = b""
    try:
        while len(body) < _MESSAGE_BYTES and (block := response.read(_MESSAGE_BYTES)):
            body += block
    except TransientError:
        pass
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", body.decode("utf-8", "replace"), flags=re.DOTALL)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())[:200]
    return f"; server message: {text}" if text else ""


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
