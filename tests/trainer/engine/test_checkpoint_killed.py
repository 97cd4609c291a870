"""Saving in processes that are killed before each change of the disk in turn. Runs as a program in its own process."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from tests.trainer.small_run import checkpoints, made, names, same, state, train, whole
from tests.trainer.torchrun import REPOSITORY

CHANGES = ("mkdir", "fsync", "rename", "unlink", "rmdir", "open")


def kill_before(change: int) -> None:
    """Kill this process after `change` more changes of the disk."""
    left = [change]

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return counted

    for name in CHANGES:
        setattr(os, name, counting(getattr(os, name)))


def saves_until_it_survives(folder: Path) -> None:
    """Save step 2 after step 1 in child processes that are killed later and later. Load what each one left, and
    continue from it."""
    model, optimizer = made()
    train(model, optimizer, 1)
    checkpoints(folder / "first", keep=1).save(state(1), model, optimizer)
    first = whole(model, optimizer)
    train(model, optimizer, 1)
    second = whole(model, optimizer)
    seen = []
    for change in range(1000):
        left = shutil.copytree(folder / "first", folder / str(change))
        child = os.fork()
        if not child:
            kill_before(change)
            checkpoints(left, keep=1).save(state(2), model, optimizer)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        kept, (again, its_optimizer) = checkpoints(left, keep=1), made(seed=9)
        path = kept.latest()
        assert path is not None
        step = kept.load(path, again, its_optimizer).step
        assert same(whole(again, its_optimizer), {1: first, 2: second}[step])
        kept.save(state(3), again, its_optimizer)
        assert names(left) == ["step-00000003"]
        seen.append(step)
        if not status:
            break
        assert status == signal.SIGKILL, status
    assert seen == sorted(seen) and seen.count(1) > 5 and seen.count(2) > 2, seen
    print("survived after", len(seen))


def test_a_kill_at_any_moment_leaves_a_complete_checkpoint_and_the_next_save_works(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 and "survived" in done.stdout, done.stderr


if __name__ == "__main__":
    torch.set_num_threads(1)
    saves_until_it_survives(Path(sys.argv[1]))
