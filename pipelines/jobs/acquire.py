"""acquire: the files of a source, fetched, checked, and cut where its reader may begin."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus import address, archive
from corpus.errors import CorpusError
from corpus.settings import Json
from corpus.sources.base import SourceSettings, catalog
from corpus.store.products import sha256_file
from pipelines.job import Done, Job, versions
from pipelines.parts import parts_of
from pipelines.task import Task


class LocalFile(NamedTuple):
    """A file that lies where the recipe says."""

    path: str
    name: str  # the shortest end of the path that is unique in its source
    size: int
    sha256: str
    modified_ns: int
    first_part: int
    wanted: tuple[int, ...]


class Package(NamedTuple):
    """Files of a released package."""

    address: str
    release: address.Release
    first_part: int
    parts: int


Item = LocalFile | Package


class InputFile(NamedTuple):
    """A file as the next job reads it."""

    path: Path
    name: str
    size: int
    sha256: str
    modified_ns: int | None  # of a local file, when the plan was made
    first_part: int
    cuts: tuple[int, ...]

    def changed(self) -> bool:
        """Whether the file is no longer the one that was planned with."""
        status = self.path.stat()
        return status.st_size != self.size or self.modified_ns not in (None, status.st_mtime_ns)


@dataclass(frozen=True)
class Acquire(Job):
    """A task an item; its facts list the files."""

    source: SourceSettings | None  # None: files that no reader reads (a model)
    items: tuple[Item, ...]
    cache: str

    @property
    def parts(self) -> int:
        """How many parts the source's input is cut into."""
        return sum(item.parts if isinstance(item, Package) else len(item.wanted) for item in self.items) + any(
            isinstance(item, LocalFile) for item in self.items
        )

    def settings(self) -> Json:
        items: list[Json] = []
        for item in self.items:
            if isinstance(item, LocalFile):
                items.append([item.name, item.size, item.sha256, item.first_part, list(item.wanted)])
            else:
                items.append([item.address, item.release.sha256, item.first_part, item.parts])
        return {"reader": self.source.reader if self.source else None, "items": items}

    def deciders(self) -> Mapping[str, Json]:
        unpacking: dict[str, Json] = {"archive": archive.REVISION}
        if self.source is None:
            return unpacking
        reader = catalog()[self.source.reader]
        return {"reader": reader.revision, **unpacking, **versions(reader.libraries)}

    def work(self, task: Task) -> None:
        item = self.items[task.index]
        files = [self._local(item)] if isinstance(item, LocalFile) else self._package(item, task)
        task.facts["files"] = files  # type: ignore[assignment]
        task.progress(len(files), sum(int(str(file["size"])) for file in files))

    def _local(self, item: LocalFile) -> dict[str, Json]:
        path = Path(item.path)
        status = path.stat()
        unchanged = (status.st_size, status.st_mtime_ns) == (item.size, item.modified_ns)
        if not unchanged and sha256_file(path) != item.sha256:
            raise CorpusError(f"{path}: changed since the build began; build again to plan with the new content")
        return self._file(item.name, path, item.size, item.sha256, item.first_part, item.wanted)

    def _package(self, item: Package, task: Task) -> list[dict[str, Json]]:
        where = address.parse(item.address)
        assert where is not None
        fetched = address.fetch(item.release, Path(self.cache), lambda size: task.progress(0, size))
        folder = f"files/{task.index:05d}/{where.folder}"
        root = task.temporary / folder
        root.mkdir(parents=True)
        members = archive.extract(fetched, where.pattern, root)
        for member in members:
            task.new(f"{folder}/{member.name}")
        parts = parts_of([member.size for member in members], item.parts)
        return [
            self._file(f"{where.folder}/{member.name}", root / member.name, member.size, member.sha256,
                       item.first_part + part.first_part, part.wanted)
            | {"product": f"{folder}/{member.name}"}
            for member, part in zip(members, parts, strict=True)
        ]  # fmt: skip

    def _file(
        self, name: str, path: Path, size: int, sha256: str, first_part: int, wanted: Sequence[int]
    ) -> dict[str, Json]:
        cuts = catalog()[self.source.reader].cuts(path, wanted, self.source) if self.source and wanted else []
        return {"name": name, "size": size, "sha256": sha256, "first_part": first_part, "cuts": list(cuts)}


def files_of(acquire: Job, done: Done) -> list[InputFile]:
    """All files of an acquire job, in the order of its items."""
    assert isinstance(acquire, Acquire)
    found = []
    for index, item in enumerate(acquire.items):
        files = done.facts(index)["files"]
        assert isinstance(files, list)
        for file in files:
            assert isinstance(file, dict)
            path = Path(item.path) if isinstance(item, LocalFile) else done.path(str(file["product"]))
            cuts = tuple(int(str(cut)) for cut in file["cuts"])  # type: ignore[union-attr]
            size, first_part = int(str(file["size"])), int(str(file["first_part"]))
            modified = item.modified_ns if isinstance(item, LocalFile) else None
            found.append(InputFile(path, str(file["name"]), size, str(file["sha256"]), modified, first_part, cuts))
    for name, count in Counter(file.name for file in found).items():
        if count > 1:
            raise CorpusError(
                f"{acquire.name}: {count} of its paths give the file {name}; let just one of them match it"
            )
    return found


def shortest_names(paths: Sequence[Path]) -> list[str]:
    """For each path the shortest end that no other path of the list has; no machine's folders stand in a corpus."""
    depth, names = [1] * len(paths), [path.name for path in paths]
    while True:
        counts = Counter(names)
        clashing = [
            index for index, name in enumerate(names) if counts[name] > 1 and depth[index] < len(paths[index].parts)
        ]
        if not clashing:
            return names
        for index in clashing:
            depth[index] += 1
            names[index] = "/".join(paths[index].parts[-depth[index] :])
