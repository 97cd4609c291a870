"""Resolves the addresses of a recipe into the files, packages and indexes that a plan fetches."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, path_parts
from corpus.fetch.cache import cache_path
from corpus.fetch.local_files import local_path
from corpus.fetch.package_index import parse_address
from corpus.recipe import Recipe, Sample, local_files
from corpus.sources.base import SourceSettings, catalog
from pipelines.digests import Digests
from pipelines.split_points import FileParts, part_count, parts_of

FILES_TO_SAMPLE = 100  # with fewer files, a sample is a share of the records


class LocalFile(NamedTuple):
    """A file on this machine."""

    path: str
    name: str  # the shortest suffix of its path that is unique in its source
    size: int
    sha256: str
    modified_ns: int
    first_part: int
    wanted: tuple[int, ...]


class RemoteFile(NamedTuple):
    """A file to download, or to read in place."""

    remote: FileInfo
    name: str
    first_part: int
    wanted: tuple[int, ...]


class Package(NamedTuple):
    """Files of a package release."""

    address: str
    remote: FileInfo  # the archive
    first_part: int
    parts: int


class Selection(NamedTuple):
    """An index from which the reader builds its one input file."""

    listed: LocalFile | RemoteFile
    first_part: int


Item = LocalFile | RemoteFile | Package | Selection


def total_parts(items: Sequence[Item]) -> int:
    """Return the total number of parts."""
    ends = [0]
    for item in items:
        parts = item.parts if isinstance(item, Package) else 1
        parts += len(item.wanted) if isinstance(item, LocalFile | RemoteFile) else 0
        ends.append(item.first_part + parts)
    return max(ends)


def size_of(item: Item) -> int | None:
    """Return the bytes to read or download; None for a selection, whose size is known only after its index is read."""
    match item:
        case LocalFile():
            return item.size
        case RemoteFile() | Package():
            return item.remote.size
        case Selection():
            return None


def published_bytes(item: Item) -> int:
    """Size known before anything is downloaded: of an index, if files are selected from it; 0 if unknown."""
    return size_of(item.listed if isinstance(item, Selection) else item) or 0


def bytes_to_fetch(item: Item, cache: Path) -> int:
    """Published size of an item that is not in the cache yet; 0 for local files."""
    match item:
        case LocalFile():
            return 0
        case Selection(listed=listed):
            return bytes_to_fetch(listed, cache)
        case RemoteFile() | Package():
            return 0 if cache_path(item.remote, cache).is_file() else published_bytes(item)


@dataclass(frozen=True)
class ResolvedPaths:
    """The files and packages that a source's paths name, before sizes are looked up; sorted, without repeats."""

    local: tuple[Path, ...]
    remote: tuple[str, ...]
    packages: tuple[str, ...]


class Lister:
    """Resolves the addresses of a recipe; package releases of all sources are looked up at once."""

    def __init__(
        self, recipe: Recipe, folder: Path, access: Access, digests: Digests, remote_to_sample: int = FILES_TO_SAMPLE
    ) -> None:
        """With at least `remote_to_sample` remote files, or 100 of any kind, a sample is a share of the files."""
        self._recipe, self._folder, self._access, self._digests = recipe, folder, access, digests
        self._remote_to_sample = remote_to_sample
        self._archives: Mapping[str, FileInfo] = {}
        self.sampled_by_file: set[str] = set()

    def resolve(self, written: Sequence[str]) -> None:
        """Look up the addresses that name packages in the package index."""
        packages = sorted(text for text in set(written) if parse_address(text))
        self._archives = dict(zip(packages, client.describe(packages, self._access), strict=True))

    def items(self, source: SourceSettings) -> tuple[Item, ...]:
        """Return the files, packages or indexes of a source with their parts; the order of `paths` does not matter."""
        found = addresses_of(source, self._folder, self._access)
        sample = self._recipe.sample
        many = len(found.local) + len(found.remote) >= FILES_TO_SAMPLE or len(found.remote) >= self._remote_to_sample
        by_file = sample is not None and (bool(sample.files) or (many and not found.packages))
        if by_file:
            self.sampled_by_file.add(source.name)
        if source.selects:
            indexes = self._files(found, cut=False, sample=sample if by_file else None)
            return tuple(Selection(index, part) for part, index in enumerate(indexes))
        items: list[Item] = list(self._files(found, cut=not source.stream, sample=sample if by_file else None))
        parts = total_parts(items)
        for text in found.packages:
            items.append(self.package(text, parts))
            parts = total_parts(items)
        return tuple(items)

    def lists(self, source: SourceSettings) -> tuple[LocalFile | RemoteFile, ...]:
        """Return the lists that a source's settings name."""
        if not source.lists:
            return ()
        return self._files(_resolve(source.lists, self._folder, self._access), cut=False, sample=None)

    def package(self, text: str, first_part: int = 0) -> Package:
        """Return a package, cut into parts by the size that the index publishes."""
        archive = self._archives[text]
        return Package(text, archive, first_part, part_count(archive.size, self._recipe.task_bytes))

    def _files(self, found: ResolvedPaths, *, cut: bool, sample: Sample | None) -> tuple[LocalFile | RemoteFile, ...]:
        """Return the local and remote files that are in the sample, sorted by name."""
        # name every file by the shortest unique suffix, then take the sample
        files: list[Path | str] = [*found.local, *found.remote]
        names = shortest_names([_parts(file) for file in files])
        counts = Counter(names)
        names = [name if counts[name] == 1 else _marked(name, file) for name, file in zip(names, files, strict=True)]
        named = sorted(zip(names, range(len(files)), strict=True))
        if sample is not None:
            named = _sampled(named, sample, self._recipe.seed)
        # look up sizes and versions of the chosen files, all at once
        paths = {number: file for _, number in named if isinstance(file := files[number], Path)}
        urls = {number: file for _, number in named if isinstance(file := files[number], str)}
        stats = {number: path.stat() for number, path in paths.items()}
        digests = dict(zip(paths, self._digests.of(list(paths.values())), strict=True))
        remotes = dict(zip(urls, client.describe(list(urls.values()), self._access), strict=True))
        # cut them into parts
        sizes = [remotes[number].size if number in remotes else stats[number].st_size for _, number in named]
        uncut = [FileParts(part, ()) for part in range(len(named))]
        cuts = parts_of(sizes, part_count(sum(sizes), self._recipe.task_bytes)) if cut else uncut
        items: list[LocalFile | RemoteFile] = []
        for (name, number), (first_part, wanted) in zip(named, cuts, strict=True):
            if number in remotes:
                items.append(RemoteFile(remotes[number], name, first_part, wanted))
            else:
                size, modified_ns = stats[number].st_size, stats[number].st_mtime_ns
                path, sha256 = str(paths[number]), digests[number]
                items.append(LocalFile(path, name, size, sha256, modified_ns, first_part, wanted))
        return tuple(items)


def addresses_of(source: SourceSettings, folder: Path, access: Access) -> ResolvedPaths:
    """Return the files and packages that the paths of a source, and the listing of its reader, name."""
    found = _resolve(source.paths, folder, access)
    listing = catalog()[source.reader].listing
    listed = listing(source, access) if listing else ()
    local = {Path(text) for text in listed if not client.is_remote(text)}  # complete names, not patterns
    remote = {text for text in listed if client.is_remote(text)}
    return ResolvedPaths(tuple(sorted({*found.local, *local})), tuple(sorted({*found.remote, *remote})), found.packages)


def _resolve(written: Sequence[str], folder: Path, access: Access) -> ResolvedPaths:
    packages = {text for text in written if parse_address(text)}
    found = {url for text in written if client.is_remote(text) for url in client.expand(text, access)}
    here = {url: path for url in found if (path := local_path(url))}  # file:// is a local path
    others = [text for text in written if text not in packages and not client.is_remote(text)]
    local = {path for text in others for path in local_files(text, folder)} | {path.resolve() for path in here.values()}
    return ResolvedPaths(tuple(sorted(local)), tuple(sorted(found - set(here))), tuple(sorted(packages)))


def _sampled(named: list[tuple[str, int]], sample: Sample, seed: int) -> list[tuple[str, int]]:
    """Return the files of a sample, sorted by name."""
    count = sample.files if sample.files is not None else -(-len(named) * sample.parts_per_million // 1_000_000)
    return sorted(sorted(named, key=lambda file: sample_key(file[0], seed))[:count])


def sample_key(name: str, seed: int) -> bytes:
    """Return the sort key that picks sampled files; it does not change when files are added."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=f"sample:{seed}".encode()).digest()


def _parts(where: Path | str) -> tuple[str, ...]:
    """Return the parts of a path, or of a URL without its scheme and query."""
    if isinstance(where, Path):
        return where.parts
    parts = path_parts(where)
    return parts if len(parts) > 1 else (*parts, "file")


def _marked(name: str, where: Path | str) -> str:
    """Return a unique name for a file whose URL differs from another's in its query alone (it may hold a signature)."""
    return f"{name}?{hashlib.sha256(str(where).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def shortest_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the shortest suffix of each path that no other path has, so that no machine's folders enter a corpus."""
    depth, names = [1] * len(paths), [parts[-1] for parts in paths]
    while True:
        counts = Counter(names)
        clashing = [index for index, name in enumerate(names) if counts[name] > 1 and depth[index] < len(paths[index])]
        if not clashing:
            return names
        for index in clashing:
            depth[index] += 1
            names[index] = "/".join(paths[index][-depth[index] :])
