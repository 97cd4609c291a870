"""Processes, devices and sharding. Runs as a program as one of two processes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from corpus.errors import InputError
from tests.trainer.torchrun import torchrun
from trainer.engine import distributed as processes
from trainer.engine.distributed import (
    Distributed,
    Precision,
    any_rank,
    chosen_precision,
    compile_blocks,
    from_first,
    gathered,
    shard,
    start,
    sums,
)

ALONE = Distributed(0, 1, 0, 1, 0, torch.device("cpu"), None)
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(6, 5)
        self.blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.last = nn.Linear(5, 3)

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = self.first(x_BD)
        for block in self.blocks:
            x_BD = torch.tanh(block(x_BD))
        out_BD: Tensor = self.last(x_BD)
        return out_BD


def inputs(rank: int) -> Tensor:
    """Return more rows for the second process, so that the parts of the batch are uneven."""
    return torch.randn(3 + 4 * rank, 6, generator=torch.Generator().manual_seed(rank))


def loss(model: nn.Module, x_BD: Tensor) -> Tensor:
    out_BD: Tensor = model(x_BD)
    return out_BD.float().square().sum()


def test_without_torchrun_one_process_runs_without_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "somewhere")  # clusters set it for everyone
    with start() as distributed:
        assert (distributed.rank, distributed.world, distributed.dp_rank, distributed.dp_world) == (0, 1, 0, 1)
        assert distributed.control is None
        assert not torch.distributed.is_initialized()
        assert (
            sums(distributed, [1, 2]) == [1, 2]
            and sums(distributed, [0.5]) == [0.5]
            and gathered(distributed, "a") == ["a"]
        )
        assert any_rank(distributed, True) and not any_rank(distributed, False)
        assert from_first(distributed, 7) == 7


def test_ranks_come_from_the_variables_of_torchrun() -> None:
    assert processes._read_ranks(TORCHRUN) == (1, 4, 1)


@given(st.sets(st.sampled_from(sorted(TORCHRUN))))
def test_missing_variables_are_named(missing: set[str]) -> None:
    environment = {name: value for name, value in TORCHRUN.items() if name not in missing}
    if not missing or {"RANK", "WORLD_SIZE"} <= missing:
        processes._read_ranks(environment)
        return
    with pytest.raises(InputError) as caught:
        processes._read_ranks(environment)
    found, _, lacking = str(caught.value).partition(", but ")
    assert all(name in lacking for name in missing) and all(name in found for name in environment)


@pytest.mark.parametrize("change", [{"RANK": "one"}, {"RANK": "-1"}, {"RANK": "4"}, {"LOCAL_RANK": "2"}, {"RANK": "²"}])
def test_invalid_variables_are_named(change: dict[str, str]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        processes._read_ranks(TORCHRUN | change)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="process 3 on this machine finds 2 GPUs"):
        processes._device(2)


def test_a_stated_precision_is_used() -> None:
    assert chosen_precision("fp32", ALONE.device) == "fp32"
    assert chosen_precision("bf16", ALONE.device) == "bf16"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")])
def test_auto_is_bf16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert chosen_precision("auto", torch.device("cuda", 0)) == precision


@pytest.mark.parametrize(
    ("takes", "capabilities", "precision"),
    [
        (True, {"avx512_f": True, "avx512_bf16": True}, "bf16"),
        (True, {"amx_bf16": True}, "bf16"),
        (True, {"avx512_f": True}, "fp32"),  # emulated
        (False, {"avx512_bf16": True}, "fp32"),
    ],
)
def test_auto_is_bf16_on_a_cpu_with_bf16_instructions(
    monkeypatch: pytest.MonkeyPatch, takes: bool, capabilities: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: takes)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert chosen_precision("auto", ALONE.device) == precision


def test_older_torch_versions_report_bf16_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    for found in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=found: found, raising=False)
        assert chosen_precision("auto", ALONE.device) == ("bf16" if found else "fp32")


def test_one_process_shards_nothing_and_uses_autocast_for_bf16() -> None:
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        model = Small()
        shard(model, ALONE, precision, reshard_after_forward=True)  # type: ignore[arg-type]
        assert not any(isinstance(parameter, DTensor) for parameter in model.parameters())
        assert model(inputs(0)).dtype == dtype
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:.*script_method")  # torch's own
def test_compiling_blocks_does_not_change_parameter_names() -> None:
    model = Small()
    before = list(model.state_dict())
    compile_blocks(model)
    assert list(model.state_dict()) == before
    assert all(block._compiled_call_impl is not None for block in model.blocks)
    assert model._compiled_call_impl is None


@torch._dynamo.config.patch(recompile_limit=torch._dynamo.config.recompile_limit)  # put back
def test_each_shape_has_its_own_graph() -> None:
    """Fails without `dynamic=False` (two graphs), or with torch's default limit (eight)."""
    lengths: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[object]) -> Callable[..., object]:
        lengths.append(max(len(each) for each in inputs if isinstance(each, Tensor)))
        return graph.forward

    class Doubling(nn.Module):  # torch's own modules are not compiled by themselves
        def forward(self, x_BD: Tensor) -> Tensor:
            return x_BD * 2

    model = Small()
    model.blocks = nn.ModuleList([Doubling(), Doubling()])
    compile_blocks(model)
    with torch.compiler.set_stance("default", force_backend=backend):
        for rows in [*range(10, 26), *range(10, 26)]:
            model(torch.zeros(rows, 6))
    assert lengths == list(range(10, 26))


# Two processes: one start of them serves the tests below.


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("two")
    torchrun(2, __file__, str(folder))
    return [json.loads((folder / str(rank)).read_text()) for rank in range(2)]


def of_two_processes(folder: Path) -> None:
    with start() as distributed:
        found: dict[str, object] = {
            "distributed": [
                distributed.rank,
                distributed.world,
                distributed.dp_rank,
                distributed.dp_world,
                distributed.local_rank,
                distributed.device.type,
            ],
            "whole": sums(distributed, [2**60 + distributed.rank, -1]),
            "floats": sums(distributed, [0.1, 10.0**distributed.rank]),
            "none": sums(distributed, []),
            "any": [
                any_rank(distributed, False),
                any_rank(distributed, distributed.rank == 1),
                any_rank(distributed, True),
            ],
            "first": [
                from_first(distributed, 2**60 + distributed.rank),
                from_first(distributed, -1 - distributed.rank),
            ],
            "said": gathered(distributed, "näher\n" * distributed.rank),
            "silence": gathered(distributed, ""),
        }
        try:
            sums(distributed, [1 if distributed.rank else 1.5])
        except AssertionError as error:
            found["mixed"] = str(error)
        for precision in ("fp32", "bf16"):
            found[precision] = trained(distributed, precision)
        (folder / str(distributed.rank)).write_text(json.dumps(found))


def trained(distributed: Distributed, precision: Precision) -> dict[str, object]:
    model = Small()
    shard(model, distributed, precision, reshard_after_forward=True)
    out_BD = model(inputs(distributed.rank))
    loss(model, inputs(distributed.rank)).backward()  # type: ignore[no-untyped-call]
    rows, gradients, dtypes = {}, {}, set()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert isinstance(parameter, DTensor) and isinstance(gradient, DTensor)
        rows[name] = len(parameter.to_local())
        gradients[name] = gradient.full_tensor().tolist()
        dtypes.add(str(parameter.dtype))
    return {"out": str(out_BD.dtype), "parameters": sorted(dtypes), "rows": rows, "gradients": gradients}


def test_two_processes_have_different_ranks(two: list[dict[str, object]]) -> None:
    assert [each["distributed"] for each in two] == [[0, 2, 0, 2, 0, "cpu"], [1, 2, 1, 2, 1, "cpu"]]


def test_sums_are_exact_and_the_same_everywhere(two: list[dict[str, object]]) -> None:
    for each in two:
        assert each["whole"] == [2**61 + 1, -2]  # float64 would lose the 1
        assert each["floats"] == [0.2, 11.0]
        assert each["none"] == []
        assert each["any"] == [False, True, True]
        assert each["first"] == [2**60, -1]
        assert "others floats" in str(each["mixed"])


def test_text_is_gathered_in_the_order_of_ranks(two: list[dict[str, object]]) -> None:
    for each in two:
        assert each["said"] == ["", "näher\n"]
        assert each["silence"] == ["", ""]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 0.05)])
def test_gradients_are_averaged_over_processes(two: list[dict[str, object]], precision: str, tolerance: float) -> None:
    model = Small()
    (loss(model, inputs(0)) + loss(model, inputs(1))).backward()  # type: ignore[no-untyped-call]
    for each in two:
        found = each[precision]
        assert isinstance(found, dict)
        assert found["out"] == ("torch.bfloat16" if precision == "bf16" else "torch.float32")
        assert found["parameters"] == ["torch.float32"]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            gradient = torch.tensor(found["gradients"][name]) * 2
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=tolerance * scale)


def test_each_process_holds_a_part_of_the_rows(two: list[dict[str, object]]) -> None:
    rows = [each["fp32"]["rows"]["first.weight"] for each in two]  # type: ignore[index]
    assert rows == [3, 2]


if __name__ == "__main__":
    of_two_processes(Path(sys.argv[1]))
