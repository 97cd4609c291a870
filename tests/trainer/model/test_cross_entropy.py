"""The losses of the output head against those of whole logits by torch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from trainer.data.loader import IGNORED
from trainer.model.cross_entropy import Cap, Losses, chunk_tokens, head_losses

VOCABULARY = 11


def made(targets_BT: Tensor, dtype: torch.dtype = torch.float64, vocabulary: int = VOCABULARY) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x_BTD = torch.randn(*targets_BT.shape, 6, dtype=torch.float64, generator=generator)
    weight_VD = torch.randn(vocabulary, 6, dtype=torch.float64, generator=generator)
    return x_BTD.to(dtype).requires_grad_(), weight_VD.to(dtype).requires_grad_()


def soft(logits: Tensor) -> Tensor:
    return 3 * torch.tanh(logits / 3)


def by_torch(x_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, cap: Cap | None) -> Losses:
    logits_BTV = functional.linear(x_BTD, weight_VD)
    logits_BVT = (logits_BTV if cap is None else cap(logits_BTV)).transpose(1, 2)
    each_BT = functional.cross_entropy(logits_BVT, targets_BT, reduction="none")
    return Losses(each_BT.sum(), each_BT)


@given(
    st.lists(st.sampled_from([*range(VOCABULARY), IGNORED]), min_size=12, max_size=12),
    st.sampled_from([1, 5, 12, None]),
    st.sampled_from([None, soft]),
)
def test_losses_and_gradients_are_those_of_whole_logits(
    targets: list[int], tokens: int | None, cap: Cap | None
) -> None:
    targets_BT = torch.tensor(targets).view(3, 4)
    results = []
    for compute in (by_torch, lambda *made, cap: head_losses(*made, cap=cap, tokens=tokens)):
        x_BTD, weight_VD = made(targets_BT)
        losses = compute(x_BTD, weight_VD, targets_BT, cap=cap)
        (losses.total * 0.25).backward()
        results.append((*(each.detach() for each in losses), x_BTD.grad, weight_VD.grad))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.data())
def test_the_loss_is_the_negative_log_probability_of_the_target(logits: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    weight_VD = torch.tensor(logits, dtype=torch.float64)[:, None]
    found = head_losses(torch.ones(1, 1, 1, dtype=torch.float64), weight_VD, torch.tensor([[target]]))
    expected = math.log(math.fsum(math.exp(logit) for logit in logits)) - logits[target]
    assert found.each_BT.shape == (1, 1)
    assert found.total.item() == found.each_BT.item() == pytest.approx(expected, abs=1e-9)


def test_bf16_logits_are_summed_in_fp32() -> None:
    """In bf16, 1 + 1 + … stops growing at 256."""
    x_BTD, weight_VD = (torch.zeros(*shape, dtype=torch.bfloat16) for shape in ((1, 1, 4), (10_000, 4)))
    losses = head_losses(x_BTD, weight_VD, torch.tensor([[7]]))
    assert losses.each_BT.dtype == torch.float32
    assert losses.total.item() == pytest.approx(math.log(10_000), rel=1e-6)


def test_gradients_of_many_chunks_are_summed_in_fp32() -> None:
    """In bf16, the sum would be off by percents: 4,096 equal summands, each in a chunk of its own."""
    targets_BT = torch.zeros(1, 4096, dtype=torch.int64)
    x_BTD, weight_VD = torch.ones(1, 4096, 1).bfloat16(), torch.zeros(2, 1).bfloat16().requires_grad_()
    head_losses(x_BTD, weight_VD, targets_BT, tokens=1).total.backward()
    assert weight_VD.grad is not None
    assert weight_VD.grad.flatten().tolist() == [-2048, 2048]


def test_autocast_decides_the_type_and_gradients_have_that_of_the_weight() -> None:
    targets_BT = torch.tensor([[1, 2, 3, 4]])
    x_BTD, weight_VD = made(targets_BT, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        losses = head_losses(x_BTD, weight_VD, targets_BT, tokens=3)
    exact = head_losses(x_BTD, weight_VD, targets_BT)
    assert losses.each_BT.dtype == torch.float32
    assert 0 < (losses.each_BT - exact.each_BT).abs().max() < 0.1
    losses.total.backward()
    assert x_BTD.grad is not None and weight_VD.grad is not None
    assert x_BTD.grad.dtype == weight_VD.grad.dtype == torch.float32


def test_compiled_it_is_the_same() -> None:
    targets_BT = torch.tensor([[1, 2, IGNORED, 4, 5]])
    results = []
    for compiled in (False, True):
        x_BTD, weight_VD = made(targets_BT)
        losses = head_losses(x_BTD, weight_VD, targets_BT, tokens=2, compiled=compiled)
        losses.total.backward()
        results.append((losses.each_BT, x_BTD.grad, weight_VD.grad))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        found = func(*args, **(kwargs or {}))
        tensors = [each for each in torch.utils._pytree.tree_leaves(found) if isinstance(each, Tensor)]
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return found


@pytest.mark.parametrize("gradients", [True, False])
def test_no_tensor_holds_more_logits_than_a_chunk(gradients: bool) -> None:
    targets_BT = torch.zeros(4, 64, dtype=torch.int64)
    x_BTD, weight_VD = made(targets_BT, vocabulary=1000)
    with Largest() as largest, torch.set_grad_enabled(gradients):
        losses = head_losses(x_BTD, weight_VD, targets_BT, tokens=20)
        if gradients:
            losses.total.backward()
    assert largest.elements == 20 * 1000


def test_chunks_hold_at_least_one_token() -> None:
    assert chunk_tokens(2**20) == 64
    assert chunk_tokens(2**30) == 1
