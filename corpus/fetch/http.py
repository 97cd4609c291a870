"""http:// and https://: single requests with urllib3."""

import os
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from corpus.errors import CorpusError, InputError
from corpus.fetch import pace, published
from corpus.fetch.access import Access
from corpus.fetch.answer import Remote, TransientError, shown
from corpus.fetch.asking import asked

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_S = 15.0
_NO_HEAD = (400, 401, 403, 405, 406, 501)  # what servers answer that know GET alone
_local = threading.local()


class HttpStore:
    """Files of a web server."""

    advice = "It may ask for credentials, or want to know who asks (`contact` in the recipe); or name a mirror"

    def __init__(self, access: Access) -> None:
        self.access = access

    def host(self, url: str) -> str:
        """Raises InputError if the address has none, or holds a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host:
            raise InputError(f"{shown(url)}: no web address; one reads https://HOST/PATH")
        if "@" in parts.netloc:
            raise InputError(f"an address on {host} holds a user or password, which would be published with the corpus")
        return f"{host}:{port}" if port else host

    @contextmanager
    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator["HttpAnswer"]:
        """See Store.ask. What a server has is taken as it lies there: we undo no Content-Encoding."""
        import urllib3

        sent = {"Accept": "*/*", **headers, "Accept-Encoding": "identity", "User-Agent": agent(self.access.contact)}
        try:
            response = _pool(url).request(
                method, url, headers=sent, redirect=False, retries=False, preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=pace.STALL_S),
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error, url) from None
        try:
            yield HttpAnswer(response, url)
        except BaseException:
            response.close()
            raise
        if method == "HEAD" or response.length_remaining == 0:
            response.drain_conn()
        else:
            response.close()  # to read the rest might take for ever
        response.release_conn()

    def describe(self, url: str) -> Remote:
        """Size and version. Raises CorpusError if the server tells no size."""
        with asked(self, "HEAD", url, also=_NO_HEAD) as answer:
            size = published.length(answer.headers)
            if answer.status == 200 and size:  # some say 0 of all that they have
                return Remote(url, size, published.version(answer.headers))
        with asked(self, "GET", url, {"Range": "bytes=0-0"}, also=(416,)) as answer:
            span = published.content_range(answer.headers)
            size = span.size if span else published.length(answer.headers) if answer.status == 200 else None
            if answer.status == 416 and re.fullmatch(r"bytes \*/0", answer.headers.get("content-range", "")):
                size = 0
            if size is None:
                raise CorpusError(
                    f"{shown(url)}: the server does not say how large it is, and a build is planned from sizes; "
                    "fetch it by hand and name the local file, or name a mirror"
                )
            return Remote(url, size, published.version(answer.headers))

    def expand(self, pattern: str) -> list[str]:
        """Web servers list nothing: an address is itself."""
        return [pattern]


class HttpAnswer:
    """See Answer."""

    def __init__(self, response: "BaseHTTPResponse", url: str) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response, self.url = response, url
        self._pace = pace.Pace()

    def read(self, count: int) -> bytes:
        """See Answer.read; a trickle counts as a stall."""
        import urllib3

        began = time.monotonic()
        try:
            block = self._response.read1(count, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error, self.url) from None
        self._pace.note(time.monotonic() - began, len(block))
        return block


def agent(contact: str | None) -> str:
    """The User-Agent."""
    try:
        release = version_of("gristmill")
    except PackageNotFoundError:
        release = "0"
    told = "".join(each for each in contact or "" if " " <= each <= "~" and each not in "()")[:200]
    return f"gristmill/{release} (+{told})" if told else f"gristmill/{release}"


def _pool(url: str) -> "PoolManager":
    """The connections of this thread, at most one to a host: what is idle is soon less than what is allowed."""
    import urllib3

    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    key = (os.getpid(), proxy)  # a forked child must not speak on its parent's connections
    if getattr(_local, "key", None) != key:
        try:
            if proxy:
                login = urllib3.util.parse_url(proxy).auth
                told = urllib3.make_headers(proxy_basic_auth=login) if login else None
                _local.pool = urllib3.ProxyManager(proxy, proxy_headers=told, maxsize=1)
            else:
                _local.pool = urllib3.PoolManager(maxsize=1)
        except (urllib3.exceptions.HTTPError, ValueError):
            raise InputError(
                f"{parts.scheme}_proxy: no proxy that we can speak to; one reads http://HOST:PORT"
            ) from None
        _local.key = key
    pool: PoolManager = _local.pool
    return pool


def _failure(error: Exception, url: str) -> Exception:
    """What a person is told of it: what time may mend, or a certificate or an address that it will not."""
    import urllib3

    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.URLSchemeUnknown | UnicodeError):
        return InputError(f"{shown(url)}: no web address; one reads https://HOST/PATH")
    inner: BaseException | None = error
    for _ in range(10):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return CorpusError(
                f"{shown(url)}: the server's certificate cannot be trusted ({inner.verify_message}); "
                "SSL_CERT_FILE names further authorities"
            )
        if isinstance(inner, urllib3.exceptions.IncompleteRead) and isinstance(inner.partial, int) and inner.expected:
            return TransientError(f"it ended after {inner.partial} of {inner.partial + inner.expected} bytes")
        inner = inner and (inner.__cause__ or inner.__context__ or _among(inner.args))
    return TransientError(" ".join(str(error).split()) or type(error).__name__)


def _among(args: tuple[object, ...]) -> BaseException | None:
    return next((each for each in args if isinstance(each, BaseException)), None)
