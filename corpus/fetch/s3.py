"""s3://BUCKET/KEY: through s3fs, anonymous, signed, or at the requester's cost, at AWS or elsewhere."""

import functools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch import http, pace, published
from corpus.fetch.access import S3, Access
from corpus.fetch.answer import Remote, TransientError, shown
from corpus.fetch.asking import asked, judge
from corpus.fetch.hosts import Host
from corpus.fetch.retry import tried

if TYPE_CHECKING:
    from s3fs import S3FileSystem


class S3Store:
    """Objects of S3, and of what speaks like it."""

    advice = (
        "Is there such an object? Then it may take a key of yours (AWS_ACCESS_KEY_ID, AWS_PROFILE), none "
        "(`s3: {sign: never}` in the place), or the promise to pay (`s3: {requester_pays: true}`)"
    )

    def __init__(self, access: Access) -> None:
        self.access = access

    def host(self, url: str) -> str:
        """A bucket is a host, as it is in AWS's own addresses."""
        bucket = _object(url)[0]
        endpoint = self.access.s3.endpoint
        return f"{bucket}.{urlsplit(endpoint).netloc if endpoint else 's3.amazonaws.com'}"

    @contextmanager
    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator["S3Answer"]:
        """See Store.ask; of headers it knows Range, and If-Range with an entity tag."""
        bucket, key = _object(url)
        what = {"Bucket": bucket, "Key": key}
        condition = headers.get("If-Range", '"')
        if "Range" in headers and condition.startswith('"'):
            what["Range"] = headers["Range"]
            if "If-Range" in headers:
                what["IfMatch"] = condition  # a change is told by status 412
        system = self._system()
        operation = "get_object" if method == "GET" else "head_object"
        try:
            told = system.call_s3(operation, **what, ChecksumMode="ENABLED")
        except Exception as error:
            told = _refusal(error, url)
        answer = S3Answer(url, system, told)
        try:
            yield answer
        finally:
            answer.close()

    def describe(self, url: str) -> Remote:
        """Size and version."""
        with asked(self, "HEAD", url) as answer:
            size = published.length(answer.headers)
            if size is None:
                raise CorpusError(f"{shown(url)}: this server does not say how large it is")
            return Remote(url, size, published.version(answer.headers))

    def expand(self, pattern: str) -> list[str]:
        """The objects that a pattern matches."""
        found = tried(shown(pattern), lambda: self._listed(pattern))
        return sorted(f"s3://{name}" for name, info in found.items() if info["type"] == "file")

    def _listed(self, pattern: str) -> dict[str, dict[str, object]]:
        host = Host(self.access, self.host(pattern))
        with host.slot():
            system = self._system()
            try:
                found: dict[str, dict[str, object]] = system.glob(pattern.removeprefix("s3://"), detail=True)
            except Exception as error:
                judge(S3Answer(pattern, system, _refusal(error, pattern)), shown(pattern), host, self.advice)
                raise
        return found

    def _system(self) -> "S3FileSystem":
        environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
        return _connected(self.access.s3, http.agent(self.access.contact), environment, os.getpid())


@functools.cache
def _connected(s3: S3, agent: str, environment: tuple[tuple[str, str], ...], process: int) -> "S3FileSystem":
    """A file system of this process; made anew where the environment names other keys or another server."""
    try:
        from botocore.session import Session
        from s3fs import S3FileSystem
    except ImportError:
        raise InputError("s3:// addresses need s3fs: pip install 'gristmill[s3]'") from None
    anonymous = s3.sign == "never" or (s3.sign == "auto" and Session().get_credentials() is None)
    system = S3FileSystem(
        anon=anonymous,
        requester_pays=s3.requester_pays,
        endpoint_url=s3.endpoint,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            "connect_timeout": http.CONNECT_S,
            "read_timeout": pace.STALL_S,
            "retries": {"total_max_attempts": 1, "mode": "standard"},  # tried again by us alone
            "user_agent_extra": agent,
        },
    )
    system.retries = 1
    return system


class S3Answer:
    """See Answer."""

    def __init__(self, url: str, system: "S3FileSystem", told: dict[str, Any]) -> None:
        self.url = url
        metadata = told.get("ResponseMetadata", {})
        self.status = int(metadata.get("HTTPStatusCode", 0))
        self.headers: Mapping[str, str] = metadata.get("HTTPHeaders", {})
        self._system, self._body, self._pace = system, told.get("Body"), pace.Pace()
        error = told.get("Error", {})
        self._said = f"{error.get('Code', '')}: {error.get('Message', '')}".encode() if error else b""

    def read(self, count: int) -> bytes:
        """See Answer.read; of a refusal, what S3 says of it."""
        from fsspec.asyn import sync

        if self._body is None:
            said, self._said = self._said, b""
            return said
        began = time.monotonic()
        try:
            block: bytes = sync(self._system.loop, self._body.read, count)
        except Exception as error:
            raise TransientError(_line(error)) from None
        self._pace.note(time.monotonic() - began, len(block))
        return block

    def close(self) -> None:
        """Gives the connection back, or cuts it where the body was not read to its end."""
        if self._body is not None:
            self._body.close()


def _refusal(error: Exception, url: str) -> dict[str, Any]:
    """The answer behind an error of s3fs. Raises TransientError where none came, InputError where nothing was asked."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        response: dict[str, Any] = cause.response
        return response
    if isinstance(error, NoCredentialsError):
        raise InputError(
            f"{shown(url)}: no keys to sign with; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, "
            "or ask anonymously with `s3: {sign: never}` in the place"
        ) from None
    if isinstance(error, BotoCoreError) and not isinstance(error, ConnectionError | HTTPClientError):
        raise InputError(f"{shown(url)}: this cannot be asked of S3: {_line(error)}") from None
    raise TransientError(_line(error)) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _object(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise InputError(f"{shown(url)}: an address of S3 reads s3://BUCKET/KEY")
    return bucket, key
