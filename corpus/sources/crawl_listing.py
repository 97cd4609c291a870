"""Files of a crawl, by its id, out of the lists that it publishes, and a choice among them."""

import io
import re
from collections.abc import Sequence
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Literal

from corpus.errors import InputError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import AbsentError
from corpus.formats.compressed import StreamDamage, container_of, pieces_of

Listed = Literal["warc", "wet", "cc-index-table"]

# A crawl has about 90,000 WARC files; their list has 0.3 MB, unpacked 12 MB.
_LIST_BYTES, _LIST_BYTES_UNPACKED, _LIST_NAMES = 1 << 24, 1 << 26, 1_000_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")
_NAME_CHARACTERS = 500


def files_of(at: str, crawls: Sequence[str], kind: Listed, access: Access) -> list[str]:
    """Return the names of a kind of file that the crawls publish, sorted; of indexes, those of WARC files of pages.

    Raises InputError if there is no such crawl, or its list is malformed.
    """
    names = {name for crawl in crawls for name in _names(at, crawl, kind, access)}
    return sorted(name for name in names if kind != "cc-index-table" or "/subset=warc/" in name)


def chosen(names: Sequence[str], wanted: int | float | None, seed: int) -> list[str]:
    """Return a number of the names, or a share but at least one, by a seed. A larger choice contains a smaller one."""
    if wanted is None:
        return sorted(names)
    count = wanted if isinstance(wanted, int) else max(1, ceil(wanted * len(names)))
    return sorted(sorted(names, key=lambda name: _key(name, seed))[:count])


def addresses_of(at: str, names: Sequence[str]) -> list[str]:
    """Return the addresses of the names. Raises InputError if a folder lacks one of them."""
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
    """Return the name. Raises InputError unless it is a plain path below the folder of the crawls."""
    if len(name) > _NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise InputError(f"{where}: names the file {name[:100]!a}, which no crawl has; check the address")
    return name


def _names(at: str, crawl: str, kind: Listed, access: Access) -> list[str]:
    address = f"{at}/crawl-data/{crawl}/{kind}.paths.gz"
    try:
        data = client.read_small(address, access, _LIST_BYTES)
    except AbsentError:
        raise InputError(
            f"{address}: not found; either {crawl} is no crawl (https://index.commoncrawl.org/collinfo.json lists the "
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
    unpacked = bytearray()
    for piece in pieces_of(io.BytesIO(data), 0, len(data), container_of(data)):
        if isinstance(piece, StreamDamage):
            raise InputError(f"{address}: broken gzip; expected a list of files")
        unpacked += piece.data
        if len(unpacked) > _LIST_BYTES_UNPACKED:
            raise InputError(f"{address}: over {_LIST_BYTES_UNPACKED} bytes when unpacked, more than any list of files")
    return bytes(unpacked)


def _key(name: str, seed: int) -> bytes:
    return blake2b(name.encode(), key=f"segments:{seed}".encode()).digest()
