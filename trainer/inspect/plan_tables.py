"""`trainer plan` on a terminal: the plan's numbers as tables. Names from manifests are printed as plain text."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpus.units import human_bytes, human_count, human_seconds
from trainer.model.cost import CHINCHILLA_TOKENS

if TYPE_CHECKING:
    from trainer.inspect.training_plan import Plan

Rows = list[list[str | int]]

WIDTH = 100


def print_plan(plan: "Plan") -> None:
    """Prints all tables, then the sums."""
    console = Console(highlight=False, markup=False)
    console = Console(highlight=False, markup=False, width=min(WIDTH, console.width) if console.is_terminal else WIDTH)
    for part in (_model, _phases, _shares, _sources, _memory):
        part(console, plan)
    for label, text in _sums(plan):
        console.print(Text(f"{label:<14} {text}"), soft_wrap=True)


def _model(console: Console, plan: "Plan") -> None:
    parts = plan.parameters
    head = parts.head or "tied"
    total = max(1, parts.total)
    rows: Rows = [
        [name, count, f"{count / total:.1%}" if isinstance(count, int) else ""]
        for name, count in (("embedding", parts.embedding), ("head", head), ("blocks", parts.blocks))
    ]
    rows += [["norms", parts.norms, f"{parts.norms / total:.1%}"], ["all", parts.total, ""]]
    whose = "the corpora's" if plan.from_corpora else "assumed: no corpus was read"
    _table(console, f"{plan.name}: vocabulary {plan.vocabulary:,} ({whose})", ["part", "parameters", "share"], rows)


def _phases(console: Console, plan: "Plan") -> None:
    rows: Rows = []
    for phase in plan.phases:
        rates = [phase.rate_start, phase.rate_peak, phase.rate_end]
        told = [f"{rate:.3g}" for rate in rates]
        shown = [each for at, each in enumerate(told) if at == 0 or each != told[at - 1]]
        batch = f"{phase.batch_sequences:,} × {phase.sequence_tokens:,}"
        rows.append([phase.name, phase.steps, human_count(phase.tokens), batch, " → ".join(shown)])
    columns = ["phase", "steps", "tokens", "batch: sequences × tokens", "learning rate"]
    _table(console, "Phases", columns, rows)


def _shares(console: Console, plan: "Plan") -> None:
    rows: Rows = []
    for phase in plan.phases:
        for at, source in enumerate(phase.sources):
            asked = "as held" if source.share_asked is None else f"{source.share_asked:.2%}"
            row: list[str | int] = ["" if at else phase.name, source.name, asked, f"{source.share:.2%}"]
            row += [human_count(source.tokens), human_count(source.cursor_tokens)]
            if source.epochs is not None:
                over = "over" if source.epochs > phase.max_epochs else ""
                row += [_epochs(source.epochs), f"{phase.max_epochs:g}", over]
            rows.append(row)
    columns = ["phase", "source", "asked", "share", "tokens", "read by its end"]
    columns += ["epochs", "max", ""] if plan.from_corpora else []
    _table(console, "Tokens of each source, and what has been read of it when the phase ends", columns, rows, (0, 1, 8))


def _epochs(epochs: float) -> str:
    return f"{epochs:.2f}" if epochs < 1000 else f"{epochs:,.0f}"


def _sources(console: Console, plan: "Plan") -> None:
    rows: Rows = []
    for source in plan.sources:
        held = [] if source.held_tokens is None else [human_count(source.held_tokens)]
        rows.append([source.name, human_count(source.tokens), human_count(source.needed_tokens), *held])
    columns = ["source", "read in all", "must hold at least", *(["holds"] if plan.from_corpora else [])]
    _table(console, "What a corpus must hold of each source for training, given max_epochs", columns, rows)


def _memory(console: Console, plan: "Plan") -> None:
    memories = [phase.memory for phase in plan.phases]
    parts = (
        ("parameters, fp32", [each.parameters_bytes for each in memories]),
        ("gradients, fp32", [each.gradients_bytes for each in memories]),
        ("AdamW's moments, fp32", [each.moments_bytes for each in memories]),
        ("weights to compute with", [each.gathered_bytes for each in memories]),
        ("activations", [each.activations_bytes for each in memories]),
        ("logits", [each.logits_bytes for each in memories]),
        ("all", [each.total_bytes for each in memories]),
    )
    rows: Rows = [[name, *map(human_bytes, sizes)] for name, sizes in parts]
    rows.append(["micro-batch, sequences", *(phase.micro_batch_sequences for phase in plan.phases)])
    whose = f"each of {plan.devices} devices" if plan.devices > 1 else "the device"
    title = f"Memory of {whose}: an estimate, nothing recomputed"
    _table(console, title, ["part", *(phase.name for phase in plan.phases)], rows)


def _sums(plan: "Plan") -> list[tuple[str, str]]:
    ratio = plan.tokens_per_parameter
    against = "over" if ratio >= CHINCHILLA_TOKENS else "under"
    peak = f"{plan.accelerator}: {plan.peak_flops / 1e12:,.4g} TFLOP/s dense bf16"
    devices = f"{plan.devices} device{'s' if plan.devices != 1 else ''}"
    lines = [
        ("tokens", f"{plan.tokens:,}"),
        ("a parameter", f"{ratio:.1f} tokens, {against} Chinchilla's {CHINCHILLA_TOKENS}"),
        ("FLOPs", f"{plan.flops_6nd:.3g} by 6ND, {plan.flops:.3g} with attention"),
        ("device-hours", f"{_hours(plan.device_hours)} at {plan.mfu:.1%} of {peak}, attention counted"),
        ("time", f"{human_seconds(plan.days * 86_400)} ({_hours(plan.days)} days) on {devices}"),
    ]
    if plan.price is not None:
        lines.append(("cost", f"{plan.price:,.2f} at {plan.price_per_hour:,.2f} a device-hour"))
    return lines


def _hours(count: float) -> str:
    """Hours, or days: with decimals where they are few."""
    return f"{count:,.1f}" if count >= 10 else f"{count:.2g}"


def _table(console: Console, title: str, columns: Sequence[str], rows: Rows, text: Collection[int] = (0,)) -> None:
    """Columns not in `text` are figures. Neither names nor figures are broken where there is room."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    console.print(Text(_plain(title), style="bold"), soft_wrap=True)  # a table's own title is as narrow as the table
    for index, name in enumerate(columns):
        words = index in text
        table.add_column(
            Text(name), justify="left" if words else "right", overflow="fold", no_wrap=not words or index == 0
        )
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else _plain(cell)) for cell in row))
    console.print(table)


def _plain(text: str) -> str:
    """The text with what a terminal would act upon written as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
