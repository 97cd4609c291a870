"""AdamW: parameter groups, arithmetic, clipping, and the same on sharded parameters."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.trainer.torchrun import torchrun
from trainer.config import OptimizerSettings
from trainer.engine.optimizer import clip, make_optimizer, set_rate
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

SMALL = LlamaConfig(
    num_hidden_layers=2,
    hidden_size=16,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    intermediate_size=24,
    vocab_size=11,
    rope_theta=10_000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
)
SETTINGS = OptimizerSettings(beta1=0.8, beta2=0.9, epsilon=1e-6, weight_decay=0.3)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float | None, seed: int) -> float:
    """Take one step on gradients generated from the seed; return the norm."""
    tokens_BT = torch.randint(SMALL.vocab_size, (2, 8), generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(tokens_BT).float().square().sum().backward()
    norm = clip(model.parameters(), max_norm)
    optimizer.step()
    return norm


@pytest.mark.parametrize("tied", [True, False])
def test_norm_gains_and_an_untied_embedding_have_no_weight_decay(tied: bool) -> None:
    model = LlamaModel(replace(SMALL, tie_word_embeddings=tied))
    decaying, spared = make_optimizer(model, SETTINGS).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    spared_names = {names[id(parameter)] for parameter in spared["params"]}
    assert (decaying["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert spared_names == {name for name in names.values() if name.endswith("norm.weight")} | (
        set() if tied else {"embedding.weight"}
    )
    assert sorted([*(names[id(parameter)] for parameter in decaying["params"]), *spared_names]) == sorted(
        names.values()
    )


def test_the_learning_rate_is_0_until_it_is_set_for_all_groups() -> None:
    model = LlamaModel(SMALL)
    optimizer = make_optimizer(model, SETTINGS)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    step(model, optimizer, None, 0)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    set_rate(optimizer, 1e-2)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-2]
    step(model, optimizer, None, 0)
    assert not any(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_steps_match_the_paper() -> None:
    """Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with the rate as the schedule's factor."""
    model = LlamaModel(SMALL).double()
    initialize(model, 1, 0.3)
    optimizer = make_optimizer(model, SETTINGS)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    first = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    second = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for time, rate in enumerate((0.1, 0.01, 0.02), start=1):
        set_rate(optimizer, rate)
        step(model, optimizer, None, time)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            first[name] = 0.8 * first[name] + 0.2 * parameter.grad
            second[name] = 0.9 * second[name] + 0.1 * parameter.grad.square()
            decay = 0.0 if name.endswith("norm.weight") or name == "embedding.weight" else 0.3
            mean, square = first[name] / (1 - 0.8**time), second[name] / (1 - 0.9**time)
            weights[name] -= rate * (mean / (square.sqrt() + 1e-6) + decay * weights[name])
            torch.testing.assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-12)


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    def weights(threads: int) -> list[Tensor]:
        model = LlamaModel(replace(SMALL, vocab_size=5003))  # 80,048 elements, no multiple of a thread's part
        initialize(model, 1, 0.02)
        optimizer = make_optimizer(model, SETTINGS)
        set_rate(optimizer, 1e-2)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        optimizer.step()
        torch.set_num_threads(before)
        return [parameter.detach() for parameter in model.parameters()]

    assert all(torch.equal(*pair) for pair in zip(weights(1), weights(3), strict=True))


def gradients(values: list[list[float] | None], of: Callable[[list[float]], Tensor]) -> list[nn.Parameter]:
    """Return parameters with these gradients, or without one."""
    made = [nn.Parameter(torch.zeros(len(row or [0]), dtype=torch.float64)) for row in values]
    for parameter, row in zip(made, values, strict=True):
        parameter.grad = None if row is None else of(row)
    return made


ROWS = st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4) | st.none(), max_size=4)


@given(ROWS, st.floats(1e-3, 1e4))
def test_clipping_matches_torch(rows: list[list[float] | None], max_norm: float) -> None:
    ours, theirs, kept = (gradients(rows, lambda row: torch.tensor(row, dtype=torch.float64)) for _ in range(3))
    norm = clip(iter(ours), max_norm)
    assert norm == nn.utils.clip_grad_norm_(theirs, max_norm).item()
    assert norm == pytest.approx(math.hypot(*(value for row in rows for value in row or ())), rel=1e-12)
    assert clip(kept, None) == norm
    for our, their, unclipped, row in zip(ours, theirs, kept, rows, strict=True):
        if row is None:
            assert our.grad is None
        else:
            assert our.grad is not None and unclipped.grad is not None and their.grad is not None
            assert torch.equal(our.grad, their.grad)
            assert unclipped.grad.tolist() == row


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_returned(odd: float) -> None:
    assert not math.isfinite(clip(gradients([[1.0], [odd, 2.0]], torch.DoubleTensor), 1.0))


SHARDED = """
import sys
import torch
from tests.trainer.engine.test_optimizer import SETTINGS, SMALL, step
from torch.distributed.tensor import DTensor
from trainer.model.llama.model import LlamaModel
from trainer.model.transformer import initialize
from trainer.engine.optimizer import make_optimizer, set_rate
from trainer.engine.distributed import shard, start

whole = LlamaModel(SMALL)
initialize(whole, 1, 0.3)
with start() as layout:
    for precision in ("fp32", "bf16"):
        with torch.device("meta"):
            model = LlamaModel(SMALL)
        shard(model, layout, precision, True)
        model.to_empty(device="cpu")
        initialize(model, 1, 0.3)
        for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
            assert isinstance(ours, DTensor) and ours.to_local().numel() < ours.numel()
            assert torch.equal(ours.full_tensor(), theirs)

        seen = []
        attention = model.blocks[0].attention
        attention.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0].dtype, inputs[1].cos_TR.dtype)))
        optimizer = make_optimizer(model, SETTINGS)
        assert optimizer.param_groups[0]["fused"]
        set_rate(optimizer, 1e-2)
        norms = [step(model, optimizer, 1.0, seed) for seed in (0, 1)]
        sharded = [parameter.full_tensor() for parameter in model.parameters()]
        computed = torch.float32 if precision == "fp32" else torch.bfloat16
        assert seen == [(computed, torch.float32)] * 2, seen
        if precision == "bf16":
            continue

        alone = LlamaModel(SMALL)
        initialize(alone, 1, 0.3)
        optimizer = make_optimizer(alone, SETTINGS)
        set_rate(optimizer, 1e-2)
        for norm, seed in zip(norms, (0, 1), strict=True):
            expected = step(alone, optimizer, 1.0, seed)
            assert expected > 1.5 and abs(norm / expected - 1) < 1e-5, (norm, expected)
        for ours, theirs in zip(sharded, alone.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=0, atol=1e-5)
"""


def test_two_processes_initialize_clip_and_step_like_one() -> None:
    """Sharded parameters start equal to parts of the full ones; angles stay fp32 where FSDP casts a block's inputs."""
    torchrun(2, "-c", SHARDED)
