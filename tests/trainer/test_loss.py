"""The loss: what it is of one token, and that it is the same however the batch is cut."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.attention import document_mask
from trainer.loader import IGNORED
from trainer.loss import token_losses
from trainer.model import Shape, Transformer, initialise

SMALL = Shape(
    layers=2,
    width=16,
    heads=4,
    kv_heads=2,
    head_width=4,
    mlp_width=24,
    vocabulary=11,
    rope_base=10_000.0,
    norm_epsilon=1e-5,
    tied_embeddings=False,
)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.data())
def test_a_loss_is_minus_the_logarithm_of_the_targets_probability(logits: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    found = token_losses(torch.tensor([[logits]], dtype=torch.float64), torch.tensor([[target]]))
    expected = math.log(math.fsum(math.exp(logit) for logit in logits)) - logits[target]
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_ignored_targets_cost_nothing_and_teach_nothing() -> None:
    logits_BTV = torch.randn(2, 3, 5, requires_grad=True)
    losses_BT = token_losses(logits_BTV, torch.tensor([[1, IGNORED, 0], [IGNORED, IGNORED, 4]]))
    losses_BT.sum().backward()
    ignored_BT = torch.tensor([[False, True, False], [True, True, False]])
    assert logits_BTV.grad is not None
    assert ((losses_BT == 0) == ignored_BT).all()
    assert ((logits_BTV.grad == 0).all(-1) == ignored_BT).all()


def test_bf16_logits_are_summed_in_fp32() -> None:
    """In bf16, 1 + 1 + … stops growing at 256."""
    losses_BT = token_losses(torch.zeros(1, 1, 10_000, dtype=torch.bfloat16), torch.tensor([[7]]))
    assert losses_BT.dtype == torch.float32
    assert losses_BT.item() == pytest.approx(math.log(10_000), rel=1e-6)


@pytest.mark.parametrize("cuts", [[4], [1, 1, 1, 1], [3, 1], [1, 2, 1]], ids=str)
def test_accumulation_gives_the_loss_and_the_gradients_of_one_batch(cuts: list[int]) -> None:
    """Rows differ in their targets: 9, 2, 7 and 0. A mean of each micro-batch's mean fails this."""
    inputs_BT = torch.randint(SMALL.vocabulary, (4, 9), generator=torch.Generator().manual_seed(1))
    targets_BT = inputs_BT.roll(-1, 1)
    targets_BT[1, :7] = targets_BT[2, 7:] = targets_BT[3] = IGNORED
    segments_BT = (inputs_BT == 0).cumsum(1).int()
    expected = per_token(inputs_BT, targets_BT, segments_BT, [4])
    found = per_token(inputs_BT, targets_BT, segments_BT, cuts)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    alone = [per_token(inputs_BT[n : n + 1], targets_BT[n : n + 1], segments_BT[n : n + 1], [1])[0] for n in range(3)]
    weighted = sum(loss.item() * Fraction(count, 18) for loss, count in zip(alone, (9, 2, 7), strict=True))
    assert found[0].item() == pytest.approx(float(weighted), abs=1e-12)


def per_token(inputs_BT: Tensor, targets_BT: Tensor, segments_BT: Tensor, cuts: list[int]) -> list[Tensor]:
    """The batch's loss and the gradients, by micro-batches of so many sequences."""
    model = Transformer(SMALL).double()
    initialise(model, 1, 0.1)
    targets = (targets_BT != IGNORED).sum()
    total = torch.zeros((), dtype=torch.float64)
    parts = zip(*(whole.split(cuts) for whole in (inputs_BT, targets_BT, segments_BT)), strict=True)
    for inputs, wanted, segments in parts:
        loss = token_losses(model(inputs, document_mask(segments)), wanted).sum() / targets
        loss.backward()
        total += loss.detach()
    return [total, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]
