"""Training step of ours and of transformers' LLaMA with the same shape: tokens/s, MFU and memory, in one run.

Ours takes real steps of trainer/engine/step.py: document masks, per-source losses, clipping, AdamW. transformers takes
causal attention, its own mean loss, clipping and the same AdamW. Both are compiled and compute in bf16 by autocast with
fp32 weights. A CPU measures one small shape, a GPU 124 M and 1 B. A model of 8 B in fp32 with the moments of AdamW
needs 128 GB, more than one GPU holds.

MFU counts 6N FLOPs per token. A second figure adds attention of each token to its whole sequence (T x T), as papers do.
A causal mask needs half of that, document masks less, and kernels skip masked blocks, so it is an upper bound.

Run: python benchmarks/training_step.py [--shapes cpu 124m 1b] [--steps 10]; one process, one device.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import common
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from trainer.config import OptimizerSettings
from trainer.data.loader import Batch, segments
from trainer.engine.distributed import Distributed, chosen_precision, compile_blocks, shard, start
from trainer.engine.optimizer import clip, make_optimizer, set_rate
from trainer.engine.step import TrainStep
from trainer.model.cost import flops_per_token, peak_flops
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

EOS = 0
DOCUMENT_TOKENS = 600  # mean document length: each token is EOS with probability 1/600
CLAIM = "a step of ours is no slower than one of transformers' LLaMA of the same shape"


class StepCase(NamedTuple):
    """Model shape and batch size."""

    shape: LlamaConfig
    sequence_tokens: int
    sequences: int


def _shape(layers: int, width: int, heads: int, kv_heads: int, mlp: int, vocabulary: int, tied: bool) -> LlamaConfig:
    return LlamaConfig(layers, width, heads, kv_heads, width // heads, mlp, vocabulary, 10_000.0, 1e-5, tied)


CASES = {
    "cpu": StepCase(_shape(6, 384, 6, 6, 1024, 8192, True), 512, 4),
    "124m": StepCase(_shape(12, 768, 12, 12, 2048, 50_304, True), 1024, 32),
    "1b": StepCase(_shape(16, 2048, 32, 8, 8192, 32_768, True), 2048, 8),
}


def ours(case: StepCase, distributed: Distributed) -> Callable[[], float]:
    """Return a function that takes one step of ours and returns its loss."""
    with torch.device("meta"):
        model = LlamaModel(case.shape)
    compile_blocks(model)
    shard(model, distributed, chosen_precision("auto", distributed.device), reshard_after_forward=True)
    model.to_empty(device=distributed.device)
    initialize(model, 1, 0.02)
    optimizer = make_optimizer(model, OptimizerSettings())
    train_step = TrainStep(model, optimizer, distributed, None, 1.0)
    draw = np.random.default_rng(1)
    tokens_BW = draw.integers(1, case.shape.vocab_size, (case.sequences, case.sequence_tokens + 1)).astype(np.uint16)
    tokens_BW[draw.random(tokens_BW.shape) < 1 / DOCUMENT_TOKENS] = EOS
    segments_BT, _ = segments(tokens_BW, np.empty(0, np.int64), EOS)
    inputs_BT, targets_BT = tokens_BW[:, :-1].astype(np.int64), tokens_BW[:, 1:].astype(np.int64)
    batch = Batch(1, 0, ("source",) * case.sequences, inputs_BT, targets_BT, segments_BT)
    return lambda: train_step.learn(batch, train_step.agree(batch).targets, 1e-4).loss


def theirs(case: StepCase, distributed: Distributed) -> Callable[[], float]:
    """Return a function that takes one step of transformers' LLaMA and returns its loss."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, device = case.shape, distributed.device
    settings = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        max_position_embeddings=case.sequence_tokens,
        tie_word_embeddings=shape.tie_word_embeddings,
        attn_implementation="sdpa",
        use_cache=False,
    )
    with device:
        model = LlamaForCausalLM(settings).float()
    precision = chosen_precision("auto", device)
    optimizer = make_optimizer(model, OptimizerSettings())
    set_rate(optimizer, 1e-4)
    compiled = torch.compile(model)
    tokens_BT = torch.randint(1, shape.vocab_size, (case.sequences, case.sequence_tokens), device=device)

    def step() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = compiled(input_ids=tokens_BT, labels=tokens_BT).loss
        loss.backward()
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def measure(
    make: Callable[[StepCase, Distributed], Callable[[], float]], case: StepCase, distributed: Distributed, steps: int
) -> dict[str, float]:
    """Return tokens/s of the median step, peak device memory and seconds of the first step."""
    device = distributed.device
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step, times = make(case, distributed), []
    for _ in range(steps + 3):
        start_s = time.perf_counter()
        step()  # reads the loss, so the device has finished
        times.append(time.perf_counter() - start_s)
    pace = case.sequences * case.sequence_tokens / statistics.median(times[3:])
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {"tokens_per_s": pace, "device_memory_bytes": float(memory), "first_step_s": times[0]}


def compare(case: StepCase, distributed: Distributed, steps: int, peak: float | None) -> dict[str, dict[str, float]]:
    """Measure ours and transformers'; add MFU if the peak FLOP/s of the device is known."""
    results = {}
    for who, make in (("gristmill", ours), ("transformers", theirs)):
        results[who] = measure(make, case, distributed, steps)
        if peak is not None:
            pace = results[who]["tokens_per_s"] / peak
            results[who]["mfu"] = pace * flops_per_token(case.shape)
            results[who]["mfu_with_full_attention"] = pace * flops_per_token(case.shape, case.sequence_tokens)
    return results


def main() -> None:
    """Measure, print the table, and record the figures."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=CASES, default=["124m", "1b"] if on_gpu else ["cpu"])
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if on_gpu else common.cpu()
    peak = peak_flops(name) if on_gpu else None
    heads = ("shape", "who", "tokens/s", "MFU 6N", "MFU, attention over T x T", "memory GB", "times theirs")
    table = Table(*heads, title=name, title_justify="left")
    figures: dict[str, object] = {"device": name, "peak_flops": peak}
    met = {}
    with start() as distributed:
        for shape in options.shapes:
            results = compare(CASES[shape], distributed, options.steps, peak)
            ratio = results["gristmill"]["tokens_per_s"] / results["transformers"]["tokens_per_s"]
            figures[shape], met[shape] = {**results, "ratio": ratio}, ratio >= 1
            for who, each in results.items():
                uses = [f"{each[key]:.1%}" if key in each else "–" for key in ("mfu", "mfu_with_full_attention")]
                memory = f"{each['device_memory_bytes'] / 1e9:.1f}" if on_gpu else "–"
                times = f"{ratio:.2f}" if who == "gristmill" else ""
                table.add_row(shape, who, f"{each['tokens_per_s']:,.0f}", *uses, memory, times)
    Console(width=110).print(table)
    for shape, holds in met.items():
        print(f"{shape}: {'met' if holds else 'NOT met'}: {CLAIM}")
    result = "training_step_gpu" if on_gpu else "training_step"
    common.record(result, CLAIM, ["torch", "transformers", "numpy"], figures, met)


if __name__ == "__main__":
    main()
