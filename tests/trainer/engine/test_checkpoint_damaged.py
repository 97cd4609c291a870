"""Damaged, hostile or mismatched checkpoints give a clear error, and nothing is unpickled."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from corpus.errors import InputError
from corpus.store.products import sha256_file
from tests.trainer.small_run import checkpoints, load, made, saved, state


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = next(path.glob("*.safetensors"))
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(InputError, match=rf"{file.name} has \d+ bytes, not \d+; remove it"):
        load(path)
    file.unlink()
    with pytest.raises(InputError, match=f"missing {file.name}"):
        load(path)


def test_a_single_flipped_bit_is_found(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = next(path.glob("*.safetensors"))
    raw = bytearray(file.read_bytes())
    raw[-9] ^= 1
    file.write_bytes(raw)
    with pytest.raises(InputError, match=f"{file.name} differs from what was saved; remove it"):
        load(path)


def test_a_file_whose_bytes_are_not_tensors_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    file = next(path.glob("*.safetensors"))
    file.write_bytes(b"\xff" * file.stat().st_size)
    stated = json.loads((path / "state.json").read_text())
    stated["files"][file.name]["sha256"] = sha256_file(file)  # even then
    (path / "state.json").write_text(json.dumps(stated))
    with pytest.raises(InputError, match=f"damaged checkpoint: {file.name} fails"):
        load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _: "", "not a checkpoint's state"),
        (lambda _: "[" * 100_000, "not a checkpoint's state"),
        (lambda held: held | {"format_version": 2}, "format_version 2; this release reads up to 1: install a newer"),
        (lambda held: held | {"surprise": 1}, "surprise: Extra inputs"),
        (lambda held: held | {"step": -1}, "step: "),
        (lambda held: held | {"step": "5"}, "step: "),
        (lambda held: held | {"files": {"../../outside.safetensors": {"bytes": 3, "sha256": "0" * 64}}}, "files"),
        (lambda held: held | {"files": {"/etc/passwd": {"bytes": 3, "sha256": "0" * 64}}}, "files"),
        (lambda held: held | {"files": {".metadata": {"bytes": 3, "sha256": "0" * 64}}}, "files"),
        (lambda held: {key: value for key, value in held.items() if key != "corpora"}, "corpora: Field required"),
    ],
)
def test_a_hostile_state_is_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], told: str) -> None:
    path = saved(tmp_path)
    changed = change(json.loads((path / "state.json").read_text()))
    (path / "state.json").write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(InputError, match=told):
        load(path)
    checkpoints(tmp_path, keep=1).save(state(6), *made())
    assert path.exists(), "what cannot be read is not ours to remove"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.mark, "unpickled"))


def test_a_planted_pickle_is_never_read(tmp_path: Path) -> None:
    path, mark = saved(tmp_path / "run"), tmp_path / "mark"
    for name in (".metadata", "__0_0.distcp", "state.pkl", "optimizer.pt"):
        (path / name).write_bytes(pickle.dumps(Bomb(mark)))
    load(path)
    assert not mark.exists()
    pickle.loads((path / ".metadata").read_bytes())
    assert mark.exists(), "the bomb is one"


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model, _ = made()
    model.head = nn.Linear(5, 8, bias=False)
    with pytest.raises(
        InputError, match=r"another model(.|\n)*model.head.weight: \[7, 5\] .* in the checkpoint, \[8, 5\]"
    ):
        checkpoints(tmp_path).load(path, model, torch.optim.AdamW(model.parameters()))
    model, optimizer = made()
    with pytest.raises(InputError, match=r"model.blocks.0.gain: .*float32 in the checkpoint, .*float64 in the model"):
        checkpoints(tmp_path).load(path, model.double(), optimizer)
