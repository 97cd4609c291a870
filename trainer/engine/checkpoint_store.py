"""Tensors of a checkpoint: one safetensors file per process, as a storage of `torch.distributed.checkpoint`.

Torch's own format keeps a pickle beside the data, and its safetensors storage guesses a tensor's size from the pieces
it finds. Here nothing is unpickled, and each file states which piece of which tensor it holds: a piece is stored under
its tensor's name, and the metadata entry `pieces` is JSON with each piece's offset and the size of the whole tensor.
Any safetensors reader opens the files.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import torch.distributed.checkpoint as dcp
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.metadata import MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from corpus.errors import InputError
from corpus.settings import Strict
from corpus.store.products import sha256_file
from trainer.engine.checkpoint_state import REMEDY, FileState
from trainer.errors import TrainerError

FORMAT_VERSION = "1"
SUFFIX = ".safetensors"
Extent = Annotated[int, Field(ge=0, lt=2**62)]


class _PieceHeader(Strict):
    """Offset of a piece in its tensor, and the tensor's size."""

    offset: Annotated[list[Extent], Field(max_length=8)]
    size: Annotated[list[Extent], Field(max_length=8)]


_PIECES = TypeAdapter(dict[str, _PieceHeader])


@dataclass
class TensorWriter(dcp.StorageWriter):
    """Writes the pieces of each process into its own file in `folder`. One writer serves one save.

    The first process calls `prepare` before anyone writes, and `publish` with all files after everyone has written. An
    exception in either, or in the writing of any process, fails the save on all processes.
    """

    folder: Path
    prepare: Callable[[], None]
    publish: Callable[[Mapping[str, FileState]], None]

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: a writer is not reused."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: object, **kwargs: object) -> None:
        """Prepare the folder on the first process; the others wait for its plan."""
        if is_coordinator:
            self.prepare()

    def prepare_local_plan(self, plan: dcp.SavePlan) -> dcp.SavePlan:
        """Drop empty pieces: a tensor with fewer rows than processes leaves some without."""
        return replace(plan, items=[item for item in plan.items if math.prod(_tensor_data(item).chunk.sizes)])

    def prepare_global_plan(self, plans: list[dcp.SavePlan]) -> list[dcp.SavePlan]:
        """Name the file of each process."""
        return [
            replace(plan, storage_data=f"tensors-{rank:05d}-of-{len(plans):05d}{SUFFIX}")
            for rank, plan in enumerate(plans)
        ]

    def write_data(self, plan: dcp.SavePlan, planner: dcp.SavePlanner) -> "Future[list[WriteResult]]":
        """Write and fsync the file of this process; none if it has no pieces."""
        done: Future[list[WriteResult]] = Future()
        results = []
        if plan.items:
            file = str(plan.storage_data)
            written = file, _write(self.folder / file, plan.items, planner)
            results = [WriteResult(item.index, 0, written) for item in plan.items]
        done.set_result(results)
        return done

    def finish(self, metadata: dcp.Metadata, results: list[list[WriteResult]]) -> None:
        """Publish on the first process, if it sees the files of all processes."""
        files: dict[str, FileState] = dict(result.storage_data for of_rank in results for result in of_rank)
        for name, written in files.items():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != written.bytes:
                raise TrainerError(
                    f"{path}: written by another process, but not visible here; the run folder must be on a disk that "
                    "all machines share"
                )
        self.publish(files)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Return False: writers are not looked up by a name."""
        return False


def _tensor_data(item: dcp.WriteItem) -> TensorWriteData:
    assert item.tensor_data is not None, f"{item.index.fqn}: only tensors are saved"
    return item.tensor_data


def _write(path: Path, items: Iterable[dcp.WriteItem], planner: dcp.SavePlanner) -> FileState:
    tensors: dict[str, Tensor] = {}
    pieces: dict[str, dict[str, list[int]]] = {}
    for item in items:
        name, tensor, data = item.index.fqn, planner.resolve_data(item), _tensor_data(item)
        assert name not in tensors, f"two pieces of {name} in one process"
        assert isinstance(tensor, Tensor)
        tensors[name] = tensor.detach().cpu().contiguous()
        pieces[name] = {"offset": list(data.chunk.offsets), "size": list(data.size)}
    save_file(tensors, path, {"format": "pt", "format_version": FORMAT_VERSION, "pieces": json.dumps(pieces)})
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return FileState(bytes=path.stat().st_size, sha256=sha256_file(path))


class _StoredPiece(NamedTuple):
    """File of a piece, under the name by which torch's reader asks for it."""

    relative_path: str


class TensorReader(dcp.HuggingFaceStorageReader):
    """Reads pieces from the named files in `folder`, written by any number of processes, and no other file.

    Raises InputError if the files are damaged, or if they do not hold each tensor exactly once.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        super().__init__(str(folder))
        self.folder = folder
        self.tensors: dict[str, dcp.TensorStorageMetadata] = {}
        for file in sorted(files):
            try:
                self._read_header(file)
            except ValidationError:
                raise self._damaged(f"{file} does not say where its tensors belong") from None
            except (OSError, SafetensorError) as error:
                raise self._damaged(f"{file} fails: {error}") from None
        for name, tensor in self.tensors.items():
            if sum(math.prod(piece.sizes) for piece in tensor.chunks) != math.prod(tensor.size):
                raise self._damaged(f"the pieces of {name} do not add up to its size {list(tensor.size)}")

    def read_metadata(self, *args: object, **kwargs: object) -> dcp.Metadata:
        """Describe the stored tensors and their files to `torch.distributed.checkpoint`."""
        return dcp.Metadata(dict(self.tensors), storage_data=self.storage_data)

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

    def _add_piece(self, file: str, name: str, header: _PieceHeader, data: Tensor) -> None:
        size, piece = torch.Size(header.size), dcp.ChunkStorageMetadata(torch.Size(header.offset), data.shape)
        if not len(piece.offsets) == len(size) == len(piece.sizes) or any(
            begin + length > limit for begin, length, limit in zip(piece.offsets, piece.sizes, size, strict=True)
        ):
            raise self._damaged(f"a piece of {name} in {file} lies outside its size {list(size)}")
        stored = self.tensors.setdefault(name, dcp.TensorStorageMetadata(TensorProperties(dtype=data.dtype), size, []))
        index = MetadataIndex(name, piece.offsets)
        if (stored.properties.dtype, stored.size) != (data.dtype, size) or index in self.storage_data:
            raise self._damaged(f"{name} in {file} contradicts the other files")
        stored.chunks.append(piece)
        self.storage_data[index] = _StoredPiece(str(self.folder / file))

    def _damaged(self, problem: str) -> InputError:
        return InputError(f"{self.folder}: damaged checkpoint: {problem}; {REMEDY}")
