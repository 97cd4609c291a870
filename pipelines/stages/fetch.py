"""fetch: download and check the files of a source, and find the points where its reader may begin."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, cast

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
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput
from pipelines.inputs import Item, sample_key
from pipelines.split_points import parts_of
from pipelines.stages.stage import Stage

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


class FetchIndex(Strict):
    """files.json: the files of each task, in the order of the tasks."""

    format_version: Literal[1]
    tasks: tuple[tuple[FetchedFile, ...], ...]


class InputFile(NamedTuple):
    """A file of a source, ready to be read by the clean stage."""

    fetched: FetchedFile
    item: Item
    output: JobOutput
    access: Access

    @property
    def was_checked(self) -> bool:
        """True if it was unpacked from an archive whose digest the package index publishes."""
        return self.fetched.product is not None and self.item.kind == "package"

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Path]:
        """Context with the local path, which ends in the file's own name, because some readers need that.

        A file that the cache names by its digest gets a link in `folder`. Raises CorpusError if the content differs,
        before the file is read or after.
        """
        path, name = self.path(), PurePosixPath(self.fetched.name).name
        if path.name != name and isinstance(path, Path):
            link = folder / name
            folder.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
            path = link
        yield path
        self.path()

    def path(self) -> Path:
        """Return the local path, fetched again if the cache has lost it. Raises CorpusError if the content differs."""
        if self.fetched.product is not None:
            return self.output.path(self.fetched.product)
        if self.fetched.sha256 is None:
            return _remote_path(self.item.info, self.access)
        path = client.fetch(self.item.info, self.access, lambda size: None)
        status = path.stat()
        is_local = self.item.sha256 is not None
        if not is_local and _cached_sha256(path, status.st_size, status.st_mtime_ns) != self.fetched.sha256:
            raise CorpusError(
                f"{path}: not the bytes fetched from {display_url(self.item.info.url)} before: they changed, or "
                f"this copy is damaged; delete it and {self.output.folder}, and build again"
            )
        return path


@dataclass(frozen=True)
class FetchStage(Stage):
    """A task per item or list; its facts list the files."""

    source: SourceSettings | None  # None: files that no reader reads (a model)
    items: tuple[Item, ...]
    lists: tuple[Item, ...]
    access: Access
    sampled_by_file: bool  # False: a sample of the recipe is one of the records
    content: str | None = None  # hash of the fetched files, once known: later stages depend on it, not on addresses

    kind = "fetch"
    unit = "files"
    index_name = "files.json"

    @property
    def identity(self) -> str:
        return self.content or self.fingerprint

    @property
    def fetched_bytes(self) -> int:
        return sum(item.size for item in (*self.items, *self.lists))

    def settings(self) -> Json:
        source = self.source
        most = self._files_per_package
        has_remote = any(item.kind == "file" and item.sha256 is None for item in self.items)
        return {
            "reader": source.reader if source else None,
            "items": [_description(item) for item in self.items],
            "lists": [_description(item) for item in self.lists],
            "stream": bool(source and source.stream and has_remote),
            "selects": source.model_dump(mode="json", include={"select"}) if source and source.selects else None,
            "files_per_package": [most, self.recipe.seed] if most else None,
        }

    @property
    def _files_per_package(self) -> int | None:
        """Upper limit, if the recipe takes a sample of files."""
        return self.recipe.sample.files if self.recipe.sample and self.source else None

    def version_keys(self) -> dict[str, Json]:
        unpacking: dict[str, Json] = {"archive": package_archive.REVISION}
        if self.source is None:
            return unpacking
        reader = catalog()[self.source.reader]
        return {"reader": reader.revision, **unpacking, **versions(reader.libraries)}

    def notice(self, output: JobOutput) -> str | None:
        return language.MODEL_LICENSE if self.source is None else None

    def content_hash(self, output: JobOutput) -> str:
        """Return the hash of the fetched files: names, contents and cuts, and not where they lie."""
        files = [file for files in self.index(output).tasks for file in files]
        return content_identity(
            self.source.reader if self.source else None,
            [file.model_dump(mode="json", exclude_unset=True) for file in files],
        )

    def index(self, output: JobOutput) -> FetchIndex:
        """Return the files of all tasks."""
        index = output.index(FetchIndex)
        return index or FetchIndex(format_version=1, tasks=tuple(facts.files for facts in output.all_facts(FetchFacts)))

    def files(self, output: JobOutput, role: Literal["list"] | None = None) -> list[InputFile]:
        """Return the files that the reader reads, or its lists, in the order of the items.

        Raises CorpusError if two share a name.
        """
        files = [
            InputFile(file, item, output, self.access)
            for item, files in zip((*self.items, *self.lists), self.index(output).tasks, strict=True)
            for file in files
            if file.role == role
        ]
        for name, count in Counter(file.fetched.name for file in files).items():
            if count > 1:
                raise CorpusError(
                    f"{self.name}: {count} of its paths give the file {name}; let only one of them match it"
                )
        return files

    def work(self, task: Task) -> None:
        is_list = task.index >= len(self.items)
        item = (*self.items, *self.lists)[task.index]
        match item.kind:
            case "package":
                files = self._unpack(item, task)
            case "index":
                files = [self._select(item, task)]
            case "file" if self.source and self.source.stream and item.sha256 is None and not is_list:
                files = [_in_place(item)]
            case "file":
                files = [self._fetch(item, task)]
        if is_list:
            files = [file.model_copy(update={"role": "list"}) for file in files]
        task.facts = FetchFacts(files=tuple(files))
        task.progress(len(files))

    def _fetch(self, item: Item, task: Task) -> FetchedFile:
        path = self._local_path(item, task)
        return self._record(path, item.name, item.first_part, item.wanted, item.sha256 or sha256_file(path))

    def _record(self, path: Path, name: str, first_part: int, wanted: Sequence[int], sha256: str) -> FetchedFile:
        """Return the record of a file on this disk, cut where records begin."""
        source, size = self.source, path.stat().st_size
        cuts = catalog()[source.reader].cuts(path, wanted, source) if source and wanted else ()
        return FetchedFile(name=name, size=size, sha256=sha256, first_part=first_part, cuts=tuple(cuts))

    def _local_path(self, item: Item, task: Task) -> Path:
        """Return the local path of the file, verified against the plan."""
        path = client.fetch(item.info, self.access, lambda size: task.progress(0, size), verify=True)
        if item.sha256:
            task.progress(0, item.info.size)
        return path

    def _select(self, item: Item, task: Task) -> FetchedFile:
        """Let the reader build its input file from an index."""
        assert self.source is not None
        select = catalog()[self.source.reader].select
        assert select is not None
        product = f"files/{task.index:05d}/selected.warc.gz"
        target = task.new(product)
        # of a remote index, only the row groups that the selection needs are read
        path = self._local_path(item, task) if item.sha256 else _remote_path(item.info, self.access)
        select(path, self.source, self.access, target)
        name, sha256 = f"{item.name}.selected.warc.gz", sha256_file(target)
        return self._record(target, name, item.first_part, (), sha256).model_copy(update={"product": product})

    def _unpack(self, item: Item, task: Task) -> list[FetchedFile]:
        """Unpack the members of a package that match the address."""
        address = parse_address(item.name)
        assert address is not None
        archive = self._local_path(item, task)
        folder = f"files/{task.index:05d}/{address.folder}"
        root = task.temporary / folder
        root.mkdir(parents=True)
        members = package_archive.extract(archive, address.pattern, root)
        if most := self._files_per_package:
            chosen = sorted(members, key=lambda member: sample_key(member.name, self.recipe.seed))[:most]
            members = [member for member in members if member in chosen]
        parts = parts_of([member.size for member in members], item.parts)
        files = []
        for member, part in zip(members, parts, strict=True):
            name, product = f"{address.folder}/{member.name}", f"{folder}/{member.name}"
            first_part = item.first_part + part.first_part
            file = self._record(task.new(product), name, first_part, part.wanted, member.sha256)
            files.append(file.model_copy(update={"product": product}))
        return files


def _in_place(item: Item) -> FetchedFile:
    """Return a remote file that is read in place."""
    version = " ".join(_version_of(item.info))
    return FetchedFile(
        name=item.name, size=item.info.size, sha256=None, first_part=item.first_part, cuts=(), version=version
    )


def _description(item: Item) -> Json:
    """Return the item's part of the fingerprint."""
    if item.kind == "package":
        return [item.name, item.info.version.removeprefix("sha256:"), item.first_part, item.parts]
    version = [item.sha256] if item.sha256 else _version_of(item.info)
    file: Json = [item.name, item.info.size, *version, item.first_part, list(item.wanted)]
    return ["select", file, item.first_part] if item.kind == "index" else file


def _remote_path(info: FileInfo, access: Access) -> Path:
    """Return an object that readers can use as a path, and that reads byte ranges of the remote file."""
    return cast(Path, client.remote_path(info, access))


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
