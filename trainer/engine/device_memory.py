"""Memory of this process's device, and the error when it runs out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from trainer.engine.checkpoint_state import CheckpointState
from trainer.engine.distributed import Distributed, Precision, gathered
from trainer.engine.micro_batch import USABLE_SHARE, MicroBatches, choose_micro_batches, computation
from trainer.engine.run_setup import RunSetup
from trainer.errors import TrainerError

CPU_SHARE = 0.5  # of the machine's memory: the system, the page cache and other programs need some as well


class OutOfMemory(TrainerError):
    """A device has no memory left."""


def usable_bytes(distributed: Distributed) -> int:
    """Return the bytes of memory that training may take on each device: the least over all processes."""
    device = distributed.device
    if device.type == "cuda":
        here = int(torch.cuda.get_device_properties(device).total_memory * USABLE_SHARE)
    else:
        here = int(_machine_bytes() * CPU_SHARE) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(gathered(distributed, here))


def fitting_micro_batches(
    setup: RunSetup, distributed: Distributed, precision: Precision, state: CheckpointState | None
) -> MicroBatches:
    """Choose micro-batches by this run's devices, or as the checkpoint did if it is of as many processes."""
    on_cpu = distributed.device.type == "cpu"
    how = computation(setup.training, distributed.dp_world, bf16=precision == "bf16", on_cpu=on_cpu)
    stored = state.micro_batch_tokens if state is not None and state.world == distributed.world else None
    usable = usable_bytes(distributed)
    return choose_micro_batches(setup.training, setup.curriculum, setup.model_config, how, usable, stored)


@contextmanager
def explain_out_of_memory(remedy: str) -> Iterator[None]:
    """Raise OutOfMemory with the remedy in place of torch's errors about memory."""
    try:
        yield
    except RuntimeError as error:  # of which torch.OutOfMemoryError is one; that of a CPU has no type of its own
        text = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in text:
            raise
        raise OutOfMemory(f"out of memory: {remedy}\n  {text.splitlines()[0]}") from error


def _machine_bytes() -> int:
    """Return the memory of this machine, or the limit of the control group of this process if that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)
