"""A step of training, ours against transformers' LLaMA of the same shape: tokens/s, MFU and memory, in one run.

Ours takes real steps of trainer/engine/step.py: document masks, per-source losses, clipping, AdamW. The peer takes
plain causal attention, the mean loss that it computes itself, clipping and the same AdamW. Both compile, both compute
in bf16 by autocast over fp32 weights. On a CPU one small shape is measured; on a GPU 124 M and 1 B. 8 B in fp32
with AdamW's moments is 128 GB: one GPU does not hold it.

MFU counts 6N FLOPs a token; beside it, by custom, with attention as if each token attended to all of its sequence
(T x T). A causal mask asks for half of that, and documents for less, and kernels skip what is masked: the figure is an
upper bound of what the device did.

Run: python benchmarks/training_step.py [--shapes cpu 124m 1b] [--steps 10]; one process, one device.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import common
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from trainer import config
from trainer.data.loader import Batch, segments
from trainer.engine.distributed import Distributed, chosen_precision, compile_blocks, forward_context, start
from trainer.engine.optimizer import clip, make_optimizer, set_rate
from trainer.engine.step import TrainStep
from trainer.model.cost import flops_per_token, peak_flops
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

EOS = 0
DOCUMENT_TOKENS = 600  # of a document, on average: each token is an EOS with a chance of 1 in so many
CLAIM = "a step of ours is no slower than one of transformers' LLaMA of the same shape"


class Case(NamedTuple):
    """A shape, and what a step of it takes."""

    shape: LlamaConfig
    sequence_tokens: int
    sequences: int


def _shape(layers: int, width: int, heads: int, kv_heads: int, mlp: int, vocabulary: int, tied: bool) -> LlamaConfig:
    return LlamaConfig(layers, width, heads, kv_heads, width // heads, mlp, vocabulary, 10_000.0, 1e-5, tied)


CASES = {
    "cpu": Case(_shape(6, 384, 6, 6, 1024, 8192, True), 512, 4),
    "124m": Case(_shape(12, 768, 12, 12, 2048, 50_304, True), 1024, 32),
    "1b": Case(_shape(16, 2048, 32, 8, 8192, 32_768, True), 2048, 8),
}


def ours(case: Case, distributed: Distributed) -> Callable[[], float]:
    """A function that takes one step, and returns its loss."""
    precision = chosen_precision("auto", distributed.device)
    with torch.device("meta"):
        model = LlamaModel(case.shape)
    compile_blocks(model)
    model.to_empty(device=distributed.device)
    initialize(model, 1, 0.02)
    optimizer = make_optimizer(model, config.Optimizer())
    train_step = TrainStep(model, optimizer, distributed, partial(forward_context, distributed, precision), None, 1.0)
    draw = np.random.default_rng(1)
    tokens_BW = draw.integers(1, case.shape.vocab_size, (case.sequences, case.sequence_tokens + 1)).astype(np.uint16)
    tokens_BW[draw.random(tokens_BW.shape) < 1 / DOCUMENT_TOKENS] = EOS
    segments_BT, _ = segments(tokens_BW, np.empty(0, np.int64), EOS)
    inputs_BT, targets_BT = tokens_BW[:, :-1].astype(np.int64), tokens_BW[:, 1:].astype(np.int64)
    batch = Batch(1, 0, ("source",) * case.sequences, inputs_BT, targets_BT, segments_BT)
    return lambda: train_step.learn(batch, train_step.agree(batch).targets, 1e-4).loss


def theirs(case: Case, distributed: Distributed) -> Callable[[], float]:
    """The same with transformers."""
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
    optimizer = make_optimizer(model, config.Optimizer())
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


def measured(
    make: Callable[[Case, Distributed], Callable[[], float]], case: Case, distributed: Distributed, steps: int
) -> dict[str, float]:
    """Tokens/s by the median step, and the most memory held on the device."""
    device = distributed.device
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step, found = make(case, distributed), []
    for _ in range(steps + 3):
        began = time.perf_counter()
        step()  # ends in reading the loss: the device has finished
        found.append(time.perf_counter() - began)
    pace = case.sequences * case.sequence_tokens / statistics.median(found[3:])
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {"tokens_per_s": pace, "device_memory_bytes": float(memory), "first_step_s": found[0]}


def compared(case: Case, distributed: Distributed, steps: int, peak: float | None) -> dict[str, dict[str, float]]:
    """Ours and theirs, with MFU where the device's peak is known."""
    found = {}
    for who, make in (("gristmill", ours), ("transformers", theirs)):
        found[who] = measured(make, case, distributed, steps)
        if peak is not None:
            pace = found[who]["tokens_per_s"] / peak
            found[who]["mfu"] = pace * flops_per_token(case.shape)
            found[who]["mfu_with_full_attention"] = pace * flops_per_token(case.shape, case.sequence_tokens)
    return found


def main() -> None:
    """Measures, prints the table, and writes the figures."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=CASES, default=["124m", "1b"] if on_gpu else ["cpu"])
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if on_gpu else common.cpu()
    peak = peak_flops(name) if on_gpu else None
    heads = ("shape", "who", "tokens/s", "MFU 6N", "MFU, attention over T x T", "memory GB", "times theirs")
    table = Table(*heads, title=name, title_justify="left")
    figures: dict[str, object] = {"device": name, "peak_flops": peak}
    met = {}
    with start() as distributed:
        for shape in asked.shapes:
            found = compared(CASES[shape], distributed, asked.steps, peak)
            ratio = found["gristmill"]["tokens_per_s"] / found["transformers"]["tokens_per_s"]
            figures[shape], met[shape] = {**found, "ratio": ratio}, ratio >= 1
            for who, each in found.items():
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
