"""The tensors of a checkpoint: safetensors files, one a process, for `torch.distributed.checkpoint`.

Its own file format keeps a pickle beside the data, and its safetensors format guesses a tensor's size from the pieces
it finds; here nothing is unpickled, and each file says which piece of which tensor it holds. A piece stands under its
tensor's name; `__metadata__.pieces` is JSON: by name, the whole tensor's size and where the piece begins in it.
Any reader of safetensors opens the files.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from corpus.errors import InputError
from trainer.errors import TrainerError

FORMAT_VERSION = "1"
SUFFIX = ".safetensors"
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_TORCH_DTYPES = {name: dtype for dtype, name in _DTYPES.items()}
Extent = Annotated[int, Field(ge=0, lt=2**62)]


class _Piece(BaseModel):
    """Where a piece begins in its tensor, and that tensor's size."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    offset: Annotated[list[Extent], Field(max_length=8)]
    size: Annotated[list[Extent], Field(max_length=8)]


_PIECES = TypeAdapter(dict[str, _Piece])


class Written(NamedTuple):
    """A file that a process wrote."""

    name: str
    bytes: int
    sha256: str


class Writer(StorageWriter):
    """Writes each process's pieces into a file of its own, below `folder`.

    On the first process, `prepare` is called before anyone writes, and `finish` with all files after everyone has.
    An exception in either, or in any process's writing, ends the save on all of them.
    """

    def __init__(
        self, folder: Path, prepare: Callable[[], None], finish: Callable[[Mapping[str, Written]], None]
    ) -> None:
        self.folder = folder
        self._prepare = prepare
        self._finish = finish

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """One writer serves one save."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        """Called on all processes before the plan is made; it is shared only once all are through."""
        if is_coordinator:
            self._prepare()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As it is, less the empty pieces: a tensor of fewer rows than processes leaves some without."""
        items = [item for item in plan.items if math.prod(_written(item).chunk.sizes)]
        return dataclasses.replace(plan, items=items)

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Gives each process the name of its file."""
        return [
            dataclasses.replace(plan, storage_data=f"tensors-{rank:05d}-of-{len(plans):05d}{SUFFIX}")
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> "Future[list[WriteResult]]":
        """Writes and fsyncs this process's file; none if it has no piece to save."""
        done: Future[list[WriteResult]] = Future()
        results = []
        if plan.items:
            path = self.folder / str(plan.storage_data)
            written = _write(path, plan.items, planner)
            results = [WriteResult(item.index, 0, written) for item in plan.items]
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Hands over what was written, once it is seen to be there."""
        files = {result.storage_data.name: result.storage_data for each in results for result in each}
        for name, written in files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != written.bytes:
                told = f"{path}: a process wrote this file, and it is not seen here"
                raise TrainerError(f"{told}; the run folder must lie on a disk that all machines share")
        self._finish(files)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """A writer is made for its folder; none is found by name."""
        return False


def _written(item: WriteItem) -> "_Tensor":
    data = item.tensor_data
    assert data is not None, f"{item.index.fqn}: only tensors are saved"
    return _Tensor(data.chunk, data.properties.dtype, data.size)


class _Tensor(NamedTuple):
    chunk: ChunkStorageMetadata
    dtype: torch.dtype
    size: torch.Size


def _write(path: Path, items: Iterable[WriteItem], planner: SavePlanner) -> Written:
    """Writes a safetensors file, a tensor at a time, and fsyncs it. Source: safetensors' format."""
    ordered = sorted(items, key=lambda item: (-_written(item).dtype.itemsize, item.index.fqn))  # so that all is aligned
    header: dict[str, object] = {}
    pieces, end = {}, 0
    for item in ordered:
        (chunk, dtype, size), name = _written(item), item.index.fqn
        assert name not in pieces, f"two pieces of {name} in one process"
        begin, end = end, end + math.prod(chunk.sizes) * dtype.itemsize
        header[name] = {"dtype": _DTYPES[dtype], "shape": list(chunk.sizes), "data_offsets": [begin, end]}
        pieces[name] = {"offset": list(chunk.offsets), "size": list(size)}
    header["__metadata__"] = {"format": "pt", "format_version": FORMAT_VERSION, "pieces": json.dumps(pieces)}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:

        def write(data: bytes | memoryview) -> None:
            digest.update(data)
            file.write(data)

        write(len(raw).to_bytes(8, "little") + raw)
        for item in ordered:
            tensor = planner.resolve_data(item)
            assert isinstance(tensor, Tensor) and tuple(tensor.shape) == tuple(_written(item).chunk.sizes)
            write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())
    assert path.stat().st_size == 8 + len(raw) + end
    return Written(path.name, 8 + len(raw) + end, digest.hexdigest())


class Stored(NamedTuple):
    """A tensor as it lies in the files: its type and size, and the file of each piece by where the piece begins."""

    dtype: torch.dtype
    size: tuple[int, ...]
    pieces: dict[tuple[int, ...], tuple[str, tuple[int, ...]]]  # (file, size of the piece)


class Reader(StorageReader):
    """Reads pieces from the named files below `folder`, whatever number of processes wrote them, and nothing else.

    Raises InputError if they are damaged, or do not hold each tensor exactly once.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        self.folder = folder
        self.tensors: dict[str, Stored] = {}
        for file in sorted(files):
            self._look_into(file)
        for name, (_, size, pieces) in self.tensors.items():
            if sum(math.prod(extent) for _, extent in pieces.values()) != math.prod(size):
                raise self._damaged(f"the pieces of {name} do not add up to its size {list(size)}")

    def _look_into(self, file: str) -> None:
        try:
            with safe_open(self.folder / file, framework="pt") as opened:
                metadata = opened.metadata() or {}
                if metadata.get("format_version") != FORMAT_VERSION:
                    found = metadata.get("format_version", "none")
                    raise self._damaged(f"{file} has format_version {found}; this release reads {FORMAT_VERSION}")
                pieces = _PIECES.validate_json(metadata.get("pieces", ""))
                if set(pieces) != set(opened.keys()):
                    raise self._damaged(f"{file} does not say where its tensors belong")
                for name, piece in pieces.items():
                    held = opened.get_slice(name)
                    self._take(file, name, piece, tuple(held.get_shape()), held.get_dtype())
        except (OSError, SafetensorError, ValidationError) as error:
            why = "does not say where its tensors belong" if isinstance(error, ValidationError) else f"fails: {error}"
            raise self._damaged(f"{file} {why}") from None

    def _take(self, file: str, name: str, piece: _Piece, extent: tuple[int, ...], dtype: str) -> None:
        offset, size = tuple(piece.offset), tuple(piece.size)
        if dtype not in _TORCH_DTYPES:
            raise self._damaged(f"{name} in {file} is of type {dtype}")
        if not len(offset) == len(size) == len(extent) or any(
            begin + length > whole for begin, length, whole in zip(offset, extent, size, strict=True)
        ):
            raise self._damaged(f"a piece of {name} in {file} lies outside its size {list(size)}")
        stored = self.tensors.setdefault(name, Stored(_TORCH_DTYPES[dtype], size, {}))
        if (stored.dtype, stored.size) != (_TORCH_DTYPES[dtype], size) or offset in stored.pieces:
            raise self._damaged(f"{name} in {file} contradicts the other files")
        stored.pieces[offset] = file, extent

    def _damaged(self, told: str) -> InputError:
        return InputError(f"{self.folder}: damaged checkpoint: {told}; remove it to go on from the one before it")

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """One reader serves one folder."""

    def read_metadata(self, *args: object, **kwargs: object) -> Metadata:
        """What the files hold, in the words of `torch.distributed.checkpoint`."""
        return Metadata(
            {
                name: TensorStorageMetadata(
                    TensorProperties(dtype=dtype),
                    torch.Size(size),
                    [
                        ChunkStorageMetadata(torch.Size(offset), torch.Size(extent))
                        for offset, (_, extent) in pieces.items()
                    ],
                )
                for name, (dtype, size, pieces) in self.tensors.items()
            }
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        """Nothing is left to do."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> "Future[None]":
        """Copies what is asked for into place; of the files it maps, only that is read."""
        by_file: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            by_file.setdefault(self._piece(item.storage_index)[0], []).append(item)
        for file, items in by_file.items():
            with safe_open(self.folder / file, framework="pt") as opened:
                for item in items:
                    name = item.storage_index.fqn
                    begins = zip(item.storage_offsets, item.lengths, strict=True)
                    place = tuple(slice(begin, begin + length) for begin, length in begins)
                    piece = opened.get_slice(name)[place] if place else opened.get_tensor(name)
                    target = planner.resolve_tensor(item).detach()
                    assert target.shape == piece.shape and target.dtype == piece.dtype, name
                    target.copy_(piece)
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _piece(self, index: MetadataIndex) -> tuple[str, tuple[int, ...]]:
        assert index.offset is not None
        return self.tensors[index.fqn].pieces[tuple(index.offset)]

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """A reader is made for its folder; none is found by name."""
        return False
