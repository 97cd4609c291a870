"""How a run lies on devices: one process a device, the parameters sharded over them (FSDP2).

    with start() as distributed:
        precision = chosen_precision(training.parallel.precision, distributed.device)
        if compiled:
            compile_blocks(model)
        shard(model, distributed, precision, training.parallel.reshard_after_forward)
        with forward_context(distributed, precision):
            logits_BTV = model(inputs_BT, mask)

The same code serves one process, where nothing is sharded. FSDP2 averages gradients over the processes: a loss that is
to be divided by the global number of target tokens is summed by each over its own, and multiplied by
dp_world / global targets.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, overload

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from corpus.errors import InputError

Precision = Literal["bf16", "fp32"]
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
RECOMPILE_LIMIT = 64  # shapes: rows of a micro-batch and lengths, of each phase and of evaluations
CONTROL_TIMEOUT = timedelta(hours=2)  # others wait here while one process works, on a slow disk, say


@dataclass(frozen=True)
class Distributed:
    """This process among all processes of the run.

    `rank` and `world` count processes. `dp_rank` and `dp_world` count data-parallel ranks, which
    read different rows of a batch and shard the parameters. Today each process is a data-parallel rank.

    `control` is a gloo group of them all for small numbers and text, None if there is but one. Only the thread that
    trains may use it: what two threads say on one group arrives in no fixed order.
    """

    rank: int
    world: int
    dp_rank: int
    dp_world: int
    local_rank: int
    device: torch.device
    control: dist.ProcessGroup | None


@contextmanager
def start() -> Iterator[Distributed]:
    """Joins the processes that torchrun started; without torchrun, one process and no group.

    Raises InputError if torchrun's variables are set in part, make no sense, or ask for more GPUs than there are.
    """
    rank, world, local_rank = _place(os.environ)
    device = _device(local_rank)
    if world == 1:
        yield Distributed(rank, world, rank, world, local_rank, device, None)
        return
    if device.type == "cuda":
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
    yield Distributed(rank, world, rank, world, local_rank, device, control)
    # Not after an exception: the others may never come here, and nccl would wait for them. The process ends anyway.
    dist.destroy_process_group()


def _place(environment: "os._Environ[str] | dict[str, str]") -> tuple[int, int, int]:
    """Rank, number of processes and rank on this machine, from torchrun's variables."""
    found = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if "RANK" not in found and "WORLD_SIZE" not in found:  # an address alone is nobody's call to join
        return 0, 1, 0
    if missing := [name for name in VARIABLES if name not in found]:
        are = "is not" if len(missing) == 1 else "are not"
        told = f"{', '.join(name for name in VARIABLES if name in found)} set, but {', '.join(missing)} {are}"
        raise InputError(f"the environment has {told}; start with torchrun, or unset them all to run one process")
    numbers = VARIABLES[:3]
    if wrong := [
        f"{name}={found[name]!r}" for name in numbers if not (found[name].isascii() and found[name].isdigit())
    ]:
        raise InputError(f"the environment has {', '.join(wrong)}; expected whole numbers, as torchrun sets them")
    rank, world, local_rank = (int(found[name]) for name in numbers)
    if not rank < world or local_rank > rank:
        told = f"RANK={rank}, LOCAL_RANK={local_rank} and WORLD_SIZE={world}"
        raise InputError(f"the environment has {told}; expected LOCAL_RANK <= RANK < WORLD_SIZE, as torchrun sets them")
    return rank, world, local_rank


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        found = f"process {local_rank + 1} on this machine finds {torch.cuda.device_count()} GPUs"
        raise InputError(f"{found}; expected one each: give torchrun a smaller --nproc-per-node")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def chosen_precision(written: Literal["auto", "bf16", "fp32"], device: torch.device) -> Precision:
    """What train.yaml says; `auto` is bf16 where the hardware multiplies it natively, else fp32."""
    if written != "auto":
        return written
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Whether oneDNN takes bf16 here and has instructions for it; on any other AVX-512 it emulates them, slowly."""
    takes = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not in builds without oneDNN
    if takes is None or not takes():
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is Arm's
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(each()) for each in asked if each)


def compile_blocks(model: nn.Module) -> None:
    """Has each of the model's blocks compiled when it first runs. Names of parameters stay. Comes before `shard`.

    Each shape has a graph of its own, which all blocks share. By default the second shape is compiled for any, and what
    is computed then depends on which shapes came before: a resumed run would not be bit for bit the same.
    """
    import torch._dynamo.config as compiler  # the compiler takes seconds to import

    compiler.recompile_limit = RECOMPILE_LIMIT  # past it, blocks silently run uncompiled
    for block in _blocks(model):
        block.compile(dynamic=False)


def shard(model: nn.Module, distributed: Distributed, precision: Precision, reshard_after_forward: bool) -> None:
    """Shards the parameters over the processes: each block, then what no block holds. Of one process, nothing.

    They stay fp32, as do the sums of gradients; in bf16, what a block computes with is cast as it is gathered. What no
    block holds stays gathered after the forward pass: the backward pass begins with it.
    """
    if distributed.dp_world == 1:
        return
    mesh = init_device_mesh(distributed.device.type, (distributed.dp_world,))
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in _blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard_after_forward)
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def _blocks(model: nn.Module) -> nn.ModuleList:
    blocks = model.blocks
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def forward_context(distributed: Distributed, precision: Precision) -> AbstractContextManager[object]:
    """What a forward pass runs under: autocast for bf16 in one process; with several, FSDP2 casts."""
    if distributed.dp_world == 1 and precision == "bf16":
        return torch.autocast(distributed.device.type, torch.bfloat16)
    return nullcontext()


@overload
def sums(distributed: Distributed, values: Sequence[int]) -> list[int]: ...
@overload
def sums(distributed: Distributed, values: Sequence[float]) -> list[float]: ...
def sums(distributed: Distributed, values: Sequence[float]) -> list[int] | list[float]:
    """The sum of each value over all processes, which must call this together.

    Whole numbers are summed as int64, exactly; if any value is a float, all are summed as float64, and all processes
    must then give a float. The same bits come out everywhere.
    """
    whole = all(isinstance(value, int) for value in values)
    total_N = torch.tensor([*values, 1], dtype=torch.int64 if whole else torch.float64)
    if distributed.control is not None:
        dist.all_reduce(total_N, group=distributed.control)
        # The bits of an int64 and of a float64 would add up to nonsense, unnoticed but for the 1 of each.
        assert total_N[-1] == distributed.world, "some processes gave whole numbers, others floats"
    found: list[int] | list[float] = total_N[:-1].tolist()
    return found


def any_rank(distributed: Distributed, flag: bool) -> bool:
    """Whether any process says so. All must call this together."""
    return sums(distributed, [int(flag)])[0] > 0


def from_first(distributed: Distributed, number: int) -> int:
    """The number that the first process gives. All must call this together."""
    return sums(distributed, [number if distributed.rank == 0 else 0])[0]


def gathered(distributed: Distributed, text: str) -> list[str]:
    """What each process says, in the order of their ranks. All must call this together."""
    if distributed.control is None:
        return [text]
    said_N = torch.tensor(list(text.encode()), dtype=torch.uint8)
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(distributed.world)]
    dist.all_gather(lengths, torch.tensor([len(said_N)]), group=distributed.control)
    longest = max(int(length) for length in lengths)
    padded_N = torch.zeros(longest, dtype=torch.uint8)
    padded_N[: len(said_N)] = said_N
    heard = [torch.empty_like(padded_N) for _ in range(distributed.world)]
    if longest:
        dist.all_gather(heard, padded_N, group=distributed.control)
    return [bytes(each[: int(length)].tolist()).decode() for each, length in zip(heard, lengths, strict=True)]
