"""Checkpoints of two processes, loaded on one and two. Runs as a program as one of the two."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.small_run import (
    Small,
    checkpoints,
    first_process_writes_later,
    made,
    names,
    no_space,
    same,
    state,
    train,
    whole,
)
from tests.trainer.torchrun import torchrun
from trainer.engine.checkpoint import Checkpoints, checkpoints_by_step
from trainer.engine.checkpoint_state import read_state
from trainer.engine.distributed import Distributed, start, sums
from trainer.errors import TrainerError


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results of two processes that load a checkpoint of one."""
    folder = tmp_path_factory.mktemp("two")
    model, optimizer = made()
    train(model, optimizer, 2)
    checkpoints(folder / "one").save(state(2), model, optimizer)
    save_file(whole(model, optimizer), folder / "saved_by_one.safetensors")
    torchrun(2, __file__, str(folder))
    yield folder


def of_two_processes(folder: Path) -> None:
    with start() as distributed:

        def keep(name: str, *made_of: object) -> None:
            found = whole(*made_of)  # type: ignore[arg-type]
            if distributed.rank == 0:
                save_file(found, folder / f"{name}.safetensors")

        model, optimizer = made(distributed, seed=9)
        ones = Checkpoints(folder / "one", distributed, keep=2, background=True)
        latest = ones.latest()
        assert latest is not None
        ones.load(latest, model, optimizer)
        keep("loaded_by_two", model, optimizer)

        train(model, optimizer, 1, seed=3)
        keep("saved_by_two", model, optimizer)
        twos = Checkpoints(folder / "two", distributed, keep=2, background=True)
        with first_process_writes_later(distributed) as go_on:
            twos.save(state(3, world=2), model, optimizer)
            train(model, optimizer, 2, seed=4)
            if distributed.rank == 1:
                time.sleep(0.3)  # its writing thread waits for the first's by now
            spoken = [sums(distributed, [distributed.rank, each]) for each in range(20)]
            assert spoken == [[1, 2 * each] for each in range(20)]
            go_on.set()
            twos.wait()
        keep("went_on", model, optimizer)

        again, its_optimizer = made(distributed, seed=9)
        twos.load(folder / "two" / "step-00000003", again, its_optimizer)
        keep("loaded_again", again, its_optimizer)
        train(again, its_optimizer, 2, seed=4)
        keep("resumed", again, its_optimizer)

        for background in (True, False):
            fails = Checkpoints(folder / "two", distributed, keep=2, background=background)
            told = second_has_no_room(fails, distributed, model, optimizer)
            (folder / f"told_{distributed.rank}_{background}").write_text(told)
        twos.save(state(5, world=2, phase_done=True), model, optimizer)
        twos.wait()


def second_has_no_room(
    fails: Checkpoints, distributed: Distributed, model: Small, optimizer: torch.optim.Optimizer
) -> str:
    """Save while the second process cannot write; return the error of this process."""
    real, told = os.fsync, "nothing"
    if distributed.rank == 1:
        os.fsync = no_space  # type: ignore[assignment]
    try:
        fails.save(state(4), model, optimizer)
        fails.wait()
    except TrainerError as error:
        told = str(error)
    os.fsync = real
    assert 4 not in checkpoints_by_step(fails.folder)
    return told


def test_two_processes_load_exactly_what_one_saved(two: Path) -> None:
    assert same(load_file(two / "loaded_by_two.safetensors"), load_file(two / "saved_by_one.safetensors"))


def test_one_process_loads_exactly_what_two_saved(two: Path) -> None:
    model, optimizer = made(seed=9)
    loaded = checkpoints(two / "two").load(two / "two" / "step-00000003", model, optimizer)
    pieces = [load_file(two / "two" / "step-00000003" / file) for file in loaded.files]
    assert len(pieces) == 2 and all(len(piece) for each in pieces for piece in each.values() if piece.ndim)
    assert same(whole(model, optimizer), load_file(two / "saved_by_two.safetensors"))


def test_two_processes_resume_their_own_checkpoint_bit_for_bit(two: Path) -> None:
    assert same(load_file(two / "loaded_again.safetensors"), load_file(two / "saved_by_two.safetensors"))
    assert same(load_file(two / "resumed.safetensors"), load_file(two / "went_on.safetensors"))
    assert not same(load_file(two / "resumed.safetensors"), load_file(two / "loaded_again.safetensors"))


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_on_one_process_is_the_same_error_on_both_and_the_next_save_works(
    two: Path, background: bool
) -> None:
    told = [(two / f"told_{rank}_{background}").read_text() for rank in range(2)]
    assert told[0] == told[1] and "rank 1: [Errno 28] No space left" in told[0]
    assert "the same command will continue from step-00000003" in told[0]
    assert names(two / "two") == ["step-00000003", "step-00000005"]
    assert read_state(two / "two" / "step-00000005").phase_done


if __name__ == "__main__":
    torch.set_num_threads(1)
    of_two_processes(Path(sys.argv[1]))
