"""Checkpoints: everything a run continues from, on any number of processes.

    checkpoints = Checkpoints(training.folder / "checkpoints", distributed, keep=2, background=True)
    if path := checkpoints.latest():
        state = checkpoints.load(path, model, optimizer)
    checkpoints.save(state, model, optimizer, last_of_phase=False)
    checkpoints.wait()

A checkpoint is a folder `step-00001234` with tensors (checkpoint_store.py) and state.json (checkpoint_state.py). It is
written as `.tmp-step-00001234`, synced to disk and then renamed, so a folder with the final name is complete. A second
checkpoint of the same step is `step-00001234-2`; a run stopped before the first step of a phase makes one. Settings
such as the learning rate are not saved: they come from train.yaml. Nothing is unpickled.
"""

import itertools
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as dicts
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save
from torch.optim import Optimizer

from corpus.errors import CorpusError, InputError
from corpus.store.products import fsync_folder, sha256_file
from trainer.engine.checkpoint_state import REMEDY, STATE_FILE, CheckpointState, FileState, parse_state, read_state
from trainer.engine.checkpoint_store import StoredTensor, TensorReader, TensorWriter, WrittenFile
from trainer.engine.distributed import CONTROL_TIMEOUT, Distributed, gathered
from trainer.errors import TrainerError

TEMPORARY = ".tmp-"
MAX_DIFFERENCES = 5  # lines of an error message
_NAME = re.compile(r"step-([0-9]{8,15})(?:-([0-9]{1,9}))?", re.ASCII)


class _CheckpointFolder(NamedTuple):
    """A checkpoint; sorts from the oldest to the newest."""

    step: int
    number: int  # 1, 2, … among the checkpoints of this step
    path: Path


class Checkpoints:
    """Checkpoints of one run, in `folder`. All processes create this object, save, load and wait together.

    The ends of phases stay, and the last `keep` others. Saving in the background copies all tensors in memory, and
    writes them while training continues.
    """

    def __init__(self, folder: Path, distributed: Distributed, keep: int, background: bool) -> None:
        self.folder, self._distributed = folder, distributed
        self._keep, self._background = keep, background
        self._pending: tuple[str, Future[Metadata] | Future[None]] | None = None  # name, and the save in the background
        # A group of its own, because a save in the background communicates at the same time as the training thread.
        self._group = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT) if distributed.world > 1 else None
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)  # one process

    def save(self, state: CheckpointState, model: nn.Module, optimizer: Optimizer, *, last_of_phase: bool) -> None:
        """Save the current tensors, after an earlier save has finished.

        Raises TrainerError on all processes if this save or the earlier one fails on any.
        """
        self.wait()
        state = state.model_copy(update={"phase_done": last_of_phase, "files": {}}, deep=True)
        name = _name(state.step, 1)
        temporary = self.folder / f"{TEMPORARY}{name}"
        tensors: dict[str, object] = {**_model_tensors(model)}
        if optimizer.state:  # `get_optimizer_state_dict` would take a first step to create it
            tensors |= _optimizer_tensors(dicts.get_optimizer_state_dict(model, optimizer))
        writer = TensorWriter(
            temporary, lambda: self._prepare(temporary), lambda files: self._publish(temporary, state, files)
        )
        planner = DefaultSavePlanner(flatten_state_dict=False)
        alone = self._group is None
        with self._save_errors(name):
            if self._background:
                pending = async_save(
                    tensors, storage_writer=writer, planner=planner, process_group=self._group, no_dist=alone
                )
                self._pending = name, pending if isinstance(pending, Future) else pending.upload_completion
            else:
                save(tensors, storage_writer=writer, planner=planner, process_group=self._group, no_dist=alone)

    def wait(self) -> None:
        """Wait for a save in the background. Raises TrainerError on all processes if it failed on any."""
        if self._pending is not None:
            (name, pending), self._pending = self._pending, None
            with self._save_errors(name):
                pending.result()

    @property
    def failed(self) -> bool:
        """True if a save in the background has failed on this process; `wait` then raises on all."""
        pending = self._pending[1] if self._pending else None
        return pending is not None and pending.done() and pending.exception() is not None

    def latest(self) -> Path | None:
        """Return the newest checkpoint, if there is one."""
        folders = self._folders()
        return folders[-1].path if folders else None

    def of_step(self, step: int) -> Path | None:
        """Return the newest checkpoint of this step, if there is one."""
        return next((folder.path for folder in reversed(self._folders()) if folder.step == step), None)

    def load(self, path: Path, model: nn.Module, optimizer: Optimizer | None) -> CheckpointState:
        """Load the weights and, if an optimizer is given, its moments and step, into the current sharding.

        Raises InputError if the checkpoint is damaged or of another model.
        """
        state = read_state(path)
        self._check_hashes(path, state)
        reader = TensorReader(path, state.files)
        weights = _model_tensors(model)
        tensors: dict[str, object] = {**weights}
        moments: dicts.OptimizerStateType = {}
        if optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            if any(name.startswith("optimizer.") for name in reader.tensors):
                moments = dicts.get_optimizer_state_dict(model, optimizer)
                tensors |= _optimizer_tensors(moments)
            else:
                optimizer.state.clear()  # saved before the first step
        stored = {name: tensor for name, tensor in reader.tensors.items() if optimizer or name.startswith("model.")}
        _check_same_tensors(path, tensors, stored)
        planner = DefaultLoadPlanner(flatten_state_dict=False)
        try:
            load(
                tensors,
                storage_reader=reader,
                planner=planner,
                process_group=self._group,
                no_dist=self._group is None,
            )
        except CheckpointException as error:
            raise _first_failure(f"{path}: the checkpoint could not be read", error) from error
        dicts.set_model_state_dict(model, {name.removeprefix("model."): tensor for name, tensor in weights.items()})
        if optimizer is not None and moments:
            dicts.set_optimizer_state_dict(model, optimizer, moments)
        return state

    def _check_hashes(self, path: Path, state: CheckpointState) -> None:
        """Hash each file on one of the processes, and raise the same InputError on all."""
        files_here = sorted(state.files)[self._distributed.rank :: self._distributed.world]
        damaged_here = [name for name in files_here if sha256_file(path / name) != state.files[name].sha256]
        messages = gathered(self._distributed, json.dumps(damaged_here))
        if damaged := [name for message in messages for name in json.loads(message)]:
            raise InputError(f"{path}: damaged checkpoint: {', '.join(damaged)} differs from what was saved; {REMEDY}")

    def _prepare(self, temporary: Path) -> None:
        """Make an empty temporary folder, on the first process before anyone writes, and remove leftovers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{TEMPORARY}*"):
            _remove(leftover)
        if os.path.lexists(temporary):  # removing it failed; all processes expect to write under this name
            temporary.rename(self._leftover_name(temporary.name.removeprefix(TEMPORARY)))
        temporary.mkdir()

    def _publish(self, temporary: Path, state: CheckpointState, files: Mapping[str, WrittenFile]) -> None:
        """Complete the checkpoint, on the first process after all have written, and remove old ones."""
        hashes = {name: FileState(bytes=file.bytes, sha256=file.sha256) for name, file in sorted(files.items())}
        state = state.model_copy(update={"files": hashes})
        text = json.dumps(state.model_dump(), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        with (temporary / STATE_FILE).open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(temporary)
        last = max((folder.number for folder in self._folders() if folder.step == state.step), default=0)
        path = self.folder / _name(state.step, last + 1)
        temporary.rename(path)
        fsync_folder(self.folder)
        self._prune(path)

    def _prune(self, written: Path) -> None:
        """Remove checkpoints beyond `keep`, and older ones of the same position."""
        positions, within_phases = set(), 0
        for folder in reversed(self._folders()):
            try:
                state = parse_state(folder.path)
            except InputError:
                continue  # unreadable: leave it to the user
            position = (state.step, state.phase, state.phase_done)
            repeated = position in positions
            positions.add(position)
            within_phases += not repeated and not state.phase_done
            old = within_phases > self._keep and not state.phase_done
            if folder.path != written and (repeated or old):
                leftover = self._leftover_name(folder.path.name)
                with suppress(OSError):  # the save succeeded; the next one tries again
                    folder.path.rename(leftover)  # no longer a checkpoint, however long the removal takes
                    _remove(leftover)

    def _leftover_name(self, name: str) -> Path:
        """Return a free name for a folder that is to be removed: an earlier removal may have failed."""
        numbered = (self.folder / f"{TEMPORARY}left-{name}-{number}" for number in itertools.count(1))
        return next(path for path in numbered if not os.path.lexists(path))

    def _folders(self) -> list[_CheckpointFolder]:
        paths = self.folder.iterdir() if self.folder.is_dir() else []
        matches = ((_NAME.fullmatch(path.name), path) for path in paths)
        return sorted(
            _CheckpointFolder(int(match[1]), int(match[2] or 1), path)
            for match, path in matches
            if match and path.is_dir()
        )

    @contextmanager
    def _save_errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except (CheckpointException, CorpusError, OSError, RuntimeError) as error:
            message = f"{self.folder / name}: the checkpoint could not be saved; earlier ones are untouched"
            raise _first_failure(message, error) from error


def _name(step: int, number: int) -> str:
    return f"step-{step:08d}" + (f"-{number}" if number > 1 else "")


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": _tensor(value) for name, value in dicts.get_model_state_dict(model).items()}


def _optimizer_tensors(moments: Mapping[str, object]) -> dict[str, Tensor]:
    by_parameter = moments["state"]
    assert isinstance(by_parameter, dict)
    return {
        f"optimizer.{name}.{key}": _tensor(value)
        for name, values in by_parameter.items()
        for key, value in values.items()
    }


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor), "only tensors are saved"
    return value


def _check_same_tensors(path: Path, tensors: Mapping[str, object], stored: Mapping[str, StoredTensor]) -> None:
    """Raise InputError unless both have tensors of the same names, sizes and types."""
    current = {name: f"{list(_tensor(value).shape)} {_tensor(value).dtype}" for name, value in tensors.items()}
    saved = {name: f"{list(tensor.size)} {tensor.dtype}" for name, tensor in stored.items()}
    different = [name for name in sorted({*current, *saved}) if current.get(name) != saved.get(name)]
    if different:
        lines = [
            f"  {name}: {saved.get(name, 'none')} in the checkpoint, {current.get(name, 'none')} in the model"
            for name in different[:MAX_DIFFERENCES]
        ]
        if len(different) > MAX_DIFFERENCES:
            lines.append(f"  and {len(different) - MAX_DIFFERENCES} more")
        message = (
            f"{path}: the checkpoint is of another model; use the settings it was trained with, or start another run"
        )
        raise InputError("\n".join([message, *lines]))


def _first_failure(message: str, error: BaseException) -> TrainerError:
    """Return the failure of the lowest rank, in one line. Requests to stop, such as Ctrl-C, are raised as they are."""
    cause = str(error)
    if isinstance(error, CheckpointException):
        rank, (failure, _) = min(error.failures.items())
        if not isinstance(failure, Exception):
            raise failure
        cause = f"process {rank}: {failure or type(failure).__name__}"
    return TrainerError(f"{message}: {cause}")


def _remove(path: Path) -> None:
    """Remove a leftover if possible. Over NFS, a file that is open keeps its folder; the next save tries again."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
