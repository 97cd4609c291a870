"""`trainer plan` on a terminal: compute the plan and print it as tables or JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, replace
from itertools import groupby
from pathlib import Path
from textwrap import wrap

from corpus.display.data_table import DataRow, DataTable
from corpus.display.terminal import plain_console, print_line, print_table
from corpus.errors import InputError
from corpus.units import human_bytes, human_count, human_seconds
from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource, open_corpora
from trainer.data.curriculum import resolve
from trainer.inspect.contexts import mean_contexts
from trainer.inspect.rate_chart import rate_lines, rate_table
from trainer.inspect.training_plan import TrainingPlan, make_plan
from trainer.model.cost import CHINCHILLA_TOKENS

DEFAULT_VOCABULARY = 32_768  # of the tokenizers of `corpus build`
MEMORY_PARTS = (  # the fields of `Memory`, with the sum of training before evaluation
    "parameters, fp32",
    "gradients, fp32",
    "AdamW's moments, fp32",
    "weights to compute with",
    "activations that are kept",
    "loss, or backward pass of a block",
    "training, all",
    "evaluation, all",
)
WARNING_WIDTH = 100  # columns
MOST = 10**15  # tokens of a shard that is imagined; sums are integers of 64 bits
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
    corpora = _imagined_corpora(training, vocabulary) if without_corpus else _open(training)
    # If the corpora are too small, plan with larger ones, and refuse at the end.
    refusal: InputError | None = None
    try:
        curriculum = resolve(training, corpora)
    except InputError as error:
        refusal = error
        try:
            curriculum = resolve(training, _larger(corpora))
        except InputError:
            raise refusal from None  # the size is not the only problem
    plan = make_plan(training, curriculum, corpora, from_corpora=not without_corpus)
    if not as_json:
        print_plan(plan)
    if refusal is not None:
        raise refusal
    if as_json:
        print(json.dumps(plan.to_json(), indent=2))


def _open(training: Training) -> Corpora:
    try:
        return open_corpora(training.corpora)
    except InputError as error:
        raise InputError(f"{error}\nto plan before a corpus is built, add --without-corpus") from None


def _larger(corpora: Corpora) -> Corpora:
    sources = {
        name: replace(
            source, train=tuple(replace(shard, tokens=min(MOST, shard.tokens * LARGER)) for shard in source.train)
        )
        for name, source in corpora.sources.items()
    }
    return replace(corpora, sources=sources, are_imagined=True)


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
    shards = (TokenShardFile(Path(), tokens=MOST, documents=0, tokenizer=""),)
    names = sorted({name for phase in training.curriculum for name in phase.shares or {}})
    sources = {
        name: TokenSource(name, identity="", chunk_tokens=1 << 18, train=shards, holdout=(), holdout_thin=False)
        for name in names
    }
    return Corpora(sources, TokenizerFile(Path(), "", vocabulary, 0, ""), {}, are_imagined=True)


def print_plan(plan: TrainingPlan) -> None:
    """Print all tables, then the totals."""
    console = plain_console()
    rates = rate_table(plan.phases)
    tables = [_parameters(plan), _phases(plan), rates, _shares(plan), *_contexts(plan), _sources(plan), _memory(plan)]
    for figures in tables:
        print_line(console, figures.title)  # a title of the table itself would wrap at the table's width
        print_table(console, figures._replace(title=""))
        for line in rate_lines(plan.phases) if figures is rates else ():
            print_line(console, line)
    for problem in (text for phase in plan.phases for text in phase.context_problems):
        for line in wrap(f"warning: {problem}", WARNING_WIDTH, subsequent_indent="  "):
            print_line(console, line)
    for label, total in _totals(plan).items():
        print_line(console, f"{label:<14} {total}")


def _parameters(plan: TrainingPlan) -> DataTable:
    parts, total = plan.parameters, plan.parameters.total
    rows: list[DataRow] = [[name, count, f"{count / max(1, total):.1%}"] for name, count in asdict(parts).items()]
    if not parts.head:
        rows[1] = ["head", "tied", ""]
    origin = "the corpora's" if plan.from_corpora else "assumed: no corpus was read"
    title = f"{plan.name}: vocabulary {plan.vocabulary:,} ({origin})"
    return DataTable(title, ["part", "parameters", "share"], [*rows, ["all", total, ""]])


def _phases(plan: TrainingPlan) -> DataTable:
    rows: list[DataRow] = []
    for phase in plan.phases:
        rates = [f"{rate:.3g}" for rate in (phase.rate_start, phase.rate_peak, phase.rate_end)]
        path = " → ".join(rate for rate, _ in groupby(rates))  # a constant rate once
        batch = f"{phase.batch_sequences:,} × {phase.sequence_tokens:,}"
        rows.append([phase.name, phase.steps, human_count(phase.tokens), batch, path])
    return DataTable("Phases", ["phase", "steps", "tokens", "batch: sequences × tokens", "learning rate"], rows)


def _shares(plan: TrainingPlan) -> DataTable:
    rows: list[DataRow] = []
    for phase in plan.phases:
        for index, source in enumerate(phase.sources):
            asked = "by size" if source.share_asked is None else _percent(source.share_asked)
            row: list[str | int] = ["" if index else phase.name, source.name, asked, _percent(source.share)]
            row += [human_count(source.tokens), human_count(source.cursor_tokens)]
            if source.epochs is not None:
                epochs = f"{source.epochs:.2f}" if source.epochs < 1000 else f"{source.epochs:,.0f}"
                row += [epochs, f"{phase.max_epochs:g}", "over" if source.epochs > phase.max_epochs else ""]
            rows.append(row)
    columns = ["phase", "source", "asked", "share", "tokens", "read by its end"]
    columns += ["epochs", "max", ""] if plan.from_corpora else []
    title = "Tokens of each source, and the total read at the end of the phase"
    return DataTable(title, columns, rows, text=(0, 1, 8))


def _contexts(plan: TrainingPlan) -> list[DataTable]:
    rows: list[DataRow] = []
    for phase in plan.phases:
        if phase.contexts:
            shares = {source.name: source.share for source in phase.sources}
            mean = mean_contexts(list(phase.contexts.values()), [shares[name] for name in phase.contexts])
            row = [f"{mean.cut:.1%}", f"{mean.context:,.0f}", f"{mean.uncut:,.0f}", f"{mean.padding:.2%}"]
            rows.append([phase.name, phase.sequence_tokens, *row])
    columns = ["phase", "sequence, tokens", "cut by a seam", "mean context", "without seams", "padding"]
    title = "Contexts: earlier tokens of its document that a token attends to, from a sample of sequences"
    return [DataTable(title, columns, rows)] if rows else []


def _sources(plan: TrainingPlan) -> DataTable:
    rows: list[DataRow] = []
    for source in plan.sources:
        held = [] if source.held_tokens is None else [human_count(source.held_tokens)]
        rows.append([source.name, human_count(source.tokens), human_count(source.needed_tokens), *held])
    columns = ["source", "total read", "needed at least", *(["in the corpora"] if plan.from_corpora else [])]
    return DataTable("Training tokens that each source needs, given max_epochs", columns, rows)


def _memory(plan: TrainingPlan) -> DataTable:
    columns = []
    for phase in plan.phases:
        *parts, evaluation = astuple(phase.memory)
        columns.append([*parts, phase.memory.training_bytes, evaluation])
    rows: list[DataRow] = [
        [part, *map(human_bytes, sizes)] for part, *sizes in zip(MEMORY_PARTS, *columns, strict=True)
    ]
    rows.append(["micro-batch, sequences", *(phase.micro_batch_sequences for phase in plan.phases)])
    devices = f"each of {plan.devices} devices" if plan.devices > 1 else "the device"
    title = f"Memory of {devices}, an estimate"
    return DataTable(title, ["part", *(phase.name for phase in plan.phases)], rows)


def _totals(plan: TrainingPlan) -> dict[str, str]:
    compared = "over" if plan.tokens_per_parameter >= CHINCHILLA_TOKENS else "under"
    peak = f"{plan.accelerator}: {plan.peak_flops / 1e12:,.4g} TFLOP/s dense bf16"
    devices = f"{plan.devices} {plan.accelerator}; set `cluster` for other devices"
    totals = {
        "tokens": f"{plan.tokens:,}",
        "per parameter": f"{plan.tokens_per_parameter:.1f} tokens, {compared} Chinchilla's {CHINCHILLA_TOKENS}",
        "FLOPs": f"{plan.flops_6nd:.3g} by 6ND, {plan.flops:.3g} with attention",
        "device-hours": f"{_short(plan.device_hours)} at {plan.mfu:.1%} of {peak}, with attention",
        "time": f"{human_seconds(plan.days * 86_400)} ({_short(plan.days)} days) on {devices}",
    }
    totals["memory"] = plan.memory_text
    disk, each = human_bytes(plan.checkpoints * plan.checkpoint_bytes), human_bytes(plan.checkpoint_bytes)
    totals["checkpoints"] = f"{each} each, at most {plan.checkpoints} at a time: {disk} of disk"
    if plan.price is not None:
        totals["cost"] = f"{plan.price:,.2f} at {plan.price_per_hour:,.2f} a device-hour"
    return totals


def _percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.001 or not share else f"{share * 100:.2g}%"


def _short(number: float) -> str:
    return f"{number:,.1f}" if number >= 10 else f"{number:.2g}"
