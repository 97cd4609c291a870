"""The front door to what lies elsewhere: addresses expanded, described, fetched, or read by range.

No other module of the corpus opens a socket.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from corpus.errors import CorpusError, InputError
from corpus.fetch import local
from corpus.fetch.access import Access
from corpus.fetch.answer import AbsentError, RefusedError, Remote, Store, TransientError, UnreachableError, shown
from corpus.fetch.asking import asked
from corpus.fetch.cache import fetched, target_of
from corpus.fetch.published import length
from corpus.fetch.ranges import Parts, from_file, from_parts
from corpus.fetch.remote_file import Pieces, RemoteFile
from corpus.fetch.retry import tried

__all__ = [
    "SCHEMES",
    "AbsentError",
    "RefusedError",
    "Remote",
    "UnreachableError",
    "describe",
    "expand",
    "fetch",
    "fetch_to",
    "is_remote",
    "open_remote",
    "pieces_of",
    "read_ranges",
    "read_small",
]
SCHEMES = ("http", "https", "s3", "hf", "file")
BAR_AFTER_S = 2.0
_THREADS = 16
_GLOB = set("*?[")


def is_remote(text: str) -> bool:
    """Whether it is an address of ours, rather than a path."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def expand(pattern: str, access: Access) -> list[str]:
    """The addresses that a pattern means, sorted; one of HTTP is itself. Raises InputError if there are none."""
    scheme, mark, rest = pattern.partition("://")
    pattern = f"{scheme.lower()}{mark}{rest}"
    if not _GLOB & set(rest):
        return [pattern]
    found = local.expand(pattern) if scheme.lower() == "file" else _store(pattern, access).expand(pattern)
    if not found:
        raise InputError(f"{shown(pattern)}: matches no file")
    return found


def describe(urls: Sequence[str], access: Access) -> list[Remote]:
    """Size and version of each file, several asked for at once; no body is fetched."""
    from rich.console import Console
    from rich.progress import Progress

    began, schemes = time.monotonic(), {url.partition("://")[0]: url for url in urls}
    stores = {scheme: None if scheme == "file" else _store(url, access) for scheme, url in schemes.items()}
    console = Console(stderr=True)
    bars = Progress(console=console, disable=not console.is_terminal, transient=True)
    bar = bars.add_task("asking for sizes", total=len(urls))
    try:
        with asking() as threads:
            answers = [threads.submit(_described, stores[url.partition("://")[0]], url) for url in urls]
            for done in as_completed(answers):
                done.result()
                bars.advance(bar)
                if time.monotonic() - began > BAR_AFTER_S:
                    bars.start()
            return [each.result() for each in answers]
    finally:
        bars.stop()


@contextmanager
def asking() -> Iterator[ThreadPoolExecutor]:
    """Threads that ask servers: after one error no more is asked, and Ctrl-C does not wait for answers."""
    threads = ThreadPoolExecutor(_THREADS)
    interrupted = False
    try:
        yield threads
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        threads.shutdown(wait=not interrupted, cancel_futures=True)


def fetch(remote: Remote, access: Access, progress: Callable[[int], None], *, verify: bool = False) -> Path:
    """The whole file in the cache, at once if it is there; a local file where it lies. See `fetched`."""
    path = local.local_path(remote.url)
    if path is not None:
        if local.describe(remote.url) != remote:
            raise local.changed(remote)
        return path
    target = target_of(remote, access.cache)
    fetched(_store(remote.url, access), remote, target, progress, verify=verify)
    return target


def fetch_to(target: Path, remote: Remote, access: Access, progress: Callable[[int], None]) -> None:
    """Puts a file of a published SHA-256 at `target`; one that is there is hashed, and replaced if it is damaged."""
    fetched(_store(remote.url, access), remote, target, progress, verify=True)


def read_small(address: str, access: Access, limit: int, accept: str = "*/*") -> bytes:
    """A small file, whole, at an address or a path. Raises AbsentError; CorpusError if it is over `limit` bytes."""

    def attempt() -> bytes:
        found = bytearray()
        with asked(_store(address, access), "GET", address, {"Accept": accept}) as answer:
            if answer.status == 206:
                raise TransientError("a part came, and the whole was asked for")
            promised = length(answer.headers) or 0
            while promised <= limit and len(found) <= limit and (block := answer.read(limit + 1 - len(found))):
                found += block
        if max(len(found), promised) > limit:
            raise CorpusError(f"{shown(address)}: over {limit} bytes, more than such a file ever needs")
        return bytes(found)

    path = local.local_path(address)
    if path is None:
        return tried(shown(address), attempt)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise AbsentError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise CorpusError(f"{path}: over {limit} bytes, more than such a file ever needs")
    return data


def read_ranges(address: str, ranges: Sequence[tuple[int, int]], access: Access) -> Iterator[bytes]:
    """Bytes [start, end) of a file at an address or a path, for each of the ranges, in their order."""
    path = local.local_path(address)
    if path is not None:
        return from_file(path, ranges)
    return from_parts(Parts(_store(address, access), address), ranges)


def open_remote(remote: Remote, access: Access) -> BinaryIO:
    """A file that is read by range, without a local copy."""
    return io.BufferedReader(RemoteFile(pieces_of(remote, access)))


def pieces_of(remote: Remote, access: Access) -> Pieces:
    """A file's bytes by range, all of the version that was described."""
    if local.local_path(remote.url) is not None:
        return Pieces(local.LocalParts(remote), remote.size)
    return Pieces(Parts(_store(remote.url, access), remote.url, remote), remote.size)


def _described(store: Store | None, url: str) -> Remote:
    return local.describe(url) if store is None else tried(shown(url), lambda: store.describe(url))


def _store(url: str, access: Access) -> Store:
    """What knows the scheme. Raises InputError for one that nothing knows."""
    match url.partition("://")[0].lower():
        case "http" | "https":
            from corpus.fetch.http import HttpStore

            return HttpStore(access)
        case "s3":
            from corpus.fetch.s3 import S3Store

            return S3Store(access)
        case "hf":
            from corpus.fetch.hub import HubStore

            return HubStore(access)
    raise InputError(
        f"{shown(url)}: no address that can be fetched; one begins with {', '.join(f'{s}://' for s in SCHEMES)}"
    )
