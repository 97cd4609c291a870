"""Branching: a run that begins with a checkpoint of another run, `trainer fit --from RUN[@STEP]`.

The settings of the branch hold the phases of the other run up to that checkpoint, so its steps, cursors and batches are
those of a run that was planned this way from the start. The branch saves the checkpoint in its own folder before its
first step, and resumes from there without the other run. Ended before, it begins again as its last start says.
"""

from dataclasses import dataclass
from pathlib import Path

from corpus.errors import InputError
from trainer.engine.checkpoint import CHECKPOINTS, find_checkpoint
from trainer.engine.checkpoint_state import BranchOrigin, CheckpointState, read_state
from trainer.engine.run_setup import STARTS, recorded_lines

RUNS = Path("runs")  # where run folders are by default


@dataclass(frozen=True, slots=True)
class Branch:
    """Request to begin with a checkpoint of another run."""

    run: Path  # its folder
    step: int | None  # of the checkpoint; None: the last
    fresh_optimizer: bool  # take weights and cursors, and no moments
    of_last_start: bool = False  # requested by an earlier start, which was ended before its first checkpoint

    def open(self) -> tuple[Path, CheckpointState]:
        """Return the checkpoint to begin with, and its state with its origin. Raises InputError if there is none."""
        remedy = "check the run folder given with --from"
        if self.of_last_start:
            remedy = f"the last start was a branch from {self.run}; bring that run back, or choose another `out`"
        path = find_checkpoint(self.run / CHECKPOINTS, self.step, remedy)
        state = read_state(path)
        origin = BranchOrigin(run=str(self.run), step=state.step, fresh_optimizer=self.fresh_optimizer)
        return path, state.model_copy(update={"origin": origin})

    def check_is_origin(self, state: CheckpointState, own_folder: Path) -> None:
        """Raise InputError unless the run in `own_folder` was branched as requested, and can resume."""
        origin = state.origin
        if self.run.resolve() == own_folder.resolve():
            raise InputError(f"--from {self.run}: this is the folder of the new run too; choose another `out`")
        if origin is None:
            began = "did not branch from another run"
        elif Path(origin.run).resolve() != self.run.resolve() or self.step not in (None, origin.step):
            began = f"branched from {origin.run}@{origin.step}"
        else:
            return
        raise InputError(
            f"{own_folder} holds a run that {began}; to resume it, omit --from; to branch again, choose another `out`"
        )


def branch_of_last_start(folder: Path) -> Branch | None:
    """Return the branch as which the run in `folder`, which has no checkpoint, was last started; None if as none."""
    try:
        last = recorded_lines(folder / STARTS)[-1]
        run, _, step = str(last["from"]).rpartition("@")
        return Branch(Path(run), int(step), bool(last.get("fresh_optimizer")), of_last_start=True)
    except (OSError, ValueError, LookupError):
        return None


def parse_branch(text: str | None, fresh_optimizer: bool) -> Branch | None:
    """Parse RUN[@STEP]: a run folder, or the name of one in `runs`. Raises InputError."""
    if text is None:
        if fresh_optimizer:
            raise InputError("--fresh-optimizer needs --from; a run that resumes keeps the optimizer's moments")
        return None
    run, at, step = text.rpartition("@")
    if not at or not step.isdecimal():
        run, step = text, ""
    folder = next((folder for folder in (Path(run), RUNS / run) if (folder / CHECKPOINTS).is_dir()), None)
    if folder is None:
        raise InputError(
            f"--from {text}: {run} is not a run folder with checkpoints; expected RUN[@STEP], such as runs/base@5000"
        )
    return Branch(folder, int(step) if step else None, fresh_optimizer)
