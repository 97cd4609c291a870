"""Opt-out lists: domains whose owners do not want their pages read.

A line is a domain, `*.domain`, a URL (which stands for its host), `||domain^`, or an address and domains as in a hosts
file; `#` begins a comment, `!` a line of comment. A domain stands for itself and all below it. A list may be
compressed. Unrecognized lines are errors: skipping one would ignore an opt-out.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import idna
import numpy as np

from corpus.document import Failed
from corpus.errors import InputError
from corpus.formats.compressed import container
from corpus.formats.lines import lines

_LINE_BYTES = 1 << 12
_MOST_DOMAINS = 1 << 26
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F]*:[0-9a-fA-F:.]*(%\S+)?")
_BLOCKED = re.compile(r"\|\|([^|^/$]+)\^")
_LOCAL_NAME = re.compile(r"[A-Za-z0-9_-]+")  # localhost, and other names of this machine in a hosts file
_MOST_REPORTED = 5  # lines of a list that were not recognized
_JOINERS = re.compile("[\u200c\u200d]")  # invisible, so the author of a line cannot have checked the name
_NAME_CHARACTERS = 253  # longest name in the DNS. Source: RFC 1035, 2.3.4, less the length octets
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}([^/\\?#]*)")


class OptOutDomains:
    """The domains of some lists, as sorted 64-bit hashes. Raises InputError for a file that is no list."""

    def __init__(self, paths: Sequence[Path]) -> None:
        hashes = array("Q")
        for path in paths:
            before = len(hashes)
            for domain in _domains(path):
                hashes.append(_hash(domain))
                if len(hashes) > _MOST_DOMAINS:
                    raise InputError(f"{path}: more than {_MOST_DOMAINS} domains in the opt-out lists")
            if len(hashes) == before:
                raise InputError(f"{path}: no domain in it; an opt-out list has one domain a line")
        self._hashes = np.unique(np.frombuffer(hashes, np.uint64)) if hashes else np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self._hashes)

    def covers(self, url: str) -> bool:
        """Return True if the host of a URL, or a domain that it lies in, is on a list."""
        host = host_of(url)
        if host is None or not len(self._hashes):
            return False
        labels = host.split(".")
        hashes = np.array([_hash(".".join(labels[first:])) for first in range(len(labels))], np.uint64)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return bool((self._hashes[at] == hashes).any())


def opted_out(paths: tuple[Path, ...]) -> Callable[[str], bool]:
    """Return a test for URLs that the lists cover; a process reads them once, as long as they stay the same."""
    return _read(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)).covers


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, int, int], ...]) -> OptOutDomains:
    return OptOutDomains([path for path, _, _ in files])


def host_of(url: str) -> str | None:
    """Return the host of a URL in lower case, as the DNS knows it; None if it has none."""
    authority = _AUTHORITY.match(url)
    if authority is None:
        return None
    host = authority[1].rpartition("@")[2]
    return _as_dns(host if host.startswith("[") else host.partition(":")[0])


def _as_dns(name: str) -> str | None:
    """Return a name in lower case without its last dot, its letters beyond ASCII as the DNS has them (`xn--`)."""
    name = name.strip().rstrip(".")
    if len(name) > _NAME_CHARACTERS:
        return None  # also because punycode takes long over it
    if name.isascii():
        return name.lower() or None
    # Map it as browsers do; what IDNA 2008 forbids beyond that, such as emoji, is in use.
    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False).rstrip(".")
    except idna.IDNAError:
        return None
    labels = mapped.split(".")
    return (
        ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels) or None
    )


def _domains(path: Path) -> Iterator[str]:
    unknown: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(lines(file, 0, path.stat().st_size, container(path), _LINE_BYTES), 1):
            if isinstance(line, Failed):
                raise InputError(f"{path}: this opt-out list cannot be read: {line.reason} at byte {line.start}")
            text = "\0" if line.data is None else line.data.decode("utf-8", "replace").removeprefix("\ufeff")
            names = _names(text)
            if names is not None:
                yield from names
                continue
            excerpt = "a long line" if line.data is None else repr(text.strip()[:60])
            unknown.append(f"line {number}: {excerpt}" if len(unknown) < _MOST_REPORTED else "and more")
            if len(unknown) > _MOST_REPORTED:
                break
    if unknown:
        raise InputError(
            f"{path}: lines not recognized: {'; '.join(unknown)}. An opt-out list has one domain a line, such as "
            "site.example; also read are *.site.example, https://site.example/, ||site.example^ and lines of a hosts "
            "file; write a domain with invisible joiners as xn--..."
        )


def _names(text: str) -> list[str] | None:
    """Return the domains that a line names; None if it is not recognized."""
    words = [] if text.lstrip().startswith(("!", "[Adblock")) else text.partition("#")[0].split()
    if len(words) > 1 and _ADDRESS.fullmatch(words[0]):
        words = [word for word in words[1:] if not _LOCAL_NAME.fullmatch(word)]
    elif len(words) > 1:
        return None
    names = [_name(word) for word in words]
    return None if None in names else [name for name in names if name]


def _name(word: str) -> str | None:
    """Return the domain that a word names."""
    if blocked := _BLOCKED.fullmatch(word):
        word = blocked[1]
    if _JOINERS.search(word):
        return None
    name = host_of(word) if _AUTHORITY.match(word) else _as_dns(word)
    name = (name or "").removeprefix("*").removeprefix(".")
    return name if _DOMAIN.fullmatch(name) else None


def _hash(domain: str) -> int:
    return int.from_bytes(blake2b(domain.encode(), digest_size=8).digest(), "little")
