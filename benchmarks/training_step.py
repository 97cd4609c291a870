"""Training steps of ours, of transformers' and of litgpt's LLaMA with the same shape, taken in turns in one process.

Ours takes real steps of trainer/engine/step.py: document masks, per-source losses, clipping, AdamW. The others take
causal attention, a mean loss, clipping and the same AdamW, and are compiled as one graph. All compute in bf16 by
autocast with fp32 weights. A CPU measures one small shape with one and with two threads, each in a process of its own,
because compiled code is made for a number of threads. A GPU measures 124 M and 1 B. A model of 8 B in fp32 with the
moments of AdamW needs 128 GB, more than one GPU holds.

litgpt takes part if it is installed, nanoGPT's model (another architecture, about as large) if `--nanogpt` names a
checkout of it. A ratio is the median over rounds of a peer's time by ours in the same round.

MFU counts 6N FLOPs per token. A second figure adds attention of each token to its whole sequence (T x T), as papers do.
A causal mask needs half of that, document masks less, and kernels skip masked blocks, so it is an upper bound.

Run: python benchmarks/training_step.py [--shapes cpu 124m 1b] [--steps 5] [--rounds 7] [--nanogpt FOLDER]
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import common
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import OptimizerSettings
from trainer.data.loader import Batch, segments
from trainer.engine.distributed import Distributed, chosen_precision, compile_blocks, shard, start
from trainer.engine.optimizer import make_optimizer, set_rate
from trainer.engine.step import TrainStep
from trainer.model.cost import flops_per_token, peak_flops
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize

EOS = 0
DOCUMENT_TOKENS = 600  # mean document length: each token is EOS with probability 1/600
TARGETS = {1: 1.03, 2: 1.05}  # times the speed of each LLaMA of the same shape, by threads; on a GPU the first
CLAIM = "a step of ours is 1.05 x as fast as one of a peer's LLaMA of the same shape with two threads, 1.03 x with one"
Loss = Callable[[Tensor], Tensor]  # mean loss of tokens [B, T + 1]


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


def transformers(case: StepCase, distributed: Distributed) -> Callable[[], float]:
    """Return a function that takes one step of transformers' LLaMA and returns its loss."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = case.shape
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
    with distributed.device:
        model = LlamaForCausalLM(settings).float()
    compiled = torch.compile(model)
    return _step(case, distributed, model, lambda tokens_BW: compiled(input_ids=tokens_BW, labels=tokens_BW).loss)


def litgpt(case: StepCase, distributed: Distributed) -> Callable[[], float]:
    """Return a function that takes one step of litgpt's model with LLaMA's parts and returns its loss."""
    from litgpt import GPT, Config

    shape = case.shape
    settings = Config(
        block_size=case.sequence_tokens,
        padded_vocab_size=shape.vocab_size,
        vocab_size=shape.vocab_size,
        n_layer=shape.num_hidden_layers,
        n_head=shape.num_attention_heads,
        n_query_groups=shape.num_key_value_heads,
        n_embd=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    with distributed.device:
        model = GPT(settings).float()
    if shape.tie_word_embeddings:
        model.lm_head.weight = model.transformer.wte.weight
    return _step(case, distributed, model, _of_logits(torch.compile(model)))


def nanogpt(case: StepCase, distributed: Distributed, folder: Path) -> Callable[[], float]:
    """Return a function that takes one step of the model of a nanoGPT checkout and returns its loss."""
    found = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["nanogpt_model"] = module  # its dataclass looks itself up
    found.loader.exec_module(module)
    shape = case.shape
    settings = module.GPTConfig(
        block_size=case.sequence_tokens,
        vocab_size=shape.vocab_size,
        n_layer=shape.num_hidden_layers,
        n_head=shape.num_attention_heads,
        n_embd=shape.hidden_size,
        dropout=0.0,
        bias=False,
    )
    with distributed.device:
        model = module.GPT(settings)
    compiled = torch.compile(model)

    def loss(tokens_BW: Tensor) -> Tensor:
        found: Tensor = compiled(tokens_BW[:, :-1].contiguous(), tokens_BW[:, 1:].contiguous())[1]
        return found

    return _step(case, distributed, model, loss)


def _of_logits(model: Callable[[Tensor], Tensor]) -> Loss:
    def loss(tokens_BW: Tensor) -> Tensor:
        logits_BTV = model(tokens_BW[:, :-1])
        return functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BW[:, 1:].flatten())

    compiled: Loss = torch.compile(loss)
    return compiled


def _step(case: StepCase, distributed: Distributed, model: nn.Module, loss: Loss) -> Callable[[], float]:
    """Return a function that takes a step of a peer on as many tokens as ours."""
    device = distributed.device
    precision = chosen_precision("auto", device)
    optimizer = make_optimizer(model, OptimizerSettings())
    set_rate(optimizer, 1e-4)
    width = case.sequence_tokens + (not isinstance(model, _whole_sequences()))
    tokens_BW = torch.randint(1, case.shape.vocab_size, (case.sequences, width), device=device)

    def step() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            found = loss(tokens_BW)
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(found.detach())

    return step


def _whole_sequences() -> type[nn.Module]:
    """Return the class of models that shift targets themselves, and so need no further token."""
    from transformers import PreTrainedModel

    return PreTrainedModel


def measure(case: StepCase, distributed: Distributed, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Take steps of all in turns; return tokens/s of the median round, its ratio to ours and the memory of each."""
    makers: dict[str, Callable[[], Callable[[], float]]] = {
        "gristmill": lambda: ours(case, distributed),
        "transformers": lambda: transformers(case, distributed),
    }
    if importlib.util.find_spec("litgpt"):
        makers["litgpt"] = lambda: litgpt(case, distributed)
    if options.nanogpt:
        makers["nanogpt"] = lambda: nanogpt(case, distributed, options.nanogpt)
    # Make and compile each, and measure its memory besides that of the others.
    steps, results, on_gpu = {}, {}, distributed.device.type == "cuda"
    for who, make in makers.items():
        gc.collect()
        before = torch.cuda.memory_allocated() if on_gpu else 0
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        steps[who] = make()
        start_s = time.perf_counter()
        steps[who]()
        first_s = time.perf_counter() - start_s
        steps[who]()
        memory = torch.cuda.max_memory_allocated() - before if on_gpu else 0
        results[who] = {"device_memory_bytes": float(memory), "first_step_s": first_s}
    # Rounds, in which all take a step in turns: a machine's speed may change from second to second.
    times: dict[str, list[float]] = {who: [0.0] * options.rounds for who in steps}
    for number in range(options.rounds):
        for turn in range(options.steps):
            for who in list(steps) if turn % 2 else reversed(steps):
                start_s = time.perf_counter()
                steps[who]()  # reads the loss, so the device has finished
                times[who][number] += time.perf_counter() - start_s
    for who, seconds in times.items():
        tokens = options.steps * case.sequences * case.sequence_tokens
        results[who]["tokens_per_s"] = tokens / statistics.median(seconds)
        ratios = [theirs / own for theirs, own in zip(seconds, times["gristmill"], strict=True)]
        results[who]["times_as_fast_is_gristmill"] = statistics.median(ratios)
    return results


def in_another_process(shape: str, threads: int, arguments: list[str]) -> dict[str, dict[str, float]]:
    """Measure a shape on a CPU with a number of threads."""
    command = [sys.executable, __file__, *arguments, "--measure", shape]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print the table, and record the figures."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=CASES, default=["124m", "1b"] if on_gpu else ["cpu"])
    parser.add_argument("--steps", type=int, default=5, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="on a CPU")
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER", help="checkout of nanoGPT")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)  # one shape in this process
    options = parser.parse_args()
    if options.measure:
        with start() as distributed:
            print(json.dumps(measure(CASES[options.measure], distributed, options)))
        return
    name = torch.cuda.get_device_name() if on_gpu else common.cpu()
    peak = peak_flops(name) if on_gpu else None
    heads = ("shape", "who", "tokens/s", "MFU 6N", "MFU, attention over T x T", "memory GB", "ours by theirs")
    table = Table(*heads, title=name, title_justify="left")
    figures: dict[str, object] = {"device": name, "peak_flops": peak}
    met = {}
    for shape in options.shapes:
        case = CASES[shape]
        for threads in [1] if on_gpu else options.threads:
            results = in_another_process(shape, threads, sys.argv[1:])
            label = shape if on_gpu else f"{shape}, {threads} thread{'s' if threads > 1 else ''}"
            figures[label] = results
            for who, each in results.items():
                uses = []
                for attention in (None, case.sequence_tokens):
                    flops = each["tokens_per_s"] * flops_per_token(case.shape, attention)
                    uses.append(f"{flops / peak:.1%}" if peak else "–")
                memory = f"{each['device_memory_bytes'] / 1e9:.1f}" if on_gpu else "–"
                ratio = each["times_as_fast_is_gristmill"]
                shown = "" if who == "gristmill" else f"{ratio:.3f}"
                table.add_row(label, who, f"{each['tokens_per_s']:,.0f}", *uses, memory, shown)
                if who in ("transformers", "litgpt"):
                    met[f"{label}, {who}"] = ratio >= TARGETS.get(threads, TARGETS[2])
    Console(width=120).print(table)
    for part, holds in met.items():
        print(f"{part}: {'met' if holds else 'NOT met'}: {CLAIM}")
    packages = ["torch", "transformers", "numpy", *(["litgpt"] if importlib.util.find_spec("litgpt") else [])]
    common.record("training_step_gpu" if on_gpu else "training_step", CLAIM, packages, figures, met)


if __name__ == "__main__":
    main()
