"""Recomputed activations: the same gradients bit for bit, and the operations that each setting repeats."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainer.model.llama.test_llama_model import SMALL
from trainer.engine.distributed import compile_blocks
from trainer.engine.recompute import recompute_blocks
from trainer.model.llama.model import LlamaModel
from trainer.model.memory import Recompute
from trainer.model.transformer import initialize

CONFIG = replace(SMALL, num_hidden_layers=4)
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


def made(recompute: Recompute) -> LlamaModel:
    model = LlamaModel(CONFIG)
    initialize(model, 1, 0.3)
    recompute_blocks(model, recompute)
    return model


def step(model: LlamaModel, bf16: bool = False) -> list[Tensor]:
    """Return losses and all gradients on packed documents."""
    generator = torch.Generator().manual_seed(2)
    tokens_BW = torch.randint(CONFIG.vocab_size, (2, 41), generator=generator)
    segments_BT = (tokens_BW[:, :-1] == 3).cumsum(1)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        losses = model(tokens_BW[:, :-1], segments_BT, tokens_BW[:, 1:])
    losses.total.backward()
    return [losses.each_BT, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("recompute", ["operations", "full", 2, 1])
def test_gradients_are_the_same_bit_for_bit(recompute: Recompute, bf16: bool) -> None:
    for plain, found in zip(step(made("none"), bf16), step(made(recompute), bf16), strict=True):
        assert torch.equal(plain, found)


class Operations(TorchDispatchMode):
    """Count operations."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[object] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.counts[func] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("recompute", "attentions", "activations"), [("none", 4, 4), ("operations", 4, 8), (2, 6, 6), ("full", 8, 8)]
)
def test_each_setting_repeats_what_it_says(recompute: Recompute, attentions: int, activations: int) -> None:
    with Operations() as operations:
        step(made(recompute))
    assert operations.counts[ATTENTION] == attentions
    assert operations.counts[torch.ops.aten.silu.default] == activations
    products = 4 * 7 * 3 + 3 + (7 * (attentions - 4) if recompute != "operations" else 0)
    assert operations.counts[torch.ops.aten.mm.default] == pytest.approx(products, abs=2 * (attentions - 4))


@pytest.mark.parametrize("recompute", ["operations", "full"])
def test_compiled_blocks_recompute_as_well(recompute: Recompute) -> None:
    """Without the code generator, which is slow."""
    model = made(recompute)
    for block in model.blocks:
        block.compile(backend="aot_eager", fullgraph=True, dynamic=False)
    for plain, found in zip(step(made("none")), step(model), strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6)


def test_names_of_parameters_do_not_change() -> None:
    model = made("full")
    compile_blocks(model)
    assert list(model.state_dict()) == list(LlamaModel(CONFIG).state_dict())
