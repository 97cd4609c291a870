"""Checkpoints: everything a run continues from, on any number of processes.

    checkpoints = Checkpoints(training.folder / CHECKPOINTS, distributed, keep=2, background=True)
    if path := checkpoints.latest():
        state = checkpoints.load(path, model, optimizer)
    checkpoints.save(state, model, optimizer)
    checkpoints.wait()

A checkpoint is a folder `step-00001234` with tensors (checkpoint_store.py) and state.json (checkpoint_state.py). It is
written as `.tmp-step-00001234`, synced to disk and then renamed, so a folder with the final name is complete. Settings
such as the learning rate are not saved: they come from train.yaml. Nothing is unpickled.
"""

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.optim import Optimizer

from corpus.errors import CorpusError, InputError
from corpus.store.products import fsync_folder, sha256_file, write_text
from trainer.engine.checkpoint_state import REMEDY, STATE_FILE, CheckpointState, FileState, parse_state, read_state
from trainer.engine.checkpoint_store import TensorReader, TensorWriter
from trainer.engine.distributed import CONTROL_TIMEOUT, Distributed, gathered
from trainer.errors import TrainerError

CHECKPOINTS, TEMPORARY = "checkpoints", ".tmp-"
MAX_DIFFERENCES = 5  # lines of an error message
# Earlier releases saved some steps twice; the second checkpoint of a step ends in `-2`.
_NAME = re.compile(r"step-([0-9]{8,15})(?:-([0-9]{1,9}))?", re.ASCII)


class Checkpoints:
    """Checkpoints of one run, in `folder`. All processes create this object, save, load and wait together.

    The ends of phases stay, the last `keep` others, and the first at or after each multiple of `keep_every_steps`.
    Saving in the background copies all tensors in memory, and writes them while training continues.
    """

    def __init__(
        self,
        folder: Path,
        distributed: Distributed,
        keep: int,
        background: bool,
        keep_every_steps: int | None = None,
    ) -> None:
        self.folder, self._distributed = folder, distributed
        self._keep, self._keep_every_steps, self._background = keep, keep_every_steps, background
        self._pending: tuple[int, Future[object]] | None = None  # step, and the save in the background
        self._saved_step: int | None = None  # of the last save or load
        # A group of its own, because a save in the background communicates at the same time as the training thread.
        self._group = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT) if distributed.world > 1 else None
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)  # one process

    def save(self, state: CheckpointState, model: nn.Module, optimizer: Optimizer) -> None:
        """Save the current tensors, after an earlier save has finished. Does nothing if this step is saved already.

        Raises TrainerError on all processes if this save or the earlier one fails on any.
        """
        self.wait()
        if state.step == self._saved_step:
            return
        state = state.model_copy(deep=True)  # the caller may change it during a save in the background
        tensors = _model_tensors(model)
        if optimizer.state:  # `get_optimizer_state_dict` would take a first step to create it
            tensors |= _optimizer_tensors(model, optimizer)
        temporary = self._temporary(state.step)
        writer = TensorWriter(temporary, partial(self._prepare, temporary), partial(self._publish, temporary, state))
        write = dcp.async_save if self._background else dcp.save
        with self._saving(state.step):
            pending = write(
                dict(tensors),
                storage_writer=writer,
                planner=dcp.DefaultSavePlanner(flatten_state_dict=False),
                process_group=self._group,
                no_dist=self._group is None,
            )
        if self._background:
            assert isinstance(pending, Future), "the tensors are copied before `async_save` returns"
            self._pending = state.step, pending
        else:
            self._saved_step = state.step

    def wait(self) -> None:
        """Wait for a save in the background. Raises TrainerError on all processes if it failed on any."""
        if self._pending is not None:
            (step, pending), self._pending = self._pending, None
            with self._saving(step):
                pending.result()
            self._saved_step = step

    @property
    def failed(self) -> bool:
        """True if a save in the background has failed on this process; `wait` then raises on all."""
        pending = self._pending[1] if self._pending else None
        return pending is not None and pending.done() and pending.exception() is not None

    def latest(self) -> Path | None:
        """Return the newest checkpoint, if there is one."""
        return next(reversed(checkpoints_by_step(self.folder).values()), None)

    def load(self, path: Path, model: nn.Module, optimizer: Optimizer | None) -> CheckpointState:
        """Load the weights and, if an optimizer is given, its moments and step, into the current sharding.

        Raises InputError if the checkpoint is damaged or of another model.
        """
        state = read_state(path)
        self._check_hashes(path, state)
        reader = TensorReader(path, state.files)
        # These tensors share memory with the model and the optimizer, so loading into them is enough.
        tensors = _model_tensors(model)
        if optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            if any(name.startswith("optimizer.") for name in reader.tensors):
                tensors |= _optimizer_tensors(model, optimizer)
            else:
                optimizer.state.clear()  # saved before the first step
        stored = {name: tensor for name, tensor in reader.tensors.items() if optimizer or name.startswith("model.")}
        _check_same_tensors(path, tensors, stored)
        with _one_error(path, "the checkpoint could not be read"):
            dcp.load(
                dict(tensors),
                storage_reader=reader,
                planner=dcp.DefaultLoadPlanner(flatten_state_dict=False),
                process_group=self._group,
                no_dist=self._group is None,
            )
        if path.parent == self.folder:
            self._saved_step = state.step
        return state

    def end_phase(self, path: Path, state: CheckpointState) -> None:
        """Record that this step is the last of its phase, if the phase was longer before. On the first process only."""
        if not parse_state(path).phase_done:
            self._write_state(path, state)

    def _check_hashes(self, path: Path, state: CheckpointState) -> None:
        """Hash each file on one of the processes, and raise the same InputError on all."""
        files_here = sorted(state.files)[self._distributed.rank :: self._distributed.world]
        damaged_here = [name for name in files_here if sha256_file(path / name) != state.files[name].sha256]
        if damaged := [name for names in gathered(self._distributed, damaged_here) for name in names]:
            raise InputError(f"{path}: damaged checkpoint: {', '.join(damaged)} differs from what was saved; {REMEDY}")

    def _temporary(self, step: int) -> Path:
        return self.folder / f"{TEMPORARY}{_name(step)}"

    @contextmanager
    def _saving(self, step: int) -> Iterator[None]:
        """Raise one error if the save fails, and make room on the disk at once."""
        latest = self.latest()
        after = f"continue from {latest.name}" if latest else "begin again"
        problem = f"the checkpoint could not be saved; the same command will {after}"
        try:
            with _one_error(self.folder / _name(step), problem):
                yield
        except TrainerError:
            if self._distributed.rank == 0:
                shutil.rmtree(self._temporary(step), ignore_errors=True)
            raise

    def _prepare(self, temporary: Path) -> None:
        """Make an empty temporary folder, on the first process before anyone writes, and remove leftovers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if os.path.lexists(temporary):  # removing it failed; all processes expect to write under this name
            self._remove(temporary)
        temporary.mkdir()

    def _publish(self, temporary: Path, state: CheckpointState, files: Mapping[str, FileState]) -> None:
        """Complete the checkpoint, on the first process after all have written, and remove old ones."""
        self._write_state(temporary, state.model_copy(update={"files": dict(sorted(files.items()))}))
        written = self.folder / _name(state.step)
        temporary.rename(written)
        fsync_folder(self.folder)
        by_step, every = checkpoints_by_step(self.folder), self._keep_every_steps
        # The first checkpoint of each interval stays, so it is still the first when the later ones are gone.
        firsts = {step // every: path for step, path in reversed(by_step.items()) if step >= every} if every else {}
        within_phases = [path for path in by_step.values() if _is_within_phase(path)]
        for old in within_phases[: -self._keep]:
            if old not in (written, *firsts.values()):
                self._remove(old)

    def _write_state(self, path: Path, state: CheckpointState) -> None:
        text = json.dumps(state.model_dump(), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(path / STATE_FILE, text + "\n", path)

    def _remove(self, path: Path) -> None:
        """Remove a folder if possible; if not, the next save tries again. Over NFS, an open file keeps its folder.

        It is renamed first, so that it is no longer a checkpoint, however long the removal takes.
        """
        with (
            suppress(OSError),
            TemporaryDirectory(prefix=TEMPORARY, dir=self.folder, ignore_cleanup_errors=True) as leftover,
        ):
            path.rename(Path(leftover) / path.name)


def checkpoints_by_step(folder: Path) -> dict[int, Path]:
    """Return the newest checkpoint of each step in `folder`, in the order of steps."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    numbered = sorted((int(match[1]), int(match[2] or 1), path) for match, path in matches if match and path.is_dir())
    return {step: path for step, _, path in numbered}


def find_checkpoint(folder: Path, step: int | None, remedy: str) -> Path:
    """Return the checkpoint of `step`, or the last. Raises InputError that lists the others, or states the remedy."""
    by_step = checkpoints_by_step(folder)
    path = next(reversed(by_step.values()), None) if step is None else by_step.get(step)
    if path is None:
        missing = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        found = ", ".join(path.name for path in by_step.values())
        raise InputError(f"{missing} in {folder}; {f'found: {found}' if found else remedy}")
    return path


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _is_within_phase(path: Path) -> bool:
    try:
        return not parse_state(path).phase_done
    except InputError:
        return False  # unreadable: leave it to the user


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for name, tensor in model.state_dict().items()}


def _optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the moments and steps. Creates them by a step without gradients if the optimizer has none."""
    by_parameter: object = get_optimizer_state_dict(model, optimizer)["state"]
    assert isinstance(by_parameter, dict)
    return {f"optimizer.{name}.{key}": value for name, values in by_parameter.items() for key, value in values.items()}


def _check_same_tensors(
    path: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, dcp.TensorStorageMetadata]
) -> None:
    """Raise InputError unless both have tensors of the same names, sizes and types."""
    current = {name: f"{list(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items()}
    saved = {name: f"{list(tensor.size)} {tensor.properties.dtype}" for name, tensor in stored.items()}
    different = [name for name in sorted({*current, *saved}) if current.get(name) != saved.get(name)]
    if different:
        lines = [
            f"  {name}: {saved.get(name, 'none')} in the checkpoint, {current.get(name, 'none')} in the model"
            for name in different[:MAX_DIFFERENCES]
        ]
        raise InputError(
            f"{path}: the checkpoint is of another model: {len(different)} tensors differ; use the settings it was "
            "trained with, or start another run\n" + "\n".join(lines)
        )


@contextmanager
def _one_error(path: Path, problem: str) -> Iterator[None]:
    """Raise the failure of the lowest rank, in one line. Requests to stop, such as Ctrl-C, are raised as they are."""
    try:
        yield
    except dcp.CheckpointException as error:
        rank, (failure, _) = min(error.failures.items())
        if not isinstance(failure, Exception):
            raise failure from error
        common = TrainerError(f"{path}: {problem}: rank {rank}: {failure or type(failure).__name__}")
        common.by_all = True  # torch gives each process the failures of all
        raise common from error
    except (CorpusError, OSError, RuntimeError) as error:
        raise TrainerError(f"{path}: {problem}: {error}") from error
