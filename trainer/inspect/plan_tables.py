"""`trainer plan` on a terminal: compute the plan and print it as tables or JSON."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from rich.console import Console

from corpus.display.terminal import Cells, plain_console, print_line, table
from corpus.errors import InputError
from corpus.units import human_bytes, human_count, human_seconds
from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource, open_corpora
from trainer.data.curriculum import resolve
from trainer.inspect.training_plan import TrainingPlan, make_plan
from trainer.model.cost import CHINCHILLA_TOKENS

DEFAULT_VOCABULARY = 32_768  # of the tokenizers of `corpus build`
LARGER = 10**6  # times a corpus, to show what a curriculum would read of one that is large enough


def show_plan(
    config: Path | None,
    assignments: Sequence[str],
    *,
    without_corpus: bool,
    as_json: bool,
    vocabulary: int = DEFAULT_VOCABULARY,
) -> None:
    """Run `trainer plan`. `vocabulary` is used without a corpus; otherwise the corpora's tokenizer has its own.

    Raises InputError if the corpora are too small for the curriculum. As tables, the plan is printed all the same.
    """
    training = read_training(find_config(config), assignments)
    refusal: InputError | None = None
    if without_corpus:
        imagined = _imagined_corpora(training, vocabulary)
        plan = make_plan(training, resolve(training, imagined), vocabulary, None)
    else:
        try:
            corpora = open_corpora(training.corpora)
        except InputError as error:
            raise InputError(f"{error}\nto plan before a corpus is built, add --without-corpus") from None
        try:
            curriculum = resolve(training, corpora)
        except InputError as error:
            refusal = error
            try:
                curriculum = resolve(training, _larger(corpora))
            except InputError:
                raise refusal from None  # the size is not the only problem
        plan = make_plan(training, curriculum, corpora.tokenizer.vocabulary, corpora)
    if as_json and refusal is None:
        print(json.dumps(plan.to_json(), indent=2))
    elif not as_json:
        print_plan(plan)
    if refusal is not None:
        raise refusal


def _larger(corpora: Corpora) -> Corpora:
    sources = {
        name: replace(source, train=tuple(replace(shard, tokens=shard.tokens * LARGER) for shard in source.train))
        for name, source in corpora.sources.items()
    }
    return replace(corpora, sources=sources)


def _imagined_corpora(training: Training, vocabulary: int) -> Corpora:
    """Return corpora with more tokens of each source than the curriculum reads.

    Raises InputError if a phase has no shares, because they would follow from the manifests.
    """
    if lacking := [f"phase `{phase.name}`" for phase in training.curriculum if phase.shares is None]:
        raise InputError(
            f"without a corpus every phase must state its `shares`; {', '.join(lacking)} would take them from the "
            "manifests. State them, or build the corpus and plan without --without-corpus"
        )
    if vocabulary < 1:
        raise InputError(f"--vocabulary {vocabulary}: expected the number of tokens of the tokenizer, such as 32768")
    shards = (TokenShardFile(Path(), tokens=10**12 * LARGER, documents=0, tokenizer=""),)
    names = sorted({name for phase in training.curriculum for name in phase.shares or {}})
    sources = {
        name: TokenSource(name=name, chunk_tokens=1, train=shards, holdout=(), holdout_thin=False) for name in names
    }
    return Corpora(sources, TokenizerFile(Path(), "", vocabulary, 0, ""), {})


def print_plan(plan: TrainingPlan) -> None:
    """Print all tables, then the totals."""
    console = plain_console()
    _print_parameters(console, plan)
    _print_phases(console, plan)
    _print_shares(console, plan)
    _print_sources(console, plan)
    _print_memory(console, plan)
    _print_totals(console, plan)


def _print_parameters(console: Console, plan: TrainingPlan) -> None:
    parts = plan.parameters
    counts = {"embedding": parts.embedding, "head": parts.head, "blocks": parts.blocks, "norms": parts.norms}
    rows: list[Cells] = [[name, count, f"{count / max(1, parts.total):.1%}"] for name, count in counts.items()]
    if not parts.head:
        rows[1] = ["head", "tied", ""]
    rows.append(["all", parts.total, ""])
    origin = "the corpora's" if plan.from_corpora else "assumed: no corpus was read"
    _print_table(
        console, f"{plan.name}: vocabulary {plan.vocabulary:,} ({origin})", ["part", "parameters", "share"], rows
    )


def _print_phases(console: Console, plan: TrainingPlan) -> None:
    rows: list[Cells] = []
    for phase in plan.phases:
        rates = [f"{rate:.3g}" for rate in (phase.rate_start, phase.rate_peak, phase.rate_end)]
        path = " → ".join(rate for rate, _ in groupby(rates))  # a constant rate once
        batch = f"{phase.batch_sequences:,} × {phase.sequence_tokens:,}"
        rows.append([phase.name, phase.steps, human_count(phase.tokens), batch, path])
    _print_table(console, "Phases", ["phase", "steps", "tokens", "batch: sequences × tokens", "learning rate"], rows)


def _print_shares(console: Console, plan: TrainingPlan) -> None:
    rows: list[Cells] = []
    for phase in plan.phases:
        for index, source in enumerate(phase.sources):
            asked = "by size" if source.share_asked is None else f"{source.share_asked:.2%}"
            row: Cells = ["" if index else phase.name, source.name, asked, f"{source.share:.2%}"]
            row += [human_count(source.tokens), human_count(source.cursor_tokens)]
            if source.epochs is not None:
                epochs = f"{source.epochs:.2f}" if source.epochs < 1000 else f"{source.epochs:,.0f}"
                row += [epochs, f"{phase.max_epochs:g}", "over" if source.epochs > phase.max_epochs else ""]
            rows.append(row)
    columns = ["phase", "source", "asked", "share", "tokens", "read by its end"]
    columns += ["epochs", "max", ""] if plan.from_corpora else []
    _print_table(
        console, "Tokens of each source, and the total read at the end of the phase", columns, rows, text=(0, 1, 8)
    )


def _print_sources(console: Console, plan: TrainingPlan) -> None:
    rows: list[Cells] = []
    for source in plan.sources:
        held = [] if source.held_tokens is None else [human_count(source.held_tokens)]
        rows.append([source.name, human_count(source.tokens), human_count(source.needed_tokens), *held])
    columns = ["source", "total read", "needed at least", *(["in the corpora"] if plan.from_corpora else [])]
    _print_table(console, "Training tokens that each source needs, given max_epochs", columns, rows)


def _print_memory(console: Console, plan: TrainingPlan) -> None:
    memories = [phase.memory for phase in plan.phases]
    parts = {
        "parameters, fp32": [memory.parameters_bytes for memory in memories],
        "gradients, fp32": [memory.gradients_bytes for memory in memories],
        "AdamW's moments, fp32": [memory.moments_bytes for memory in memories],
        "weights to compute with": [memory.gathered_bytes for memory in memories],
        "activations": [memory.activations_bytes for memory in memories],
        "logits": [memory.logits_bytes for memory in memories],
        "all": [memory.total_bytes for memory in memories],
    }
    rows: list[Cells] = [[name, *map(human_bytes, sizes)] for name, sizes in parts.items()]
    rows.append(["micro-batch, sequences", *(phase.micro_batch_sequences for phase in plan.phases)])
    devices = f"each of {plan.devices} devices" if plan.devices > 1 else "the device"
    _print_table(
        console,
        f"Memory of {devices}: an estimate, without recomputation of activations",
        ["part", *(phase.name for phase in plan.phases)],
        rows,
    )


def _print_totals(console: Console, plan: TrainingPlan) -> None:
    compared = "over" if plan.tokens_per_parameter >= CHINCHILLA_TOKENS else "under"
    peak = f"{plan.accelerator}: {plan.peak_flops / 1e12:,.4g} TFLOP/s dense bf16"
    devices = f"{plan.devices} device{'s' if plan.devices != 1 else ''}"
    totals = {
        "tokens": f"{plan.tokens:,}",
        "per parameter": f"{plan.tokens_per_parameter:.1f} tokens, {compared} Chinchilla's {CHINCHILLA_TOKENS}",
        "FLOPs": f"{plan.flops_6nd:.3g} by 6ND, {plan.flops:.3g} with attention",
        "device-hours": f"{_short(plan.device_hours)} at {plan.mfu:.1%} of {peak}, with attention",
        "time": f"{human_seconds(plan.days * 86_400)} ({_short(plan.days)} days) on {devices}",
    }
    if plan.price is not None:
        totals["cost"] = f"{plan.price:,.2f} at {plan.price_per_hour:,.2f} a device-hour"
    for label, text in totals.items():
        print_line(console, f"{label:<14} {text}")


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Cells], text: Collection[int] = (0,)
) -> None:
    print_line(console, title)  # a title of the table itself would wrap at the table's width
    console.print(table(columns, rows, text=text))


def _short(number: float) -> str:
    return f"{number:,.1f}" if number >= 10 else f"{number:.2g}"
