"""Tensor files of a checkpoint: safetensors reads them, and any split into pieces loads."""

import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from corpus.errors import InputError
from trainer.engine.checkpoint_state import FileState
from trainer.engine.checkpoint_store import TensorReader, TensorWriter

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
DTYPES = [
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
EXTENTS = st.lists(st.integers(1, 5), max_size=3)


def filled(shape: list[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor with different elements, as far as the type allows."""
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def write(folder: Path, tensors: dict[str, Tensor]) -> dict[str, FileState]:
    files: dict[str, FileState] = {}
    writer = TensorWriter(folder, lambda: None, files.update)
    save(dict(tensors), storage_writer=writer, planner=DefaultSavePlanner(flatten_state_dict=False), no_dist=True)
    return files


def read(reader: TensorReader, names_and_shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {name: torch.full_like(each, 1) for name, each in names_and_shapes.items()}
    load(dict(found), storage_reader=reader, planner=DefaultLoadPlanner(flatten_state_dict=False), no_dist=True)
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(EXTENTS, st.sampled_from(DTYPES), st.booleans()), min_size=1, max_size=5))
def test_tensors_round_trip_and_safetensors_reads_the_file(
    made: list[tuple[list[int], torch.dtype, bool]],
) -> None:
    tensors = {
        f"layer.{index}": filled(shape, dtype).T if turned and len(shape) == 2 else filled(shape, dtype)
        for index, (shape, dtype, turned) in enumerate(made)
    }
    with TemporaryDirectory() as temporary:
        files = write(Path(temporary), tensors)
        assert {path.name: path.stat().st_size for path in Path(temporary).iterdir()} == {
            name: each.bytes for name, each in files.items()
        }
        ours = read(TensorReader(Path(temporary), files), tensors)
        (file,) = files
        theirs = load_file(Path(temporary) / file)
        raw = (Path(temporary) / file).read_bytes()
        for name, each in tensors.items():
            assert ours[name].dtype == theirs[name].dtype == each.dtype
            assert torch.equal(ours[name], each) and torch.equal(theirs[name], each)
            header_bytes = int.from_bytes(raw[:8], "little")
            begin = json.loads(raw[8 : 8 + header_bytes])[name]["data_offsets"][0]
            assert (8 + header_bytes + begin) % each.dtype.itemsize == 0, "aligned, for readers that map it"


def piece_file(path: Path, tensors: dict[str, Tensor], pieces: dict[str, dict[str, list[int]]]) -> None:
    save_file(tensors, path, metadata={"format_version": "1", "pieces": json.dumps(pieces)})


def in_rows(folder: Path, whole_RC: Tensor, bounds: list[int]) -> list[str]:
    """Write one file for each non-empty range of rows, as several processes would."""
    files = []
    for rank, (begin, end) in enumerate(pairwise(bounds)):
        if begin < end:
            piece = {"offset": [begin, 0], "size": list(whole_RC.shape)}
            piece_file(folder / f"{rank}.safetensors", {"w": whole_RC[begin:end].contiguous()}, {"w": piece})
            files.append(f"{rank}.safetensors")
    return files


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.lists(st.integers(0, 9), max_size=4))
def test_any_split_into_rows_loads(rows: int, columns: int, cuts: list[int]) -> None:
    whole_RC = filled([rows, columns], torch.float32)
    bounds = sorted([0, rows, *(cut for cut in cuts if cut <= rows)])
    with TemporaryDirectory() as temporary:
        files = in_rows(Path(temporary), whole_RC, bounds)
        assert torch.equal(read(TensorReader(Path(temporary), files), {"w": whole_RC})["w"], whole_RC)
        if len(files) > 1:
            with pytest.raises(InputError, match=r"the pieces of w do not add up to its size"):
                TensorReader(Path(temporary), files[1:])


@pytest.mark.parametrize(
    ("piece", "told"),
    [
        ({"offset": [1, 0], "size": [4, 3]}, "do not add up"),
        ({"offset": [3, 0], "size": [4, 3]}, "lies outside its size"),
        ({"offset": [0], "size": [2]}, "lies outside its size"),
        ({"offset": [-1, 0], "size": [2, 3]}, "does not say where"),
        ({"offset": [0, 0], "size": [2, 3], "code": "x"}, "does not say where"),
        ({"offset": [0, 0], "size": [2, 2**63]}, "does not say where"),
    ],
)
def test_a_piece_outside_its_tensor_is_refused(tmp_path: Path, piece: dict[str, list[int]], told: str) -> None:
    piece_file(tmp_path / "a.safetensors", {"w": torch.zeros(2, 3)}, {"w": piece})
    with pytest.raises(InputError, match=told):
        TensorReader(tmp_path, ["a.safetensors"])


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    half = {"w": {"offset": [0], "size": [4]}}
    piece_file(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, half)
    for other in (half, {"w": {"offset": [2], "size": [5]}}):
        piece_file(tmp_path / "b.safetensors", {"w": torch.zeros(2)}, other)
        with pytest.raises(InputError, match=r"w in b.safetensors contradicts the other files"):
            TensorReader(tmp_path, ["a.safetensors", "b.safetensors"])


def test_a_file_of_another_version_or_without_pieces_is_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="format_version none; this release reads 1"):
        TensorReader(tmp_path, ["a.safetensors"])
    piece_file(tmp_path / "a.safetensors", {"w": torch.zeros(2)}, {})
    with pytest.raises(InputError, match="does not say where its tensors belong"):
        TensorReader(tmp_path, ["a.safetensors"])
