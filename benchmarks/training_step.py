"""A step of training, ours against transformers' LLaMA of the same shape: tokens/s, MFU and memory, in one run.

Ours takes real steps of `trainer.step`: document masks, per-source losses, clipping, AdamW. The peer takes plain causal
attention, the mean loss that it computes itself, clipping and the same AdamW. Both compile, both compute in bf16 by
autocast over fp32 weights. On a CPU one small shape is measured; on a GPU 124 M and 1 B. 8 B in fp32 with AdamW's
moments is 128 GB: one GPU does not hold it.

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
from trainer.cost import flops_per_token, peak_flops
from trainer.loader import Batch, segments
from trainer.model import Shape, Transformer, initialise
from trainer.optimizer import clip, make_optimizer, set_rate
from trainer.parallel import chosen_precision, compile_blocks, forward_context, start
from trainer.step import Learner

EOS = 0
DOCUMENT_TOKENS = 600  # on average: as many sequences hold a document's end


class Case(NamedTuple):
    """A shape, and what a step of it takes."""

    shape: Shape
    sequence_tokens: int
    sequences: int


def _shape(layers: int, width: int, heads: int, kv_heads: int, mlp: int, vocabulary: int, tied: bool) -> Shape:
    return Shape(layers, width, heads, kv_heads, width // heads, mlp, vocabulary, 10_000.0, 1e-5, tied)


CASES = {
    "cpu": Case(_shape(6, 384, 6, 6, 1024, 8192, True), 512, 4),
    "124m": Case(_shape(12, 768, 12, 12, 2048, 50_304, True), 1024, 32),
    "1b": Case(_shape(16, 2048, 32, 8, 8192, 32_768, True), 2048, 8),
}


def ours(case: Case, device: torch.device) -> Callable[[], float]:
    """A function that takes one step, and returns its loss."""
    with start() as layout:
        precision = chosen_precision("auto", device)
        with torch.device("meta"):
            model = Transformer(case.shape)
        compile_blocks(model)
        model.to_empty(device=device)
        initialise(model, 1, 0.02)
        optimizer = make_optimizer(model, config.Optimizer())
        context = partial(forward_context, layout, precision)
        learner = Learner(model, optimizer, layout, context, None, 1.0)
    draw = np.random.default_rng(1)
    tokens_BW = draw.integers(1, case.shape.vocabulary, (case.sequences, case.sequence_tokens + 1)).astype(np.uint16)
    tokens_BW[draw.random(tokens_BW.shape) < 1 / DOCUMENT_TOKENS] = EOS
    segments_BT, _ = segments(tokens_BW, np.empty(0, np.int64), EOS)
    inputs_BT, targets_BT = tokens_BW[:, :-1].astype(np.int64), tokens_BW[:, 1:].astype(np.int64)
    batch = Batch(1, 0, ("source",) * case.sequences, inputs_BT, targets_BT, segments_BT)
    return lambda: learner.learn(batch, learner.agree(batch).targets, 1e-4).loss


def theirs(case: Case, device: torch.device) -> Callable[[], float]:
    """The same with transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = case.shape
    settings = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.mlp_width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=case.sequence_tokens,
        tie_word_embeddings=shape.tied_embeddings,
        attn_implementation="sdpa",
        use_cache=False,
    )
    with device:
        model = LlamaForCausalLM(settings).float()
    precision = chosen_precision("auto", device)
    optimizer = make_optimizer(model, config.Optimizer())
    set_rate(optimizer, 1e-4)
    compiled = torch.compile(model)
    tokens_BT = torch.randint(1, shape.vocabulary, (case.sequences, case.sequence_tokens), device=device)

    def step() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = compiled(input_ids=tokens_BT, labels=tokens_BT).loss
        loss.backward()
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    return step


def measured(make: Callable[[Case, torch.device], Callable[[], float]], case: Case, steps: int) -> dict[str, float]:
    """Median seconds a step, and the most memory held on the device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step, found = make(case, device), []
    for _ in range(steps + 3):
        began = time.perf_counter()
        step()  # ends in reading the loss: the device has finished
        found.append(time.perf_counter() - began)
    pace = case.sequences * case.sequence_tokens / statistics.median(found[3:])
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return {"tokens_per_s": pace, "device_memory_bytes": float(memory), "first_step_s": found[0]}


def main() -> None:
    """Measures, prints the table, and writes the figures."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=CASES, default=["124m", "1b"] if on_gpu else ["cpu"])
    parser.add_argument("--steps", type=int, default=10)
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if on_gpu else common.cpu()
    peak = peak_flops(name) if on_gpu else None
    table = Table("shape", "who", "tokens/s", "MFU 6N", "with attention", "memory GB", title=name, title_justify="left")
    figures: dict[str, object] = {"device": name, "peak_flops": peak}
    for shape in asked.shapes:
        case, pair = CASES[shape], {}
        for who, make in (("gristmill", ours), ("transformers", theirs)):
            found = pair[who] = measured(make, case, asked.steps)
            costs = flops_per_token(case.shape), flops_per_token(case.shape, case.sequence_tokens)
            uses = [found["tokens_per_s"] * cost / peak if peak else None for cost in costs]
            found |= {"mfu": uses[0], "mfu_attention": uses[1]} if peak else {}  # type: ignore[dict-item]
            shown = [f"{use:.1%}" if use is not None else "–" for use in uses]
            table.add_row(
                shape, who, f"{found['tokens_per_s']:,.0f}", *shown, f"{found['device_memory_bytes'] / 1e9:.1f}"
            )
        ratio = pair["gristmill"]["tokens_per_s"] / pair["transformers"]["tokens_per_s"]
        figures[shape] = {**pair, "ratio": ratio}
        table.add_row("", f"ratio {ratio:.2f}")
    Console(width=100).print(table)
    result = "training_step_gpu" if on_gpu else "training_step"
    common.record(result, "a step is no slower than transformers' LLaMA", ["torch", "transformers", "numpy"], figures)


if __name__ == "__main__":
    main()
