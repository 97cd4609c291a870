"""Checkpoints: all that a run goes on from, on any number of processes; whole once they bear their name.

    checkpoints = Checkpoints(training.folder / "checkpoints", distributed, keep=2, background=True)
    if path := checkpoints.latest():
        state = checkpoints.load(path, model, optimizer)
    checkpoints.save(state, model, optimizer, last_of_phase=False)
    checkpoints.wait()

Each is a folder `step-00001234` of tensors (checkpoint_store.py) and state.json (checkpoint_state.py). It
is written as `.tmp-step-00001234`, synced to disk and then renamed. A second one of the same step, such as that of a
run stopped at a phase's very beginning, is `step-00001234-2`. Settings such as the learning rate are not in it: they
come from train.yaml. Nothing is unpickled.
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
from trainer.engine.checkpoint_state import REMEDY, STATE_FILE, FileState, State, parse_state, read_state
from trainer.engine.checkpoint_store import Reader, Stored, Writer, Written
from trainer.engine.parallel import CONTROL_TIMEOUT, Distributed, gathered
from trainer.errors import TrainerError

TEMPORARY = ".tmp-"
_NAME = re.compile(r"step-([0-9]{8,15})(?:-([0-9]{1,9}))?", re.ASCII)


class _Found(NamedTuple):
    """A checkpoint by its name; they sort from the oldest to the newest."""

    step: int
    again: int  # 1, or which one of this step it is
    path: Path


class Checkpoints:
    """Those of one run, in `folder`. Of several processes, all make it, save, load and wait together.

    It keeps the end of each phase, and the last `keep` others. Saving in the background takes a copy of all tensors in
    memory, and then writes while training goes on.
    """

    def __init__(self, folder: Path, distributed: Distributed, keep: int, background: bool) -> None:
        self.folder, self._distributed = folder, distributed
        self._keep = keep
        self._background = background
        self._pending: tuple[str, Future[Metadata] | Future[None]] | None = None
        # A group of its own: writing in the background talks while the training thread does.
        self._group = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT) if distributed.world > 1 else None
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)  # one process

    def save(self, state: State, model: nn.Module, optimizer: Optimizer, *, last_of_phase: bool) -> None:
        """Saves as of now, once the save before it is done. Raises TrainerError on all processes if either fails."""
        self.wait()
        state = state.model_copy(update={"phase_done": last_of_phase, "files": {}}, deep=True)
        temporary = self.folder / f"{TEMPORARY}{_name(state.step, 1)}"
        writer = Writer(
            temporary, lambda: self._prepare(temporary), lambda files: self._publish(temporary, state, files)
        )
        planner = DefaultSavePlanner(flatten_state_dict=False)
        tensors: dict[str, object] = {**_model_tensors(model)}
        if optimizer.state:  # the helper would take a first step to make it
            tensors |= _optimizer_tensors(dicts.get_optimizer_state_dict(model, optimizer))
        alone = self._group is None
        with self._told(_name(state.step, 1)):
            if not self._background:
                save(tensors, storage_writer=writer, planner=planner, process_group=self._group, no_dist=alone)
                return
            answer = async_save(
                tensors, storage_writer=writer, planner=planner, process_group=self._group, no_dist=alone
            )
            written = answer if isinstance(answer, Future) else answer.upload_completion
            self._pending = _name(state.step, 1), written

    def wait(self) -> None:
        """Finishes a save in the background. Raises TrainerError on all processes if it failed on any."""
        if self._pending is not None:
            (name, written), self._pending = self._pending, None
            with self._told(name):
                written.result()

    @property
    def failed(self) -> bool:
        """Whether a save in the background has already failed on this process; `wait` then says why, on all."""
        written = self._pending[1] if self._pending else None
        return written is not None and written.done() and written.exception() is not None

    def latest(self) -> Path | None:
        """The newest checkpoint, if there is one."""
        found = self._found()
        return found[-1].path if found else None

    def of_step(self, step: int) -> Path | None:
        """The newest checkpoint of this step, if there is one."""
        return next((found.path for found in reversed(self._found()) if found.step == step), None)

    def load(self, path: Path, model: nn.Module, optimizer: Optimizer | None) -> State:
        """Loads weights, and the optimizer's moments and step if it is given, into what the model is spread over now.

        Raises InputError if the checkpoint is damaged or of another model.
        """
        state = read_state(path)
        self._refuse_damage(path, state)
        reader = Reader(path, state.files)
        weights = _model_tensors(model)
        tensors: dict[str, object] = {**weights}
        moments: dicts.OptimizerStateType = {}
        if optimizer is not None:
            optimizer.zero_grad(set_to_none=True)
            if any(name.startswith("optimizer.") for name in reader.tensors):
                moments = dicts.get_optimizer_state_dict(model, optimizer)
                tensors |= _optimizer_tensors(moments)
            else:
                optimizer.state.clear()  # saved before its first step
        stored = {name: each for name, each in reader.tensors.items() if optimizer or name.startswith("model.")}
        _refuse_others(path, tensors, stored)
        planner = DefaultLoadPlanner(flatten_state_dict=False)
        alone = self._group is None
        try:
            load(tensors, storage_reader=reader, planner=planner, process_group=self._group, no_dist=alone)
        except CheckpointException as error:
            raise _failure(f"{path}: the checkpoint could not be read", error) from error
        dicts.set_model_state_dict(model, {name.removeprefix("model."): each for name, each in weights.items()})
        if optimizer is not None and moments:
            dicts.set_optimizer_state_dict(model, optimizer, moments)
        return state

    def _refuse_damage(self, path: Path, state: State) -> None:
        """Reads the files through, each on one of the processes, and tells all of them what is damaged."""
        mine = sorted(state.files)[self._distributed.rank :: self._distributed.world]
        damaged = [name for name in mine if sha256_file(path / name) != state.files[name].sha256]
        found = [name for told in gathered(self._distributed, json.dumps(damaged)) for name in json.loads(told)]
        if found:
            raise InputError(f"{path}: damaged checkpoint: {', '.join(found)} does not hold what was saved; {REMEDY}")

    def _prepare(self, temporary: Path) -> None:
        """On the first process, before anyone writes: an empty temporary folder, and no other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{TEMPORARY}*"):
            _remove(left)
        if os.path.lexists(temporary):  # it would not go; all processes count on this name, so it gives up the name
            temporary.rename(self._aside(temporary.name.removeprefix(TEMPORARY)))
        temporary.mkdir()

    def _publish(self, temporary: Path, state: State, files: Mapping[str, Written]) -> None:
        """On the first process, after all have written: makes the checkpoint whole, and removes what is too old."""
        kept = {name: FileState(bytes=each.bytes, sha256=each.sha256) for name, each in sorted(files.items())}
        state = state.model_copy(update={"files": kept})
        text = json.dumps(state.model_dump(), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        with (temporary / STATE_FILE).open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(temporary)
        again = max((found.again for found in self._found() if found.step == state.step), default=0) + 1
        path = self.folder / _name(state.step, again)
        temporary.rename(path)
        fsync_folder(self.folder)
        self._prune(path)

    def _prune(self, written: Path) -> None:
        seen, others = set(), 0
        for found in reversed(self._found()):
            try:
                state = parse_state(found.path)
            except InputError:
                continue  # not for us to judge
            key = (state.step, state.phase, state.phase_done)
            others += key not in seen and not state.phase_done
            if found.path != written and (key in seen or (others > self._keep and not state.phase_done)):
                left = self._aside(found.path.name)
                with suppress(OSError):  # the save was well; the next one tries again
                    found.path.rename(left)  # at once no checkpoint, however long removing it takes
                    _remove(left)
            seen.add(key)

    def _aside(self, name: str) -> Path:
        """A free name for what is to be removed, and may refuse to be."""
        numbered = (self.folder / f"{TEMPORARY}left-{name}-{number}" for number in itertools.count(1))
        return next(path for path in numbered if not os.path.lexists(path))

    def _found(self) -> list[_Found]:
        paths = self.folder.iterdir() if self.folder.is_dir() else []
        named = ((_NAME.fullmatch(path.name), path) for path in paths)
        return sorted(_Found(int(name[1]), int(name[2] or 1), path) for name, path in named if name and path.is_dir())

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (CheckpointException, CorpusError, OSError, RuntimeError) as error:
            what = f"{self.folder / name}: the checkpoint could not be saved, and those before it are untouched"
            raise _failure(what, error) from error


def _name(step: int, again: int) -> str:
    return f"step-{step:08d}" + (f"-{again}" if again > 1 else "")


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {f"model.{name}": _tensor(each) for name, each in dicts.get_model_state_dict(model).items()}


def _optimizer_tensors(moments: Mapping[str, object]) -> dict[str, Tensor]:
    by_parameter = moments["state"]
    assert isinstance(by_parameter, dict)
    return {
        f"optimizer.{name}.{key}": _tensor(each) for name, held in by_parameter.items() for key, each in held.items()
    }


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor), "only tensors are saved"
    return value


def _refuse_others(path: Path, tensors: Mapping[str, object], stored: Mapping[str, Stored]) -> None:
    """Raises InputError unless both have the same tensors, each of the same size and type."""
    here = {name: f"{list(_tensor(each).shape)} {_tensor(each).dtype}" for name, each in tensors.items()}
    there = {name: f"{list(each.size)} {each.dtype}" for name, each in stored.items()}
    differing = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]
    if differing:
        lines = [f"  {name}: {there.get(name, 'none')} there, {here.get(name, 'none')} here" for name in differing[:5]]
        more = [f"  and {len(differing) - 5} more"] if len(differing) > 5 else []
        what = "the checkpoint is of another model; give the one that it was trained as, or start another run"
        raise InputError("\n".join([f"{path}: {what}", *lines, *more]))


def _failure(what: str, error: BaseException) -> TrainerError:
    """What failed, in one line, of the process where it failed first. Another's request to stop is passed on."""
    told = str(error)
    if isinstance(error, CheckpointException):
        rank, (cause, _) = min(error.failures.items())
        if not isinstance(cause, Exception):
            raise cause
        told = f"process {rank}: {cause or type(cause).__name__}"
    return TrainerError(f"{what}: {told}")


def _remove(path: Path) -> None:
    """Removes a leftover, or leaves it to the next save: over NFS, a file that someone has open keeps its folder."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
