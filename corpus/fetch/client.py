"""Front door of network access: expand, describe and download addresses, or read them by range.

No other module of the corpus side opens a socket to read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from corpus.errors import InputError
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, Listing, Store, changed_error, display_url
from corpus.fetch.cache import cache_path, download
from corpus.fetch.http import HttpStore
from corpus.fetch.hub import HubStore
from corpus.fetch.local_files import LocalStore, local_path
from corpus.fetch.package_index import PackageStore, parse_address
from corpus.fetch.politeness import retry
from corpus.fetch.ranges import RangeReader, RemotePath
from corpus.fetch.s3 import S3Store

_STORES: Mapping[str, type[Store]] = {
    "http": HttpStore,
    "https": HttpStore,
    "s3": S3Store,
    "hf": HubStore,
    "file": LocalStore,
    "pypi": PackageStore,
}
SCHEMES = tuple(scheme for scheme in _STORES if scheme != "pypi")  # followed by ://
_THREADS = 16
_GLOB = set("*?[")


def is_remote(text: str) -> bool:
    """Return True for a URL of a known scheme, False for a path or a package address."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def is_address(text: str) -> bool:
    """Return True for a URL or package address, False for a path. Raises InputError for a malformed address."""
    return parse_address(text) is not None or is_remote(text)


def expand(pattern: str, access: Access) -> Listing:
    """Return the addresses that a pattern matches, sorted; see Store.expand. Raises InputError if there are none."""
    scheme, mark, rest = pattern.partition("://")
    pattern = f"{scheme.lower()}{mark}{rest}"
    if not _GLOB & set(rest):
        return {pattern: None}
    addresses = _open_store(pattern, access).expand(pattern)
    if not addresses:
        raise InputError(f"{display_url(pattern)}: matches no file")
    return addresses


def describe(urls: Sequence[str], access: Access) -> list[FileInfo]:
    """Return size and version of each file, several at a time, without downloading them.

    A package address is described by its archive, whose web address the result has.
    """
    from rich.console import Console
    from rich.progress import Progress

    stores = {_scheme(url): _open_store(url, access) for url in urls}  # one each: the hub's caches its listings
    console = Console(stderr=True)
    threads, wait = ThreadPoolExecutor(_THREADS), True
    try:
        pending = [threads.submit(retry, display_url(url), partial(stores[_scheme(url)].describe, url)) for url in urls]
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
            for done in bars.track(as_completed(pending), total=len(urls), description="asking for sizes"):
                done.result()  # an error cancels the pending requests
        return [answer.result() for answer in pending]
    except KeyboardInterrupt:
        wait = False  # for running requests
        raise
    finally:
        threads.shutdown(wait=wait, cancel_futures=True)


def fetch(info: FileInfo, access: Access, progress: Callable[[int], None], *, verify: bool = False) -> Path:
    """Return the local path of a file, downloaded into the cache unless it is there or local. See `cache.download`."""
    store = _open_store(info.url, access)
    if path := local_path(info.url):
        if store.describe(info.url) != info:
            raise changed_error(info.url)
        return path
    target = cache_path(info, access.cache)
    download(store, info, target, progress, verify=verify)
    return target


def read_small(address: str, access: Access, limit: int) -> bytes:
    """Return the content of a small file at an address or path. Raises AbsentError; CorpusError above `limit` bytes."""
    return _open_store(address, access).read_small(address, limit)


def read_ranges(address: str, ranges: Sequence[tuple[int, int]], access: Access) -> Iterator[bytes]:
    """Yield the bytes [start, end) of a file at an address or a path, for each range in order."""
    return RangeReader(_open_store(address, access), address).read_many(ranges)


def remote_path(info: FileInfo, access: Access) -> RemotePath:
    """Return a path over a file that is read by range, without a local copy."""
    return RemotePath(info, _open_store(info.url, access))


def _scheme(address: str) -> str:
    if parse_address(address):
        return "pypi"
    scheme, mark, _ = address.partition("://")
    return scheme.lower() if mark else "file"


def _open_store(address: str, access: Access) -> Store:
    """Return the store of an address or path. Raises InputError for an unknown scheme."""
    store = _STORES.get(_scheme(address))
    if store is None:
        schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise InputError(f"{display_url(address)}: unknown address; expected one that begins with {schemes} or pypi:")
    return store(access)
