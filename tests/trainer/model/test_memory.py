"""Estimated memory against the peak that torch's CPU allocator hands out, and its parts by hand."""

from dataclasses import astuple, replace

import pytest
import torch

from tests.trainer.model.test_cost import GROUPED, UNTIED, WIDE_HEADS
from tests.trainer.peak_memory import peak_bytes
from trainer.engine.distributed import compile_blocks
from trainer.engine.recompute import recompute_blocks
from trainer.model.family import Activations
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.memory import Computation, Memory, Recompute, chunk_tokens, device_memory, recomputes
from trainer.model.transformer import initialize

SHAPES = {  # deep with a small vocabulary, wide with a large one
    "deep": LlamaConfig(6, 128, 4, 4, 32, 344, 2000, 10_000.0, 1e-5, True),
    "wide": LlamaConfig(3, 96, 6, 2, 32, 512, 8000, 10_000.0, 1e-5, False),
}


def peak_of_a_step(
    config: LlamaConfig, how: Computation, sequences: int, positions: int, documents: float = 0.01
) -> int:
    """Return the peak of a step that adds to gradients, with weights, gradients and moments."""
    model = LlamaModel(config)
    initialize(model, 1, 0.05)
    model.loss_chunk_tokens = how.loss_chunk_tokens
    recompute_blocks(model, how.recompute)
    if how.compiled:
        compile_blocks(model)
    generator = torch.Generator().manual_seed(1)
    tokens_BW = torch.randint(0, config.vocab_size, (sequences, positions + 1), generator=generator)
    segments_BT = (torch.rand(sequences, positions, generator=generator) < documents).cumsum(1)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=how.bf16):
            losses = model(tokens_BW[:, :-1], segments_BT, tokens_BW[:, 1:])
        losses.total.backward()

    step()
    return 16 * sum(parameter.numel() for parameter in model.parameters()) + peak_bytes(step)


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("loss_chunk_tokens", [64, None])
@pytest.mark.parametrize("recompute", ["none", "operations", 2, "full"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_peak_is_as_estimated(shape: str, recompute: Recompute, loss_chunk_tokens: int | None, bf16: bool) -> None:
    how = Computation(bf16=bf16, on_cpu=True, recompute=recompute, loss_chunk_tokens=loss_chunk_tokens)
    found = peak_of_a_step(SHAPES[shape], how, sequences=2, positions=256)
    estimate = device_memory(SHAPES[shape], how, sequence_tokens=256, micro_batch_sequences=2)
    assert estimate.training_bytes == pytest.approx(found, rel=0.1)


def test_documents_attended_to_one_by_one_need_no_mask() -> None:
    config = replace(SHAPES["deep"], num_hidden_layers=2)
    how = Computation(bf16=False, on_cpu=True)
    found = peak_of_a_step(config, how, sequences=1, positions=2048, documents=1 / 1000)
    estimate = device_memory(config, how, sequence_tokens=2048, micro_batch_sequences=1)
    assert estimate.training_bytes == pytest.approx(found, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("recompute", ["none", "operations", "full"])
def test_the_peak_of_compiled_blocks_is_as_estimated(recompute: Recompute, bf16: bool) -> None:
    torch._dynamo.reset()
    how = Computation(bf16=bf16, on_cpu=True, compiled=True, recompute=recompute, loss_chunk_tokens=64)
    found = peak_of_a_step(SHAPES["deep"], how, sequences=2, positions=256)
    estimate = device_memory(SHAPES["deep"], how, sequence_tokens=256, micro_batch_sequences=2)
    assert estimate.training_bytes == pytest.approx(found, rel=0.1)


def _memory(config: LlamaConfig, how: Computation) -> Memory:
    return device_memory(config, how, sequence_tokens=100, micro_batch_sequences=2, evaluation=500)


def test_parts_by_hand() -> None:
    total, table = GROUPED.count_parameters().total, 640 * 64
    found = _memory(GROUPED, Computation())
    assert astuple(found)[:3] == (4 * total, 4 * total, 8 * total)
    assert found.total_bytes == max(sum(astuple(found)[:-1]), found.evaluation_bytes)
    # At the loss: casts of all blocks; what they keep; then a chunk of all tokens with the gradient of the matrix.
    block = GROUPED.count_parameters().blocks // 3
    kept = 2 * (4 * 64 + 4) + 2 * (5 * 64 + 3 * 64 + 2 * 32 + 4 * 192) + 4 * 4
    assert found.gathered_bytes == 2 * 3 * block
    assert found.activations_bytes == 200 * (3 * kept + 2 * 4 * 64)
    assert found.working_bytes == 200 * (4 * 64 + 6 * 640) + (2 + 2) * table
    chunks = _memory(GROUPED, Computation(loss_chunk_tokens=150))
    assert chunks.working_bytes == 200 * 4 * 64 + 150 * 6 * 640 + (2 + 4 + 2) * table


def test_recomputing_blocks_keep_their_input_and_one_works() -> None:
    types = Activations(autocast=True)
    plain, full = (_memory(GROUPED, Computation(recompute=setting)) for setting in ("none", "full"))
    whole = GROUPED.activation_bytes_per_token(types)
    assert plain.activations_bytes - full.activations_bytes == 200 * 3 * (whole - 4 * 64)
    sizes = {each: _memory(UNTIED, Computation(recompute=each)).training_bytes for each in ("none", 2, "operations", 1)}
    assert sizes["none"] > sizes["operations"] > sizes[1]
    assert sizes["none"] > sizes[2] > sizes[1]
    assert [recomputes(2, block) for block in range(4)] == [False, True, False, True]
    assert all(recomputes(1, block) and recomputes("full", block) for block in range(4))


def test_memory_is_divided_among_devices() -> None:
    two, eight = (_memory(UNTIED, Computation(devices=devices)) for devices in (2, 8))
    assert eight.moments_bytes == pytest.approx(two.moments_bytes / 4, abs=8)
    assert eight.gathered_bytes == two.gathered_bytes
    assert eight.activations_bytes == two.activations_bytes
    kept = _memory(WIDE_HEADS, Computation(devices=2, reshard_after_forward=False))
    assert kept.gathered_bytes > _memory(WIDE_HEADS, Computation(devices=2)).gathered_bytes
    wide = _memory(GROUPED, Computation(devices=2, bf16=False))
    assert wide.activations_bytes > 1.9 * _memory(GROUPED, Computation(devices=2)).activations_bytes


def test_evaluation_holds_one_block_and_a_chunk_of_logits() -> None:
    """With logits of all 16 sequences it would be 84 GB."""
    large = LlamaConfig(32, 4096, 32, 8, 128, 14_336, 128_256, 500_000.0, 1e-5, False)
    held = device_memory(large, Computation(devices=8), sequence_tokens=4096, micro_batch_sequences=1, evaluation=2**16)
    less = device_memory(large, Computation(devices=8), sequence_tokens=4096, micro_batch_sequences=1, evaluation=2**12)
    assert held.evaluation_bytes - less.evaluation_bytes < 10e9
    assert chunk_tokens(128_256) * 128_256 <= 2**26
    assert replace(held, evaluation_bytes=10**15).total_bytes == 10**15


@pytest.mark.slow
def test_a_large_vocabulary_needs_little_memory() -> None:
    """8,192 tokens with 256,000 logits each: 8.4 GB in fp32, and more with their gradient."""
    config = LlamaConfig(1, 512, 8, 8, 64, 1024, 256_000, 10_000.0, 1e-5, True)
    how = Computation(bf16=True, on_cpu=True)
    weights = 16 * config.count_parameters().total
    found = peak_of_a_step(config, how, sequences=4, positions=2048) - weights
    assert found < 4e9
    estimate = device_memory(config, how, sequence_tokens=2048, micro_batch_sequences=4).training_bytes
    assert estimate == pytest.approx(weights + found, rel=0.1)
