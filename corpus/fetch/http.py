"""http:// and https:// addresses: single requests with urllib3."""

import functools
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness
from corpus.fetch.base_store import FileInfo, NetworkStore, display_url, error_line
from corpus.fetch.politeness import TransientError
from corpus.fetch.response import Response

if TYPE_CHECKING:
    from urllib3 import PoolManager

CONNECT_S = 15.0
_HEAD_UNSUPPORTED = (400, 401, 403, 405, 406, 501)  # statuses of servers that support GET only
_IDLE_CONNECTIONS = 4  # kept open to one host


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

        # Send the request; the body is read later.
        user_agent = agent(self.access.contact)
        sent = {"Accept": "*/*", **headers, "Accept-Encoding": "identity", "User-Agent": user_agent}
        with _own_errors(url):
            response = _pool(*_proxy(url), os.getpid()).request(
                method, url, headers=sent, redirect=False, retries=False, preload_content=False, decode_content=False,
                enforce_content_length=False, timeout=urllib3.Timeout(connect=CONNECT_S, read=politeness.STALL_S),
            )  # fmt: skip

        def read(count: int) -> bytes:
            with _own_errors(url):
                return response.read1(count, decode_content=False)

        # Keep the connection open only if nothing is left to read.
        try:
            yield Response(url, response.status, response.headers, read)
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
        with self.get(url, method="HEAD", accept=_HEAD_UNSUPPORTED) as response:
            if response.status == 200 and response.length:  # some servers state 0 for every file
                return FileInfo(url, response.length, response.version)
        # Without a usable HEAD, request one byte: the size is in its Content-Range.
        with self.get(url, {"Range": "bytes=0-0"}, accept=(416,)) as response:
            body = response.body_range
            size = body.size if body else None
            if response.status == 416 and re.fullmatch(r"bytes \*/0", response.headers.get("content-range", "")):
                size = 0
            if size is None:
                raise CorpusError(
                    f"{display_url(url)}: the server does not state the file's size, which a plan needs; download it "
                    "yourself and use the local file, or use a mirror"
                )
            return FileInfo(url, size, response.version)


def agent(contact: str | None) -> str:
    """Return the User-Agent."""
    try:
        release = version("gristmill")
    except PackageNotFoundError:
        release = "0"
    safe = "".join(character for character in contact or "" if " " <= character <= "~" and character not in "()")[:200]
    return f"gristmill/{release} (+{safe})" if safe else f"gristmill/{release}"


def _proxy(url: str) -> tuple[str, str | None]:
    """Return the scheme of an address, and the proxy that the environment sets for it."""
    parts = urlsplit(url)
    return parts.scheme, None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


@functools.cache
def _pool(scheme: str, proxy: str | None, process: int) -> "PoolManager":
    """Return the open connections of a process: a forked child must not use its parent's."""
    import urllib3

    if proxy is None:
        return urllib3.PoolManager(maxsize=_IDLE_CONNECTIONS)
    try:
        login = urllib3.util.parse_url(proxy).auth
        headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, maxsize=_IDLE_CONNECTIONS)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise InputError(f"{scheme}_proxy: unsupported proxy; expected http://HOST:PORT") from None


@contextmanager
def _own_errors(url: str) -> Iterator[None]:
    """Raise our errors for those of urllib3: transient, unless the address or the certificate is invalid."""
    import urllib3

    try:
        yield
    except (urllib3.exceptions.LocationValueError, UnicodeError):
        raise _invalid_url(url) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if untrusted := _certificate_error(error):
            raise CorpusError(
                f"{display_url(url)}: the server's certificate cannot be trusted ({untrusted.verify_message}); set "
                "SSL_CERT_FILE to a file with its authority"
            ) from None
        raise TransientError(error_line(error)) from None


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _invalid_url(url: str) -> InputError:
    return InputError(f"{display_url(url)}: invalid URL; expected https://HOST/PATH")
