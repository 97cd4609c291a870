"""What a source reads, as the plan knows it before anything is fetched: names, sizes and versions."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, path_parts
from corpus.fetch.local import local_path
from corpus.fetch.package_index import parse_address
from corpus.recipe import Recipe, Sample, local_files
from corpus.sources.base import SourceSettings, catalog
from pipelines.digests import Digests
from pipelines.split_points import FileParts, part_count, parts_of

FILES_TO_SAMPLE = 100  # with fewer, a share is taken of a source's records


class LocalFile(NamedTuple):
    """A file that lies where the recipe says."""

    path: str
    name: str  # the shortest end of its path that is unique in its source
    size: int
    sha256: str
    modified_ns: int
    first_part: int
    wanted: tuple[int, ...]


class RemoteFile(NamedTuple):
    """A file that is fetched, or read where it lies."""

    remote: FileInfo
    name: str
    first_part: int
    wanted: tuple[int, ...]


class Package(NamedTuple):
    """Files of a released package."""

    address: str
    remote: FileInfo  # the archive
    first_part: int
    parts: int


class Selection(NamedTuple):
    """An index, out of which the reader makes the one file that is read."""

    listed: LocalFile | RemoteFile
    first_part: int


Item = LocalFile | RemoteFile | Package | Selection


def parts_behind(items: Sequence[Item]) -> int:
    """How many parts these items make: one behind the last that any of them has."""
    found = [0]
    for item in items:
        more = item.parts if isinstance(item, Package) else 1
        more += len(item.wanted) if isinstance(item, LocalFile | RemoteFile) else 0
        found.append(item.first_part + more)
    return max(found)


def size_of(item: Item) -> int | None:
    """Bytes that are read or fetched for it, as published; None if that shows only when its index was read."""
    match item:
        case LocalFile():
            return item.size
        case RemoteFile() | Package():
            return item.remote.size
        case Selection():
            return None


@dataclass(frozen=True)
class Addresses:
    """What a source's paths stand for, before sizes are asked for. Each list is sorted, and names nothing twice."""

    local: tuple[Path, ...]
    remote: tuple[str, ...]
    packages: tuple[str, ...]


class Lister:
    """Looks up what the addresses of a recipe stand for; package releases of all sources are asked for at once."""

    def __init__(
        self, recipe: Recipe, folder: Path, access: Access, digests: Digests, remote_to_sample: int = FILES_TO_SAMPLE
    ) -> None:
        """From `remote_to_sample` remote files on, a share is taken of a source's files, as from 100 of any kind."""
        self._recipe, self._folder, self._access, self._digests = recipe, folder, access, digests
        self._remote_to_sample = remote_to_sample
        self._archives: Mapping[str, FileInfo] = {}
        self.sampled_by_file: set[str] = set()

    def resolve(self, written: Sequence[str]) -> None:
        """Asks the package index for those of the addresses that name packages."""
        packages = sorted(text for text in set(written) if parse_address(text))
        self._archives = dict(zip(packages, client.describe(packages, self._access), strict=True))

    def items(self, source: SourceSettings) -> tuple[Item, ...]:
        """The files, packages or indexes of a source, whatever order they were written in, each with its parts."""
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
        parts = parts_behind(items)
        for text in found.packages:
            items.append(self.package(text, parts))
            parts = parts_behind(items)
        return tuple(items)

    def lists(self, source: SourceSettings) -> tuple[LocalFile | RemoteFile, ...]:
        """The lists that a source's settings name beside what is read."""
        if not source.lists:
            return ()
        return self._files(_told_apart(source.lists, self._folder, self._access), cut=False, sample=None)

    def package(self, text: str, first_part: int = 0) -> Package:
        """A package address, cut by the size that the index publishes."""
        archive = self._archives[text]
        return Package(text, archive, first_part, part_count(archive.size, self._recipe.task_bytes))

    def _files(self, found: Addresses, *, cut: bool, sample: Sample | None) -> tuple[LocalFile | RemoteFile, ...]:
        """Local and remote files, less what is not in the sample, as one list in the order of their names."""
        every: list[Path | str] = [*found.local, *found.remote]
        names = shortest_names([_parts(each) for each in every])
        counts = Counter(names)
        names = [name if counts[name] == 1 else _marked(name, each) for name, each in zip(names, every, strict=True)]
        named = sorted(zip(names, range(len(every)), strict=True))
        if sample is not None:
            named = _sampled(named, sample, self._recipe.seed)
        stats = {number: each.stat() for _, number in named if isinstance(each := every[number], Path)}
        paths = {number: each for _, number in named if isinstance(each := every[number], Path)}
        urls = {number: each for _, number in named if isinstance(each := every[number], str)}
        hashed = dict(zip(paths, self._digests.of(list(paths.values())), strict=True))
        described = dict(zip(urls, client.describe(list(urls.values()), self._access), strict=True))
        sizes = [described[number].size if number in described else stats[number].st_size for _, number in named]
        whole = [FileParts(part, ()) for part in range(len(named))]
        cuts = parts_of(sizes, part_count(sum(sizes), self._recipe.task_bytes)) if cut else whole
        items: list[LocalFile | RemoteFile] = []
        for (name, number), (first_part, wanted) in zip(named, cuts, strict=True):
            if number in described:
                items.append(RemoteFile(described[number], name, first_part, wanted))
            else:
                status = stats[number]
                about = (status.st_size, hashed[number], status.st_mtime_ns)
                items.append(LocalFile(str(paths[number]), name, *about, first_part, wanted))
        return tuple(items)


def addresses_of(source: SourceSettings, folder: Path, access: Access) -> Addresses:
    """What the paths of a source, and the listing of its reader, stand for."""
    found = _told_apart(source.paths, folder, access)
    listing = catalog()[source.reader].listing
    listed = listing(source, access) if listing else ()
    local = {Path(text) for text in listed if not client.is_remote(text)}  # whole names, and no patterns
    remote = {text for text in listed if client.is_remote(text)}
    return Addresses(tuple(sorted({*found.local, *local})), tuple(sorted({*found.remote, *remote})), found.packages)


def _told_apart(written: Sequence[str], folder: Path, access: Access) -> Addresses:
    packages = {text for text in written if parse_address(text)}
    found = {url for text in written if client.is_remote(text) for url in client.expand(text, access)}
    here = {url: path for url in found if (path := local_path(url))}  # file:// is a path
    others = [text for text in written if text not in packages and not client.is_remote(text)]
    local = {path for text in others for path in local_files(text, folder)} | {each.resolve() for each in here.values()}
    return Addresses(tuple(sorted(local)), tuple(sorted(found - set(here))), tuple(sorted(packages)))


def _sampled(named: list[tuple[str, int]], sample: Sample, seed: int) -> list[tuple[str, int]]:
    """The files of a sample, in the order of their names."""
    count = sample.files if sample.files is not None else -(-len(named) * sample.parts_per_million // 1_000_000)
    return sorted(sorted(named, key=lambda each: sample_key(each[0], seed))[:count])


def sample_key(name: str, seed: int) -> bytes:
    """What orders the files that a sample is taken from: stable when others are added."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=f"sample:{seed}".encode()).digest()


def _parts(where: Path | str) -> tuple[str, ...]:
    """The parts of a path, or of a URL without its scheme and query."""
    if isinstance(where, Path):
        return where.parts
    parts = path_parts(where)
    return parts if len(parts) > 1 else (*parts, "file")


def _marked(name: str, where: Path | str) -> str:
    """The name of a file whose address differs from another's in its query alone, which may hold a signature."""
    return f"{name}?{hashlib.sha256(str(where).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def shortest_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """For each path the shortest end that no other path of the list has; no machine's folders stand in a corpus."""
    depth, names = [1] * len(paths), [parts[-1] for parts in paths]
    while True:
        counts = Counter(names)
        clashing = [index for index, name in enumerate(names) if counts[name] > 1 and depth[index] < len(paths[index])]
        if not clashing:
            return names
        for index in clashing:
            depth[index] += 1
            names[index] = "/".join(paths[index][-depth[index] :])
