"""The front door to what lies elsewhere: addresses expanded, described, fetched, or read by range."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch.access import Access

SCHEMES = ("http", "https", "s3", "hf", "file")


class AbsentError(CorpusError):
    """There is no such thing."""


class Remote(NamedTuple):
    """A file elsewhere, as it was when it was asked about."""

    url: str
    size: int  # in bytes
    version: str  # "sha256:<hex>" if published, else "etag:<etag>", else "size"


def is_remote(text: str) -> bool:
    """Whether it is an address that `fetch` knows, rather than a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def expand(pattern: str, access: Access) -> list[str]:
    """The addresses that a pattern means, sorted; one of HTTP is itself. Raises InputError if there are none."""
    scheme = pattern.partition("://")[0]
    if scheme in ("http", "https") or not set("*?[") & set(pattern):
        return [pattern]
    found = sorted(f"{scheme}://{str(each).lstrip('/') if scheme != 'file' else each}" for each in _system(pattern, access).glob(pattern))  # type: ignore[attr-defined]
    if not found:
        raise InputError(f"{pattern}: matches no file")
    return found


def describe(urls: Sequence[str], access: Access) -> list[Remote]:
    """Size and version of each file; no body is fetched."""
    return [_described(url, access) for url in urls]


def fetch(remote: Remote, access: Access, progress: Callable[[int], None]) -> Path:
    """The whole file in the cache; at once if it is there. `progress` hears of each number of bytes that arrived."""
    key = hashlib.sha256("\n".join((remote.url, remote.version, str(remote.size))).encode()).hexdigest()
    target = access.cache / "fetched" / key[:2] / key / (remote.url.rpartition("/")[2] or "file")
    if not target.is_file():
        data = _bytes(remote.url, access)
        progress(len(data))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return target


def read_small(address: str, access: Access, limit: int) -> bytes:
    """A small file, whole, at an address or a path. Raises AbsentError; CorpusError if it is over `limit` bytes."""
    data = _bytes(address, access)
    if len(data) > limit:
        raise CorpusError(f"{address}: over {limit} bytes, more than such a file ever needs")
    return data


def read_ranges(address: str, ranges: Sequence[tuple[int, int]], access: Access) -> Iterator[bytes]:
    """Bytes [start, end) of a file at an address or a path, for each of the ranges, in their order."""
    for start, end in ranges:
        if urlsplit(address).scheme in ("http", "https"):
            answer = _http("GET", address, {"Range": f"bytes={start}-{end - 1}"})
            yield answer.data  # type: ignore[attr-defined]
        else:
            yield _bytes(address, access)[start:end]


def open_remote(remote: Remote, access: Access) -> BinaryIO:
    """A file that is read by range, without a local copy."""
    return io.BytesIO(_bytes(remote.url, access))


def _described(url: str, access: Access) -> Remote:
    if urlsplit(url).scheme in ("http", "https"):
        headers = _http("HEAD", url, {}).headers  # type: ignore[attr-defined]
        etag = headers.get("ETag", "")
        return Remote(url, int(headers["Content-Length"]), f"etag:{etag}" if etag.startswith('"') else "size")
    try:
        info = _system(url, access).info(url)  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise AbsentError(f"{url}: there is no such file") from None
    return Remote(url, int(info["size"]), f"etag:{info['ETag']}" if "ETag" in info else "size")


def _bytes(address: str, access: Access) -> bytes:
    if urlsplit(address).scheme in ("http", "https"):
        return cast(bytes, _http("GET", address, {}).data)  # type: ignore[attr-defined]
    try:
        if not is_remote(address) or address.startswith("file://"):
            return Path(unquote(address.removeprefix("file://"))).read_bytes()
        return cast(bytes, _system(address, access).cat_file(address))  # type: ignore[attr-defined]
    except FileNotFoundError:
        raise AbsentError(f"{address}: there is no such file") from None


def _http(method: str, url: str, headers: dict[str, str]) -> object:
    import urllib3

    answer = urllib3.request(method, url, headers={"Accept-Encoding": "identity", **headers})
    if answer.status in (404, 410):
        raise AbsentError(f"{url}: the server has no such thing (status {answer.status})")
    if answer.status not in (200, 206):
        raise CorpusError(f"{url}: the server refused (status {answer.status})")
    return answer


def _system(url: str, access: Access) -> object:
    import fsspec

    scheme = url.partition("://")[0]
    if scheme != "s3":
        return fsspec.filesystem(scheme)
    s3 = access.s3
    kwargs = {"endpoint_url": s3.endpoint} if s3.endpoint else {}
    return fsspec.filesystem("s3", anon=s3.sign == "never", requester_pays=s3.requester_pays, client_kwargs=kwargs)
