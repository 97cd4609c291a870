"""acquire: the files of a source, fetched, checked, and cut where its reader may begin."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

from corpus.errors import CorpusError
from corpus.fetch import client
from corpus.fetch.access import Access
from corpus.fetch.base_store import FileInfo, display_url
from corpus.fetch.package_index import parse_address
from corpus.formats import package_archive
from corpus.settings import Json
from corpus.sources.base import SourceSettings, catalog
from corpus.store import content_identity
from corpus.store.products import sha256_file
from pipelines.engine.job import Done, Job, versions
from pipelines.engine.task import Task
from pipelines.inputs import Item, LocalFile, Package, RemoteFile, Selection, parts_behind, sample_key, size_of
from pipelines.split_points import parts_of

File = dict[str, Json]


@dataclass(frozen=True)
class InputFile:
    """A file as the next job reads it."""

    name: str
    size: int
    sha256: str | None  # None: read where it lies, and known by its version
    first_part: int
    cuts: tuple[int, ...]
    item: Item
    done: Done
    product: str | None  # where it is a product of acquire

    def path(self) -> Path:
        """Where to read it: fetched again if it is no longer in the cache. Raises CorpusError if it has changed."""
        if self.product is not None:
            return self.done.path(self.product)
        if isinstance(self.item, LocalFile):
            return Path(self.item.path)
        assert isinstance(self.item, RemoteFile) and isinstance(self.done.job, Acquire)
        if self.sha256 is None:
            return _in_place(self.item, self.done.job.access)
        path = client.fetch(self.item.remote, self.done.job.access, lambda size: None)
        status = path.stat()
        if _sha256(path, status.st_size, status.st_mtime_ns) != self.sha256:
            raise CorpusError(
                f"{path}: not the bytes fetched from {display_url(self.item.remote.url)} before: they changed, or "
                f"this copy is damaged; delete it and {self.done.folder}, and build again"
            )
        return path

    def refuse_changed(self) -> None:
        """Raises CorpusError if it is a local file and no longer the one that was planned with."""
        if isinstance(self.item, LocalFile) and _changed(self.item):
            raise CorpusError(
                f"{self.item.path}: changed since the build began; build again to plan with its new content"
            )


@dataclass(frozen=True)
class Acquire(Job):
    """A task an item or list; its facts list the files."""

    source: SourceSettings | None  # None: files that no reader reads (a model)
    items: tuple[Item, ...]
    lists: tuple[LocalFile | RemoteFile, ...]
    access: Access
    files_of_a_package: int | None  # at most so many, if the recipe samples
    seed: int
    content: str | None = None  # what was found, once it was: all behind is made of that, wherever it came from

    @property
    def identity(self) -> str:
        return self.content or self.fingerprint

    @property
    def fetched_bytes(self) -> int:
        return sum(size_of(item) or 0 for item in (*self.items, *self.lists))

    @property
    def parts(self) -> int:
        """How many parts the source's input is cut into."""
        return parts_behind(self.items)

    def settings(self) -> Json:
        source = self.source
        return {
            "reader": source.reader if source else None,
            "items": [_described(item) for item in self.items],
            "lists": [_described(item) for item in self.lists],
            "stream": bool(source and source.stream and any(isinstance(each, RemoteFile) for each in self.items)),
            "selects": source.model_dump(mode="json", include={"select"}) if source and source.selects else None,
            "files_of_a_package": [self.files_of_a_package, self.seed] if self.files_of_a_package else None,
        }

    def deciders(self) -> Mapping[str, Json]:
        unpacking: dict[str, Json] = {"archive": package_archive.REVISION}
        if self.source is None:
            return unpacking
        reader = catalog()[self.source.reader]
        return {"reader": reader.revision, **unpacking, **versions(reader.libraries)}

    def found(self, done: Done) -> str:
        """The hash of what a finished job found: names, contents and cuts, and nothing of where they lie."""
        return content_identity.identity(self.source.reader if self.source else None, _files(done))

    def work(self, task: Task) -> None:
        listed = task.index >= len(self.items)
        item = self.lists[task.index - len(self.items)] if listed else self.items[task.index]
        match item:
            case LocalFile() | RemoteFile():
                files = [self._single(item, task, cut=not listed) | ({"role": "list"} if listed else {})]
            case Package():
                files = self._package(item, task)
            case Selection():
                files = [self._selected(item, task)]
        task.facts["files"] = cast(Json, files)
        task.progress(len(files))

    def _single(self, item: LocalFile | RemoteFile, task: Task, *, cut: bool) -> File:
        if isinstance(item, RemoteFile) and self.source and self.source.stream and cut:
            return {"name": item.name, "size": item.remote.size, "sha256": None, "first_part": item.first_part,
                    "cuts": [], "version": " ".join(_known_as(item.remote))}  # fmt: skip
        path = self._at_hand(item, task)
        sha256 = item.sha256 if isinstance(item, LocalFile) else sha256_file(path)
        size = item.size if isinstance(item, LocalFile) else item.remote.size
        return self._file(item.name, path, size, sha256, item.first_part, item.wanted if cut else ())

    def _at_hand(self, item: LocalFile | RemoteFile | Package, task: Task) -> Path:
        """The file on this machine, as it was planned with."""
        if not isinstance(item, LocalFile):
            return client.fetch(item.remote, self.access, lambda size: task.progress(0, size), verify=True)
        path = Path(item.path)
        if _changed(item) and sha256_file(path) != item.sha256:
            raise CorpusError(f"{path}: changed since the build began; build again to plan with the new content")
        task.progress(0, item.size)
        return path

    def _selected(self, item: Selection, task: Task) -> File:
        assert self.source is not None
        select = catalog()[self.source.reader].select
        assert select is not None
        product = f"files/{task.index:05d}/selected.warc.gz"
        target = task.new(product)
        listed = item.listed
        index = self._at_hand(listed, task) if isinstance(listed, LocalFile) else _in_place(listed, self.access)
        select(index, self.source, self.access, target)  # of an index elsewhere only what is asked for is read
        name = f"{item.listed.name}.selected.warc.gz"
        found = self._file(name, target, target.stat().st_size, sha256_file(target), item.first_part, ())
        return found | {"product": product}

    def _package(self, item: Package, task: Task) -> list[File]:
        where = parse_address(item.address)
        assert where is not None
        fetched = self._at_hand(item, task)
        folder = f"files/{task.index:05d}/{where.folder}"
        root = task.temporary / folder
        root.mkdir(parents=True)
        members = package_archive.extract(fetched, where.pattern, root)
        if self.files_of_a_package is not None:
            chosen = sorted(members, key=lambda member: sample_key(member.name, self.seed))[: self.files_of_a_package]
            members = [member for member in members if member in chosen]
        for member in members:
            task.new(f"{folder}/{member.name}")
        parts = parts_of([member.size for member in members], item.parts)
        return [
            self._file(f"{where.folder}/{member.name}", root / member.name, member.size, member.sha256,
                       item.first_part + part.first_part, part.wanted)
            | {"product": f"{folder}/{member.name}"}
            for member, part in zip(members, parts, strict=True)
        ]  # fmt: skip

    def _file(self, name: str, path: Path, size: int, sha256: str, first_part: int, wanted: Sequence[int]) -> File:
        cuts = catalog()[self.source.reader].cuts(path, wanted, self.source) if self.source and wanted else []
        return {"name": name, "size": size, "sha256": sha256, "first_part": first_part, "cuts": list(cuts)}


def files_of(acquire: Job, done: Done) -> list[InputFile]:
    """All files of an acquire job that its reader reads, in the order of its items."""
    assert isinstance(acquire, Acquire)
    found = [
        _input(file, item, done)
        for index, item in enumerate(acquire.items)
        for file in cast(list[File], done.facts(index)["files"])
    ]
    for name, count in Counter(file.name for file in found).items():
        if count > 1:
            raise CorpusError(
                f"{acquire.name}: {count} of its paths give the file {name}; let just one of them match it"
            )
    return found


def lists_of(acquire: Job, done: Done) -> list[InputFile]:
    """The lists that the source's settings name, in the order of their names."""
    assert isinstance(acquire, Acquire)
    return [
        _input(file, item, done)
        for index, item in enumerate(acquire.lists, len(acquire.items))
        for file in cast(list[File], done.facts(index)["files"])
    ]


def _input(file: File, item: Item, done: Done) -> InputFile:
    cuts = tuple(cast(list[int], file["cuts"]))
    size, first_part = cast(int, file["size"]), cast(int, file["first_part"])
    sha256, product = cast(str | None, file["sha256"]), cast(str | None, file.get("product"))
    return InputFile(str(file["name"]), size, sha256, first_part, cuts, item, done, product)


def _files(done: Done) -> list[File]:
    return [file for facts in done.all_facts() for file in cast(list[File], facts["files"])]


def _described(item: Item) -> Json:
    match item:
        case LocalFile():
            return [item.name, item.size, item.sha256, item.first_part, list(item.wanted)]
        case RemoteFile():
            return [item.name, item.remote.size, *_known_as(item.remote), item.first_part, list(item.wanted)]
        case Package():
            return [item.address, item.remote.version.removeprefix("sha256:"), item.first_part, item.parts]
        case Selection():
            return ["select", _described(item.listed), item.first_part]


def _in_place(item: RemoteFile, access: Access) -> Path:
    """A file elsewhere, read by range: what readers need of a path."""
    return cast(Path, client.remote_path(item.remote, access))


@lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    return sha256_file(path)


def _known_as(remote: FileInfo) -> list[str]:
    """What a file elsewhere is known by before it is read: a digest, else its version and address.

    Of a query, which may hold a signature, only a hash.
    """
    if remote.version.startswith("sha256:"):
        return [remote.version]
    base, mark, query = remote.url.partition("?")
    return [remote.version, base + mark + (hashlib.sha256(query.encode()).hexdigest()[:12] if mark else "")]


def _changed(item: LocalFile) -> bool:
    status = Path(item.path).stat()
    return (status.st_size, status.st_mtime_ns) != (item.size, item.modified_ns)
