"""A process that is killed, stopped, hung or has failed ends the others, with its name.

Runs as a program as one of two processes. The limits are short there, and no torchrun ends the process that is left.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch.distributed as dist

from tests.trainer.torchrun import REPOSITORY, free_port
from trainer.engine import peer_watch
from trainer.engine.distributed import start, sums
from trainer.engine.peer_watch import PeerWatch
from trainer.errors import TrainerError

SILENT_S, LIMIT_S = 8.0, 200


def started(*arguments: str, world: int = 2) -> list[subprocess.Popen[str]]:
    """Start the processes of a run as a cluster does, without torchrun."""
    cluster = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world)}
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **settings, **cluster, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and the errors of a process that must end by itself."""
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, errors


FAULTS = {
    ("killed", 1): "gave no sign of life for",
    ("stopped", 0): "does not answer",  # the store is gone with it
    ("hung", 1): "has kept the others waiting for",
    ("failed", 1): "failed: no room",
}


@pytest.fixture(scope="module")
def of_the_other() -> dict[tuple[str, int], tuple[int, str]]:
    """Exit code and errors of the process that was not lost, for each fault; all run at the same time."""
    runs = {(fault, lost): started(__file__, fault, str(lost)) for fault, lost in FAULTS}
    try:
        return {(fault, lost): ended(run[1 - lost]) for (fault, lost), run in runs.items()}
    finally:
        for (_, lost), run in runs.items():
            run[lost].kill()
            run[lost].communicate()


@pytest.mark.parametrize(("fault", "lost"), list(FAULTS))
def test_the_others_end_and_name_the_process_that_was_lost(
    of_the_other: dict[tuple[str, int], tuple[int, str]], fault: str, lost: int
) -> None:
    code, errors = of_the_other[fault, lost]
    assert code == 1
    assert f"rank {lost} " in errors and FAULTS[fault, lost] in errors and "continue from step-00000007" in errors


def of_two_processes(fault: str, lost: int) -> None:
    peer_watch.SILENT_S, peer_watch.STALLED_S, peer_watch.GRACE_S = SILENT_S, SILENT_S, 2.0
    try:
        with start() as distributed:
            assert distributed.watch is not None
            distributed.watch.resume_point = lambda: "step-00000007"
            distributed.expect_exchange(within_s=0.01)
            for turn in range(10**9):
                sums(distributed, [turn])
                if turn == 100 and distributed.rank == lost:
                    meet(fault)
    except TrainerError as error:
        sys.exit(f"trainer: {error}")


def meet(fault: str) -> None:
    if fault == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "hung":
        time.sleep(LIMIT_S)
    else:
        raise TrainerError("no room")


class Clock:
    """Clock that the test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def watches(world: int, clock: Clock) -> list[PeerWatch]:
    store = dist.HashStore()
    return [PeerWatch(store, rank, world, clock) for rank in range(world)]


def beat(watched: list[PeerWatch], clock: Clock, seconds: int, but: int | None = None) -> None:
    for _ in range(seconds):
        clock.now_s += 1
        for rank, watch in enumerate(watched):
            if rank != but:
                watch._beat()
                watch._answered_s = clock.now_s


def test_a_run_whose_processes_all_live_goes_on() -> None:
    clock = Clock()
    watched = watches(3, clock)
    beat(watched, clock, 300)  # without an exchange, while one saves
    for _ in range(10):
        for watch in watched:
            watch.expect_exchange(within_s=1)
            with watch.exchange():
                pass
        beat(watched, clock, 80)
    assert all(watch._lost is None for watch in watched)


@pytest.mark.parametrize(("silent", "finders"), [(2, (0, 1)), (0, (1, 2))])
def test_silence_is_found_within_its_limit(silent: int, finders: tuple[int, ...]) -> None:
    clock = Clock()
    watched = watches(3, clock)
    beat(watched, clock, 5)
    beat(watched, clock, int(peer_watch.SILENT_S), but=silent)
    assert all(watched[rank]._lost is None for rank in finders)
    beat(watched, clock, 3, but=silent)
    assert [watched[rank]._lost and watched[rank]._lost.rank for rank in finders] == [silent] * 2  # type: ignore[union-attr]


def test_after_a_failed_exchange_silence_is_found_sooner() -> None:
    clock = Clock()
    watched = watches(3, clock)
    beat(watched, clock, 5)
    watched[1]._suspicious = True
    beat(watched, clock, int(peer_watch.SUSPECT_S) + 3, but=2)
    assert watched[0]._lost == watched[1]._lost and watched[0]._lost and watched[0]._lost.rank == 2


def test_of_processes_without_progress_the_one_outside_the_exchange_is_named() -> None:
    clock = Clock()
    watched = watches(4, clock)
    for watch in watched:
        watch.expect_exchange(within_s=60)  # long steps: four of them may pass
    for rank in (0, 1, 3):
        watched[rank].exchange().__enter__()
    beat(watched, clock, 235)
    assert watched[0]._lost is None
    beat(watched, clock, 10)
    assert all(watch._lost and watch._lost.rank == 2 for watch in watched)
    assert "has kept the others waiting for 24" in str(watched[0]._lost)


def test_a_process_that_was_stopped_for_long_does_not_blame_the_others() -> None:
    clock = Clock()
    watched = watches(2, clock)
    beat(watched, clock, 5)
    watched[0]._beat()  # it has seen the last sign of the other
    clock.now_s += 3600  # both: a suspended machine
    beat(watched, clock, 30)
    assert [watch._lost for watch in watched] == [None, None]


if __name__ == "__main__":
    of_two_processes(sys.argv[1], int(sys.argv[2]))
