"""GPU only: FlexAttention, compiled blocks, bf16, and resuming bit for bit.

Run: GRISTMILL_TEST_CUDA=1 python -m pytest tests/trainer/test_cuda.py
"""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from tests.end_to_end.training import ROOT, STEPS, checkpoint_tensors, fit_here, metrics_fields, write_config
from trainer.engine.distributed import compile_blocks
from trainer.model.attention import block_mask, dense_mask
from trainer.model.llama import model as llama
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and GRISTMILL_TEST_CUDA=1")

SHAPE = LlamaConfig(2, 128, 4, 2, 32, 192, 512, 10_000.0, 1e-5, False)
MODEL = {
    "num_hidden_layers": 2,
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 192,
    "rope_theta": 10000,
}


def gradients(config: LlamaConfig, flex: bool, compiled: bool, precision: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Return the loss and all gradients on packed documents."""
    with torch.device("cuda"):
        model = LlamaModel(config)
    initialize(model, 1, 0.05)
    if compiled:
        compile_blocks(model)
    draw = torch.Generator().manual_seed(1)
    tokens_BT = torch.randint(0, config.vocab_size, (4, 257), generator=draw)
    segments_BT = (torch.rand(4, 256, generator=draw) < 0.02).cumsum(1)
    tokens_BT, segments_BT = tokens_BT.cuda(), segments_BT.cuda()
    mask = block_mask if flex else partial(dense_mask, dtype=precision)
    with (
        patch.object(llama, "document_mask", lambda segments_BT, *_: mask(segments_BT)),
        torch.autocast("cuda", precision, enabled=precision != torch.float32),
    ):
        losses = model(tokens_BT[:, :-1], segments_BT, tokens_BT[:, 1:])
    loss = losses.total / losses.each_BT.numel()
    loss.backward()
    return loss.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("num_key_value_heads", [1, 2, 4])
def test_flex_attention_matches_the_dense_mask_forward_and_backward(compiled: bool, num_key_value_heads: int) -> None:
    config = replace(SHAPE, num_key_value_heads=num_key_value_heads)
    dense = gradients(config, flex=False, compiled=False, precision=torch.float32)
    for one, other in zip(gradients(config, True, compiled, torch.float32), dense, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5)


def test_bf16_is_near_fp32() -> None:
    exact, rounded = (gradients(SHAPE, True, True, dtype)[0] for dtype in (torch.float32, torch.bfloat16))
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=1e-2)


def test_a_gpu_reads_the_same_batches_as_a_cpu_with_similar_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = fit_here(write_config(tmp_path / "gpu", model=MODEL))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = fit_here(write_config(tmp_path / "cpu", model=MODEL))
    assert metrics_fields(on_gpu, "step", "batch", "targets") == metrics_fields(on_cpu, "step", "batch", "targets")
    for (one,), (other,) in zip(metrics_fields(on_gpu, "loss"), metrics_fields(on_cpu, "loss"), strict=True):
        assert one == pytest.approx(other, abs=2e-2)


def fit_elsewhere(config: Path, *phase: str) -> None:
    """Train in a new process, which shares no compiled code."""
    command = [sys.executable, "-m", "trainer", "fit", "--config", str(config), *phase]
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    environment["GRISTMILL_TEST_CUDA"] = "1"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_with_deterministic_algorithms_training_phase_by_phase_is_bit_for_bit_the_same(tmp_path: Path) -> None:
    parallel = {"deterministic": True, "micro_batch_sequences": 2}
    whole, parts = (write_config(tmp_path / name, model=MODEL, parallel=parallel) for name in ("whole", "parts"))
    fit_elsewhere(whole)
    fit_elsewhere(parts, "--phase", "1")
    fit_elsewhere(parts, "--phase", "2")
    assert checkpoint_tensors(tmp_path / "parts" / "run") == checkpoint_tensors(tmp_path / "whole" / "run")
    assert len(metrics_fields(tmp_path / "whole" / "run", "step")) == STEPS
