"""Lists of domains whose owners want no part of this: one a line, as people and blockers write them.

A line is a domain, `*.domain`, a URL (which stands for its host), `||domain^`, or an address and domains as in a hosts
file; `#` begins a comment, `!` a line of comment. A domain stands for itself and all below it. A list may be
gzipped. What another line may mean is not guessed: passed over, it would have its owner read against their will.
"""

import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

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
_LOCAL_NAME = re.compile(r"[A-Za-z0-9_-]+")  # localhost, and what else a hosts file calls this machine
_MOST_TOLD = 5
_JOINERS = re.compile("[\u200c\u200d]")  # not to be seen: what a line with one of them names cannot be checked
# What IDNA 2003, which is Python's codec, writes as other letters or none. Source: UTS 46, 6, deviation characters
_DEVIATION = re.compile("[ßς\u200c\u200d]")
_NAME_CHARACTERS = 253  # the DNS has no longer one. Source: RFC 1035, 2.3.4, less the length octets
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}([^/\\?#]*)")


class Domains:
    """The domains of some lists, as sorted 64-bit hashes: 8 bytes each. Raises InputError for what is no such list."""

    def __init__(self, paths: Sequence[Path]) -> None:
        found = array("Q")
        for path in paths:
            before = len(found)
            for domain in _domains(path):
                found.append(_hash(domain))
                if len(found) > _MOST_DOMAINS:
                    raise InputError(f"{path}: more than {_MOST_DOMAINS} domains in the opt-out lists")
            if len(found) == before:
                raise InputError(f"{path}: no domain in it; an opt-out list has one domain a line")
        self._hashes = np.unique(np.frombuffer(found, np.uint64)) if found else np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self._hashes)

    def covers(self, url: str) -> bool:
        """Whether the host of a URL, or a domain that it lies in, is on a list."""
        host = host_of(url)
        if host is None or not len(self._hashes):
            return False
        labels = host.split(".")
        hashes = np.array([_hash(".".join(labels[first:])) for first in range(len(labels))], np.uint64)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return bool((self._hashes[at] == hashes).any())


def opted_out(paths: tuple[Path, ...]) -> Callable[[str], bool]:
    """Whether a URL is covered by the lists; they are read once a process, as long as they stay the same."""
    if not paths:
        return lambda url: False
    return _read(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)).covers


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, int, int], ...]) -> Domains:
    return Domains([path for path, _, _ in files])


def host_of(url: str) -> str | None:
    """The host of a URL in lower case, as the DNS knows it; None if it has none."""
    authority = _AUTHORITY.match(url)
    if authority is None:
        return None
    host = authority[1].rpartition("@")[2]
    return _as_dns(host if host.startswith("[") else host.partition(":")[0])


def _as_dns(name: str) -> str | None:
    """A name in lower case without its last dot, its letters beyond ASCII as the DNS has them (`xn--`)."""
    name = "".join(letter.lower() for letter in name.strip().rstrip("."))  # one by one: no Σ becomes a ς at the end
    if len(name) > _NAME_CHARACTERS:
        return None  # also as punycode takes long over it
    if not name.isascii():
        try:
            name = ".".join(map(_label, _DOTS.split(name))) if _DEVIATION.search(name) else name.encode("idna").decode()
        except UnicodeError:
            return None
    return name or None


def _label(label: str) -> str:
    if _DEVIATION.search(label):
        return "xn--" + unicodedata.normalize("NFKC", label).encode("punycode").decode()
    return label.encode("idna").decode()


def _domains(path: Path) -> Iterator[str]:
    odd: list[str] = []
    for number, line in enumerate(lines(path, 0, path.stat().st_size, container(path), _LINE_BYTES), 1):
        if isinstance(line, Failed):
            raise InputError(f"{path}: this opt-out list cannot be read: {line.reason} at byte {line.start}")
        text = "\0" if line.data is None else line.data.decode("utf-8", "replace").removeprefix("\ufeff")
        names = _names(text)
        if names is not None:
            yield from names
        elif len(odd) < _MOST_TOLD:
            shown = "a long line" if line.data is None else repr(text.strip()[:60])
            odd.append(f"line {number}: {shown}")
        else:
            odd.append("and more")
            break
    if odd:
        raise InputError(
            f"{path}: not understood: {'; '.join(odd)}. An opt-out list has one domain a line, such as site.example; "
            "also read are *.site.example, https://site.example/, ||site.example^ and lines of a hosts file; "
            "a domain with invisible joiners is written as xn--..."
        )


def _names(text: str) -> list[str] | None:
    """The domains that a line names; None if it is not understood."""
    words = [] if text.lstrip().startswith(("!", "[Adblock")) else text.partition("#")[0].split()
    if len(words) > 1 and _ADDRESS.fullmatch(words[0]):
        words = [word for word in words[1:] if not _LOCAL_NAME.fullmatch(word)]
    elif len(words) > 1:
        return None
    names = [_name(word) for word in words]
    return None if None in names else [name for name in names if name]


def _name(word: str) -> str | None:
    """The domain that a word names."""
    if blocked := _BLOCKED.fullmatch(word):
        word = blocked[1]
    if _JOINERS.search(word):
        return None
    name = host_of(word) if _AUTHORITY.match(word) else _as_dns(word)
    name = (name or "").removeprefix("*").removeprefix(".")
    return name if _DOMAIN.fullmatch(name) else None


def _hash(domain: str) -> int:
    return int.from_bytes(blake2b(domain.encode(), digest_size=8).digest(), "little")
