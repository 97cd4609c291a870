"""Names of attempts on a store that earlier attempts have used, and the GPU of each process."""

import threading
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from corpus.errors import InputError
from trainer.engine.distributed import _device
from trainer.engine.rendezvous import agree_on_attempt, check_gpus
from trainer.errors import TrainerError


def attempt(store: dist.Store, world: int, ranks: range | None = None) -> dict[int, str]:
    """Return the name that each of these ranks gets; threads stand for processes."""
    names: dict[int, str] = {}

    def join(rank: int) -> None:
        names[rank] = agree_on_attempt(store, rank, world, timedelta(seconds=60))

    threads = [threading.Thread(target=join, args=(rank,)) for rank in ranks or range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names


def test_all_ranks_of_an_attempt_get_one_name_and_no_attempt_gets_that_of_another() -> None:
    """Fails if a rank takes an answer to an earlier attempt, which the store still holds."""
    store = dist.HashStore()
    names = [attempt(store, world) for world in (3, 3, 2, 5, 3)]
    assert [len(set(each.values())) for each in names] == [1] * 5
    assert len({each[0] for each in names}) == 5


def test_a_hello_of_an_attempt_that_ended_before_it_began_does_no_harm() -> None:
    store = dist.HashStore()
    for rank in (1, 2):
        store.set(f"hello/{rank}", "of a process that was killed")
    names = attempt(store, 3)
    assert len(set(names.values())) == 1


def test_processes_that_never_start_are_an_error() -> None:
    with pytest.raises(TrainerError, match="not all of 2 processes started within 0:00:01"):
        agree_on_attempt(dist.HashStore(), 0, 2, timedelta(seconds=1))


class Gpu:
    def __init__(self, uuid: str) -> None:
        self.uuid = uuid


def test_a_process_that_sees_only_its_own_gpu_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert _device(3) == torch.device("cuda", 0) == used[0]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(InputError, match="process 4 on this machine finds 1 GPU;"):
        _device(3)


def test_two_processes_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store, gpu = dist.HashStore(), torch.device("cuda", 0)
    uuids = iter(["a", "b", "a"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Gpu(next(uuids)))
    errors: list[str] = []

    def check(rank: int) -> None:
        try:
            check_gpus(store, rank, 3, gpu)
        except InputError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=check, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3 and all("use the same GPU" in error for error in errors)
