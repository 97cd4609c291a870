"""Processes and devices of a run: one process per device, parameters sharded over all of them with FSDP2.

    with start() as distributed:
        precision = chosen_precision(training.parallel.precision, distributed.device)
        if compiled:
            compile_blocks(model)
        shard(model, distributed, precision, training.parallel.reshard_after_forward)
        logits_BTV = model(inputs_BT, segments_BT)

The same code runs one process, where nothing is sharded. FSDP2 averages gradients over the processes. For a loss that
is divided by the global number of targets, each process sums over its own targets and multiplies by
dp_world / global targets.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from corpus.errors import InputError
from trainer.engine.peer_watch import PeerWatch
from trainer.engine.rendezvous import check_gpus, join_store
from trainer.model.transformer import Transformer

Precision = Literal["bf16", "fp32"]
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
RECOMPILE_LIMIT = 64  # graphs of a block: one for each micro-batch size and length, of phases and evaluations
# Other processes wait while one works, for example on a slow disk. PeerWatch ends a run long before, if it must.
CONTROL_TIMEOUT = timedelta(hours=2)
Number = TypeVar("Number", int, float)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Distributed:
    """This process among all processes of the run.

    `rank` and `world` count processes. `dp_rank` and `dp_world` count data-parallel ranks, which read different rows of
    a batch and shard the parameters. Today each process is a data-parallel rank.

    `control` is a gloo group of all processes for small numbers and text; None if there is one process. Only the
    training thread may use it: messages of two threads on one group have no fixed order. `watch` ends the run if
    another process is lost; None if there is no other.
    """

    rank: int
    world: int
    dp_rank: int
    dp_world: int
    local_rank: int
    device: torch.device
    control: dist.ProcessGroup | None
    watch: PeerWatch | None = None

    def expect_exchange(self, within_s: float | None) -> None:
        """Say that exchanges follow each other within about this time from now on; None: it may take hours."""
        if self.watch is not None:
            self.watch.expect_exchange(within_s)

    def exchange(self) -> AbstractContextManager[None]:
        """Mark an exchange in which all processes take part."""
        return self.watch.exchange() if self.watch is not None else nullcontext()


@contextmanager
def start() -> Iterator[Distributed]:
    """Join the processes started by torchrun; without torchrun, run one process without a group.

    Raises InputError if torchrun's variables are incomplete or inconsistent, or if there are too few GPUs. If another
    process is lost, an error that follows from it becomes a TrainerError that names the process.
    """
    rank, world, local_rank = _read_ranks(os.environ)
    device = _device(local_rank)
    if world == 1:
        yield Distributed(rank, world, rank, world, local_rank, device, None)
        return
    store, on_gpu = join_store(rank, world), device.type == "cuda"
    if on_gpu:
        check_gpus(store, rank, world, device)
    # A connection of its own: each serves one call at a time.
    watch = PeerWatch(store.clone(), rank, world)  # type: ignore[attr-defined]  # missing from torch's stub
    backend, device_id = ("nccl", device) if on_gpu else ("gloo", None)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, device_id=device_id)
    control = dist.new_group(backend="gloo", timeout=CONTROL_TIMEOUT)
    watch.start()
    try:
        yield Distributed(rank, world, rank, world, local_rank, device, control, watch)
    except BaseException as error:
        if (explained := watch.explain(error)) is not None:
            raise explained from error
        raise
    watch.close()
    # Not after an exception: other processes may never get here, and nccl would wait for them. The process ends anyway.
    dist.destroy_process_group()


def _read_ranks(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Return rank, number of processes and rank on this machine from torchrun's variables."""
    values = {name: environment[name] for name in VARIABLES if environment.get(name)}
    if "RANK" not in values and "WORLD_SIZE" not in values:  # clusters may set an address for every process
        return 0, 1, 0
    if missing := [name for name in VARIABLES if name not in values]:
        raise InputError(
            f"the environment has {', '.join(values)} set, but not {', '.join(missing)}; start with torchrun, or unset "
            "them all to run one process"
        )
    try:
        rank, world, local_rank = (int(values[name]) for name in VARIABLES[:3])
    except ValueError:
        rank, world, local_rank = -1, 0, 0
    if not 0 <= local_rank <= rank < world:
        given = ", ".join(f"{name}={values[name]}" for name in VARIABLES[:3])
        raise InputError(
            f"the environment has {given}; expected whole numbers with LOCAL_RANK <= RANK < WORLD_SIZE, as torchrun "
            "sets them"
        )
    return rank, world, local_rank


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    # Slurm's --gpus-per-task shows each process its own GPU alone. `check_gpus` refuses two processes on one GPU.
    own_gpu = gpus == 1 and bool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if local_rank >= gpus and not own_gpu:
        raise InputError(
            f"process {local_rank + 1} on this machine finds {gpus} GPU{'s' if gpus > 1 else ''}; expected one per "
            "process: give torchrun a smaller --nproc-per-node"
        )
    device = torch.device("cuda", 0 if own_gpu else local_rank)
    torch.cuda.set_device(device)
    return device


def chosen_precision(setting: Literal["auto", "bf16", "fp32"], device: torch.device) -> Precision:
    """Resolve `auto` to bf16 if the hardware multiplies it natively, else to fp32."""
    if setting != "auto":
        return setting
    on_gpu = device.type == "cuda"
    native = torch.cuda.get_device_capability(device) >= (8, 0) if on_gpu else _cpu_multiplies_bf16()
    return "bf16" if native else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """True if oneDNN supports bf16 here and the CPU has instructions for it; other AVX-512 CPUs emulate it slowly."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # missing from builds without oneDNN
    if supported is None or not supported():
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is Arm's
    older = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(check()) for check in older if check)


def compile_blocks(model: nn.Module) -> None:
    """Compile each block, the last norm and the loss, at their first run. Parameter names do not change.

    Call this before `shard`. Each shape gets its own graph, which all blocks share. By default, the second shape would
    be compiled for all shapes, and results would then depend on the shapes seen before: a resumed run would not be bit
    for bit the same.
    """
    import torch._dynamo.config as compiler  # the compiler takes seconds to import

    compiler.recompile_limit = RECOMPILE_LIMIT  # beyond it, blocks would run uncompiled without a message
    for block in model.get_submodule("blocks").children():
        block.compile(dynamic=False)
    if isinstance(model, Transformer):
        model.norm.compile(dynamic=False)
        model.compiled = True


def shard(model: nn.Module, distributed: Distributed, precision: Precision, reshard_after_forward: bool) -> None:
    """Shard the parameters over the data-parallel ranks: each block, then the rest. With one rank, nothing is sharded.

    Parameters and sums of gradients stay fp32. In bf16, parameters are cast as they are gathered; with one rank, the
    forward pass runs under autocast.
    """
    if distributed.dp_world == 1:
        if precision == "bf16":
            model.forward = torch.autocast(distributed.device.type, torch.bfloat16)(model.forward)
        return
    mesh = init_device_mesh(distributed.device.type, (distributed.dp_world,))
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in model.get_submodule("blocks").children():
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard_after_forward)
    # The rest stays gathered after the forward pass, because the backward pass begins with it.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def sums(distributed: Distributed, values: Sequence[Number]) -> list[Number]:
    """Sum each value over all processes. All processes call this together, and get the same bits.

    Integers are summed exactly as int64. If any value is a float, all are summed as float64, and every process must
    pass a float.
    """
    integers = all(isinstance(value, int) for value in values)
    total_N = torch.tensor([*values, 1], dtype=torch.int64 if integers else torch.float64)
    if distributed.control is not None:
        with distributed.exchange():
            dist.all_reduce(total_N, group=distributed.control)
        # Mixing int64 with float64 would sum up nonsense without an error; the 1 appended above reveals it.
        assert total_N[-1] == distributed.world, "some processes gave whole numbers, others floats"
    totals: list[Number] = total_N[:-1].tolist()
    return totals


def any_rank(distributed: Distributed, flag: bool) -> bool:
    """Return True if the flag is set on any process. All processes call this together."""
    return sums(distributed, [int(flag)])[0] > 0


def from_first(distributed: Distributed, number: int) -> int:
    """Return the number of the first process. All processes call this together."""
    return sums(distributed, [number if distributed.rank == 0 else 0])[0]


def gathered(distributed: Distributed, value: Value) -> list[Value]:
    """Return the value of each process, in the order of ranks. All processes call this together."""
    values = [value] * distributed.world
    if distributed.control is not None:
        with distributed.exchange():
            dist.all_gather_object(values, value, group=distributed.control)
    return values
