"""s3://BUCKET/KEY addresses, and the S3 client that outputs use as well."""

import functools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness, response_headers
from corpus.fetch.access import S3
from corpus.fetch.base_store import AbsentError, FileInfo, NetworkStore, Response, display_url, error_line
from corpus.fetch.http import CONNECT_S, agent
from corpus.fetch.politeness import StallTimer, TransientError

if TYPE_CHECKING:
    from s3fs import S3FileSystem


class S3Store(NetworkStore):
    """Objects of AWS S3, or of another server that speaks its protocol."""

    advice = (
        "If the object exists, it may need keys (AWS_ACCESS_KEY_ID, AWS_PROFILE), anonymous access (`s3: {sign: "
        "never}` in the profile), or your consent to pay (`s3: {requester_pays: true}`)"
    )

    def host(self, url: str) -> str:
        """See NetworkStore.host. Each bucket is a host, as in AWS's own addresses."""
        bucket = _bucket_and_key(url)[0]
        endpoint = self.access.s3.endpoint
        return f"{bucket}.{urlsplit(endpoint).netloc if endpoint else 's3.amazonaws.com'}"

    @contextmanager
    def send(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[Response]:
        """See NetworkStore.send. Supports the headers Range, and If-Range with an ETag."""
        bucket, key = _bucket_and_key(url)
        arguments = {"Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED"}
        condition = headers.get("If-Range", '"')
        if "Range" in headers and condition.startswith('"'):
            arguments["Range"] = headers["Range"]
            if "If-Range" in headers:
                arguments["IfMatch"] = condition  # a changed object is refused with status 412
        system, operation = self._client(), "get_object" if method == "GET" else "head_object"
        response: Response
        try:
            response = S3Response(url, system, system.call_s3(operation, **arguments))
        except Exception as error:
            response = self.error_response(error, url)
        try:
            yield response
        finally:
            if isinstance(response, S3Response):
                response.close()

    def describe(self, url: str) -> FileInfo:
        """See Store.describe."""
        with self.request("HEAD", url) as response:
            size = response_headers.length(response.headers)
            if size is None:
                raise CorpusError(f"{display_url(url)}: the server does not state the object's size; use a mirror")
            return FileInfo(url, size, response_headers.version(response.headers))

    def expand(self, pattern: str) -> list[str]:
        """See Store.expand."""
        objects = self.query(pattern, lambda: self._client().glob(pattern.removeprefix("s3://"), detail=True))
        return sorted(f"s3://{name}" for name, info in objects.items() if info["type"] == "file")

    def error_response(self, error: Exception, url: str) -> Response:
        """See NetworkStore.error_response."""
        return _error_response(error, url)

    def _client(self) -> "S3FileSystem":
        return client(self.access.s3, self.access.contact, retries=False)  # retries are ours


class S3Response(Response):
    """Response of S3; HEAD has no stream."""

    def __init__(self, url: str, system: "S3FileSystem", answer: dict[str, Any]) -> None:
        metadata = answer["ResponseMetadata"]
        super().__init__(url, metadata["HTTPStatusCode"], metadata["HTTPHeaders"])
        self._system, self._stream, self._timer = system, answer.get("Body"), StallTimer()

    def read(self, count: int) -> bytes:
        """See Response.read."""
        from fsspec.asyn import sync

        if self._stream is None:
            return b""
        began = time.monotonic()
        try:
            block: bytes = sync(self._system.loop, self._stream.read, count)
        except Exception as error:
            raise TransientError(error_line(error)) from None
        self._timer.add(time.monotonic() - began, len(block))
        return block

    def close(self) -> None:
        """Return the connection, or close it if the body was not read to its end."""
        if self._stream is not None:
            self._stream.close()


def client(s3: S3, contact: str | None, *, retries: bool) -> "S3FileSystem":
    """Return the S3 client of this process for these settings and the keys and endpoint in the environment."""
    environment = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    return _connect(s3, agent(contact), retries, environment, os.getpid())


@functools.cache
def _connect(
    s3: S3, user_agent: str, retries: bool, environment: tuple[tuple[str, str], ...], process: int
) -> "S3FileSystem":
    try:
        from botocore.session import Session
        from s3fs import S3FileSystem
    except ImportError:
        raise InputError("s3:// addresses need s3fs: pip install 'gristmill[s3]'") from None
    options: dict[str, object] = {"connect_timeout": CONNECT_S, "user_agent_extra": user_agent}
    if not retries:
        options |= {"read_timeout": politeness.STALL_S, "retries": {"total_max_attempts": 1, "mode": "standard"}}
    system = S3FileSystem(
        anon=s3.sign == "never" or (s3.sign == "auto" and Session().get_credentials() is None),
        requester_pays=s3.requester_pays,
        endpoint_url=s3.endpoint,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs=options,
    )
    if not retries:
        system.retries = 1
    return system


def convert_error(error: Exception, url: str) -> CorpusError:
    """Return our error for one of the S3 client: AbsentError, InputError, or CorpusError."""
    if isinstance(error, FileNotFoundError):
        return AbsentError(f"{display_url(url)}: not found")
    try:
        response = _error_response(error, url)
    except InputError as converted:
        return converted
    except TransientError as failure:
        return CorpusError(f"{display_url(url)}: {failure}")
    return CorpusError(f"{display_url(url)}: HTTP {response.status}: {response.read(200).decode()}")


def _error_response(error: Exception, url: str) -> Response:
    """Return the response behind an error. Raises TransientError if there was none, InputError if nothing was sent."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        metadata, detail = cause.response.get("ResponseMetadata", {}), cause.response.get("Error", {})
        message = f"{detail.get('Code', '')}: {detail.get('Message', '')}" if detail else ""
        return Response(url, metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {}), message.encode())
    if isinstance(error, NoCredentialsError):
        raise InputError(
            f"{display_url(url)}: no keys to sign with; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or use anonymous access with `s3: {sign: never}` in the profile"
        ) from None
    if isinstance(error, BotoCoreError) and not isinstance(error, ConnectionError | HTTPClientError):
        raise InputError(f"{display_url(url)}: invalid S3 request: {error_line(error)}") from None
    raise TransientError(error_line(error)) from None


def _bucket_and_key(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise InputError(f"{display_url(url)}: invalid S3 address; expected s3://BUCKET/KEY")
    return bucket, key
