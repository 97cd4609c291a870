"""The key-value store through which the processes of a run find each other.

torchrun keeps one store over its restarts, so an attempt would read the addresses that the attempt before has left.
Each attempt therefore uses a prefix of its own. TORCHELASTIC_RESTART_COUNT cannot be that prefix: on several machines,
each torchrun counts the failures of its own processes only.
"""

import socket
import time
from datetime import timedelta
from uuid import uuid4

import torch
import torch.distributed as dist

from corpus.errors import InputError
from trainer.errors import TrainerError

JOIN_TIMEOUT = timedelta(minutes=30)  # machines of a cluster start at different times
POLL_S = 0.05


def join_store(rank: int, world: int) -> dist.Store:
    """Return the store of this attempt. All processes call this together. Raises TrainerError if some never do."""
    store, _, _ = next(dist.rendezvous("env://", timeout=JOIN_TIMEOUT))
    return dist.PrefixStore(agree_on_attempt(store, rank, world), store)


def agree_on_attempt(store: dist.Store, rank: int, world: int, timeout: timedelta = JOIN_TIMEOUT) -> str:
    """Return a name that is the same in all processes of this attempt, and that no earlier attempt used.

    Rank 0 makes up the name. Another rank says hello with a random key and waits for the name under that key, so that
    it never takes an answer to an earlier attempt. Rank 0 may still read an earlier hello; it goes on until all have
    joined under its name.
    """
    key = uuid4().hex
    if rank:
        store.set(f"hello/{rank}", key)
        store.wait([f"name/{key}"], timeout)
        name = store.get(f"name/{key}").decode()
        store.add(f"{name}/joined", 1)
        return name
    name, answered, end_s = f"attempt-{key}", dict.fromkeys(range(1, world), b""), time.monotonic() + timeout.seconds
    while store.add(f"{name}/joined", 0) < world - 1:
        for other, last in answered.items():
            if store.check([f"hello/{other}"]) and (hello := store.get(f"hello/{other}")) != last:
                store.set(f"name/{hello.decode()}", name)
                answered[other] = hello
        if time.monotonic() > end_s:
            raise TrainerError(f"not all of {world} processes started within {timeout}; look for errors of the others")
        time.sleep(POLL_S)
    return name


def check_gpus(store: dist.Store, rank: int, world: int, device: torch.device) -> None:
    """Raise InputError if two processes use the same GPU. All processes call this together."""
    own = f"{socket.gethostname()} {torch.cuda.get_device_properties(device).uuid}"
    store.set(f"gpu/{rank}", own)
    first_rank: dict[bytes, int] = {}
    for other, gpu in enumerate(store.multi_get([f"gpu/{other}" for other in range(world)])):
        if (first := first_rank.setdefault(gpu, other)) != other:
            raise InputError(
                f"ranks {first} and {other} use the same GPU ({gpu.decode()}); start one process per GPU, or give each "
                "its own in CUDA_VISIBLE_DEVICES"
            )
