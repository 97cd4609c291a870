"""The loss of a token."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.loader import IGNORED
from trainer.model.cross_entropy import token_losses


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.data())
def test_the_loss_is_the_negative_log_probability_of_the_target(logits: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(logits) - 1))
    found = token_losses(torch.tensor([[logits]], dtype=torch.float64), torch.tensor([[target]]))
    expected = math.log(math.fsum(math.exp(logit) for logit in logits)) - logits[target]
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_ignored_targets_have_no_loss_and_no_gradient() -> None:
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
