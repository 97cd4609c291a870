"""A training run under a cluster's signals at random moments: kills under torchrun, a stopped process, SIGTERM."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.training import checkpoint_tensors, metrics_fields, write_config
from tests.trainer.torchrun import REPOSITORY, free_port, torchrun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EXACT = ("step", "phase", "batch", "loss", "grad_norm", "learning_rate", "losses", "tokens", "targets")
STEPS = 120
HANG_S = 300


def long_config(folder: Path, steps: int = STEPS, **changes: object) -> Path:
    phase = {"name": "broad", "tokens": 256 * steps, "sequence_tokens": 32, "batch_tokens": 256, "max_epochs": 1000,
             "learning_rate": {"peak": 1e-3}}  # fmt: skip
    return write_config(folder, curriculum=[phase], **changes)


@contextmanager
def program(*command: str) -> Iterator[subprocess.Popen[str]]:
    settings = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-m", *command], env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # torchrun ends its workers


def workers(process: subprocess.Popen[str]) -> Sequence[int]:
    """Return the processes that torchrun started, in the order of ranks."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def steps_done(run: Path) -> int:
    try:
        return len((run / "metrics.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def wait_for(run: Path, steps: int, starts: int, process: subprocess.Popen[str]) -> None:
    """Wait until the attempt with this number of starts before it has done so many steps."""
    end_s = time.monotonic() + HANG_S
    while True:
        lines = (run / "starts.jsonl").read_text().splitlines() if (run / "starts.jsonl").exists() else []
        if len(lines) > starts and steps_done(run) >= steps:
            return
        assert process.poll() is None and time.monotonic() < end_s, f"{len(lines)} starts, {steps_done(run)} steps"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of an uninterrupted training on two processes."""
    folder = tmp_path_factory.mktemp("two")
    torchrun(2, "-m", "trainer", "fit", "--config", str(long_config(folder)))
    return folder / "run"


def assert_same(run: Path, other: Path) -> None:
    assert checkpoint_tensors(run) == checkpoint_tensors(other)
    assert metrics_fields(run, *EXACT) == metrics_fields(other, *EXACT)


def interrupted(folder: Path, signals: Sequence[tuple[int, int, signal.Signals]]) -> str:
    """Train under torchrun; send a signal to a rank after a step of each attempt. Return what it printed."""
    config, run = long_config(folder), folder / "run"
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3", "-m", "trainer"]
    with program(*command, "fit", "--config", str(config)) as process:
        for starts, (rank, step, number) in enumerate(signals):
            wait_for(run, step, starts, process)
            os.kill(workers(process)[rank], number)
        _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    return errors


@pytest.mark.parametrize("seed", range(10))
def test_torchrun_restarts_after_two_kills_and_ends_bit_equal(of_two: Path, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    kills = [(draw.randrange(2), draw.randrange(first, first + 40), signal.SIGKILL) for first in (5, 60)]
    interrupted(tmp_path, kills)
    assert_same(tmp_path / "run", of_two)
    print(f"seed {seed}: killed {[(rank, step) for rank, step, _ in kills]}, bit-equal")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_process_is_named_and_torchrun_restarts(of_two: Path, tmp_path: Path, rank: int) -> None:
    begin_s = time.monotonic()
    errors = interrupted(tmp_path, [(rank, 30, signal.SIGSTOP)])
    assert (
        f"rank {rank} (" in errors and "gave no sign of life for 6" in errors and "will continue from step-" in errors
    )
    assert_same(tmp_path / "run", of_two)
    print(f"rank {rank} stopped: {time.monotonic() - begin_s:.0f} s for the whole run", errors)


def test_torchrun_restarts_on_two_machines(of_two: Path, tmp_path: Path) -> None:
    """Two torchruns stand for the machines. The one whose worker is killed counts a restart, the other may not."""
    config, run = long_config(tmp_path), tmp_path / "run"
    meeting = [f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-backend=c10d", "--rdzv-id=two"]
    command = ["torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", *meeting]
    command += ["--monitor-interval=1", "-m", "trainer", "fit", "--config", str(config)]
    with program(*command) as one, program(*command) as other:
        for starts, (machine, step) in enumerate([(other, 20), (one, 60)]):
            wait_for(run, step, starts, one)
            os.kill(workers(machine)[0], signal.SIGKILL)
        errors = [machine.communicate(timeout=HANG_S)[1] for machine in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), errors
    assert_same(run, of_two)


def test_sigterm_at_random_moments_ends_with_the_last_step_saved(tmp_path: Path) -> None:
    """In steps, evaluations, samples and saves, each of which takes a part of the time."""
    evaluate = {"every_steps": 6, "tokens_per_source": 4000, "batch_sequences": 2, "prompts": ["The", "A"]}
    config = long_config(tmp_path, 4000, evaluate=evaluate, checkpoint={"every_steps": 1, "background": False})
    run, draw, at = tmp_path / "run", random.Random(1), []
    for moment in range(20):
        with program("trainer", "fit", "--config", str(config)) as process:
            wait_for(run, 0, moment, process)
            time.sleep(draw.uniform(0.5, 8))
            asked_s = time.monotonic()
            process.terminate()
            _, errors = process.communicate(timeout=HANG_S)
        assert process.returncode == 143, errors
        last = max(int(path.name[5:]) for path in run.glob("checkpoints/step-*"))
        rows = metrics_fields(run, "step")
        assert rows == [(step,) for step in range(1, last + 1)]
        told = next(line for line in errors.splitlines() if line.startswith("SIGTERM"))
        at.append(f"{time.monotonic() - asked_s:.1f} s at step {last}: {told.partition(' after ')[2]}")
    print(*at, sep="\n")
