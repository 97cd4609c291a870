"""Tensors of a checkpoint: one safetensors file per process, as a storage of `torch.distributed.checkpoint`.

Torch's own format keeps a pickle beside the data, and its safetensors storage guesses a tensor's size from the pieces
it finds. Here nothing is unpickled, and each file states which piece of which tensor it holds: a piece is stored under
its tensor's name, and the metadata entry `pieces` is JSON with each piece's offset and the size of the whole tensor.
Any safetensors reader opens the files.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from corpus.errors import InputError
from corpus.settings import Strict
from corpus.store.products import sha256_file
from trainer.engine.checkpoint_state import REMEDY
from trainer.errors import TrainerError

FORMAT_VERSION = "1"
SUFFIX = ".safetensors"
Extent = Annotated[int, Field(ge=0, lt=2**62)]
Extents = tuple[int, ...]  # by dimension


class _PieceHeader(Strict):
    """Offset of a piece in its tensor, and the tensor's size."""

    offset: Annotated[list[Extent], Field(max_length=8)]
    size: Annotated[list[Extent], Field(max_length=8)]


_PIECES = TypeAdapter(dict[str, _PieceHeader])


class WrittenFile(NamedTuple):
    """A file written by one process."""

    name: str
    bytes: int
    sha256: str


class TensorWriter(StorageWriter):
    """Writes the pieces of each process into its own file in `folder`. One writer serves one save.

    The first process calls `prepare` before anyone writes, and `publish` with all files after everyone has written. An
    exception in either, or in the writing of any process, fails the save on all processes.
    """

    def __init__(
        self, folder: Path, prepare: Callable[[], None], publish: Callable[[Mapping[str, WrittenFile]], None]
    ) -> None:
        self.folder = folder
        self._prepare = prepare
        self._publish = publish

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer is not reused."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        """Prepare the folder on the first process; the others wait for its plan."""
        if is_coordinator:
            self._prepare()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Drop empty pieces: a tensor with fewer rows than processes leaves some without."""
        return dataclasses.replace(plan, items=[item for item in plan.items if math.prod(_chunk(item).sizes)])

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Name the file of each process."""
        return [
            dataclasses.replace(plan, storage_data=f"tensors-{rank:05d}-of-{len(plans):05d}{SUFFIX}")
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> "Future[list[WriteResult]]":
        """Write and fsync the file of this process; none if it has no pieces."""
        done: Future[list[WriteResult]] = Future()
        results = []
        if plan.items:
            written = _write(self.folder / str(plan.storage_data), plan.items, planner)
            results = [WriteResult(item.index, 0, written) for item in plan.items]
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Publish on the first process, if it sees the files of all processes."""
        files = {result.storage_data.name: result.storage_data for of_rank in results for result in of_rank}
        for name, written in files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != written.bytes:
                raise TrainerError(
                    f"{path}: written by another process, but not visible here; the run folder must be on a disk that "
                    "all machines share"
                )
        self._publish(files)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Return False: writers are not looked up by a name."""
        return False


def _chunk(item: WriteItem) -> ChunkStorageMetadata:
    assert item.tensor_data is not None, f"{item.index.fqn}: only tensors are saved"
    return item.tensor_data.chunk


def _write(path: Path, items: Iterable[WriteItem], planner: SavePlanner) -> WrittenFile:
    tensors: dict[str, Tensor] = {}
    pieces: dict[str, dict[str, list[int]]] = {}
    for item in items:
        name, tensor = item.index.fqn, planner.resolve_data(item)
        assert name not in tensors, f"two pieces of {name} in one process"
        assert isinstance(tensor, Tensor) and item.tensor_data is not None
        tensors[name] = tensor.detach().cpu().contiguous()
        pieces[name] = {"offset": list(_chunk(item).offsets), "size": list(item.tensor_data.size)}
    save_file(tensors, path, {"format": "pt", "format_version": FORMAT_VERSION, "pieces": json.dumps(pieces)})
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return WrittenFile(path.name, path.stat().st_size, sha256_file(path))


class StoredTensor(NamedTuple):
    """A tensor in the files: its pieces by offset, each as a file and the piece's size."""

    dtype: torch.dtype
    size: Extents
    pieces: dict[Extents, tuple[str, Extents]]


class TensorReader(StorageReader):
    """Reads pieces from the named files in `folder`, written by any number of processes, and no other file.

    Raises InputError if the files are damaged, or if they do not hold each tensor exactly once.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        self.folder = folder
        self.tensors: dict[str, StoredTensor] = {}
        for file in sorted(files):
            try:
                self._read_header(file)
            except ValidationError:
                raise self._damaged(f"{file} does not say where its tensors belong") from None
            except (OSError, SafetensorError) as error:
                raise self._damaged(f"{file} fails: {error}") from None
        for name, tensor in self.tensors.items():
            if sum(math.prod(extent) for _, extent in tensor.pieces.values()) != math.prod(tensor.size):
                raise self._damaged(f"the pieces of {name} do not add up to its size {list(tensor.size)}")

    def _read_header(self, file: str) -> None:
        with safe_open(self.folder / file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            version = metadata.get("format_version", "none")
            if version != FORMAT_VERSION:
                raise self._damaged(f"{file} has format_version {version}; this release reads {FORMAT_VERSION}")
            pieces = _PIECES.validate_json(metadata.get("pieces", ""))
            if set(pieces) != set(opened.keys()):
                raise self._damaged(f"{file} does not say where its tensors belong")
            for name, piece in pieces.items():
                self._add_piece(file, name, piece, opened.get_tensor(name))  # maps the file, and reads nothing yet

    def _add_piece(self, file: str, name: str, piece: _PieceHeader, data: Tensor) -> None:
        offset, size, extent = tuple(piece.offset), tuple(piece.size), tuple(data.shape)
        if not len(offset) == len(size) == len(extent) or any(
            begin + length > limit for begin, length, limit in zip(offset, extent, size, strict=True)
        ):
            raise self._damaged(f"a piece of {name} in {file} lies outside its size {list(size)}")
        stored = self.tensors.setdefault(name, StoredTensor(data.dtype, size, {}))
        if (stored.dtype, stored.size) != (data.dtype, size) or offset in stored.pieces:
            raise self._damaged(f"{name} in {file} contradicts the other files")
        stored.pieces[offset] = file, extent

    def _damaged(self, problem: str) -> InputError:
        return InputError(f"{self.folder}: damaged checkpoint: {problem}; {REMEDY}")

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a reader is not reused."""

    def read_metadata(self, *args: object, **kwargs: object) -> Metadata:
        """Describe the stored tensors to `torch.distributed.checkpoint`."""
        return Metadata(
            {
                name: TensorStorageMetadata(
                    TensorProperties(dtype=tensor.dtype),
                    torch.Size(tensor.size),
                    [
                        ChunkStorageMetadata(torch.Size(offset), torch.Size(extent))
                        for offset, (_, extent) in tensor.pieces.items()
                    ],
                )
                for name, tensor in self.tensors.items()
            }
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        """Do nothing: the headers are read already."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Return the plan unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans unchanged."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> "Future[None]":
        """Copy the requested parts of tensors into place; only those are read from disk."""
        by_file: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            index = item.storage_index
            assert index.offset is not None
            by_file.setdefault(self.tensors[index.fqn].pieces[tuple(index.offset)][0], []).append(item)
        for file, items in by_file.items():
            with safe_open(self.folder / file, framework="pt") as opened:
                for item in items:
                    name = item.storage_index.fqn
                    ranges = zip(item.storage_offsets, item.lengths, strict=True)
                    part = tuple(slice(begin, begin + length) for begin, length in ranges)
                    data = opened.get_slice(name)[part] if part else opened.get_tensor(name)  # a scalar has no slice
                    target = planner.resolve_tensor(item).detach()
                    assert target.shape == data.shape and target.dtype == data.dtype, name
                    target.copy_(data)
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Return False: readers are not looked up by a name."""
        return False
