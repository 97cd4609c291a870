"""fetch: download and check the files of a source, and find the points where its reader may begin."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, cast

from corpus.errors import CorpusError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, display_url
from corpus.fetch.package_index import parse_address
from corpus.formats import package_archive
from corpus.quality import language
from corpus.settings import Json, Strict
from corpus.sources.base import SourceSettings, catalog
from corpus.store.products import content_identity, sha256_file
from pipelines.engine.job import Job, versions
from pipelines.engine.job_output import JobOutput
from pipelines.engine.task import Task
from pipelines.inputs import Item, LocalFile, Package, RemoteFile, Selection, sample_key, size_of, total_parts
from pipelines.split_points import parts_of

MODELS = "models"  # in place of a source's name: files that no reader reads


class FetchedFile(Strict):
    """A file of a source, as recorded by the task that fetched it. Fields without a value are left out."""

    name: str
    size: int
    sha256: str | None  # None: read in place, and identified by its version
    first_part: int
    cuts: tuple[int, ...]
    version: str | None = None
    product: str | None = None  # file name, if the file is a product of the fetch stage
    role: Literal["list"] | None = None  # a list that the reader looks things up in


class FetchFacts(Strict):
    """Facts of a fetch task: the files of one item."""

    files: tuple[FetchedFile, ...]


@dataclass(frozen=True)
class InputFile:
    """A file of a source, ready to be read by the clean stage."""

    fetched: FetchedFile
    item: Item
    output: JobOutput
    access: Access

    @property
    def name(self) -> str:
        """Name in the corpus, independent of the machine."""
        return self.fetched.name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.fetched.size

    def path(self) -> Path:
        """Return the local path, fetched again if the cache has lost it. Raises CorpusError if the content differs."""
        if self.fetched.product is not None:
            return self.output.path(self.fetched.product)
        if isinstance(self.item, LocalFile):
            return Path(self.item.path)
        assert isinstance(self.item, RemoteFile)
        if self.fetched.sha256 is None:
            return _remote_path(self.item, self.access)
        path = client.fetch(self.item.remote, self.access, lambda size: None)
        status = path.stat()
        if _cached_sha256(path, status.st_size, status.st_mtime_ns) != self.fetched.sha256:
            raise CorpusError(
                f"{path}: not the bytes fetched from {display_url(self.item.remote.url)} before: they changed, or "
                f"this copy is damaged; delete it and {self.output.folder}, and build again"
            )
        return path

    def refuse_changed(self) -> None:
        """Raise CorpusError if a local file has changed since the plan was made."""
        if isinstance(self.item, LocalFile) and _is_changed(self.item):
            raise CorpusError(
                f"{self.item.path}: changed since the build began; build again to plan with its new content"
            )


@dataclass(frozen=True)
class FetchStage(Job):
    """A task per item or list; its facts list the files."""

    source: SourceSettings | None  # None: files that no reader reads (a model)
    items: tuple[Item, ...]
    lists: tuple[LocalFile | RemoteFile, ...]
    access: Access
    files_per_package: int | None  # upper limit, if the recipe takes a sample of files
    seed: int
    content: str | None = None  # hash of the fetched files, once known: later stages depend on it, not on addresses

    kind: ClassVar[str] = "fetch"
    unit: ClassVar[str] = "files"

    @property
    def identity(self) -> str:
        return self.content or self.fingerprint

    @property
    def fetched_bytes(self) -> int:
        return sum(size_of(item) or 0 for item in (*self.items, *self.lists))

    @property
    def parts(self) -> int:
        """Number of parts that the source's input is cut into."""
        return total_parts(self.items)

    def settings(self) -> Json:
        source = self.source
        return {
            "reader": source.reader if source else None,
            "items": [_description(item) for item in self.items],
            "lists": [_description(item) for item in self.lists],
            "stream": bool(source and source.stream and any(isinstance(item, RemoteFile) for item in self.items)),
            "selects": source.model_dump(mode="json", include={"select"}) if source and source.selects else None,
            "files_per_package": [self.files_per_package, self.seed] if self.files_per_package else None,
        }

    def version_keys(self) -> Mapping[str, Json]:
        unpacking: dict[str, Json] = {"archive": package_archive.REVISION}
        if self.source is None:
            return unpacking
        reader = catalog()[self.source.reader]
        return {"reader": reader.revision, **unpacking, **versions(reader.libraries)}

    def notice(self) -> str | None:
        return language.MODEL_LICENSE if self.source is None else None

    def content_hash(self, output: JobOutput) -> str:
        """Return the hash of the fetched files: names, contents and cuts, and not where they lie."""
        files = [file for facts in output.all_facts(FetchFacts) for file in facts.files]
        return content_identity(
            self.source.reader if self.source else None,
            [file.model_dump(mode="json", exclude_unset=True) for file in files],
        )

    def files(self, output: JobOutput) -> list[InputFile]:
        """Return all files that the reader reads, in the order of the items. Raises CorpusError if two share a name."""
        files = self._input_files(output, 0, self.items)
        for name, count in Counter(file.name for file in files).items():
            if count > 1:
                raise CorpusError(
                    f"{self.name}: {count} of its paths give the file {name}; let only one of them match it"
                )
        return files

    def list_files(self, output: JobOutput) -> list[InputFile]:
        """Return the lists that the source's settings name, in the order of their names."""
        return self._input_files(output, len(self.items), self.lists)

    def _input_files(self, output: JobOutput, first_task: int, items: Sequence[Item]) -> list[InputFile]:
        return [
            InputFile(file, item, output, self.access)
            for index, item in enumerate(items, first_task)
            for file in output.facts(FetchFacts, index).files
        ]

    def work(self, task: Task) -> None:
        is_list = task.index >= len(self.items)
        item = self.lists[task.index - len(self.items)] if is_list else self.items[task.index]
        match item:
            case LocalFile() | RemoteFile() if is_list:
                files = [self._single(item, task, cut=False).model_copy(update={"role": "list"})]
            case LocalFile() | RemoteFile():
                files = [self._single(item, task, cut=True)]
            case Package():
                files = self._package(item, task)
            case Selection():
                files = [self._selected(item, task)]
        task.facts = FetchFacts(files=tuple(files))
        task.progress(len(files))

    def _single(self, item: LocalFile | RemoteFile, task: Task, *, cut: bool) -> FetchedFile:
        if isinstance(item, RemoteFile) and self.source and self.source.stream and cut:
            version = " ".join(_version_of(item.remote))
            return FetchedFile(
                name=item.name, size=item.remote.size, sha256=None, first_part=item.first_part, cuts=(), version=version
            )
        path = self._local_path(item, task)
        sha256 = item.sha256 if isinstance(item, LocalFile) else sha256_file(path)
        size = item.size if isinstance(item, LocalFile) else item.remote.size
        cuts = self._cuts(path, item.wanted if cut else ())
        return FetchedFile(name=item.name, size=size, sha256=sha256, first_part=item.first_part, cuts=cuts)

    def _local_path(self, item: LocalFile | RemoteFile | Package, task: Task) -> Path:
        """Return the local path of the file, verified against the plan."""
        if not isinstance(item, LocalFile):
            return client.fetch(item.remote, self.access, lambda size: task.progress(0, size), verify=True)
        path = Path(item.path)
        if _is_changed(item) and sha256_file(path) != item.sha256:
            raise CorpusError(f"{path}: changed since the build began; build again to plan with the new content")
        task.progress(0, item.size)
        return path

    def _selected(self, item: Selection, task: Task) -> FetchedFile:
        """Let the reader build its input file from an index."""
        assert self.source is not None
        select = catalog()[self.source.reader].select
        assert select is not None
        product = f"files/{task.index:05d}/selected.warc.gz"
        target = task.new(product)
        index = item.listed
        # of a remote index, only the row groups that the selection needs are read
        path = self._local_path(index, task) if isinstance(index, LocalFile) else _remote_path(index, self.access)
        select(path, self.source, self.access, target)
        return FetchedFile(
            name=f"{index.name}.selected.warc.gz",
            size=target.stat().st_size,
            sha256=sha256_file(target),
            first_part=item.first_part,
            cuts=(),
            product=product,
        )

    def _package(self, item: Package, task: Task) -> list[FetchedFile]:
        """Unpack the members of a package that match the address."""
        address = parse_address(item.address)
        assert address is not None
        archive = self._local_path(item, task)
        folder = f"files/{task.index:05d}/{address.folder}"
        root = task.temporary / folder
        root.mkdir(parents=True)
        members = package_archive.extract(archive, address.pattern, root)
        if self.files_per_package is not None:
            chosen = sorted(members, key=lambda member: sample_key(member.name, self.seed))[: self.files_per_package]
            members = [member for member in members if member in chosen]
        for member in members:
            task.new(f"{folder}/{member.name}")
        parts = parts_of([member.size for member in members], item.parts)
        return [
            FetchedFile(
                name=f"{address.folder}/{member.name}",
                size=member.size,
                sha256=member.sha256,
                first_part=item.first_part + part.first_part,
                cuts=self._cuts(root / member.name, part.wanted),
                product=f"{folder}/{member.name}",
            )
            for member, part in zip(members, parts, strict=True)
        ]

    def _cuts(self, path: Path, wanted: Sequence[int]) -> tuple[int, ...]:
        return tuple(catalog()[self.source.reader].cuts(path, wanted, self.source)) if self.source and wanted else ()


def _description(item: Item) -> Json:
    """Return the item's part of the fingerprint."""
    match item:
        case LocalFile():
            return [item.name, item.size, item.sha256, item.first_part, list(item.wanted)]
        case RemoteFile():
            return [item.name, item.remote.size, *_version_of(item.remote), item.first_part, list(item.wanted)]
        case Package():
            return [item.address, item.remote.version.removeprefix("sha256:"), item.first_part, item.parts]
        case Selection():
            return ["select", _description(item.listed), item.first_part]


def _remote_path(item: RemoteFile, access: Access) -> Path:
    """Return an object that readers can use as a path, and that reads byte ranges of the remote file."""
    return cast(Path, client.remote_path(item.remote, access))


@lru_cache(maxsize=1024)
def _cached_sha256(path: Path, size: int, modified_ns: int) -> str:
    return sha256_file(path)


def _version_of(remote: FileInfo) -> list[str]:
    """Return what identifies a remote file before it is read: a digest, or its version and address.

    A query may hold a signature, so only its hash is used.
    """
    if remote.version.startswith("sha256:"):
        return [remote.version]
    base, mark, query = remote.url.partition("?")
    return [remote.version, base + mark + (hashlib.sha256(query.encode()).hexdigest()[:12] if mark else "")]


def _is_changed(item: LocalFile) -> bool:
    status = Path(item.path).stat()
    return (status.st_size, status.st_mtime_ns) != (item.size, item.modified_ns)
