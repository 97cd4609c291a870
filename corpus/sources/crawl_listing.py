"""A crawl by its id: the files that it publishes lists of, and a choice among them."""

import gzip
import io
import re
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Literal

from corpus.errors import InputError
from corpus.fetch import client
from corpus.fetch.access import Access

Listed = Literal["warc", "wet", "cc-index-table"]

# A crawl has about 90,000 WARC files; their list has 0.3 MB, unpacked 12 MB.
_LIST_BYTES, _LIST_BYTES_UNPACKED, _LIST_NAMES = 1 << 24, 1 << 26, 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")
_NAME_CHARACTERS = 500


def files_of(at: str, crawls: Sequence[str], kind: Listed, access: Access) -> list[str]:
    """The names of a kind of file that the crawls publish, sorted; of indexes, those to WARC files of pages.

    Raises InputError if there is no such crawl, or its list is no such list.
    """
    found: set[str] = set()
    for crawl in crawls:
        names = _names(at, crawl, kind, access)
        found.update(name for name in names if kind != "cc-index-table" or "/subset=warc/" in name)
    return sorted(found)


def chosen(names: Sequence[str], wanted: int | float | None, seed: int) -> list[str]:
    """So many of the names, or such a share, at least one. The same for one seed; a larger choice holds a smaller."""
    if wanted is None:
        return sorted(names)
    count = wanted if isinstance(wanted, int) else max(1, ceil(wanted * len(names)))
    return sorted(sorted(names, key=lambda name: _key(name, seed))[:count])


def full(at: str, names: Sequence[str]) -> list[str]:
    """The addresses of the names. Raises InputError where a folder lacks one of them."""
    addresses = [f"{at}/{name}" for name in names]
    if not client.is_remote(at):
        missing = [address for address in addresses if not Path(address).is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: missing, with {len(missing) - 1} more of the {len(addresses)} files that the crawl's "
                f"list has; download them, or name the ones that you have in `paths`"
            )
    return addresses


def check_name(name: str, where: str) -> str:
    """The name of a file of a crawl. Raises InputError if it is anything but a plain path below the crawls' folder."""
    if len(name) > _NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise InputError(f"{where}: names the file {name[:100]!a}, which no crawl has; is this the right address?")
    return name


def _names(at: str, crawl: str, kind: Listed, access: Access) -> list[str]:
    address = f"{at}/crawl-data/{crawl}/{kind}.paths.gz"
    try:
        data = client.read_small(address, access, _LIST_BYTES)
    except client.AbsentError:
        raise InputError(
            f"{address}: not there; either {crawl} is no crawl (https://index.commoncrawl.org/collinfo.json lists the "
            f"ids), or it has no {kind} files, or `at` is wrong"
        ) from None
    names: list[str] = []
    for line in io.BytesIO(_unpacked(data, address)):
        if name := line.decode("utf-8", "replace").strip():
            names.append(check_name(name, address))
        if len(names) > _LIST_NAMES:
            raise InputError(f"{address}: over {_LIST_NAMES} names, more than any crawl has files")
    if not names:
        raise InputError(f"{address}: an empty list; expected the name of a file a line")
    return names


def _unpacked(data: bytes, address: str) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(_LIST_BYTES_UNPACKED + 1)
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{address}: broken gzip; expected a list of files") from None
    if len(unpacked) > _LIST_BYTES_UNPACKED:
        raise InputError(f"{address}: over {_LIST_BYTES_UNPACKED} bytes when unpacked, more than any list of files")
    return unpacked


def _key(name: str, seed: int) -> bytes:
    return blake2b(name.encode(), key=f"segments:{seed}".encode()).digest()
