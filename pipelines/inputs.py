"""Resolves the addresses of a recipe into the files, packages and indexes that a plan fetches."""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Literal, NamedTuple

from rich.progress import Progress

from corpus.errors import CorpusError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, path_parts
from corpus.fetch.cache import cache_path
from corpus.fetch.local_files import LocalStore, local_path
from corpus.fetch.package_index import parse_address
from corpus.quality import language
from corpus.recipe import Recipe, Sample, local_files
from corpus.sources.base import SourceSettings, catalog
from corpus.store.products import read_json, sha256_file, write_text
from pipelines.split_points import FileParts, part_count, parts_of

FILES_TO_SAMPLE = 100  # with fewer files, a sample is a share of the records
BAR_ABOVE_BYTES = 500_000_000  # less is hashed in well under a second
BATCH_FILES, BATCH_BYTES = 200, 16_000_000  # hashed by a thread at a time; a larger file is a batch of its own


class Item(NamedTuple):
    """A file, a package, or an index from which the reader builds its one input file."""

    kind: Literal["file", "package", "index"]
    name: str  # of a file: the shortest suffix of its path that is unique in its source; of a package: its address
    info: FileInfo  # of the file, of the package's archive, or of the index; a file of this machine has a path as `url`
    first_part: int
    parts: int = 1
    wanted: tuple[int, ...] = ()  # offsets at which the parts of a file after the first begin
    sha256: str | None = None  # of a file of this machine

    @property
    def size(self) -> int:
        """Bytes to read or download; 0 for an index, whose selection has no size before it is made."""
        return 0 if self.kind == "index" else self.info.size

    def bytes_to_fetch(self, cache: Path) -> int:
        """Published size of an item that is not in the cache yet; 0 for files of this machine."""
        is_here = self.sha256 is not None or cache_path(self.info, cache).is_file()
        return 0 if is_here else self.info.size


def total_parts(items: Sequence[Item]) -> int:
    """Return the total number of parts."""
    return max((item.first_part + item.parts for item in items), default=0)


class ResolvedPaths(NamedTuple):
    """The files and packages that a source's paths name, before sizes are looked up."""

    local: set[Path]
    remote: dict[str, FileInfo | None]  # with size and version, if a listing states them
    packages: set[str]


def models_of(recipe: Recipe) -> list[str]:
    """Return the addresses of the models that the sources need."""
    return [language.MODEL] if any(source.identify_language for source in recipe.sources) else []


@dataclass(frozen=True)
class Lister:
    """Resolves the addresses of a recipe."""

    recipe: Recipe
    folder: Path  # base of relative paths
    access: Access
    remote_to_sample: int  # with so many remote files, or 100 of any kind, a sample is a share of the files

    @cached_property
    def archives(self) -> Mapping[str, FileInfo]:
        """Archives of the packages of all sources and of the models, looked up at once."""
        written = {*models_of(self.recipe), *(path for source in self.recipe.sources for path in source.paths)}
        packages = sorted(text for text in written if parse_address(text))
        return dict(zip(packages, client.describe(packages, self.access), strict=True))

    def items(self, source: SourceSettings) -> tuple[tuple[Item, ...], bool]:
        """Return the files, packages or indexes of a source with their parts, and True if they are a sample.

        The order of `paths` does not matter.
        """
        resolved = _addresses_of(source, self.folder, self.access)
        sample = self.recipe.sample
        many = (
            len(resolved.local) + len(resolved.remote) >= FILES_TO_SAMPLE
            or len(resolved.remote) >= self.remote_to_sample
        )
        by_file = sample is not None and (bool(sample.files) or (many and not resolved.packages))
        cut = not source.stream and not source.selects
        items = self._files(resolved, cut=cut, sample=sample if by_file else None)
        if source.selects:
            return tuple(index._replace(kind="index") for index in items), by_file
        for text in sorted(resolved.packages):
            items.append(self.package(text, total_parts(items)))
        return tuple(items), by_file

    def lists(self, source: SourceSettings) -> tuple[Item, ...]:
        """Return the lists that a source's settings name."""
        if not source.lists:
            return ()
        return tuple(self._files(_resolve(source.lists, self.folder, self.access), cut=False, sample=None))

    def package(self, text: str, first_part: int = 0) -> Item:
        """Return a package, cut into parts by the size that the index publishes."""
        archive = self.archives[text]
        return Item("package", text, archive, first_part, part_count(archive.size, self.recipe.task_bytes))

    def _files(self, resolved: ResolvedPaths, *, cut: bool, sample: Sample | None) -> list[Item]:
        """Return the local and remote files that are in the sample, sorted by name."""
        # name every file by the shortest unique suffix, then take the sample
        files: list[Path | str] = [*resolved.local, *resolved.remote]
        names = shortest_names([_parts(file) for file in files])
        counts = Counter(names)
        names = [name if counts[name] == 1 else _marked(name, file) for name, file in zip(names, files, strict=True)]
        named = sorted(zip(names, files, strict=True), key=itemgetter(0))
        if sample is not None:
            named = _sampled(named, sample, self.recipe.seed)
        # look up sizes and versions of the chosen files, all at once
        paths = [file for _, file in named if isinstance(file, Path)]
        urls = [file for _, file in named if isinstance(file, str)]
        local = LocalStore(self.access)
        infos: dict[Path | str, FileInfo] = {path: local.describe(str(path)) for path in paths}
        infos |= {url: info for url in urls if (info := resolved.remote[url])}
        unlisted = [url for url in urls if url not in infos]
        infos |= dict(zip(unlisted, client.describe(unlisted, self.access), strict=True))
        digests: dict[Path | str, str] = dict(zip(paths, file_digests(paths, self.access.cache), strict=True))
        # cut them into parts
        sizes = [infos[file].size for _, file in named]
        uncut = [FileParts(part, ()) for part in range(len(named))]
        cuts = parts_of(sizes, part_count(sum(sizes), self.recipe.task_bytes)) if cut else uncut
        return [
            Item("file", name, infos[file], first_part, 1 + len(wanted), wanted, digests.get(file))
            for (name, file), (first_part, wanted) in zip(named, cuts, strict=True)
        ]


def _addresses_of(source: SourceSettings, folder: Path, access: Access) -> ResolvedPaths:
    """Return the files and packages that the paths of a source, and the listing of its reader, name."""
    local, remote, packages = _resolve(source.paths, folder, access)
    listing = catalog()[source.reader].listing
    for text in listing(source, access) if listing else ():  # complete names, not patterns
        if client.is_remote(text):
            remote.setdefault(text, None)
        else:
            local.add(Path(text))
    return ResolvedPaths(local, remote, packages)


def _resolve(written: Sequence[str], folder: Path, access: Access) -> ResolvedPaths:
    resolved = ResolvedPaths(set(), {}, set())
    for text in written:
        if parse_address(text):
            resolved.packages.add(text)
        elif client.is_remote(text):
            for url, info in client.expand(text, access).items():
                if path := local_path(url):  # file:// is a local path
                    resolved.local.add(path.resolve())
                else:
                    resolved.remote[url] = resolved.remote.get(url) or info
        else:
            resolved.local.update(local_files(text, folder))
    return resolved


def _sampled(named: list[tuple[str, Path | str]], sample: Sample, seed: int) -> list[tuple[str, Path | str]]:
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


def file_digests(paths: Sequence[Path], cache: Path) -> list[str]:
    """Return the SHA-256 of each file. Known ones are cached by path, size and modification time."""
    try:
        known = read_json(cache / "digests.json")
    except CorpusError:  # losing it costs only time
        known = {}
    states = [path.stat() for path in paths]
    keys = [f"{state.st_size}:{state.st_mtime_ns}:{path}" for path, state in zip(paths, states, strict=True)]
    new = {key: (path, state.st_size) for key, path, state in zip(keys, paths, states, strict=True) if key not in known}
    size = sum(size for _, size in new.values())
    shown = size >= BAR_ABOVE_BYTES
    with Progress(disable=not shown, transient=True) as bars, ThreadPoolExecutor() as threads:
        advance = partial(bars.advance, bars.add_task("hashing local files", total=size)) if shown else None

        def digests(batch: Sequence[Path]) -> list[str]:
            return [sha256_file(path, advance) for path in batch]

        known |= zip(new, chain.from_iterable(threads.map(digests, _batches(new.values()))), strict=True)
    if new:
        with contextlib.suppress(OSError):
            write_text(cache / "digests.json", json.dumps(known), cache)
    return [str(known[key]) for key in keys]


def _batches(files: Iterable[tuple[Path, int]]) -> Iterator[list[Path]]:
    """Divide files with their sizes into batches: handing small ones to threads one by one costs more than hashing."""
    batch, size = list[Path](), 0
    for path, file_size in files:
        batch.append(path)
        size += file_size
        if len(batch) == BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch
