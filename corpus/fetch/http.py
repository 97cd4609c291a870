"""http:// and https:// addresses: single requests with urllib3."""

import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness, response_headers
from corpus.fetch.base_store import FileInfo, NetworkStore, Response, display_url, error_line
from corpus.fetch.politeness import StallTimer, TransientError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_S = 15.0
_HEAD_UNSUPPORTED = (400, 401, 403, 405, 406, 501)  # statuses of servers that support GET only
_thread = threading.local()


class HttpStore(NetworkStore):
    """Files of a web server."""

    advice = "It may need credentials, or a `contact` in the recipe; or use a mirror"

    def host(self, url: str) -> str:
        """See NetworkStore.host. Raises InputError if the address has none, or contains a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host:
            raise _invalid_url(url)
        if "@" in parts.netloc:
            raise InputError(
                f"an address on {host} contains a user or password, which would be published with the corpus; remove it"
            )
        return f"{host}:{port}" if port else host

    @contextmanager
    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        """See NetworkStore.send. A Content-Encoding is not decoded: files are kept as the server has them."""
        import urllib3

        user_agent = agent(self.access.contact)
        sent = {"Accept": "*/*", **headers, "Accept-Encoding": "identity", "User-Agent": user_agent}
        try:
            response = _pool(url).request(
                method, url, headers=sent, redirect=False, retries=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=politeness.STALL_S),
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _convert(error, url) from None
        try:
            yield HttpResponse(response, url)
        except BaseException:
            response.close()
            raise
        if method == "HEAD" or response.length_remaining == 0:
            response.drain_conn()
        else:
            response.close()  # reading an unread body to its end might take very long
        response.release_conn()

    def describe(self, url: str) -> FileInfo:
        """See Store.describe. Raises CorpusError if the server states no size."""
        with self.request("HEAD", url, accept=_HEAD_UNSUPPORTED) as response:
            size = response_headers.length(response.headers)
            if response.status == 200 and size:  # some servers state 0 for every file
                return FileInfo(url, size, response_headers.version(response.headers))
        # Without a usable HEAD, request one byte: the size is in its Content-Range.
        with self.request("GET", url, {"Range": "bytes=0-0"}, accept=(416,)) as response:
            span = response_headers.content_range(response.headers)
            size = span.size if span else response_headers.length(response.headers) if response.status == 200 else None
            if response.status == 416 and re.fullmatch(r"bytes \*/0", response.headers.get("content-range", "")):
                size = 0
            if size is None:
                raise CorpusError(
                    f"{display_url(url)}: the server does not state the file's size, which a plan needs; download it "
                    "yourself and use the local file, or use a mirror"
                )
            return FileInfo(url, size, response_headers.version(response.headers))


class HttpResponse(Response):
    """Response of a web server."""

    def __init__(self, response: "BaseHTTPResponse", url: str) -> None:
        super().__init__(url, response.status, response.headers)
        self._response, self._timer = response, StallTimer()

    def read(self, count: int) -> bytes:
        """See Response.read."""
        import urllib3

        began = time.monotonic()
        try:
            block = self._response.read1(count, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _convert(error, self.url) from None
        self._timer.add(time.monotonic() - began, len(block))
        return block


def agent(contact: str | None) -> str:
    """Return the User-Agent."""
    try:
        release = version("gristmill")
    except PackageNotFoundError:
        release = "0"
    safe = "".join(character for character in contact or "" if " " <= character <= "~" and character not in "()")[:200]
    return f"gristmill/{release} (+{safe})" if safe else f"gristmill/{release}"


def _pool(url: str) -> "PoolManager":
    """Return the connections of this thread, one per host, so that few idle ones stay open."""
    import urllib3

    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    key = (os.getpid(), proxy)  # a forked child must not use its parent's connections
    if getattr(_thread, "key", None) != key:
        try:
            if proxy:
                login = urllib3.util.parse_url(proxy).auth
                headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
                _thread.pool = urllib3.ProxyManager(proxy, proxy_headers=headers, maxsize=1)
            else:
                _thread.pool = urllib3.PoolManager(maxsize=1)
        except (urllib3.exceptions.HTTPError, ValueError):
            raise InputError(f"{parts.scheme}_proxy: unsupported proxy; expected http://HOST:PORT") from None
        _thread.key = key
    pool: PoolManager = _thread.pool
    return pool


def _convert(error: Exception, url: str) -> Exception:
    """Return our error for one of urllib3: transient, unless the address or the certificate is invalid."""
    import urllib3

    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.URLSchemeUnknown | UnicodeError):
        return _invalid_url(url)
    cause: BaseException | None = error
    for _ in range(10):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CorpusError(
                f"{display_url(url)}: the server's certificate cannot be trusted ({cause.verify_message}); set "
                "SSL_CERT_FILE to a file with its authority"
            )
        if isinstance(cause, urllib3.exceptions.IncompleteRead) and isinstance(cause.partial, int) and cause.expected:
            total = cause.partial + cause.expected
            return TransientError(f"connection closed after {cause.partial} of {total} bytes")
        # urllib3 wraps the cause, or passes it as an argument.
        wrapped = (
            next((argument for argument in cause.args if isinstance(argument, BaseException)), None) if cause else None
        )
        cause = cause and (cause.__cause__ or cause.__context__ or wrapped)
    return TransientError(error_line(error))


def _invalid_url(url: str) -> InputError:
    return InputError(f"{display_url(url)}: invalid URL; expected https://HOST/PATH")
