"""s3://BUCKET/KEY addresses, and the S3 client that outputs use as well."""

import functools
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch import politeness
from corpus.fetch.access import S3
from corpus.fetch.base_store import AbsentError, FileInfo, Listing, NetworkStore, display_url, error_line
from corpus.fetch.http import CONNECT_S, agent
from corpus.fetch.politeness import TransientError
from corpus.fetch.response import Response

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
        """See NetworkStore.send. Supports the headers Range and If-Range."""
        bucket, key = _bucket_and_key(url)
        arguments = {"Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED"}
        given = {"Range": headers.get("Range"), "IfMatch": headers.get("If-Range")}  # if changed: status 412
        arguments |= {name: value for name, value in given.items() if value}
        system, operation = self._client(), "get_object" if method == "GET" else "head_object"
        try:
            answer = system.call_s3(operation, **arguments)
        except Exception as error:
            yield self.error_response(error, url)
            return
        metadata = answer["ResponseMetadata"]
        with closing(answer.get("Body", io.BytesIO())) as stream:  # HEAD has no body
            body = functools.partial(_read_stream, system, stream)
            yield Response(url, metadata["HTTPStatusCode"], metadata["HTTPHeaders"], body)

    def describe(self, url: str) -> FileInfo:
        """See Store.describe."""
        with self.get(url, method="HEAD") as response:
            if response.length is None:
                raise CorpusError(f"{display_url(url)}: the server does not state the object's size; use a mirror")
            return FileInfo(url, response.length, response.version)

    def expand(self, pattern: str) -> Listing:
        """See Store.expand."""
        objects = self.query(pattern, lambda: _glob(self._client(), pattern.removeprefix("s3://")))
        files = sorted(name for name, info in objects.items() if info["type"] == "file")
        return {f"s3://{name}": _listed(f"s3://{name}", objects[name]) for name in files}

    def error_response(self, error: Exception, url: str) -> Response:
        """See NetworkStore.error_response. Raises InputError if nothing was sent."""
        return _error_response(error, url)

    def _client(self) -> "S3FileSystem":
        return client(self.access.s3, self.access.contact, retries=False)  # retries are ours


def _glob(system: "S3FileSystem", pattern: str) -> dict[str, dict[str, Any]]:
    """Return the objects that a pattern matches. s3fs lists a folder twice unless it keeps the first answer."""
    system.dircache.use_listings_cache = True
    try:
        objects: dict[str, dict[str, Any]] = system.glob(pattern, detail=True)
        return objects
    finally:
        system.dircache.use_listings_cache = False
        system.dircache.clear()


def _listed(url: str, entry: Mapping[str, Any]) -> FileInfo | None:
    """Return an object as a listing describes it; None if it has a SHA-256, which only HEAD states."""
    version = Response(url, 200, {"etag": str(entry.get("ETag", ""))}, io.BytesIO().read).version
    if "SHA256" in str(entry.get("ChecksumAlgorithm", "")) or not version.startswith("etag:"):
        return None
    return FileInfo(url, int(entry["size"]), version)


def _read_stream(system: "S3FileSystem", stream: Any, count: int) -> bytes:
    from fsspec.asyn import sync

    try:
        block: bytes = sync(system.loop, stream.read, count)
    except Exception as error:
        raise TransientError(error_line(error)) from None
    return block


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
    name = display_url(url)
    if isinstance(error, FileNotFoundError):
        return AbsentError(f"{name}: not found")
    try:
        response = _error_response(error, url)
    except InputError as converted:
        return converted
    except TransientError as failure:
        return CorpusError(f"{name}: {failure}")
    return CorpusError(f"{name}: HTTP {response.status}: {response.read(200).decode()}")


def _error_response(error: Exception, url: str) -> Response:
    """Return the response that an error carries.

    Raises TransientError if there was none, InputError if nothing was sent.
    """
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, NoCredentialsError

    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        metadata, detail = cause.response.get("ResponseMetadata", {}), cause.response.get("Error", {})
        message = f"{detail.get('Code', '')}: {detail.get('Message', '')}" if detail else ""
        return Response.of_error(url, metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {}), message)
    name = display_url(url)
    if isinstance(error, NoCredentialsError):
        raise InputError(
            f"{name}: no keys to sign with; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or use "
            "anonymous access with `s3: {sign: never}` in the profile"
        ) from None
    if isinstance(error, BotoCoreError) and not isinstance(error, ConnectionError | HTTPClientError):
        raise InputError(f"{name}: invalid S3 request: {error_line(error)}") from None
    raise TransientError(error_line(error)) from None


def _bucket_and_key(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or not key:
        raise InputError(f"{display_url(url)}: invalid S3 address; expected s3://BUCKET/KEY")
    return bucket, key
